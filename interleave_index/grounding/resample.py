"""Bilinear interpolation of maps over a grid of cells. Pure numpy."""

from __future__ import annotations

import numpy as np

from ..records import Floats, Size
from .grid import PatchGrid, Reals


def bilinear(values: Reals, rows: Reals, columns: Reals) -> Floats:
    """Values of a map between its cells, at every pair of a row and a column; clamped at the border.

    Args:
        values: (h, w).
        rows, columns: (n,) and (m,) in cells, 0 is the centre of the first.
    Returns:
        (n, m) float32.

    >>> bilinear(np.array([[0.0, 1.0]]), np.array([0.0]), np.array([-1, 0.25, 1.0])).tolist()
    [[0.0, 0.25, 1.0]]
    """
    mixed: Floats = _weights(rows, values.shape[0]) @ values.astype(np.float32) @ _weights(columns, values.shape[1]).T
    return mixed


def resized(values: Reals, size: Size) -> Floats:
    """A map at another size by bilinear interpolation between cell centres, not smoothed beforehand.

    >>> resized(np.array([[0.0, 1.0, 2.0, 3.0]]), (1, 2)).tolist()
    [[0.5, 2.5]]
    """
    rows, columns = ((np.arange(new) + 0.5) * old / new - 0.5 for new, old in zip(size, values.shape, strict=True))
    return bilinear(values, rows, columns)


def enlarged(grid: PatchGrid, values: Reals, size: Size) -> Floats:
    """A map of the cells as a picture of the photo, bilinear between their centres.

    Args:
        grid: where the cells lie.
        values: (h, w) of the cells.
        size: (height, width) of the picture, in the aspect of the photo.
    Returns:
        (height, width) float32; NaN where the encoder did not see the photo.
    """
    x0, y0, x1, y1 = grid.window
    rows, columns = (
        ((np.arange(pixels) + 0.5) * side / pixels - start) / (end - start) * cells - 0.5
        for pixels, side, cells, start, end in zip(size, grid.size, grid.grid, (y0, x0), (y1, x1), strict=True)
    )
    picture = bilinear(values, rows, columns)
    picture[(rows < -0.5) | (rows > grid.grid[0] - 0.5)] = np.nan
    picture[:, (columns < -0.5) | (columns > grid.grid[1] - 0.5)] = np.nan
    return picture


def _weights(places: Reals, cells: int) -> Floats:
    """(n, cells) float32: what each cell counts for at each place, falling to 0 one cell away from its centre."""
    away = np.abs(places.clip(0, cells - 1)[:, None] - np.arange(cells))
    return (1 - away).clip(0).astype(np.float32)
