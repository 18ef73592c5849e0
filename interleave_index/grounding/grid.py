"""Where the cells of an encoder's patch grid lie in a photo. Pure geometry, numpy only.

However an encoder prepares a photo (stretched to a square, a square cut from its centre, padded to a square, or kept in
its aspect), each axis is only scaled and shifted. So one rectangle is enough: the *window*, which is what the
whole grid covers, in pixels of the upright photo. It is the photo itself for a stretch, a part of it for a crop, and
reaches past its borders for a letterbox.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import ShapeError
from ..records import BoolMask, Box, Floats, Size

Reals: TypeAlias = NDArray[np.floating]  # of any precision
Mode = Literal["stretch", "crop", "letterbox", "native"]
MODES: tuple[Mode, ...] = ("stretch", "crop", "letterbox", "native")


@dataclass(frozen=True, slots=True)
class PatchGrid:
    """One photo's patch grid; rows run down, columns to the right, cells are numbered row after row.

    Attributes:
        size: (height, width) of the upright photo, pixels.
        grid: (h, w) cells.
        window: x0, y0, x1, y1 in pixels of the photo: what the grid covers; may reach past the photo.
        mode: how the encoder prepared the photo; the window gives where the cells are, this only names it.
    """

    size: Size
    grid: Size
    window: Box
    mode: Mode = "stretch"

    def __post_init__(self) -> None:
        x0, y0, x1, y1 = self.window
        if min(*self.size, *self.grid) < 1 or not (x1 > x0 and y1 > y0):
            raise ShapeError(
                f"patch grid has photo {self.size}, cells {self.grid}, window {self.window}; "
                "expected sizes of at least 1 and x0 < x1, y0 < y1"
            )

    @classmethod
    def whole(cls, size: Size, grid: Size, mode: Mode = "stretch") -> PatchGrid:
        """The grid covers the photo as a whole: squeezed to the input, or kept in its aspect (``native``)."""
        return cls(size, grid, (0.0, 0.0, float(size[1]), float(size[0])), mode)

    @property
    def cells(self) -> int:
        """How many cells there are."""
        return self.grid[0] * self.grid[1]

    def edges(self) -> tuple[Reals, Reals]:
        """(h + 1,) y and (w + 1,) x of the lines between the cells, pixels of the photo."""
        x0, y0, x1, y1 = self.window
        return np.linspace(y0, y1, self.grid[0] + 1), np.linspace(x0, x1, self.grid[1] + 1)

    def centres(self) -> Reals:
        """(h, w, 2) x, y of the cells' centres in pixels of the photo.

        >>> PatchGrid.whole((10, 40), (1, 2)).centres().tolist()
        [[[10.0, 5.0], [30.0, 5.0]]]
        """
        y, x = ((line[1:] + line[:-1]) / 2 for line in self.edges())
        return np.stack(np.meshgrid(x, y), -1)

    def usable(self) -> BoolMask:
        """(h, w) cells whose centre lies in the photo; of a photo too thin for that, those nearest to its middle.

        The other cells show padding and mean nothing.
        """
        centres = self.centres()
        width_height = np.array(self.size[::-1])
        inside: BoolMask = np.logical_and.reduce((centres >= 0) & (centres < width_height), axis=-1)
        if inside.any():
            return inside
        away = np.abs(centres - width_height / 2).sum(-1)
        nearest: BoolMask = away == away.min()
        return nearest

    def box_around(self, cells: BoolMask, margin: int = 0) -> Box:
        """Box in pixels of the photo around the True cells of (h, w), grown by `margin` cells, clipped to the photo.

        >>> PatchGrid.whole((10, 20), (2, 4)).box_around(np.array([[0, 1, 0, 0], [0, 0, 0, 0]], bool))
        (5.0, 0.0, 10.0, 5.0)
        """
        corners = []
        for line, pixels, axis in zip(self.edges(), self.size, (1, 0), strict=True):
            covered = np.flatnonzero(cells.any(axis))
            if not len(covered):
                return (0.0, 0.0, 0.0, 0.0)
            first, last = max(0, covered[0] - margin), min(len(line) - 1, covered[-1] + 1 + margin)
            corners.append((max(0.0, float(line[first])), min(float(pixels), float(line[last]))))
        (y0, y1), (x0, x1) = corners
        return x0, y0, x1, y1

    def coverage(self, masks: Sequence[BoolMask]) -> Floats:
        """Share of each cell that each mask covers.

        Args:
            masks: each of any size in the aspect of the photo, which it spans as a whole.
        Returns:
            (R, h, w) float32, 0 to 1, of the part of the cell that lies in the photo; 0 in cells outside it.
            Exact: pixels are squares, and cells may cut through them.

        >>> PatchGrid.whole((4, 6), (1, 2)).coverage([np.array([[True, False, False]])]).round(3).tolist()
        [[[0.6669999957084656, 0.0]]]
        """
        y, x = self.edges()

        @cache  # the masks of a photo mostly have one size
        def shares(size: Size) -> tuple[Floats, Floats]:
            return _shares(y / self.size[0], size[0]), _shares(x / self.size[1], size[1])

        coverage = np.zeros((len(masks), *self.grid), np.float32)
        for number, mask in enumerate(masks):
            rows, columns = shares((mask.shape[0], mask.shape[1]))
            coverage[number] = rows @ mask.astype(np.float32) @ columns.T
        return coverage.clip(0, 1)

    def means(self, picture: Reals) -> Floats:
        """(h, w) float32: the mean of a picture of the photo, of any size, over each cell's part in the photo.

        >>> PatchGrid.whole((4, 6), (1, 2)).means(np.array([[1.0, 2.0, 3.0, 5.0]])).tolist()
        [[1.5, 4.0]]
        """
        y, x = self.edges()
        rows, columns = _shares(y / self.size[0], picture.shape[0]), _shares(x / self.size[1], picture.shape[1])
        means: Floats = rows @ picture.astype(np.float32) @ columns.T
        return means


def _shares(edges: Reals, pixels: int) -> Floats:
    """(cells, pixels) float32: which share of a cell's part in the photo each pixel takes; edges run 0 to 1 over it."""
    line = edges.clip(0, 1) * pixels
    before = np.clip(line[:, None] - np.arange(pixels), 0, 1)  # how much of each pixel lies before each edge
    length = np.diff(line)[:, None]
    shares: Floats = (np.diff(before, axis=0) / np.where(length > 0, length, 1)).astype(np.float32)
    return shares
