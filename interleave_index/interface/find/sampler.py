"""The embedding sampler: points inside user masks become visual tokens of three levels.

See docs/find-interface.md, section 5.6.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

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
    negative = prompt.negative or [masks[:, :0, :0] for masks in prompt.positive]
    points, signs = [], []
    for yes, no in zip(prompt.positive, negative, strict=True):
        sets = [
            mask_points(yes, most, generator),
            mask_points(no, most, generator) if no.numel() else yes.new_zeros((0, 3), dtype=torch.float32),
        ]
        points.append(torch.cat(sets))
        signs.append(torch.cat([torch.full((len(s),), n, device=yes.device) for n, s in enumerate(sets)]))
    longest = max(len(p) for p in points)
    device = maps[0].device
    where = torch.zeros((len(points), longest, 2), device=device)
    pad = torch.ones((len(points), longest), dtype=torch.bool, device=device)
    index = torch.full((len(points), longest), PAD_VISUAL, device=device)
    sign = torch.zeros((len(points), longest), dtype=torch.long, device=device)
    for row, (point, kind) in enumerate(zip(points, signs, strict=True)):
        where[row, : len(point)] = point[:, [2, 1]] * 2 - 1
        pad[row, : len(point)] = False
        index[row, : len(point)] = point[:, 0].long()
        sign[row, : len(point)] = kind
    levels = []
    for features, projection in zip(maps, projections, strict=True):
        grid = (features @ projection).permute(0, 3, 1, 2)
        sampled = F.grid_sample(grid, where[:, None].to(grid.dtype), mode="bilinear", align_corners=True)
        levels.append(sampled[:, :, 0].transpose(1, 2) + indicator[sign])
    return VisualTokens((levels[0], levels[1], levels[2]), pad, index)


def gather_visual(tokens: VisualTokens, rows: Sequence[Sequence[int]]) -> VisualTokens:
    """Regroup sampled tokens: entry e of `rows[i]` is the row of `tokens` for entity e of sentence i, -1 for none.

    Every token's index becomes the number of its entity.
    """
    width = max(1, max((sum(int((~tokens.pad[r]).sum()) for r in image if r >= 0) for image in rows), default=1))
    count, channels = len(rows), tokens.levels[0].shape[-1]
    pad = torch.ones((count, width), dtype=torch.bool)
    index = torch.full((count, width), -7)
    source = torch.zeros((count, width), dtype=torch.long)
    for number, image in enumerate(rows):
        at = 0
        for entity, row in enumerate(image):
            if row < 0:
                continue
            kept = (~tokens.pad[row]).nonzero()[:, 0]
            source[number, at : at + len(kept)] = row * tokens.pad.shape[1] + kept
            pad[number, at : at + len(kept)] = False
            index[number, at : at + len(kept)] = entity
            at += len(kept)
    levels = [
        level.reshape(-1, channels)[source] if level.shape[1] else level.new_zeros((count, width, channels))
        for level in tokens.levels
    ]
    return VisualTokens((levels[0], levels[1], levels[2]), pad, index, _gather_vectors(tokens.vectors, rows))


def _gather_vectors(vectors: Tensor | None, rows: Sequence[Sequence[int]]) -> Tensor | None:
    """(N, 1, C) vectors, one a row of tokens, to (sentences, entities, C) with zero rows for entities of text."""
    if vectors is None:
        return None
    most = max((len(image) for image in rows), default=0)
    table = torch.cat([vectors[:, 0], vectors.new_zeros((1, vectors.shape[-1]))])
    padded = [[*image, *[-1] * (most - len(image))] for image in rows]
    return table[torch.tensor(padded, dtype=torch.long).reshape(len(rows), most)]
