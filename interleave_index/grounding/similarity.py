"""The map of a query over a photo's grid, and what a mask scores on it. Pure numpy.

A scene is what is known of one photo: region vectors and the share of every cell that each region covers, and, where
they were kept, a vector for every cell. From the first alone a *factorised* map is drawn. Two ways are mixed
there: the coverage-weighted mean of the regions' cosines, which draws sharp borders where many regions overlap, and
the best region of each cell, in which a small thing inside a large region is not diluted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import ShapeError
from ..geometry import unit
from ..records import BoolMask, Floats, PhotoEncoding, Rle, Size
from .grid import PatchGrid, Reals
from .record import unpack

CELLS = 576  # of a grid that is drawn for an interface without one of its own, about
EPSILON = 1e-6
STEP = 0.05  # of cosine, at least, from the best region down to cells that no region reaches


@dataclass(frozen=True, slots=True)
class Scene:
    """What is known of one photo, enough to draw the map of any query.

    Attributes:
        grid: where the cells lie.
        regions: (R, D) float32 unit vectors, in the order of the encoding; R may be 0.
        coverage: (R, h, w) float32, share of each cell under each region's mask.
        masks: R masks of the regions, each spanning the whole photo.
        boxes: (R, 4) float32 in pixels of the photo.
        patches: (h · w, D) float32 unit vectors of the cells, or None.
        scores: (R,) float32 predicted quality of the masks, 0 to 1, or None where it is not known.
        score_weight: of the scores, see `Calibration`.
    """

    grid: PatchGrid
    regions: Floats
    coverage: Floats
    masks: tuple[Rle, ...]
    boxes: Floats
    patches: Floats | None = None
    scores: Floats | None = None
    score_weight: float = 0.0

    def map_of(self, vector: Floats) -> Floats:
        """(h, w) float32 cosine of every cell with a (D,) unit vector: dense where patches are kept, else factorised.

        A cell that no region reaches scores no more than the worst region; without regions and patches, all is -1.
        """
        if self.patches is not None:
            dense: Floats = (self.patches @ vector).reshape(self.grid.grid)
            return dense
        return factorised(self.coverage, self.regions @ vector)

    def scores_of(self, shares: Reals, vector: Floats, values: Floats) -> Floats:
        """Cosine of a (D,) unit vector with parts of the photo that cover these shares of the cells.

        Args:
            shares: (M, h, w), 0 to 1.
            vector: of the query.
            values: its map.
        Returns:
            (M,) float32, -1 to 1; of pooled patches where they are kept, else the mean of the map; -1 where nothing
            is covered.
        """
        weights = np.where(self.grid.usable(), shares, 0).reshape(len(shares), self.grid.cells).astype(np.float32)
        total = weights.sum(1)
        if self.patches is not None:
            cosines = unit(weights @ self.patches) @ vector
        else:
            cosines = weights @ values.reshape(-1) / np.maximum(total, EPSILON)
        return np.where(total > 0, cosines, -1).astype(np.float32)


def scene_of(size: Size, encoding: PhotoEncoding, score_weight: float = 0.0) -> Scene:
    """A scene from what an index keeps of a photo.

    Args:
        size: (height, width) of the upright photo.
        encoding: of the photo; without a grounding record its masks are laid on a grid of about 576 square cells.
        score_weight: of its scores, see `Calibration`.
    Raises:
        ShapeError: the record or the masks belong to other regions.
        InputError: the record is damaged.
    """
    record = None if encoding.grounding is None else unpack(encoding.grounding)
    count, masks = len(encoding.regions), encoding.masks
    if len(masks) != count or (record is not None and len(record.coverage) != count):
        raise ShapeError(
            f"photo has {count} regions, {len(masks)} masks and a record of "
            f"{0 if record is None else len(record.coverage)}, expected as many of each"
        )
    if record is not None:
        grid, coverage, patches = record.grid, record.coverage, record.patches()
    else:
        grid, patches = PatchGrid.whole(size, square_cells(size), "native"), None
        coverage = grid.coverage([mask.decode() for mask in masks])
    return Scene(grid, encoding.regions, coverage, masks, encoding.boxes, patches, encoding.scores, score_weight)


def square_cells(size: Size) -> Size:
    """(rows, columns) of a grid of about `CELLS` square cells.

    >>> square_cells((480, 640)), square_cells((100, 10000))
    ((21, 27), (2, 288))
    """
    side = (size[0] * size[1] / CELLS) ** 0.5
    rows = max(1, round(size[0] / side))
    return rows, max(1, round(CELLS / rows))


def factorised(coverage: Floats, cosines: Floats) -> Floats:
    """(h, w) map from the regions that cover each cell: half their weighted mean, half the best of them.

    Args:
        coverage: (R, h, w), 0 to 1.
        cosines: (R,) of the regions with the query.
    """
    if not len(cosines):
        return np.full(coverage.shape[1:], -1.0, np.float32)
    low = float(min(cosines.min(), cosines.max() - STEP))
    above = (cosines - low).astype(np.float32)[:, None, None]
    mean = (coverage * above).sum(0) / np.maximum(coverage.sum(0), EPSILON)
    best = (coverage * above).max(0)
    values: Floats = (low + (mean + best) / 2).astype(np.float32)
    return values


def normalised(values: Floats, use: BoolMask) -> Floats:
    """The map from 0 to 1 over the cells in use; the others are 0, and so is a constant map."""
    inside = values[use]
    low, high = float(inside.min()), float(inside.max())
    stretched = (values - low) / (high - low + EPSILON)
    return np.where(use, stretched, 0).astype(np.float32)
