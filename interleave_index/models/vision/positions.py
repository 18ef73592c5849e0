"""Sine positions of a feature grid, as DETR and FIND use them."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def sine_positions(height: int, width: int, channels: int, device: torch.device | None = None) -> Tensor:
    """Position of every cell of a grid, always computed in float32.

    Args:
        height, width: of the grid.
        channels: C, a multiple of 4; the first half encodes y, the second x.
    Returns:
        (C, height, width) float32, the same tensor every time: not to be written into.
    Source: docs/find-interface.md, section 3: coordinates from 1, divided by the last, times 2 pi, temperature 10000.
    """
    half = channels // 2
    steps = torch.arange(half, device=device, dtype=torch.float32)
    frequency = 10000 ** (2 * torch.div(steps, 2, rounding_mode="floor") / half)
    axes = []
    for length in (height, width):
        place = torch.arange(1, length + 1, device=device, dtype=torch.float32)
        angle = place[:, None] / (length + 1e-6) * (2 * math.pi) / frequency
        axes.append(torch.stack((angle[:, 0::2].sin(), angle[:, 1::2].cos()), -1).flatten(1))
    y, x = axes
    return torch.cat([y[:, None].expand(-1, width, -1), x[None].expand(height, -1, -1)], -1).permute(2, 0, 1)
