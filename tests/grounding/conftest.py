"""Drawn scenes whose similarity is made by hand, and a segmenter that floods the colour under its points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import ndimage

from interleave_index.geometry import encode_rle, unit
from interleave_index.grounding.cascade import Target
from interleave_index.grounding.grid import PatchGrid
from interleave_index.grounding.similarity import Scene
from interleave_index.records import RGB, BoolMask, Box, Floats, Prompt, Segmented

DIM = 8
SIZES = {"4:3": (240, 320), "3:2": (240, 360), "1:3": (150, 450)}


def axis(number: int) -> Floats:
    """The unit vector of one thing."""
    made: Floats = np.eye(DIM, dtype=np.float32)[number]
    return made


def ellipse(size: tuple[int, int], x: float, y: float, across: float, down: float) -> BoolMask:
    """(H, W) mask; centre and half axes in pixels."""
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    mask: BoolMask = ((columns - x) / across) ** 2 + ((rows - y) / down) ** 2 <= 1
    return mask


@dataclass(frozen=True)
class Drawn:
    """A photo as numbers of things: 0 is the ground; thing n looks like axis n."""

    things: np.ndarray

    def mask(self, number: int) -> BoolMask:
        mask: BoolMask = self.things == number
        return mask

    def scene(self, grid: PatchGrid, regions: Sequence[int] = (), *, dense: bool = True, seed: int = 0) -> Scene:
        """What an encoder would keep: noisy patches that are mixed at borders, and the things in `regions` as regions.

        A patch that shows nothing has cosine 0.1 with every thing, one that shows it wholly about 0.7.
        """
        noise = np.random.default_rng(seed).normal(size=(grid.cells, DIM)) * 0.03
        names = [n for n in np.unique(self.things) if n]
        shares = grid.coverage([self.mask(n) for n in names]).reshape(len(names), grid.cells)
        patches = np.full((grid.cells, DIM), 0.1) + noise
        for share, name in zip(shares, names, strict=True):
            patches[:, name] += 0.6 * share
        patches[:, 0] = np.sqrt(np.clip(1 - (patches[:, 1:] ** 2).sum(1), 0.01, None))
        masks = [self.mask(n) for n in regions]
        vectors = unit(np.array([axis(n) * 0.6 + 0.1 + axis(0) * 0.7 for n in regions]).reshape(-1, DIM))
        boxes = np.array([box_of_mask(mask) for mask in masks], np.float32).reshape(-1, 4)
        return Scene(
            grid,
            vectors,
            grid.coverage(masks),
            tuple(map(encode_rle, masks)),
            boxes,
            patches.astype(np.float32) if dense else None,
        )

    def flood(self, prompts: Sequence[Prompt]) -> list[Segmented]:
        """The connected region of one thing under the points; what holds a point beside the thing is left out.

        A prompt of a box alone floods from the middle of the box.
        """
        found = []
        for prompt in prompts:
            points, labels = prompt.points, prompt.labels
            if not len(points) and prompt.box is not None:
                points = np.array([[sum(prompt.box[::2]) / 2, sum(prompt.box[1::2]) / 2]])
                labels = np.ones(1, np.int8)
            pieces = {label: {self._piece(point) for point in points[labels == label]} for label in (0, 1)}
            mask = np.zeros(self.things.shape, bool)
            for thing, piece in pieces[1] - pieces[0]:
                mask |= ndimage.label(self.things == thing)[0] == piece
            found.append(Segmented(mask, 0.9))
        return found

    def _piece(self, point: Floats) -> tuple[int, int]:
        x, y = int(point[0]), int(point[1])
        thing = int(self.things[y, x])
        return thing, int(ndimage.label(self.things == thing)[0][y, x])


def box_of_mask(mask: BoolMask) -> Box:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def draw(size: tuple[int, int], *shapes: tuple[int, BoolMask]) -> Drawn:
    """Things painted over each other in this order."""
    things = np.zeros(size, np.int64)
    for number, mask in shapes:
        things[mask] = number
    return Drawn(things)


def target(number: int, phrase: str | None = None, exemplar: RGB | None = None) -> Target:
    """The query for one thing."""
    return Target(axis(number), phrase, exemplar)


def cropped(size: tuple[int, int], grid: tuple[int, int], resized: tuple[int, int], crop: tuple[int, int]) -> PatchGrid:
    """The grid of a photo that was resized, then cut to `crop` (height, width) from its centre, whole pixels off."""
    y, x = (resized[0] - crop[0]) // 2, (resized[1] - crop[1]) // 2
    down, across = size[0] / resized[0], size[1] / resized[1]
    return PatchGrid(size, grid, (x * across, y * down, (x + crop[1]) * across, (y + crop[0]) * down), "crop")


def letterboxed(
    size: tuple[int, int],
    grid: tuple[int, int],
    resized: tuple[int, int],
    canvas: tuple[int, int],
    pad: tuple[int, int] = (0, 0),
) -> PatchGrid:
    """The grid of a photo that was resized and laid on a canvas, `pad` (top, left) pixels from its corner."""
    top, left = pad
    down, across = size[0] / resized[0], size[1] / resized[1]
    window = (-left * across, -top * down, (canvas[1] - left) * across, (canvas[0] - top) * down)
    return PatchGrid(size, grid, window, "letterbox")


def cell_of(grid: PatchGrid, points: np.ndarray) -> np.ndarray:
    """(..., 2) x, y in pixels of the photo to column, row, in cells; whole numbers are cell borders."""
    x0, y0, x1, y1 = grid.window
    made: np.ndarray = (points - (x0, y0)) / ((x1 - x0) / grid.grid[1], (y1 - y0) / grid.grid[0])
    return made


def grids(size: tuple[int, int], side: int = 24) -> dict[str, PatchGrid]:
    """The grid of a photo under every way of preparing it for a square encoder of `side` cells, 336 pixels."""
    height, width = size
    short, long = 336 / min(size), 336 / max(size)
    of_crop = (round(height * short), round(width * short))
    of_box = (max(1, round(height * long)), max(1, round(width * long)))
    return {
        "stretch": PatchGrid.whole(size, (side, side)),
        "crop": cropped(size, (side, side), of_crop, (336, 336)),
        "letterbox": letterboxed(size, (side, side), of_box, (336, 336)),
    }


class Bench:
    """All of the above, for tests."""

    SIZES, DIM = SIZES, DIM
    axis, ellipse, draw, target, grids = (staticmethod(one) for one in (axis, ellipse, draw, target, grids))


@pytest.fixture(scope="session")
def bench() -> type[Bench]:
    return Bench
