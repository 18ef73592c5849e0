"""Maps between the cells of a grid and the pixels of a photo. Pure numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..records import BoolMask, Box, Floats
from .grid import PatchGrid


def bilinear(values: NDArray[np.floating], rows: NDArray[np.floating], columns: NDArray[np.floating]) -> Floats:
    """Values of a map between its cells, at every pair of a row and a column; clamped at the border.

    Args:
        values: (h, w).
        rows, columns: (n,) and (m,) in cells, 0 is the centre of the first.
    Returns:
        (n, m) float32.

    >>> bilinear(np.array([[0.0, 1.0]]), np.array([0.0]), np.array([-1, 0.25, 1.0])).tolist()
    [[0.0, 0.25, 1.0]]
    """
    return _between(_between(np.asarray(values, np.float32), rows, 0), columns, 1)


def resized(values: NDArray[np.floating], size: tuple[int, int]) -> Floats:
    """A map at another size by bilinear interpolation between cell centres, not smoothed beforehand.

    >>> resized(np.array([[0.0, 1.0, 2.0, 3.0]]), (1, 2)).tolist()
    [[0.5, 2.5]]
    """
    rows, columns = ((np.arange(new) + 0.5) * old / new - 0.5 for new, old in zip(size, values.shape, strict=True))
    return bilinear(values, rows, columns)


def enlarged(grid: PatchGrid, values: NDArray[np.floating], size: tuple[int, int] | None = None) -> Floats:
    """A map of the cells as a picture of the photo, bilinear between their centres.

    Args:
        grid: where the cells lie.
        values: (h, w) of the cells.
        size: (height, width) of the picture, in the aspect of the photo; None is the size of the photo.
    Returns:
        (height, width) float32; NaN where the encoder did not see the photo.
    """
    height, width = size or grid.size
    x0, y0, x1, y1 = grid.window
    y, x = (np.arange(height) + 0.5) * grid.size[0] / height, (np.arange(width) + 0.5) * grid.size[1] / width
    rows, columns = (y - y0) / (y1 - y0) * grid.grid[0] - 0.5, (x - x0) / (x1 - x0) * grid.grid[1] - 0.5
    picture = bilinear(values, rows, columns)
    picture[(y < y0) | (y > y1)] = np.nan
    picture[:, (x < x0) | (x > x1)] = np.nan
    return picture


def usable(grid: PatchGrid) -> BoolMask:
    """(h, w) cells whose centre lies in the photo; of a photo too thin for that, those nearest to its middle line."""
    inside = grid.inside().reshape(grid.grid)
    if inside.any():
        return inside
    away = np.abs(grid.centres() - (grid.size[1] / 2, grid.size[0] / 2)).sum(1)
    nearest: BoolMask = (away == away.min()).reshape(grid.grid)
    return nearest


def box_around(grid: PatchGrid, cells: BoolMask, margin: int = 0) -> Box:
    """Box in pixels of the photo around the True cells of (h, w), grown by `margin` cells and clipped to the photo.

    >>> box_around(PatchGrid.stretched((10, 20), (2, 4)), np.array([[0, 1, 0, 0], [0, 0, 0, 0]], bool))
    (5.0, 0.0, 10.0, 5.0)
    """
    rows, columns = np.flatnonzero(cells.any(1)), np.flatnonzero(cells.any(0))
    if not len(rows):
        return (0.0, 0.0, 0.0, 0.0)
    y, x = grid.edges()
    y0, y1 = (float(y[np.clip(n, 0, len(y) - 1)]) for n in (rows[0] - margin, rows[-1] + 1 + margin))
    x0, x1 = (float(x[np.clip(n, 0, len(x) - 1)]) for n in (columns[0] - margin, columns[-1] + 1 + margin))
    return max(0.0, x0), max(0.0, y0), min(float(grid.size[1]), x1), min(float(grid.size[0]), y1)


def _between(values: Floats, places: NDArray[np.floating], axis: int) -> Floats:
    at = np.clip(places, 0, values.shape[axis] - 1)
    low = np.minimum(np.floor(at).astype(np.int64), max(values.shape[axis] - 2, 0))
    share = np.expand_dims((at - low).astype(np.float32), 1 - axis)
    first = values.take(low, axis)
    mixed: Floats = first + share * (values.take(np.minimum(low + 1, values.shape[axis] - 1), axis) - first)
    return mixed
