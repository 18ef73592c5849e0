"""How READ itself turns a similarity map into points, rounding for rounding; for comparison and for READ's own decoder.

READ's mask decoder was tuned together with these points; a stock segmenter was not, and is prompted through `points`.
The rounding moves points by up to 24 pixels in a 640 x 427 photo and hides what a centre crop hides; `grid` and
`points` do without both. A constant map, on which the original fails, gives neutral points here.
Source: READ (Qian et al., Reasoning to Attend, CVPR 2025) and its released code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import ShapeError
from ..geometry import size_of
from ..records import Floats, Size
from .resample import resized

Ints: TypeAlias = NDArray[np.int32]
SOFT_SIDE = 336  # of the map behind the soft points: the side of the encoder's input
REACH = 6  # pixels around a point; exp(-36) is nothing in float32


@dataclass(frozen=True, slots=True)
class ReadSettings:
    """How many points, from which values; the defaults are those of the released 7B code.

    Attributes:
        downsample: the grid's side is divided by this first.
        count: N, points in all.
        positive, negative: a cell at or above the first is on the thing, at or below the second beside it.
    """

    downsample: int = 2
    count: int = 30
    positive: float = 0.8
    negative: float = 0.2


@dataclass(frozen=True, slots=True)
class ReadPoints:
    """N points of one map on one photo.

    Attributes:
        cells: (N,) int32, cell in the padded grid, row after row.
        labels: (N,) int8, 1 on the thing, 0 beside it, -1 neither.
        whole: (N, 2) int32, x and y in pixels of the photo.
        soft: (N, 2) float32, the same moved along the slope of the map, by hundredths of a pixel.
        counts: cells that are positive, negative and neither, before N are taken.
        grid: (h, w) of the padded grid.
        padding: cells added on each side, in rows and in columns; -1 where one is cut off.
    """

    cells: Ints
    labels: NDArray[np.int8]
    whole: Ints
    soft: Floats
    counts: tuple[int, int, int]
    grid: Size
    padding: tuple[int, int]


def read_similarity(tokens: Floats, queries: Floats) -> Floats:
    """READ's similarity of image tokens with query tokens: plain products, several queries weighed by the first token.

    Args:
        tokens: (n, D), neither normalised nor scaled.
        queries: (D,), or (Q, D).
    Returns:
        (n,) for one query, (n, Q) for several.
    """
    products = tokens @ np.atleast_2d(queries).T
    if queries.ndim == 1:
        return np.asarray(products[:, 0], np.float32)
    weights = np.exp(2 * (products[0] - products[0].max()))
    weights /= weights.sum()
    weighed: Floats = (products * (weights / weights.mean())).astype(np.float32)
    return weighed


def read_points(
    similarity: Floats, size: Size, settings: ReadSettings | None = None, *, soften: bool = True
) -> ReadPoints:
    """The points that READ shows to its mask decoder.

    Args:
        similarity: (g * g,) of a square grid over the middle square of the photo, row after row.
        size: (height, width) of the photo.
        settings: see there.
        soften: off leaves `soft` where `whole` is, for one that moves them by itself.
    Raises:
        ShapeError: the map is not square.
    """
    settings = settings or ReadSettings()
    side = round(len(similarity) ** 0.5)
    if similarity.ndim != 1 or side * side != len(similarity):
        raise ShapeError(f"similarity has shape {similarity.shape}, expected (g * g,) of a square grid")
    square = np.asarray(similarity, np.float32).reshape(side, side)
    small = side // settings.downsample
    values, padding = _uncropped(_stretched(resized(square, (small, small))), size, -1.0)
    grid = size_of(values)
    cells, labels, counts = _classified(values.ravel(), settings)

    rows, columns = np.divmod(cells, grid[1])
    x = np.minimum((columns + 0.5) * size[1] / grid[1], size[1] - 1)
    y = np.minimum((rows + 0.5) * size[0] / grid[0], size[0] - 1)
    whole = np.stack([x, y], 1).astype(np.int32)
    soft = _softened(whole, square, size) if soften else whole.astype(np.float32)
    return ReadPoints(cells, labels, whole, soft, counts, grid, padding)


def _stretched(values: Floats) -> Floats:
    """Least value to 0, largest to 1; a constant map to one half."""
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.full_like(values, 0.5)


def _uncropped(values: Floats, size: Size, filler: float) -> tuple[Floats, tuple[int, int]]:
    """The map of the middle square, padded to the aspect of the photo with the original's truncations."""
    side = values.shape[0]
    per_pixel = side / min(size)
    rows, columns = ((int(length * per_pixel) - side) // 2 for length in size)
    cut_rows, cut_columns = max(0, -rows), max(0, -columns)  # 1 where the truncation goes below the square
    cut = values[cut_rows : side - cut_rows, cut_columns : side - cut_columns]
    around = ((max(0, rows),) * 2, (max(0, columns),) * 2)
    return np.pad(cut, around, constant_values=filler), (rows, columns)


def _classified(values: Floats, settings: ReadSettings) -> tuple[Ints, NDArray[np.int8], tuple[int, int, int]]:
    """The first N of: positive cells falling, negative ones rising, neutral ones as they come; below 0 is padding."""
    positive, neutral, padding = values >= settings.positive, values > settings.negative, values < 0
    kinds = np.select([padding, positive, neutral], [3, 0, 2], 1)
    within = np.select([kinds == 0, kinds == 1], [-values, values], 0)
    counts = np.bincount(kinds, minlength=4)[:3]
    order = np.lexsort((within, kinds))[: min(settings.count, counts.sum())]
    labels = np.array([1, 0, -1], np.int8)[kinds[order]]
    return order.astype(np.int32), labels, (int(counts[0]), int(counts[1]), int(counts[2]))


def _softened(points: Ints, square: Floats, size: Size) -> Floats:
    """Each point as the mean of the pixels around it, weighed by nearness and by the softmax of the map over the photo.

    The sum of that softmax, over all pixels, falls out of the mean; so the pixels near a point are enough.
    """
    picture, _ = _uncropped(resized(_stretched(square), (SOFT_SIDE, SOFT_SIDE)), size, 0.0)
    values = resized(picture, size)
    all_rows, all_columns = np.arange(size[0]), np.arange(size[1])
    soft = np.empty(points.shape, np.float32)
    for number, (x, y) in enumerate(points):
        down, across = slice(max(0, y - REACH), y + REACH + 1), slice(max(0, x - REACH), x + REACH + 1)
        rows, columns = all_rows[down], all_columns[across]
        weights = np.exp(values[down, across].astype(np.float64) - (rows[:, None] - y) ** 2 - (columns - x) ** 2)
        weights /= weights.sum()
        soft[number] = (weights.sum(0) @ columns, weights.sum(1) @ rows)
    return soft
