"""A library asked as a search asks an index of the same photos, judged over any of them. No SQL, no FAISS.

A query is prepared, scored and judged by the very functions of `query`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from ..config import QuerySettings
from ..grammar import Query
from ..query.context import QueryContext, prepare
from ..query.ground import AskedPart, StoredRegions, ground_photo
from ..query.lazy_interface import LazyInterface
from ..query.pixels import PixelCache
from ..query.score import Scores, rank, score
from ..query.verdicts import judge_library, judged_parts
from ..records import BoolMask, Entity, EntityHit, Floats, Not, Photo
from .annotations import Positions
from .library import Library, as_it_is, asked
from .progress import chunks

if TYPE_CHECKING:
    from ..storage.store import Store


class Answer:
    """The answer to one query over some photos of a library, at least one.

    Attributes:
        photos: (n,) positions in the library.
        scores: of them.
        verdicts: by the best of them.
        chances: (n,) float32 relevance of each.
        above: (n,) whether each counts as meant.
        order: (n,) rows of this answer, best first.
        monotone: whether relevance never rises down the ranking.
    """

    def __init__(self, library: Library, context: QueryContext, photos: Positions, scores: Scores) -> None:
        self._library, self._context = library, context
        self.photos, self.scores = photos, scores
        count = len(photos)
        self.verdicts = judge_library(
            context,
            float(scores.wanted.max()),
            scores.evidence.max(0),
            scores.negative_evidence.max(0),
            count,
            looked_at=count,
        )
        self.chances: Floats = self.verdicts.whole.chances(scores.total)
        self.above: BoolMask = self.chances >= self.verdicts.whole.cutoff
        self.order = rank(photos, scores.total, count)
        self.monotone = bool((np.diff(self.chances[self.order]) <= 0).all())

    def among(self, rows: Positions) -> Answer:
        """The answer over some of its photos alone, by their rows."""
        return Answer(self._library, self._context, self.photos[rows], self.scores.rows(rows))

    def asked(self, row: int) -> list[AskedPart]:
        """Entities and negatives with what is judged of each in the photo of a row."""
        return judged_parts(self._context, self.verdicts, self.scores, row, float(self.chances[row]))

    def looked_at(self, row: int) -> Sequence[EntityHit]:
        """Entities and negatives tied to the photo of a row, by a look at it."""
        position = int(self.photos[row])
        record, masks = self._library.photos[position], self._library.masks[position]
        block = self._library.vectors(0, [position])
        stored = StoredRegions(
            block.image[0],
            block.regions,
            block.boxes,
            block.scores,
            lambda: masks,
            self._context.calibration.score_weight,
        )
        photo = Photo(id=position, path=None, width=record.width, height=record.height)
        return ground_photo(self._context, photo, stored, self.asked(row), "exact", record.rgb)


def ask(library: Library, query: Query) -> Answer:
    """The answer over the whole library. `[photo:n]` and `[region:n/m]` mean the photo at position n of the pack."""
    store = cast("Store", library)  # of which a query wants the stored vectors alone
    interface = LazyInterface(lambda: library.interface, library.interface.space)
    context = prepare(
        query, store, 0, interface, as_it_is, PixelCache(), QuerySettings(), calibration=library.calibration
    )
    scores = score(library.block, context.scoring)
    return Answer(library, context, np.arange(len(library.photos)), scores)


def ask_all(library: Library, queries: Iterable[Query]) -> Iterator[Answer]:
    """`ask` of each, in order; those of words are encoded together, some at a time.

    That helps with an interface that keeps its encodings, such as one that is `remembering`.
    """
    for together in chunks(queries):
        words = []
        for query in together:
            terms = [part.term if isinstance(part, Not) else part for part in query]
            if all(isinstance(term, str | Entity) for term in terms):
                words.append(asked(*query))
        library.interface.encode_queries(words)
        for query in together:
            yield ask(library, query)
