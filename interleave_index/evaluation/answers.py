"""A library asked as a search asks an index of the same photos, judged over any of them. No SQL, no FAISS.

A query is resolved, encoded, scored and judged by the very functions of `query`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from ..config import QuerySettings
from ..grammar import Query
from ..interface.protocol import Interface
from ..query.blocks import take
from ..query.context import QueryContext, prepare
from ..query.ground import AskedPart, StoredRegions, ground_photo
from ..query.lazy_interface import LazyInterface
from ..query.pixels import PixelCache
from ..query.score import Scores, rank, score
from ..query.verdicts import Verdicts, judge_library, judged_parts
from ..records import BoolMask, Entity, EntityHit, Floats, Not, Part, Photo, Term
from ..storage.rows import StoredVectors
from .library import Library, as_it_is, asked, calibrated
from .remembered import Remembered

if TYPE_CHECKING:
    from ..storage.store import Store

Positions = NDArray[np.int64]


class Asker:
    """Asks one library. `[photo:n]` and `[region:n/m]` mean the photo at position n of the pack.

    Args:
        library: what is searched.
        interface: encodes and looks.
    """

    def __init__(self, library: Library, interface: Interface) -> None:
        known = interface if isinstance(interface, Remembered) else Remembered(interface)
        complete = known.with_calibration(replace(calibrated(library, interface), stand_in=False))
        self.library, self._interface = library, complete
        self._lazy = LazyInterface(lambda: complete, complete.space)
        self._store, self._cache = cast("Store", _Vectors(library)), PixelCache()

    def learn(self, queries: Sequence[Query]) -> None:
        """Encode queries of words together, before they are asked one by one."""
        words = [query for query in queries if all(isinstance(_term(part), str | Entity) for part in query)]
        self._interface.encode_queries([asked(*query) for query in words])

    def ask(self, query: Query) -> Found:
        """Score every photo for a query."""
        context = prepare(
            query,
            self._store,
            0,
            self._lazy,
            as_it_is,
            self._cache,
            QuerySettings(),
            calibration=self._interface.calibration,
        )
        return Found(self.library, context, score(self.library, context.scoring))


def _term(part: Part) -> str | Term:
    return part.term if isinstance(part, Not) else part


@dataclass(frozen=True, slots=True)
class Found:
    """What a query scores over a library."""

    library: Library
    context: QueryContext
    scores: Scores

    def over(self, photos: Positions) -> Answered:
        """The answer over these photos alone, positions in the library."""
        return Answered(self, photos)


class Answered:
    """The answer to one query over some photos.

    Attributes:
        photos: (n,) positions in the library.
        scores: of them.
        verdicts: by the best of them.
        chances: (n,) float32 relevance of each.
        above: (n,) whether each counts as meant.
    """

    def __init__(self, found: Found, photos: Positions) -> None:
        self._found, self.photos = found, photos
        self.scores = found.scores.rows(photos)
        count = len(photos)
        evidence, negatives = (
            (some.max(0) if count else np.zeros(some.shape[1], np.float32))
            for some in (self.scores.evidence, self.scores.negative_evidence)
        )
        best = float(self.scores.wanted.max()) if count else 0.0
        self.verdicts: Verdicts = judge_library(found.context, best, evidence, negatives, count, looked_at=count)
        self.chances: Floats = self.verdicts.whole.chances(self.scores.total)
        self.above: BoolMask = self.chances >= self.verdicts.whole.cutoff

    @cached_property
    def order(self) -> Positions:
        """(n,) rows of this answer, best first."""
        return rank(self._found.library.photo_ids[self.photos], self.scores.total, len(self.photos))

    @property
    def monotone(self) -> bool:
        """Whether relevance never rises down the ranking."""
        return bool((np.diff(self.chances[self.order]) <= 0).all())

    def asked(self, row: int) -> list[AskedPart]:
        """Entities and negatives with what is judged of each in the photo of a row."""
        return judged_parts(self._found.context, self.verdicts, self.scores, row, float(self.chances[row]))

    def looked_at(self, row: int) -> Sequence[EntityHit]:
        """Entities and negatives tied to the photo of a row, by a look at it."""
        library, position = self._found.library, int(self.photos[row])
        record = library.photos[position]
        photo = Photo(id=int(library.photo_ids[position]), path=None, width=record.width, height=record.height)
        regions = library.regions_of(position)
        stored = StoredRegions(
            library.image[position],
            regions,
            np.zeros((len(regions), 4), np.float32),
            library.scores_of(position),
            lambda: library.masks[position],
        )
        return ground_photo(self._found.context, photo, stored, self.asked(row), "exact", record.rgb)


class _Vectors:
    """What a query that names photos of the library wants of a store."""

    def __init__(self, library: Library) -> None:
        rows = len(library.regions)
        nothing = np.zeros(rows, np.float32)
        self._block = StoredVectors(
            library.photo_ids,
            library.image,
            library.regions,
            library.offsets,
            np.zeros((rows, 4), np.float32),
            nothing,
            library.scores,
        )

    def vectors(self, space_id: int, photo_ids: Sequence[int]) -> StoredVectors:
        """See `Store.vectors`."""
        return take(self._block, np.searchsorted(self._block.photo_ids, np.array(photo_ids, np.int64)))
