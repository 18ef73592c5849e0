"""Which photos are scored: every eligible one, or those that FAISS brings. Knows the store's indexes, not SQL.

The *exact* path scores every eligible photo with all its regions. The *ann* path (`approximate`) scores some of them.

Choice in mode `auto`. What either path costs is counted in vectors that are looked at:

    exact   eligible photos * (1 + regions a photo)
    ann     up to candidates * (1 + E) photos with their regions, behind the search of both indexes, often more

so the exact path is taken when it looks at no more than `EXACT_VECTORS` (some milliseconds), when it looks at no more
than the ann path would score anyway, and, up to `SELECTIVE_VECTORS`, under filters: what they leave may lie close
together, where approximate scores tell little apart, and the compiled scan takes no longer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, NotInIndex
from ..records import Floats
from .score import NO_EVIDENCE, Cosines, ScoringQuery

if TYPE_CHECKING:
    from ..storage.indexes import SpaceIndexes
    from ..storage.near import Near

Ids = NDArray[np.int64]
Mode = Literal["auto", "exact", "ann"]
Path = Literal["exact", "ann"]

CANDIDATES_PER_HIT = 10
EXACT_VECTORS = 40_000  # a scan of so many vectors takes no longer than the searches of the ann path
SELECTIVE_VECTORS = 400_000


@dataclass(frozen=True, slots=True)
class Plan:
    """How a query will be answered.

    Attributes:
        path: `exact` or `ann`.
        count: photos that the ann path takes of each list at most.
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
        candidates: photos that the ann path takes of each list at most, unless many hits are asked for.

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
    selective = eligible < photos and vectors <= SELECTIVE_VECTORS
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
    ids, images = image_cosines(indexes, query, allowed)
    return ids, joined_cosines(query, images, region_cosines(indexes, query, ids, allowed))


def every_cosine_of_many(
    indexes: SpaceIndexes, queries: Sequence[ScoringQuery], allowed: Ids | None
) -> list[tuple[Ids, Cosines]]:
    """`every_cosine` of several queries, by one pass over the vectors."""
    if not queries:
        return []
    asked = [asked_of_images(query) for query in queries]
    parts = [asked_of_regions(query) for query in queries]
    ids, images = indexes.image.best(np.concatenate(asked), allowed)
    best = np.full((len(ids), sum(map(len, parts))), NO_EVIDENCE, np.float32)
    if best.shape[1]:
        with_regions, cosines = indexes.region.best(np.concatenate(parts), allowed)
        best[np.searchsorted(ids, with_regions)] = cosines
    of_images = np.split(images, np.cumsum([len(rows) for rows in asked])[:-1], axis=1)
    of_regions = np.split(best, np.cumsum([len(rows) for rows in parts])[:-1], axis=1)
    return [(ids, joined_cosines(*one)) for one in zip(queries, of_images, of_regions, strict=True)]


def image_cosines(
    indexes: SpaceIndexes, query: ScoringQuery, allowed: Ids | None, *, rough: bool = False
) -> tuple[Ids, Floats]:
    """Photo ids (n,), ascending, and the cosines of their images (n, 1 + P + W): with the sentence, with each of the P
    entities and negatives, and with each of the W among them that are whole pictures, as if the image were a region.
    """
    asked = asked_of_images(query)
    return indexes.image.rough(asked, allowed) if rough else indexes.image.best(asked, allowed)


def region_cosines(
    indexes: SpaceIndexes, query: ScoringQuery, ids: Ids, allowed: Ids | None, *, rough: bool = False
) -> Floats:
    """(n, P) best cosines of the regions of photos with each entity and negative; -inf for a photo without regions.

    Args:
        ids: (n,) of the allowed photos, ascending.
    """
    parts = asked_of_regions(query)
    if not len(parts):
        return np.empty((len(ids), 0), np.float32)
    with_regions, cosines = indexes.region.rough(parts, allowed) if rough else indexes.region.best(parts, allowed)
    if len(with_regions) == len(ids):
        return cosines
    best = np.full((len(ids), len(parts)), NO_EVIDENCE, np.float32)
    best[np.searchsorted(ids, with_regions)] = cosines
    return best


