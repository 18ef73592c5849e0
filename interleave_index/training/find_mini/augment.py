"""Random crops, flips and colours of a batch, the same geometry for photos, masks and painted maps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, slots=True)
class Crop:
    """A crop with flip of every photo of a batch, as an affine map in [-1, 1] coordinates.

    Attributes:
        theta: (B, 2, 3) float32 for `affine_grid`.
    """

    theta: Tensor

    def __call__(self, maps: Tensor, side: int, rows: Tensor | None = None, *, nearest: bool = False) -> Tensor:
        """Cut (K, C, h, w) float maps out at side x side; `rows` names the photo of each map (default: in order)."""
        theta = self.theta if rows is None else self.theta[rows]
        grid = F.affine_grid(theta, [len(maps), maps.shape[1], side, side], align_corners=False)
        return F.grid_sample(
            maps, grid, mode="nearest" if nearest else "bilinear", padding_mode="border", align_corners=False
        )


def whole(count: int) -> Crop:
    """No crop and no flip."""
    return Crop(torch.eye(2, 3).expand(count, 2, 3).contiguous())


def random_crop(count: int, rng: np.random.Generator, *, smallest: float = 0.6) -> Crop:
    """Crops whose sides are each `smallest` to 1 of the photo (so the aspect varies too), half of them flipped."""
    scale = rng.uniform(smallest, 1.0, (count, 2))
    shift = rng.uniform(-1, 1, (count, 2)) * (1 - scale)
    flip = rng.choice([-1.0, 1.0], count)
    theta = np.zeros((count, 2, 3), np.float32)
    theta[:, 0, 0], theta[:, 0, 2] = scale[:, 0] * flip, shift[:, 0]
    theta[:, 1, 1], theta[:, 1, 2] = scale[:, 1], shift[:, 1]
    return Crop(torch.as_tensor(theta))


def view_crop(boxes: NDArray[np.float32], rng: np.random.Generator, *, loose: float = 0.06) -> Crop:
    """Crops near given boxes, half of them flipped.

    Args:
        boxes: (B, 4) x0, y0, x1, y1 in shares of the photo's sides.
        loose: how far each edge may move, as a share of the box.
    """
    count = len(boxes)
    corners = boxes.reshape(count, 2, 2)
    sides = corners[:, 1] - corners[:, 0]
    moved = np.clip(corners + rng.uniform(-loose, loose, (count, 2, 2)) * sides[:, None], 0, 1)
    flip = rng.choice([-1.0, 1.0], count)
    theta = np.zeros((count, 2, 3), np.float32)
    half, centre = moved[:, 1] - moved[:, 0], moved.sum(1) - 1
    theta[:, 0, 0], theta[:, 0, 2] = half[:, 0] * flip, centre[:, 0]
    theta[:, 1, 1], theta[:, 1, 2] = half[:, 1], centre[:, 1]
    return Crop(torch.as_tensor(theta))


def jitter(pixels: Tensor, rng: np.random.Generator, *, strength: float = 0.3) -> Tensor:
    """Random brightness, contrast and saturation; (B, 3, H, W) in 0..255, stays there."""
    count = len(pixels)
    brightness, contrast, saturation = (
        torch.as_tensor(rng.uniform(1 - strength, 1 + strength, (count, 1, 1, 1)).astype(np.float32)) for _ in range(3)
    )
    pixels = pixels * brightness
    pixels = (pixels - (mean := pixels.mean((1, 2, 3), keepdim=True))) * contrast + mean
    pixels = (pixels - (grey := pixels.mean(1, keepdim=True))) * saturation + grey
    return pixels.clamp(0, 255)
