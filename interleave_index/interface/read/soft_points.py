"""READ's points as functions of the similarity map, so that the loss of a mask reaches the language model through them.

Which cells become points, and on which side, is chosen without a gradient (`grounding.compatible`); each point then
moves to the mean of the pixels around it, weighed by nearness and by the map. Values equal those of `read_points`.
Source: READ (Qian et al., Reasoning to Attend, CVPR 2025) and its released code.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ...grounding.compatible import REACH, SOFT_SIDE, ReadSettings, read_points
from ...records import Size


def soft_points(similarity: Tensor, size: Size, settings: ReadSettings) -> tuple[Tensor, Tensor]:
    """The points of one map.

    Args:
        similarity: (g * g,) over the middle square of the photo, row after row.
        size: (height, width) of the photo.
        settings: of the points.
    Returns:
        (N, 2) float32 x and y in pixels of the photo, with gradients; (N,) int32 labels: 1 on the thing, 0 beside it,
        -1 neither.
    """
    chosen = read_points(similarity.detach().float().cpu().numpy(), size, settings, soften=False)
    device = similarity.device
    labels = torch.from_numpy(chosen.labels.astype("int32")).to(device)
    places = torch.from_numpy(chosen.whole).to(device)
    side = round(len(similarity) ** 0.5)
    return _softened(places, _picture(similarity.float().reshape(side, side), size)), labels


def _picture(square: Tensor, size: Size) -> Tensor:
    """The map over the whole photo, (H, W): least value 0, largest 1, and 0 where the middle square does not reach."""
    low, high = square.min(), square.max()
    stretched = (square - low) / (high - low) if high > low else torch.full_like(square, 0.5)
    large = F.interpolate(stretched[None, None], (SOFT_SIDE, SOFT_SIDE), mode="bilinear", align_corners=False)
    per_pixel = SOFT_SIDE / min(size)
    rows, columns = ((int(length * per_pixel) - SOFT_SIDE) // 2 for length in size)  # -1 cuts a row or column off
    padded = F.pad(large, (columns, columns, rows, rows))
    return F.interpolate(padded, size, mode="bilinear", align_corners=False)[0, 0]


def _softened(places: Tensor, picture: Tensor) -> Tensor:
    """(N, 2) each of some places (x, y) as the weighed mean of the pixels within `REACH` of it."""
    steps = torch.arange(-REACH, REACH + 1, device=places.device)
    columns, rows = places[:, :1] + steps, places[:, 1:] + steps  # (N, 2 REACH + 1)
    height, width = picture.shape
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
    values = picture[rows.clamp(0, height - 1)[:, :, None], columns.clamp(0, width - 1)[:, None, :]]
    near = -(steps[:, None] ** 2 + steps**2).float()
    weights = torch.softmax((values + near).masked_fill(~inside, -torch.inf).flatten(1), dim=1)
    x = columns[:, None, :].expand_as(inside).flatten(1)
    y = rows[:, :, None].expand_as(inside).flatten(1)
    return torch.stack([(weights * x).sum(1), (weights * y).sum(1)], dim=1)
