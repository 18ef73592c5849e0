"""Own photo: whether an index asked by one of its photos, or by a part of one, finds that photo first."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from ..grammar import Query
from ..records import PhotoFacts, PhotoRef, RegionRef
from .answers import ask
from .library import Library
from .outcome import Outcome, evenly, percent
from .progress import Progress, tracked

if TYPE_CHECKING:
    from ..storage.store import Store

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
    with TemporaryDirectory() as folder:
        from ..config import Config
        from ..service import Index
        from ..storage.store import Store

        with Store.open(Path(folder) / "photos.index", create=True) as store:
            ids = _fill(store, library)
            index = Index(store, Config(), interface=library.interface)
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


def _fill(store: Store, library: Library) -> list[int]:
    """Write the vectors of a library into an empty index; gives the ids of its photos, in order."""
    space_id, block = store.ensure_space(library.interface.space), library.block
    store.save_calibration(space_id, library.calibration.to_bytes())
    facts = []
    for photo in library.photos:
        content = hashlib.sha256(photo.key.encode()).hexdigest()
        facts.append(PhotoFacts(content, photo.width, photo.height, "JPEG"))
    cuts = block.offsets[1:-1]
    regions, boxes, areas, scores = (
        np.split(rows, cuts) for rows in (block.regions, block.boxes, block.areas, block.scores)
    )
    ids = store.write_encodings(space_id, facts, block.image, regions, boxes, areas, scores)
    store.optimize(space_id)
    return ids
