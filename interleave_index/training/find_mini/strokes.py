"""Visual prompts as a user would draw them inside a mask: points, scribbles, circles, polygons (find.md §7)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def draw_prompt(mask: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """A random prompt of one of the four shapes, inside the mask.

    Args:
        mask: (h, w) bool, at least one pixel.
    Returns:
        (h, w) bool, at least one pixel, all of them in the mask.
    """
    shape = rng.integers(4)
    if shape == 0:
        drawn = _points(mask, rng)
    elif shape == 1:
        drawn = _strokes(mask, rng, thick=False)
    elif shape == 2:
        drawn = _strokes(mask, rng, thick=True)
    else:
        drawn = _polygon(mask, rng)
    drawn &= mask
    return drawn if drawn.any() else mask


def _random_pixels(mask: NDArray[np.bool_], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    pixels = np.argwhere(mask)
    return pixels[rng.choice(len(pixels), min(count, len(pixels)), replace=False)]


def _points(mask: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    drawn = np.zeros_like(mask)
    drawn[tuple(_random_pixels(mask, int(rng.integers(1, 21)), rng).T)] = True
    return drawn


def _strokes(mask: NDArray[np.bool_], rng: np.random.Generator, *, thick: bool) -> NDArray[np.bool_]:
    drawn = np.zeros_like(mask)
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]]
    unit = max(mask.shape) / 32
    for _ in range(int(rng.integers(1, 6))):
        at = _random_pixels(mask, 1, rng)[0].astype(float)
        radius = rng.uniform(1.0, 3.0) * unit if thick else 0.7 * unit
        for _ in range(int(rng.integers(2, 8))):
            drawn |= (y - at[0]) ** 2 + (x - at[1]) ** 2 <= radius**2
            at += rng.uniform(-2, 2, 2) * unit
    return drawn


def _polygon(mask: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    from PIL import Image, ImageDraw

    corners = _random_pixels(mask, int(rng.integers(3, 10)), rng)
    centre = corners.mean(0)
    corners = corners[np.argsort(np.arctan2(*(corners - centre).T))]
    canvas = Image.new("1", (mask.shape[1], mask.shape[0]))
    if len(corners) > 2:
        ImageDraw.Draw(canvas).polygon([(int(c[1]), int(c[0])) for c in corners], fill=1, outline=1)
    else:
        ImageDraw.Draw(canvas).point([(int(c[1]), int(c[0])) for c in corners], fill=1)
    return np.array(canvas)
