"""Where the cells of an encoder's patch grid lie in a photo. Pure geometry, numpy only.

However an encoder prepares a photo (stretched to a square, a square cut from its centre, padded to a square, or kept in
its aspect), each axis is only scaled and shifted. So one rectangle says it all: the *window*, which is what the
whole grid covers, in pixels of the upright photo. It is the photo itself for a stretch, a part of it for a crop, and
reaches past its borders for a letterbox.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import ShapeError
from ..records import BoolMask, Box, Floats

Mode = Literal["stretch", "crop", "letterbox", "native"]
MODES: tuple[Mode, ...] = ("stretch", "crop", "letterbox", "native")


@dataclass(frozen=True, slots=True)
class PatchGrid:
    """One photo's patch grid; rows run down, columns to the right, cells are numbered row after row.

    Attributes:
        size: (height, width) of the upright photo, pixels.
        grid: (h, w) cells.
        window: x0, y0, x1, y1 in pixels of the photo: what the grid covers; may reach past the photo.
        mode: how the encoder prepared the photo; the window says where the cells are, this only names it.
    """

    size: tuple[int, int]
    grid: tuple[int, int]
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
    def stretched(cls, size: tuple[int, int], grid: tuple[int, int]) -> PatchGrid:
        """The photo was squeezed to the input as a whole."""
        return cls(size, grid, (0.0, 0.0, float(size[1]), float(size[0])), "stretch")

    @classmethod
    def native(cls, size: tuple[int, int], grid: tuple[int, int]) -> PatchGrid:
        """The photo kept its aspect and the grid has one of its own."""
        return cls(size, grid, (0.0, 0.0, float(size[1]), float(size[0])), "native")

    @classmethod
    def cropped(
        cls, size: tuple[int, int], grid: tuple[int, int], resized: tuple[int, int], crop: tuple[int, int]
    ) -> PatchGrid:
        """The photo was resized to `resized` (height, width), then `crop` (height, width) was cut from its centre.

        The offset is floored to whole pixels of the resized photo, as image processors do.

        >>> PatchGrid.cropped((480, 640), (7, 7), (224, 298), (224, 224)).window[0] * 298 / 640
        37.0
        """
        (tall, wide), (y, x) = resized, ((resized[0] - crop[0]) // 2, (resized[1] - crop[1]) // 2)
        down, across = size[0] / tall, size[1] / wide
        return cls(size, grid, (x * across, y * down, (x + crop[1]) * across, (y + crop[0]) * down), "crop")

    @classmethod
    def letterboxed(
        cls,
        size: tuple[int, int],
        grid: tuple[int, int],
        resized: tuple[int, int],
        canvas: tuple[int, int],
        pad: tuple[int, int] = (0, 0),
    ) -> PatchGrid:
        """The photo was resized to `resized` and laid on a `canvas`, `pad` (top, left) pixels from its corner."""
        down, across = size[0] / resized[0], size[1] / resized[1]
        return cls(
            size,
            grid,
            (-pad[1] * across, -pad[0] * down, (canvas[1] - pad[1]) * across, (canvas[0] - pad[0]) * down),
            "letterbox",
        )

    @property
    def cells(self) -> int:
        """How many cells there are."""
        return self.grid[0] * self.grid[1]

    def edges(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(h + 1,) y and (w + 1,) x of the lines between the cells, pixels of the photo."""
        x0, y0, x1, y1 = self.window
        return np.linspace(y0, y1, self.grid[0] + 1), np.linspace(x0, x1, self.grid[1] + 1)

    def centres(self) -> NDArray[np.float64]:
        """(h * w, 2) x, y of the cells' centres in pixels of the photo.

        >>> PatchGrid.stretched((10, 40), (1, 2)).centres().tolist()
        [[10.0, 5.0], [30.0, 5.0]]
        """
        y, x = ((line[1:] + line[:-1]) / 2 for line in self.edges())
        return np.stack([np.tile(x, len(y)), np.repeat(y, len(x))], 1)

    def inside(self) -> NDArray[np.bool_]:
        """(h * w,) whether the centre of a cell lies in the photo; the others show padding and mean nothing."""
        x, y = self.centres().T
        found: NDArray[np.bool_] = (x >= 0) & (x < self.size[1]) & (y >= 0) & (y < self.size[0])
        return found

    def cell_of(self, points: NDArray[Any]) -> NDArray[np.float64]:
        """(N, 2) x, y in pixels of the photo to (N, 2) column, row, in cells; whole numbers are cell borders."""
        x0, y0, x1, y1 = self.window
        span = np.array([x1 - x0, y1 - y0]) / (self.grid[1], self.grid[0])
        found: NDArray[np.float64] = (np.asarray(points, np.float64).reshape(-1, 2) - (x0, y0)) / span
        return found

    def coverage(self, masks: Sequence[BoolMask]) -> Floats:
        """Share of each cell that each mask covers.

        Args:
            masks: each of any size in the aspect of the photo, which it spans as a whole.
        Returns:
            (R, h, w) float32, 0 to 1, of the part of the cell that lies in the photo; 0 in cells outside it.
            Exact: pixels are squares, and cells may cut through them.

        >>> PatchGrid.stretched((4, 6), (1, 2)).coverage([np.array([[True, False, False]])]).round(3).tolist()
        [[[0.6669999957084656, 0.0]]]
        """
        found = np.zeros((len(masks), *self.grid), np.float32)
        lines: dict[tuple[int, ...], tuple[Floats, Floats]] = {}
        y, x = self.edges()
        for n, mask in enumerate(masks):
            if mask.shape not in lines:
                lines[mask.shape] = (_shares(y / self.size[0], mask.shape[0]), _shares(x / self.size[1], mask.shape[1]))
            rows, columns = lines[mask.shape]
            found[n] = rows @ mask.astype(np.float32) @ columns.T
        return found.clip(0, 1)


def _shares(edges: NDArray[np.float64], pixels: int) -> Floats:
    """(cells, pixels) float32: which share of a cell's part in the photo each pixel takes; edges run 0 to 1 over it."""
    line = edges.clip(0, 1) * pixels
    start, end = np.arange(pixels), np.arange(1, pixels + 1)
    shared = np.minimum(line[1:, None], end) - np.maximum(line[:-1, None], start)
    length = np.diff(line)[:, None]
    found: Floats = (shared.clip(0) / np.where(length > 0, length, 1)).astype(np.float32)
    return found
