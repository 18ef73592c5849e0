"""One query made ready for a search: its parts resolved, read and encoded, and the calibration that judges it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from ..config import QuerySettings
from ..grammar import Query
from ..interface.calibration import Calibration
from ..records import Floats, ResolvedPart, ResolvedQuery
from .calibration import calibration_for
from .hints import query_hints
from .lazy_interface import LazyInterface
from .pixels import LoadPicture, PixelCache
from .reading import read_query
from .resolve import resolve, stored_encoding, whole_text
from .score import ScoringQuery, mean_of, scoring_query, terms
from .words import AskedWords, asked_words

if TYPE_CHECKING:
    from ..storage.store import Store


@dataclass
class QueryContext:
    """A query in one space, ready to be scored, judged and grounded.

    Attributes:
        query: as it was asked.
        parts: resolved, without those that the model cannot read.
        scoring: what the score needs.
        calibration: what the judgement needs.
        settings: weights, candidates and cut-off.
        interface: of the space.
        says_nothing: no photo can be meant, for nothing of the query can be read.
        notes: what the caller should know; grows as photos are grounded.
        words: what is looked up as it stands in texts and file names.
    """

    query: Query
    parts: ResolvedQuery
    scoring: ScoringQuery
    calibration: Calibration
    settings: QuerySettings
    interface: LazyInterface
    says_nothing: bool
    notes: list[str]
    words: AskedWords

    def parts_of(self, role: str) -> list[ResolvedPart]:
        """The captions, entities or negatives, in order."""
        return [part for part in self.parts if part.role == role]

    @cached_property
    def whole_text(self) -> ResolvedPart | None:
        """The whole text as one entity, for a query of plain text: it is grounded, and does not enter the score."""
        return whole_text(self.parts)

    @cached_property
    def whole_text_vector(self) -> Floats:
        """(D,) float32: the vector of `whole_text`, centred, to be compared with regions."""
        parts = () if self.whole_text is None else (self.whole_text,)
        encoding = self.interface.get().encode_query(parts)
        mean = mean_of(self.calibration.phrases, len(encoding.legend))
        vector: Floats = terms(parts, encoding.entities, mean).regions[0]
        return vector

    @property
    def grounded(self) -> ResolvedQuery:
        """The parts as a look at a photo wants them: plain text alone is one entity."""
        if self.whole_text is None:
            return self.parts
        return (self.whole_text, *self.parts_of("negative"))


def prepare(
    query: Query,
    store: Store | None,
    space_id: int,
    interface: LazyInterface,
    load_picture: LoadPicture,
    cache: PixelCache,
    settings: QuerySettings,
    *,
    pixels: bool = False,
    calibration: Calibration | None = None,
) -> QueryContext:
    """Resolve, read and encode a query.

    Args:
        query: its parts, in order.
        store: the index, or None where there is none.
        space_id: of the index; 0 where nothing is indexed yet.
        interface: asked for an encoding only when stored vectors are not enough.
        load_picture: gives upright RGB for a path, a URL or an array.
        cache: of the pixels of indexed photos.
        settings: weights, candidates and cut-off.
        pixels: fetch those of indexed photos also where their stored vectors are enough for the score.
        calibration: used instead of the one that the index and the interface give.
    Raises:
        as `resolve`, and SpaceMismatch.
    """
    resolved = resolve(query, store, space_id, load_picture, cache, pixels=pixels)
    parts, says_nothing = resolved.parts, False
    unknown: tuple[str, ...] = ()
    notes = [*query_hints(query), *resolved.notes]
    if resolved.stored:
        encoding = stored_encoding(parts)
    else:
        reading = read_query(parts, interface.get())
        parts, says_nothing, unknown = reading.parts, reading.says_nothing, reading.unknown
        notes += reading.notes
        encoding = interface.get().encode_query(parts)
    if calibration is None:
        calibration, note = calibration_for(store if space_id else None, space_id, interface)
        notes += [note] if note else []
    scoring = scoring_query(
        parts,
        encoding,
        calibration,
        entity_weight=settings.entity_weight,
        negative_weight=settings.negative_weight,
    )
    words = asked_words(query, unknown)
    return QueryContext(query, parts, scoring, calibration, settings, interface, says_nothing, notes, words)
