"""The embedding sampler: points inside user masks become visual tokens of three levels.

See docs/find-interface.md, section 5.6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from .prompts import PAD_VISUAL, MaskPrompt, VisualTokens


def mask_points(masks: Tensor, most: int, generator: torch.Generator | None = None) -> Tensor:
    """Points of a set of masks, drawn so that non-empty masks share the budget.

    Args:
        masks: (n, h, w) bool.
        most: budget of points over all masks.
        generator: of the draw where there are more points than that; with fewer nothing is random.
    Returns:
        (P, 3) float32: mask number, y / h, x / w; in raster order.
    """
    points = masks.nonzero()
    if len(points) > most:
        counts = masks.flatten(1).sum(1)
        chance = 1.0 / (counts[points[:, 0]].float() * (counts > 0).sum())
        chosen = torch.multinomial(chance, most, replacement=False, generator=generator)
        points = points[chosen.sort().values]
    scale = torch.tensor([1, masks.shape[1], masks.shape[2]], device=masks.device)
    return points.float() / scale


@dataclass(frozen=True, slots=True)
class PromptPoints:
    """Points inside the masks of a batch, padded to the image with the most; P may be 0.

    Attributes:
        xy: (B, P, 2) float32, -1 to 1, as `grid_sample` takes them with aligned corners.
        index: (B, P) number of the mask that a point lies in, `PAD_VISUAL` at padding.
        sign: (B, P) 0 for points of positive masks, 1 of negative ones.
    """

    xy: Tensor
    index: Tensor
    sign: Tensor

    @property
    def pad(self) -> Tensor:
        """(B, P) bool, True at padding."""
        return self.index == PAD_VISUAL

    def sample(self, maps: Tensor) -> Tensor:
        """(B, C, h, w) maps at the points, bilinear, (B, P, C); 0 outside."""
        sampled = F.grid_sample(maps, self.xy[:, None].to(maps.dtype), mode="bilinear", align_corners=True)
        return sampled[:, :, 0].transpose(1, 2)


def prompt_points(
    prompt: MaskPrompt, most: int, device: torch.device, generator: torch.Generator | None = None
) -> PromptPoints:
    """Points of user masks, positive ones first.

    Args:
        most: budget of points an image, for positive and negative ones each.
        device: where they are wanted.
        generator: of the draw of large prompts.
    """
    points, signs = [], []
    for number, positive in enumerate(prompt.positive):
        sets = [mask_points(positive, most, generator)]
        if prompt.negative is not None:
            sets.append(mask_points(prompt.negative[number], most, generator))
        points.append(torch.cat(sets))
        signs.append(torch.cat([torch.full((len(rows),), sign) for sign, rows in enumerate(sets)]))
    where = pad_sequence(points, batch_first=True).to(device)  # (B, P, 3)
    index = pad_sequence([rows[:, 0].long() for rows in points], batch_first=True, padding_value=PAD_VISUAL).to(device)
    sign = pad_sequence(signs, batch_first=True).to(device)
    return PromptPoints(where[:, :, [2, 1]] * 2 - 1, index, sign)


def tokens_at(
    points: PromptPoints, maps: Sequence[Tensor], projections: Sequence[Tensor], indicator: Tensor
) -> VisualTokens:
    """Visual tokens at points of user masks; none where every mask is empty.

    Args:
        maps: three (B, h_l, w_l, C), level embedding included.
        projections: three (C, C).
        indicator: (2, C), added to positive and negative tokens.
    """
    levels = [
        points.sample((features @ projection).permute(0, 3, 1, 2)) + indicator[points.sign]
        for features, projection in zip(maps, projections, strict=True)
    ]
    return VisualTokens(tuple(levels), points.pad, points.index)


def gather_visual(tokens: VisualTokens, rows: Sequence[Sequence[int]]) -> VisualTokens:
    """Regroup sampled tokens: entry e of `rows[i]` is the row of `tokens` for entity e of sentence i, -1 for none.

    Every token's index becomes the number of its entity; `vectors` of entities of text are zero.
    """
    device, longest = tokens.pad.device, tokens.pad.shape[1]
    places, numbers = [], []
    for sentence in rows:
        own, number = [torch.zeros(0, dtype=torch.long, device=device)], [torch.zeros(0, dtype=torch.long)]
        for entity, row in enumerate(sentence):
            if row >= 0:
                kept = (~tokens.pad[row]).nonzero()[:, 0]
                own.append(row * longest + kept)
                number.append(torch.full((len(kept),), entity))
        places.append(torch.cat(own))
        numbers.append(torch.cat(number))
    source = pad_sequence(places, batch_first=True)
    index = pad_sequence(numbers, batch_first=True, padding_value=PAD_VISUAL).to(device)
    levels = tuple(level.flatten(0, 1)[source] for level in tokens.levels)
    vectors = None
    if tokens.vectors is not None:
        entity_rows = [torch.tensor(sentence, dtype=torch.long) for sentence in rows]
        padded = pad_sequence(entity_rows, batch_first=True, padding_value=-1)
        nothing = tokens.vectors.new_zeros((1, tokens.vectors.shape[-1]))
        vectors = torch.cat([tokens.vectors[:, 0], nothing])[padded]
    return VisualTokens(levels, index == PAD_VISUAL, index, vectors)
