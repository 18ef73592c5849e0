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
from ..storage.segment import Near, leading
from .candidates import Ids, every_cosine, image_cosines, joined_cosines, lists_of, region_cosines
from .score import Cosines, ScoringQuery, totals

if TYPE_CHECKING:
    from ..storage.indexes import SpaceIndexes

FIRST_DEPTH = 64  # of exact lists
GROWTH = 4
LIST_DEPTH = 4  # photos of inverted lists that are asked for, in multiples of k
ROUGH_SHARE = 0.02  # of the eligible photos are scored in full after all were scored roughly
FEWEST_ROUGH, MOST_ROUGH = 4_000, 10_000
IMAGES_EXACT = 8  # times as many get their exact image scores first


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
        ids, cosines = every_cosine(indexes, query, taken)
        scores = totals(cosines, query)[0] + beside.added(ids)
        if len(ids) >= top_k > 0 and bound(query, near, ids, cosines) + beside.others <= np.sort(scores)[-top_k]:
            return ids, cosines
        if not exact or depth == most:
            break
        depth = min(most, GROWTH * depth)
    rough = by_rough_scores() if by_rough_scores else roughly_best(indexes, query, allowed, top_k, beside)
    return every_cosine(indexes, query, np.union1d(taken, rough))


def _on_lists(query: ScoringQuery) -> bool:
    """Whether the best photos are likely to stand high on a list: one region at most, and no negatives."""
    return len(query.negatives) == 0 and int((~query.entities.whole).sum()) <= 1


def bound(query: ScoringQuery, near: Sequence[Near], ids: Ids, cosines: Cosines) -> float:
    """What a photo that is on none of the lists scores at most, texts aside; -inf where there are no others.

    Args:
        near: as `lists_of` gives them.
        ids, cosines: of all photos on the lists and perhaps more, ids ascending.
    """
    if near[0].all_of_them:
        return -np.inf
    entities, split = query.entities, 1 + int(query.entities.whole.sum())
    left = float(_least(near[0], ids, cosines.legend)) + query.offset
    best = np.maximum(0, [_least(one, ids, cosines.entities[:, e]) for e, one in enumerate(near[split:])])
    for e, one in zip(np.flatnonzero(entities.whole), near[1:split], strict=True):
        best[e] = max(best[e], _least(one, ids, cosines.entities[:, e]))
    if len(entities):
        left += query.entity_weight * float(best @ entities.weights) / float(entities.weights.sum())
    return left


def _least(near: Near, ids: Ids, values: Floats) -> float:
    """The least value of the photos on a list: what others on it have at most."""
    if near.all_of_them or not len(near.photo_ids):
        return -np.inf if near.all_of_them else np.inf
    return float(values[np.searchsorted(ids, near.photo_ids)].min())


def roughly_best(indexes: SpaceIndexes, query: ScoringQuery, allowed: Ids | None, top_k: int, beside: Beside) -> Ids:
    """Photos that are the best by rough scores, ascending."""
    ids, images = image_cosines(indexes, query, allowed, rough=True)
    count = rough_count(len(ids), top_k)
    if len(ids) <= count:
        return ids
    return np.sort(_by_rough_scores(indexes, query, allowed, count, beside.added, ids, images)[0])


def rough_count(photos: int, top_k: int) -> int:
    """How many of so many photos are scored in full after rough scores."""
    return min(max(FEWEST_ROUGH, round(ROUGH_SHARE * photos), 10 * top_k), max(MOST_ROUGH, 2 * top_k))


def best_by_rough_scores(
    indexes: SpaceIndexes, query: ScoringQuery, allowed: Ids | None, count: int, added: Callable[[Ids], Floats]
) -> tuple[Ids, Floats]:
    """The `count` best of the allowed photos by rough scores, and these scores."""
    ids, images = image_cosines(indexes, query, allowed, rough=True)
    return _by_rough_scores(indexes, query, allowed, count, added, ids, images)


def _by_rough_scores(
    indexes: SpaceIndexes,
    query: ScoringQuery,
    allowed: Ids | None,
    count: int,
    added: Callable[[Ids], Floats],
    ids: Ids,
    images: Floats,
) -> tuple[Ids, Floats]:
    """See above; `ids` and `images` are the rough image scores of the allowed photos."""
    regions = region_cosines(indexes, query, ids, allowed, rough=True)
    of_texts = added(ids)
    scores = totals(joined_cosines(query, images, regions), query)[0] + of_texts
    if not indexes.image.is_exact:
        kept = np.flatnonzero(scores >= _about_largest(scores, IMAGES_EXACT * count))
        ids, images = image_cosines(indexes, query, ids[kept])
        scores = totals(joined_cosines(query, images, regions[kept]), query)[0] + of_texts[kept]
    best = leading(scores, count)
    return ids[best], scores[best]


def _about_largest(scores: Floats, count: int) -> float:
    """About the `count`-th largest of many scores, by every sixteenth of them."""
    some = scores[::16]
    place = len(some) - count // 16
    return float(np.partition(some, place)[place]) if 0 < place < len(some) else -np.inf
