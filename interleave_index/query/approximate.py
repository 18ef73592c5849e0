"""The ann path: the best photos of a large library, of which only some are scored. Knows the store's indexes, not SQL.

1. Each list (photos by the sentence, and by every entity) is followed to some depth, and all photos on any of them are
   scored in full. A photo on none of them scores at most

       offset + sentence_d + w * sum(w_e * max(0, entity_d,e)) / sum(w_e) + texts

   where x_d is the value of the last photo of a list: no list has a better one left, negatives only take off, and
   `texts` is the most that texts and names of files add to any photo besides those that were fetched for them. Once
   the k-th best photo reaches that, no other can be among the k best, and the search ends. A list that ended has
   nothing left. Lists of exact indexes are followed deeper, up to `most`; inverted lists give at once all photos of
   the rows that they look at, which are thousands.

2. Where the best photos stand high on no list, that bound is never reached: so it is with several regions, and with
   negatives, for which inverted lists are not even looked at; nor are they with filters, under which they have to be
   followed further than all that is left takes. Then every eligible photo is scored roughly, by the whole formula
   with negatives and texts, with the centre of its inverted list in the place of each vector (two bytes a vector are
   read), and the best of these are scored in full.

The bound is exact as far as lists are: those of flat indexes are, those of inverted lists are at the recall that was
measured for them. `verify --recall` measures the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..records import Floats
from ..storage.near import Near
from ..storage.segment import leading
from .candidates import Ids, every_cosine, image_cosines, joined_cosines, lists_of, region_cosines
from .rough import RoughlyBest, best_by_rough_scores
from .score import ALONE, Cosines, ScoringQuery, totals

if TYPE_CHECKING:
    from ..storage.indexes import SpaceIndexes

FIRST_DEPTH = 64  # of exact lists
GROWTH = 4
LIST_DEPTH = 8  # photos of inverted lists that are asked for, in multiples of k
LISTED = 100  # photos of inverted lists that are scored in full, in multiples of k
ROUGH_SHARE = 0.02  # of the eligible photos are scored in full after all were scored roughly
FEWEST_ROUGH, MOST_ROUGH = 4_000, 12_000


class Beside(NamedTuple):
    """What adds to the score of photos besides their vectors.

    Attributes:
        photo_ids: ascending, photos that are scored in any case.
        added: gives what is added to the scores of some photos.
        others: the most that it is for a photo not among `photo_ids`.
    """

    photo_ids: Ids
    added: Callable[[Ids], Floats]
    others: float = 0.0


def best_photos(
    indexes: SpaceIndexes,
    query: ScoringQuery,
    allowed: Ids | None,
    top_k: int,
    most: int,
    beside: Beside,
    by_rough_scores: Callable[[], Ids] | None = None,
) -> tuple[Ids, Cosines]:
    """Photos among which the `top_k` best are, with their exact cosines.

    Args:
        allowed: (n,) photo ids, ascending; None is all.
        most: photos that are taken of each list at most.
        by_rough_scores: gives what `roughly_best` gives, where that is found elsewhere.
    Returns:
        Photo ids, ascending, and their cosines.
    """
    taken, exact = beside.photo_ids, indexes.image.is_exact and indexes.region.is_exact
    depth = min(most, max(FIRST_DEPTH, 2 * top_k))
    while exact or (allowed is None and _on_lists(query)):
        near = lists_of(indexes, query, allowed, LIST_DEPTH * max(1, top_k), depth)
        taken = np.unique(np.concatenate([*(one.photo_ids for one in near), beside.photo_ids]))
        if exact:
            ids, cosines = every_cosine(indexes, query, taken)
        else:
            ids, cosines = best_of_lists(indexes, query, near, taken, top_k, beside)
        scores = totals(cosines, query)[0] + beside.added(ids)
        if len(ids) >= top_k > 0 and bound(query, near) + beside.others <= np.sort(scores)[-top_k]:
            return ids, cosines
        if not exact or depth == most:
            break
        depth = min(most, GROWTH * depth)
    if by_rough_scores:
        return every_cosine(indexes, query, np.union1d(taken, by_rough_scores()))
    best = roughly_best(indexes, query, allowed, top_k, beside)
    if best.images is None or not np.isin(taken, best.photo_ids).all():
        return every_cosine(indexes, query, np.union1d(taken, best.photo_ids))
    regions = region_cosines(indexes, query, best.photo_ids, best.photo_ids)
    return best.photo_ids, joined_cosines(query, best.images, regions)


def _on_lists(query: ScoringQuery) -> bool:
    """Whether the best photos are likely to stand high on a list: one region at most, and no negatives."""
    return len(query.negatives) == 0 and int((~query.entities.whole).sum()) <= 1


def bound(query: ScoringQuery, near: Sequence[Near]) -> float:
    """What a photo that is on none of the lists scores at most, texts aside; -inf where there are no others.

    Args:
        near: as `lists_of` gives them.
    """
    if near[0].all_of_them:
        return -np.inf
    entities, split = query.entities, 1 + int(query.entities.whole.sum())
    best = np.array([one.least for one in near[split:]])
    best[entities.whole] = np.maximum(best[entities.whole], [one.least for one in near[1:split]])
    left = near[0].least + query.offset
    if len(entities):
        left += query.entity_weight * float(np.maximum(0, best) @ entities.weights) / float(entities.weights.sum())
    return left


def best_of_lists(
    indexes: SpaceIndexes, query: ScoringQuery, near: Sequence[Near], taken: Ids, top_k: int, beside: Beside
) -> tuple[Ids, Cosines]:
    """Those of the photos on inverted lists that are worth scoring in full, and their cosines.

    A photo is estimated by the exact cosines of its image, and by those of its regions that stand on a list; where none
    does, by rough ones. The ten best of a million photos were among the first 250.

    Args:
        near: as `lists_of` gives them.
        taken: (n,) photo ids, ascending: those on any list, and those of `beside`.
    """
    ids, images = image_cosines(indexes, query, taken)
    regions = region_cosines(indexes, query, ids, taken, rough=True)
    for entity, one in enumerate(near[1 + int(query.entities.whole.sum()) :]):
        regions[:, entity] = np.minimum(regions[:, entity], one.least)
        regions[np.searchsorted(ids, one.photo_ids), entity] = one.scores
    estimates = totals(joined_cosines(query, images, regions), query)[0] + beside.added(ids)
    wanted = np.isin(ids, beside.photo_ids)
    wanted[leading(estimates, LISTED * top_k)] = True
    # by the photos that have most of one part it is told whether the library holds that part
    parts = images[:, 1 : 1 + regions.shape[1]] + np.float32(ALONE) * regions
    for part in parts.T:
        wanted[leading(part, LISTED)] = True
    ids = ids[wanted]
    return ids, joined_cosines(query, images[wanted], region_cosines(indexes, query, ids, ids))


def roughly_best(
    indexes: SpaceIndexes, query: ScoringQuery, allowed: Ids | None, top_k: int, beside: Beside
) -> RoughlyBest:
    """The photos that are the best by rough scores."""
    photos = len(allowed) if allowed is not None else indexes.image.rows
    return best_by_rough_scores(indexes, query, allowed, rough_count(photos, top_k), beside.added)


def rough_count(photos: int, top_k: int) -> int:
    """How many of so many photos are scored in full after rough scores."""
    return min(max(FEWEST_ROUGH, round(ROUGH_SHARE * photos), 10 * top_k), max(MOST_ROUGH, 2 * top_k))
