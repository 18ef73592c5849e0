"""The embedding sampler: points inside user masks become visual tokens of three levels (find.md §5.6)."""

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
