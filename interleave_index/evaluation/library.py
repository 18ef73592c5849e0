"""The photos of a pack, encoded once and held in memory the way an index would hold them.

Knows packs and the interface protocol; no SQL. Its vectors are a block as a store gives it, so that queries rank
through the very functions of `query.score` that a search uses.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..grammar import Query
from ..interface.calibration import Calibration
from ..interface.protocol import Interface
from ..query.blocks import block_of, take
from ..query.calibration import complete
from ..query.resolve import resolve
from ..query.score import ScoringQuery, score, scoring_query
from ..records import REGIONS_PER_PHOTO, RGB, Floats, Part, PhotoEncoding, ResolvedQuery, Rle
from ..storage.rows import StoredVectors
from .annotations import Positions
from .packs import PackPhoto, Photos
from .progress import Progress, chunks

BATCH = 32  # photos decoded and handed to the interface at a time


@dataclass(frozen=True)
class Library:
    """N encoded photos.

    Attributes:
        photos: their records, in order.
        block: their vectors as an index stores them; the ids of the photos are their positions in the pack.
        masks: per photo R masks.
        interface: encoded them; encodes the queries and looks at single photos.
    """

    photos: tuple[PackPhoto, ...]
    block: StoredVectors
    masks: tuple[tuple[Rle, ...], ...]
    interface: Interface

    @cached_property
    def calibration(self) -> Calibration:
        """The interface's calibration as a search in this library would use it."""
        return complete(self.interface.calibration, self.block)

    def regions_of(self, position: int) -> tuple[Floats, Floats]:
        """(R, D) float32 regions of the photo at a position, and their (R,) scores."""
        first, end = self.block.offsets[position : position + 2]
        return self.block.regions[first:end], self.block.scores[first:end]

    def keys(self, positions: Iterable[int] | None = None) -> NDArray[np.str_]:
        """Keys of the photos, or of those at some positions."""
        photos = self.photos if positions is None else [self.photos[position] for position in positions]
        return np.array([photo.key for photo in photos], str)

    def only(self, positions: Positions) -> Library:
        """The photos at some positions, in that order."""
        photos, masks = tuple(self.photos[n] for n in positions), tuple(self.masks[n] for n in positions)
        return Library(photos, take(self.block, positions), masks, self.interface)

    def vectors(self, space_id: int, photo_ids: Sequence[int]) -> StoredVectors:
        """See `Store.vectors`: what a query that names photos by their positions wants of an index."""
        return take(self.block, np.array(photo_ids, np.int64))

    def scoring(self, query: ResolvedQuery) -> ScoringQuery:
        """One query as a search in this library scores it."""
        return scoring_query(query, self.interface.encode_query(query), self.calibration)

    def totals(self, queries: Iterable[ResolvedQuery], count: int, what: str, progress: Progress) -> Floats:
        """Score of every photo for every query as a search would give it, (Q, N) float32.

        Args:
            queries: may be made one by one, where they hold pictures.
            count: Q.
        """
        table, number = np.empty((count, len(self.photos)), np.float32), 0
        for together in chunks(queries):
            for query, encoding in zip(together, self.interface.encode_queries(together), strict=True):
                table[number] = score(self.block, scoring_query(query, encoding, self.calibration)).total
                number += 1
                progress(what.replace("_", " "), number, count)
        return table


def encode_library(photos: Photos, interface: Interface, progress: Progress) -> Library:
    """Encode photos, at least one, in batches; vectors pass through half precision, as they would in an index.

    Raises:
        ImageUnreadable: a picture of the pack is damaged.
    """
    encodings: list[PhotoEncoding] = []
    for start in range(0, len(photos), BATCH):
        batch = interface.encode_photos([photo.rgb() for photo in photos[start : start + BATCH]])
        encodings += [_stored(encoding) for encoding in batch]
        progress("photos", len(encodings), len(photos))
    masks = tuple(encoding.masks for encoding in encodings)
    return Library(tuple(photos), block_of(encodings), masks, interface)


def _stored(encoding: PhotoEncoding) -> PhotoEncoding:
    """An encoding as an index gives it back."""
    most = slice(REGIONS_PER_PHOTO)  # an index has no ids for more
    return PhotoEncoding(
        image=encoding.image.astype(np.float16).astype(np.float32),
        regions=encoding.regions[most].astype(np.float16).astype(np.float32),
        boxes=encoding.boxes[most],
        areas=encoding.areas[most],
        scores=encoding.scores[most],
        masks=encoding.masks[most],
    )


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
