"""The embedding sampler: points inside user masks become visual tokens of three levels.

See docs/find-interface.md, section 5.6.
"""

from __future__ import annotations

from collections.abc import Sequence

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


def sample_tokens(
    maps: Sequence[Tensor],
    projections: Sequence[Tensor],
    indicator: Tensor,
    prompt: MaskPrompt,
    *,
    most: int,
    generator: torch.Generator | None = None,
) -> VisualTokens:
    """Sample visual tokens at the points of user masks.

    Args:
        maps: three (B, h_l, w_l, C), level embedding included.
        projections: three (C, C).
        indicator: (2, C), added to positive and negative tokens.
        prompt: masks of each image.
        most: budget of points an image, for positive and negative ones each.
    Returns:
        VisualTokens padded to the longest image; zero tokens where every mask is empty.
    """
    points, signs = [], []
    for number, positive in enumerate(prompt.positive):
        sets = [mask_points(positive, most, generator)]
        if prompt.negative is not None:
            sets.append(mask_points(prompt.negative[number], most, generator))
        points.append(torch.cat(sets))
        signs.append(torch.cat([torch.full((len(rows),), sign) for sign, rows in enumerate(sets)]))
    device = maps[0].device
    where = pad_sequence(points, batch_first=True).to(device)  # (B, P, 3)
    index = pad_sequence([rows[:, 0].long() for rows in points], batch_first=True, padding_value=PAD_VISUAL).to(device)
    sign = pad_sequence(signs, batch_first=True).to(device)
    xy = where[:, None, :, [2, 1]] * 2 - 1
    levels = []
    for features, projection in zip(maps, projections, strict=True):
        grid = (features @ projection).permute(0, 3, 1, 2)
        sampled = F.grid_sample(grid, xy.to(grid.dtype), mode="bilinear", align_corners=True)
        levels.append(sampled[:, :, 0].transpose(1, 2) + indicator[sign])
    return VisualTokens(tuple(levels), index == PAD_VISUAL, index)


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
