"""Which photos are scored: every eligible one, or those that FAISS brings. Knows the store's indexes, not SQL.

The *exact* path scores every eligible photo with all its regions. The *ann* path asks the image index for the photos
nearest to the legend, and the region index for those nearest to each entity (a whole picture asks the image index
too), and scores the union of what they bring.

Choice in mode `auto`. What either path costs is counted in vectors that are looked at:

    exact   eligible photos * (1 + regions a photo)
    ann     up to candidates * (1 + E) photos with their regions, behind the search of both indexes

so the exact path is taken when it looks at no more than `EXACT_VECTORS` (some milliseconds), when it looks at no more
than the ann path would score anyway, and, up to `SELECTIVE_VECTORS`, when the filters leave so small a share that
an approximate index would miss much of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..records import REGIONS_PER_PHOTO, Floats
from .score import NO_EVIDENCE, Cosines, ScoringQuery

if TYPE_CHECKING:
    from ..storage.indexes import SpaceIndexes, VectorIndex

Ids = NDArray[np.int64]
Mode = Literal["auto", "exact", "ann"]
Path = Literal["exact", "ann"]

CANDIDATES_PER_HIT = 10
EXACT_VECTORS = 40_000  # a scan of so many vectors takes no longer than the searches of the ann path
SELECTIVE_SHARE = 0.02  # of the photos: fewer than that, and an inverted file probes mostly lists without any of them
SELECTIVE_VECTORS = 400_000
MOST_REGION_ROUNDS = 3  # each asks for four times as many rows: near-equal regions of one photo crowd others out


@dataclass(frozen=True, slots=True)
class Plan:
    """How a query will be answered.

    Attributes:
        path: `exact` or `ann`.
        count: photos that the ann path fetches from each index.
    """

    path: Path
    count: int


def plan(mode: Mode, *, photos: int, regions: int, eligible: int, entities: int, top_k: int, candidates: int) -> Plan:
    """Choose the path by the rule of this module.

    Args:
        mode: `exact` and `ann` are obeyed, `auto` chooses.
        photos, regions: of the whole space.
        eligible: photos that the filters leave.
        entities: E of the query.
        top_k: hits asked for.
        candidates: fewest photos that the ann path fetches from each index.

    >>> plan("auto", photos=100_000, regions=1_200_000, eligible=100_000, entities=1, top_k=10, candidates=200)
    Plan(path='ann', count=200)
    >>> plan("auto", photos=100_000, regions=1_200_000, eligible=1_500, entities=1, top_k=50, candidates=200)
    Plan(path='exact', count=500)
    """
    if mode not in ("auto", "exact", "ann"):
        raise InputError(f"mode is {mode!r}, expected auto, exact or ann")
    count = max(candidates, CANDIDATES_PER_HIT * top_k)
    if mode != "auto":
        return Plan(mode, count)
    vectors = eligible * (1 + regions / max(photos, 1))
    few = vectors <= EXACT_VECTORS or eligible <= count * (1 + entities)
    selective = eligible <= SELECTIVE_SHARE * photos and vectors <= SELECTIVE_VECTORS
    return Plan("exact" if few or selective else "ann", count)


def every_cosine(indexes: SpaceIndexes, query: ScoringQuery, allowed: Ids | None) -> tuple[Ids, Cosines]:
    """Cosines of every allowed photo with every part, over all its regions: the exact path, and the end of the other.

    Args:
        indexes: of the space.
        query: as the score sees it.
        allowed: (n,) photo ids, ascending; None is all.
    Returns:
        Photo ids, ascending, and their cosines.
    """
    split = len(query.entities)
    parts = np.concatenate([query.entities.regions, query.negatives.regions])
    beside = np.concatenate([query.entities.images, query.negatives.images])
    whole = np.flatnonzero(np.concatenate([query.entities.whole, query.negatives.whole]))
    ids, images = indexes.image.best(np.concatenate([query.legend[None], beside, parts[whole]]), allowed)
    legend, images, as_regions = images[:, 0], images[:, 1 : 1 + len(parts)], images[:, 1 + len(parts) :]
    best = np.full((len(ids), len(parts)), NO_EVIDENCE, np.float32)
    if len(parts):
        with_regions, cosines = indexes.region.best(parts, allowed)
        best[np.searchsorted(ids, with_regions)] = cosines
        best[:, whole] = np.maximum(best[:, whole], as_regions)
    return ids, Cosines(
        np.ascontiguousarray(legend), best[:, :split], images[:, :split], best[:, split:], images[:, split:]
    )


def nearest(indexes: SpaceIndexes, query: ScoringQuery, allowed: Ids | None, count: int) -> Ids:
    """The ann path: photos that one of the indexes holds near to a part of the query.

    Args:
        indexes: of the space.
        query: as the score sees it; its negatives fetch nothing.
        allowed: (n,) photo ids, ascending; None is all.
        count: photos from each index for each vector; fewer where there are no more.
    Returns:
        Photo ids, ascending, each once.
    """
    count = min(count, max(indexes.image.rows, 1))
    entities = query.entities
    near = np.concatenate([query.legend[None], entities.regions[entities.whole]])
    _, photos = indexes.image.search(near, count, allowed)
    ids = [photos.ravel()]
    if len(entities):
        ids.append(_region_photos(indexes.region, entities.regions, allowed, count))
    joined = np.unique(np.concatenate(ids))
    return joined[joined >= 0]


def _region_photos(index: VectorIndex, entities: Floats, allowed: Ids | None, count: int) -> Ids:
    """For each entity the `count` photos with the nearest regions, all entities in one search."""
    every = max(index.rows, 1)
    rows = min(2 * count, every)
    for _ in range(MOST_REGION_ROUNDS):
        _, regions = index.search(entities, rows, allowed)
        photos = np.where(regions < 0, -1, regions // REGIONS_PER_PHOTO)
        enough = all(line[-1] < 0 or len(np.unique(line)) >= count for line in photos)
        if enough or rows == every:
            break
        rows = min(4 * rows, every)
    return np.concatenate([_first_distinct(line, count) for line in photos])


def _first_distinct(line: Ids, count: int) -> Ids:
    """The first `count` different values of a row, in their order."""
    _, first = np.unique(line, return_index=True)
    return line[np.sort(first)[:count]]
