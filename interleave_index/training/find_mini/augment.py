"""Random crops, flips and colours of a batch, the same geometry for photos, masks and painted maps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

STRENGTH = 0.3  # of changes of brightness, contrast and saturation


@dataclass(frozen=True, slots=True)
class Crop:
    """A crop with flip of every photo of a batch, as an affine map in [-1, 1] coordinates.

    Attributes:
        theta: (B, 2, 3) float32 for `affine_grid`.
    """

    theta: Tensor

    @classmethod
    def of_boxes(cls, boxes: NDArray[np.floating], rng: np.random.Generator) -> Crop:
        """Crops of (B, 2, 2) corners (x, y) in [-1, 1], half of them flipped."""
        flip = rng.choice([-1.0, 1.0], len(boxes))
        half, centre = (boxes[:, 1] - boxes[:, 0]) / 2, boxes.mean(1)
        theta = np.zeros((len(boxes), 2, 3), np.float32)
        theta[:, 0, 0], theta[:, 1, 1] = half[:, 0] * flip, half[:, 1]
        theta[:, :, 2] = centre
        return cls(torch.as_tensor(theta))

    def __call__(self, maps: Tensor, side: int, rows: Tensor | None = None, *, nearest: bool = False) -> Tensor:
        """Cut (K, C, h, w) float maps out at side x side; `rows` names the photo of each map (default: in order)."""
        theta = self.theta if rows is None else self.theta[rows]
        grid = F.affine_grid(theta, [len(maps), maps.shape[1], side, side], align_corners=False)
        return F.grid_sample(
            maps, grid, mode="nearest" if nearest else "bilinear", padding_mode="border", align_corners=False
        )


def random_crop(count: int, rng: np.random.Generator, *, smallest: float = 0.6) -> Crop:
    """Crops whose sides are each `smallest` to 1 of the photo (so the aspect varies too), half of them flipped."""
    half = rng.uniform(smallest, 1.0, (count, 2))
    centre = rng.uniform(-1, 1, (count, 2)) * (1 - half)
    return Crop.of_boxes(np.stack([centre - half, centre + half], 1), rng)


def view_crop(boxes: NDArray[np.float32], rng: np.random.Generator, *, loose: float = 0.06) -> Crop:
    """Crops near given boxes, half of them flipped.

    Args:
        boxes: (B, 4) x0, y0, x1, y1 in shares of the photo's sides.
        loose: how far each edge may move, as a share of the box.
    """
    corners = boxes.reshape(-1, 2, 2)
    sides = corners[:, 1:] - corners[:, :1]
    moved = corners + rng.uniform(-loose, loose, corners.shape) * sides
    return Crop.of_boxes(2 * np.clip(moved, 0, 1) - 1, rng)


def jitter(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Random brightness, contrast and saturation; (B, 3, H, W) in 0..255, stays there."""
    factors = rng.uniform(1 - STRENGTH, 1 + STRENGTH, (3, len(pixels), 1, 1, 1)).astype(np.float32)
    brightness, contrast, saturation = torch.as_tensor(factors)
    pixels = pixels * brightness
    mean = pixels.mean((1, 2, 3), keepdim=True)
    pixels = (pixels - mean) * contrast + mean
    grey = pixels.mean(1, keepdim=True)
    jittered: Tensor = (pixels - grey) * saturation + grey
    return jittered.clamp(0, 255)
