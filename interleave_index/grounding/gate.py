"""Is the thing in this photo at all? Judged before any map is stretched: stretching makes a best place of anything.

What the query scores here is held against what it scores in photos that mean nothing in particular: their median, and
the deviations below it alone, mirrored, so that a thing which is common does not raise its own bar. The best region,
the best cells and a pooled mask score on different scales; each has a null of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..records import BoolMask, Floats
from .resample import usable
from .similarity import Scene

SIGMAS = 3.0
TOP_CELLS = 3
SMALLEST_SIGMA = 0.01  # where the lower half is all alike, rounding alone must not make a thing present


@dataclass(frozen=True, slots=True)
class Null:
    """What a query scores where it means nothing: median, mirrored lower deviation."""

    middle: float
    sigma: float

    def bar(self, sigmas: float = SIGMAS) -> float:
        """The score above which the thing is there."""
        return self.middle + sigmas * self.sigma

    def standardised(self, values: NDArray[np.floating]) -> Floats:
        """Deviations above the middle, so that maps of different queries can be compared."""
        if not np.isfinite(self.middle):
            return np.asarray(values, np.float32)
        return ((values - self.middle) / self.sigma).astype(np.float32)


NEVER = Null(float("inf"), 1.0)  # of an empty sample: nothing can be said to be there


@dataclass(frozen=True, slots=True)
class Nulls:
    """One null for every kind of score, of one query.

    Attributes:
        region: cosine of the best region.
        cells: mean of the best three cells; None where no maps of sample photos are at hand: then regions judge.
        mask: pooled cosine of the best mask; None likewise.
    """

    region: Null
    cells: Null | None = None
    mask: Null | None = None


def null_of(scores: NDArray[np.floating]) -> Null:
    """The null of scores over photos that mean nothing in particular; `NEVER` for none.

    >>> null_of(np.array([-0.1, 0.0, 0.1, 0.9])).bar() < 0.5
    True
    """
    if not len(scores):
        return NEVER
    middle = float(np.median(scores))
    below = scores[scores <= middle].astype(np.float64) - middle
    return Null(middle, max(float(np.sqrt(np.mean(below**2))), SMALLEST_SIGMA))


def nulls_of(scenes: Sequence[Scene], vector: Floats) -> Nulls:
    """The nulls of one query over sample photos.

    Args:
        scenes: of photos that mean nothing in particular, such as a fixed sample of the library.
        vector: (D,) unit vector of the query.
    """
    best: list[tuple[float, float, float]] = []
    for scene in scenes:
        if not len(scene.regions):
            continue
        values = scene.map_of(vector)
        pooled = float(scene.scores_of(scene.coverage, vector, values).max())
        best.append((float((scene.regions @ vector).max()), top_cells(values, usable(scene.grid)), pooled))
    columns = np.array(best, np.float32).reshape(-1, 3).T
    return Nulls(*(null_of(column) for column in columns))


def top_cells(values: Floats, use: BoolMask) -> float:
    """Mean of the best three cells in use: one cell alone is noise.

    >>> top_cells(np.array([[9.0, 1.0, 2.0, 3.0]]), np.array([[False, True, True, True]]))
    2.0
    """
    inside = np.sort(values[use])[-TOP_CELLS:]
    return float(inside.mean()) if len(inside) else -1.0
