"""Own photo: whether an index asked by one of its photos, or by a part of one, finds that photo first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..grammar import Query
from ..records import PhotoRef, RegionRef
from .answers import ask
from .indexed import indexed
from .library import Library
from .outcome import Outcome, evenly, percent
from .progress import Progress, tracked

MOST_PHOTOS = 300  # that are asked, evenly chosen: a search of an index takes its time
MOST_LENDERS = 100  # of them, whose parts are asked as well
MOST_PARTS = 3  # of each, the best


def own_photo(library: Library, progress: Progress) -> Outcome:
    """Photos, and the best parts of some of them, asked of a real index that holds the vectors of all.

    Returns:
        ``photo`` and ``region``: share whose answer has its own photo first; ``photo_by_score`` and
        ``region_by_score``: the same by the score alone, without the engine's rule that puts it there; ``photos`` and
        ``regions`` asked; ``sure``: share of all these answers whose first hit has relevance 1. Arrays:
        ``own_photo_first``, ``own_photo_by_score`` (asked,) and ``own_photo_ordinal``, -1 for the photo as a whole.
    """
    whole = [PhotoRef(position) for position in evenly(len(library.photos), MOST_PHOTOS)]
    parts: list[RegionRef] = []
    for position in evenly(len(library.photos), MOST_LENDERS):
        best = range(min(MOST_PARTS, len(library.masks[position])))
        parts += [RegionRef(position, ordinal) for ordinal in best]
    asked: list[PhotoRef | RegionRef] = [*whole, *parts]
    first, sure, by_score = np.zeros((3, len(asked)), bool)
    with indexed(library) as made:
        index, ids = made.index, made.ids
        for number, reference in tracked(asked, "own photo", progress):
            own = ids[reference.photo_id]
            (hit,) = index.search(Query(replace(reference, photo_id=own)), 1, ground=None)
            first[number], sure[number] = hit.photo.id == own, hit.relevance == 1
            by_score[number] = ask(library, Query(reference)).order[0] == reference.photo_id
    split = len(whole)
    return Outcome(
        {
            "photo": percent(first[:split]),
            "region": percent(first[split:]),
            "photo_by_score": percent(by_score[:split]),
            "region_by_score": percent(by_score[split:]),
            "sure": percent(sure),
            "photos": split,
            "regions": len(parts),
        },
        {
            "own_photo_first": first,
            "own_photo_by_score": by_score,
            "own_photo_ordinal": np.array([-1] * split + [part.ordinal for part in parts], np.int64),
        },
    )
