"""A library asked as a search asks an index of the same photos, judged over any of them. No SQL, no FAISS.

A query is prepared, scored and judged by the very functions of `query`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, cast

import numpy as np

from ..config import QuerySettings
from ..grammar import Query
from ..interface.protocol import Interface
from ..query.context import QueryContext, prepare
from ..query.ground import AskedPart, StoredRegions, ground_photo
from ..query.lazy_interface import LazyInterface
from ..query.pixels import PixelCache
from ..query.score import Scores, rank, score
from ..query.verdicts import Verdicts, judge_library, judged_parts
from ..records import BoolMask, Entity, EntityHit, Floats, Not, Photo
from .annotations import Positions
from .library import Library, as_it_is, asked, calibrated
from .remembered import Remembered

if TYPE_CHECKING:
    from ..storage.store import Store


class Asker:
    """Asks one library. `[photo:n]` and `[region:n/m]` mean the photo at position n of the pack.

    Args:
        library: what is searched.
        interface: encodes and looks.
    """

    def __init__(self, library: Library, interface: Interface) -> None:
        self.library = library
        self._remembered = interface if isinstance(interface, Remembered) else Remembered(interface)
        self._lazy = LazyInterface(lambda: self._remembered, interface.space)
        self._calibration, self._cache = calibrated(library, self._remembered), PixelCache()

    def learn(self, queries: Sequence[Query]) -> None:
        """Encode queries of words together, before they are asked one by one."""
        words = []
        for query in queries:
            terms = [part.term if isinstance(part, Not) else part for part in query]
            if all(isinstance(term, str | Entity) for term in terms):
                words.append(asked(*query))
        self._remembered.encode_queries(words)

    def ask(self, query: Query) -> Scored:
        """Score every photo for a query."""
        store = cast("Store", self.library)  # of which a query wants the stored vectors alone
        context = prepare(
            query, store, 0, self._lazy, as_it_is, self._cache, QuerySettings(), calibration=self._calibration
        )
        return Scored(self.library, context)


class Scored:
    """What a query scores over a whole library."""

    def __init__(self, library: Library, context: QueryContext) -> None:
        self.library, self.context = library, context
        self.scores = score(library.block, context.scoring)

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

    def __init__(self, scored: Scored, photos: Positions) -> None:
        self._library, self._context = scored.library, scored.context
        self.photos, self.scores = photos, scored.scores.rows(photos)
        self.verdicts = self._judged(self.scores, len(photos))
        self.chances: Floats = self.verdicts.whole.chances(self.scores.total)
        self.above: BoolMask = self.chances >= self.verdicts.whole.cutoff

    def _judged(self, scores: Scores, count: int) -> Verdicts:
        if not count:
            entities = np.zeros(scores.evidence.shape[1], np.float32)
            negatives = np.zeros(scores.negative_evidence.shape[1], np.float32)
            return judge_library(self._context, 0.0, entities, negatives, 0, looked_at=0)
        return judge_library(
            self._context,
            float(scores.wanted.max()),
            scores.evidence.max(0),
            scores.negative_evidence.max(0),
            count,
            looked_at=count,
        )

    @cached_property
    def order(self) -> Positions:
        """(n,) rows of this answer, best first."""
        return rank(self._library.block.photo_ids[self.photos], self.scores.total, len(self.photos))

    @property
    def monotone(self) -> bool:
        """Whether relevance never rises down the ranking."""
        return bool((np.diff(self.chances[self.order]) <= 0).all())

    def asked(self, row: int) -> list[AskedPart]:
        """Entities and negatives with what is judged of each in the photo of a row."""
        return judged_parts(self._context, self.verdicts, self.scores, row, float(self.chances[row]))

    def looked_at(self, row: int) -> Sequence[EntityHit]:
        """Entities and negatives tied to the photo of a row, by a look at it."""
        position = int(self.photos[row])
        record = self._library.photos[position]
        regions, scores = self._library.regions_of(position)
        block = self._library.block
        boxes = block.boxes[block.offsets[position] : block.offsets[position + 1]]
        masks = self._library.masks[position]
        stored = StoredRegions(block.image[position], regions, boxes, scores, lambda: masks)
        photo = Photo(id=position, path=None, width=record.width, height=record.height)
        return ground_photo(self._context, photo, stored, self.asked(row), "exact", record.rgb)
