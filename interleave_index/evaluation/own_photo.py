"""Own photo: whether an index asked by one of its photos, or by a part of one, finds that photo first."""

from __future__ import annotations

import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from ..grammar import Query
from ..interface.protocol import Interface
from ..records import BoolMask, Floats, PhotoFacts, PhotoRef, RegionRef
from .answers import Asker
from .library import Library, Progress, calibrated
from .outcome import Outcome

if TYPE_CHECKING:
    from ..storage.store import Store

MOST_PHOTOS = 300  # that are asked, evenly chosen: a search of an index takes its time
MOST_LENDERS = 100  # of them, whose parts are asked as well
MOST_PARTS = 3  # of each, the best


def own_photo(library: Library, interface: Interface, progress: Progress) -> Outcome:
    """Photos, and the best parts of some of them, asked of a real index that holds the vectors of all.

    Returns:
        ``photo`` and ``region``: share whose answer has its own photo first; ``photo_by_score`` and
        ``region_by_score``: the same by the score alone, without the engine's rule that puts it there; ``photos`` and
        ``regions`` asked; ``sure``: share of all these answers whose first hit has relevance 1. Arrays:
        ``own_photo_first``, ``own_photo_by_score`` (asked,) and ``own_photo_ordinal``, -1 for the photo as a whole.
    """
    whole, lenders = (_evenly(len(library.photos), most) for most in (MOST_PHOTOS, MOST_LENDERS))
    asked = [(position, -1) for position in whole]
    asked += [
        (position, ordinal)
        for position in lenders
        for ordinal in range(min(MOST_PARTS, len(library.regions_of(position))))
    ]
    first, sure, by_score = (np.zeros(len(asked), bool) for _ in range(3))
    asker, everyone = Asker(library, interface), np.arange(len(library.photos))
    with TemporaryDirectory() as folder:
        from ..config import Config
        from ..service import Index
        from ..storage.store import Store

        with Store.open(Path(folder) / "photos.index", create=True) as store:
            ids = _fill(store, library, interface)
            index = Index(store, Config(), interface=interface)
            for number, (position, ordinal) in enumerate(asked):
                (hit,) = index.search(Query(_reference(ids[position], ordinal)), 1, ground=None)
                first[number], sure[number] = hit.photo.id == ids[position], hit.relevance == 1
                answer = asker.ask(Query(_reference(int(library.photo_ids[position]), ordinal))).over(everyone)
                by_score[number] = answer.order[0] == position
                progress("own photo", number + 1, len(asked))
    parts = np.array([ordinal >= 0 for _, ordinal in asked], bool)
    return Outcome(
        {
            "photo": _percent(first[~parts]),
            "region": _percent(first[parts]),
            "photo_by_score": _percent(by_score[~parts]),
            "region_by_score": _percent(by_score[parts]),
            "sure": _percent(sure),
            "photos": int((~parts).sum()),
            "regions": int(parts.sum()),
        },
        {
            "own_photo_first": first,
            "own_photo_by_score": by_score,
            "own_photo_ordinal": np.array([ordinal for _, ordinal in asked], np.int64),
        },
    )


def _evenly(count: int, most: int) -> list[int]:
    """At most so many of the numbers below `count`, evenly apart.

    >>> _evenly(5, 3), _evenly(2, 3)
    ([0, 2, 4], [0, 1])
    """
    chosen: list[int] = np.linspace(0, count - 1, min(most, count)).round().astype(int).tolist()
    return chosen


def _reference(photo_id: int, ordinal: int) -> PhotoRef | RegionRef:
    return PhotoRef(photo_id) if ordinal < 0 else RegionRef(photo_id, ordinal)


def _fill(store: Store, library: Library, interface: Interface) -> list[int]:
    """Write the vectors of a library into an empty index; gives the ids of its photos, in order."""
    space_id = store.ensure_space(interface.space)
    store.save_calibration(space_id, calibrated(library, interface).to_bytes())
    facts = [
        PhotoFacts(hashlib.sha256(photo.key.encode()).hexdigest(), photo.width, photo.height, "JPEG")
        for photo in library.photos
    ]
    regions = [library.regions_of(n) for n in range(len(library.photos))]
    nothing: list[Floats] = [np.zeros(len(rows), np.float32) for rows in regions]
    ids = store.write_encodings(
        space_id,
        facts,
        library.image,
        regions,
        [np.zeros((len(rows), 4), np.float32) for rows in regions],
        nothing,
        [library.scores_of(n) for n in range(len(library.photos))],
    )
    store.optimize(space_id)
    return ids


def _percent(which: BoolMask) -> float:
    return 100 * float(which.mean()) if len(which) else 0.0