def joined_cosines(query: ScoringQuery, images: Floats, regions: Floats) -> Cosines:
    """What `image_cosines` and `region_cosines` give of the same photos, as the score wants it."""
    split, parts = len(query.entities), len(query.entities) + len(query.negatives)
    legend, beside, as_regions = images[:, 0], images[:, 1 : 1 + parts], images[:, 1 + parts :]
    whole = whole_parts(query)
    if len(whole):
        regions = regions.copy()
        regions[:, whole] = np.maximum(regions[:, whole], as_regions)
    return Cosines(
        np.ascontiguousarray(legend), regions[:, :split], beside[:, :split], regions[:, split:], beside[:, split:]
    )


class Vectors(NamedTuple):
    """Vectors of n photos, as `score` wants them: (n, D), (sum R, D), and (n + 1,) where each photo's regions begin."""

    image: Floats
    regions: Floats
    offsets: Ids


def vectors_of(indexes: SpaceIndexes, ids: Ids) -> Vectors:
    """The vectors of a few photos out of the indexes, in the order of their ids.

    Raises:
        NotInIndex: one of them is not there.
    """
    allowed = np.sort(ids)
    found: list[dict[int, Floats]] = []
    for index in (indexes.image, indexes.region):
        rows: dict[int, Floats] = {}
        for block in index.scan(allowed):
            cut = np.split(block.vectors.copy(), block.offsets[1:-1])
            rows.update(zip(block.photo_ids.tolist(), cut, strict=True))
        found.append(rows)
    images, regions = found
    if strange := [photo_id for photo_id in ids.tolist() if photo_id not in images]:
        raise NotInIndex(f"photo {strange[0]} is not in the index of images; it was taken out just now")
    none = np.empty((0, indexes.image.dim), np.float32)
    of_photos = [regions.get(photo_id, none) for photo_id in ids.tolist()]
    counts = [len(rows) for rows in of_photos]
    return Vectors(
        np.concatenate([none, *(images[photo_id] for photo_id in ids.tolist())]),
        np.concatenate([none, *of_photos]),
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
    )


def asked_of_images(query: ScoringQuery) -> Floats:
    """(1 + P + W, D) what images are compared with, in the order of `image_cosines`."""
    beside = np.concatenate([query.entities.images, query.negatives.images])
    return np.concatenate([query.legend[None], beside, asked_of_regions(query)[whole_parts(query)]])


def asked_of_regions(query: ScoringQuery) -> Floats:
    """(P, D) what regions are compared with: entities, then negatives."""
    return np.concatenate([query.entities.regions, query.negatives.regions])


def whole_parts(query: ScoringQuery) -> Ids:
    """(W,) which of the entities and negatives are whole pictures."""
    return np.flatnonzero(np.concatenate([query.entities.whole, query.negatives.whole]))


def lists_of(
    indexes: SpaceIndexes, query: ScoringQuery, allowed: Ids | None, count: int, exact_count: int | None = None
) -> list[Near]:
    """The photos nearest to the sentence and to each whole picture (by images), then to each entity (by regions).

    Args:
        indexes: of the space.
        query: as the score sees it; its negatives fetch nothing.
        allowed: (n,) photo ids, ascending; None is all.
        count: photos on each list; fewer where there are no more, more of inverted lists. Those of images are followed
            further, for most of a query of photos is decided there, and a photo has one row only.
        exact_count: the same of indexes without inverted lists, which take no longer for more; None is `count`.
    """
    entities, depth = query.entities, count if exact_count is None else exact_count
    near = np.concatenate([query.legend[None], entities.regions[entities.whole]])
    image, region = indexes.image, indexes.region
    found = image.nearest_photos(near, depth if image.is_exact else 5 * count // 2, allowed)
    if len(entities):
        found += region.nearest_photos(entities.regions, depth if region.is_exact else count, allowed)
    return found


def nearest(indexes: SpaceIndexes, query: ScoringQuery, allowed: Ids | None, count: int) -> Ids:
    """Photos on any of `lists_of`: ids, ascending, each once."""
    return np.unique(np.concatenate([near.photo_ids for near in lists_of(indexes, query, allowed, count)]))
