"""The photos of a pack, encoded once and held in memory the way an index would hold them.

Knows packs and the interface protocol; no SQL. A `Library` is a block of stored vectors, so that
queries rank through the very functions of `query.score` that a search uses.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..grammar import Query
from ..interface.calibration import Calibration
from ..interface.protocol import Interface
from ..query import score
from ..query.calibration import complete
from ..query.resolve import resolve
from ..records import RGB, BoolMask, Floats, Part, PhotoEncoding, ResolvedQuery, Rle
from .packs import PackPhoto
from .remembered import chunks

Progress: TypeAlias = Callable[[str, int, int], None]  # what is being done, how many are done, of how many
BATCH = 32  # photos decoded and handed to the interface at a time
MOST_REGIONS = 32  # regions of a photo that an index keeps


@dataclass(frozen=True, slots=True)
class Library:
    """N encoded photos; `photo_ids` are positions in the pack, rising.

    Attributes:
        photos: their records, in order.
        photo_ids: (N,) int64.
        image: (N, D) float32, unit length.
        regions: (sum of R, D) float32, unit length, photo after photo, in the order of their encodings.
        offsets: (N + 1,) int64: the regions of photo i are the rows offsets[i] to offsets[i + 1].
        masks: per photo R masks.
        scores: (sum of R,) float32, predicted quality of the masks, 0 to 1.
        photos_per_s: decoded and encoded photos a second.
    """

    photos: tuple[PackPhoto, ...]
    photo_ids: NDArray[np.int64]
    image: Floats
    regions: Floats
    offsets: NDArray[np.int64]
    masks: tuple[tuple[Rle, ...], ...]
    scores: Floats
    photos_per_s: float = 0.0

    def regions_of(self, position: int) -> Floats:
        """(R, D) float32 regions of the photo at a position."""
        return self.regions[self.offsets[position] : self.offsets[position + 1]]

    def scores_of(self, position: int) -> Floats:
        """(R,) float32 scores of the regions of the photo at a position."""
        return self.scores[self.offsets[position] : self.offsets[position + 1]]

    def only(self, wanted: BoolMask) -> Library:
        """The photos where `wanted` (N,) is True, in the same order."""
        kept = np.flatnonzero(wanted)
        rows = np.repeat(wanted, np.diff(self.offsets))
        offsets = np.concatenate([[0], np.cumsum(np.diff(self.offsets)[kept])])
        return Library(
            tuple(self.photos[n] for n in kept),
            self.photo_ids[kept],
            self.image[kept],
            self.regions[rows],
            offsets.astype(np.int64),
            tuple(self.masks[n] for n in kept),
            self.scores[rows],
            self.photos_per_s,
        )


def encode_library(photos: Sequence[PackPhoto], interface: Interface, progress: Progress) -> Library:
    """Encode photos in batches; vectors pass through half precision, as they would in an index.

    Raises:
        ImageUnreadable: a picture of the pack is damaged.
    """
    encodings: list[PhotoEncoding] = []
    started = time.perf_counter()
    for start in range(0, len(photos), BATCH):
        encodings += interface.encode_photos([photo.rgb() for photo in photos[start : start + BATCH]])
        progress("photos", len(encodings), len(photos))
    seconds, dim = time.perf_counter() - started, interface.space.dim
    kept = [encoding.regions[:MOST_REGIONS] for encoding in encodings]
    return Library(
        photos=tuple(photos),
        photo_ids=np.arange(len(photos)),
        image=_stored(np.array([encoding.image for encoding in encodings], np.float32).reshape(-1, dim)),
        regions=_stored(np.concatenate([np.zeros((0, dim), np.float32), *kept])),
        offsets=np.concatenate([[0], np.cumsum([len(regions) for regions in kept])]).astype(np.int64),
        masks=tuple(encoding.masks[:MOST_REGIONS] for encoding in encodings),
        scores=np.concatenate([np.zeros(0, np.float32), *(encoding.scores[:MOST_REGIONS] for encoding in encodings)]),
        photos_per_s=len(photos) / seconds if photos else 0.0,
    )


def totals(
    library: Library,
    interface: Interface,
    queries: Iterable[ResolvedQuery],
    what: str,
    progress: Progress,
    *,
    count: int | None = None,
) -> Floats:
    """Score of every photo for every query as a search would give it, (Q, N) float32.

    Args:
        queries: those with pictures may be made one by one; then `count` says how many there are.
    """
    if count is None:
        queries = list(queries)
        count = len(queries)
    found, calibration = np.empty((count, len(library.photos)), np.float32), calibrated(library, interface)
    number = 0
    for some in chunks(queries):
        for query, encoding in zip(some, interface.encode_queries(some), strict=True):
            found[number] = score.score(library, score.scoring_query(query, encoding, calibration)).total
            number += 1
            progress(what, number, count)
    return found


def scores_of(library: Library, interface: Interface, query: ResolvedQuery, calibration: Calibration) -> score.Scores:
    """Scores and evidence of every photo for one query."""
    return score.score(library, score.scoring_query(query, interface.encode_query(query), calibration))


def calibrated(library: Library, interface: Interface) -> Calibration:
    """The interface's calibration as a search in this library would use it."""
    return complete(interface.calibration, library)


def asked(*parts: Part) -> ResolvedQuery:
    """A query as a search resolves it; pictures are given as arrays.

    >>> [(part.role, part.label) for part in asked("a man", "with a dog")]
    [('caption', 'a man with a dog')]
    """
    return resolve(Query(*parts), None, 0, as_it_is).parts


def as_it_is(source: str | Path | RGB) -> RGB:
    """The pixels of a picture that is given as such; an evaluation opens no other files."""
    if not isinstance(source, np.ndarray):
        raise InputError(f"picture is {source!r}, expected its pixels; an evaluation opens no other files")
    return source


def _stored(vectors: Floats) -> Floats:
    return vectors.astype(np.float16).astype(np.float32)
