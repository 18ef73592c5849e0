"""What the texts beside photos add to their scores.

    added = nat * (V * max(0, z - Z) + nats of words)

z says by how many standard deviations the best passage of a photo is nearer to the query's sentence than captions in
general are to each other; passages below Z say nothing. A photo without texts gets nothing added and nothing taken off.
The words are those of its passages and of its file and folder names (`words.py`). Everything is counted in nats of the
query's log-odds, so that one rule serves every model. The constants were chosen on training captions; what was
compared, fusion by reciprocal rank among it, stands in docs/experiments.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from ..records import Floats
from ..records.texts import TextHit, TextMatch
from ..storage.words import SOURCES, Source
from .words import NO_LIMIT, NONE, AskedWords, Held, Occurrences, among, in_photos, required_photos, told_by

if TYPE_CHECKING:
    from ..storage.store import Store
    from .context import QueryContext

Ids = NDArray[np.int64]
PASSAGE_NATS = 1.2  # V: for each standard deviation
NEAR_FROM = 1.67  # Z: standard deviations


class PassageIndex(Protocol):
    """The vectors of passages: what is used here of `VectorIndex`."""

    @property
    def rows(self) -> int:
        """See `VectorIndex`."""

    def search(self, queries: Floats, k: int, allowed: Ids | None = None) -> tuple[Floats, Ids]:
        """See `VectorIndex`."""

    def best(self, queries: Floats, allowed: Ids | None = None) -> tuple[Ids, Floats]:
        """See `VectorIndex`."""


class HasPassages(Protocol):
    """What holds the vectors of passages."""

    @property
    def text(self) -> PassageIndex:
        """The index of passages."""


@dataclass(frozen=True)
class PhotoTexts:
    """The texts of one library's photos before one query.

    Args:
        store, indexes: of the library.
        context: the query.
        words: what it asks for as it stands.
    """

    store: Store
    indexes: HasPassages
    context: QueryContext
    words: AskedWords

    @cached_property
    def _occurrences(self) -> Occurrences:
        return in_photos(self.store, self._told, self.words)

    @cached_property
    def _told(self) -> Held:
        return told_by(self.store, self.words)

    def required(self) -> Ids | None:
        """Photos that hold what stands in quotation marks, ascending; None where nothing does."""
        return required_photos(self.store, self.words)

    @property
    def answer_unknown_words(self) -> bool:
        """Whether a word that the model does not know occurs anywhere."""
        return bool(self._occurrences.unknown.any())

    def nearest(self, allowed: Ids | None, count: int) -> tuple[Ids, float]:
        """At most `count` photos whose passages are nearest, and as many that hold most of the words; ascending.

        Returns:
            The photos, and the most that texts add to any other photo.
        """
        links, index = self.store.texts.links(), self.indexes.text
        found, others = [NONE], 0.0
        # What is not allowed is left out before the best are chosen, lest it take all their places.
        passage_ids = NONE
        if index.rows:
            passage_ids = links.with_photos if allowed is None else np.unique(links.pairs_of(allowed)[0])
        if len(passage_ids):
            scoring = self.context.scoring
            legend, offset = scoring.passages
            chosen = None if len(passage_ids) >= index.rows else passage_ids
            scores, passages = index.search(legend[None], min(count, index.rows), chosen)
            found.append(links.photos_of(passages[0]))
            beyond = float(scores[0, -1]) - offset - NEAR_FROM  # of the last one: others are no nearer
            others += scoring.nat * PASSAGE_NATS * max(0.0, beyond)
        holding = self._occurrences.ids
        if allowed is not None:
            holding = among(holding, allowed)
        by_words = self._by_words(holding)
        order = np.argsort(-by_words, kind="stable")
        found.append(holding[order[:count]])
        others += float(by_words[order[count]]) if len(order) > count else 0.0
        photos = np.unique(np.concatenate(found))
        return photos if allowed is None else among(photos, allowed), others

    def added(self, photo_ids: Ids) -> tuple[Floats, Ids]:
        """What texts add to the scores of these photos (any order), and the passage that counted most for each.

        Returns:
            (n,) float32, 0 or more; (n,) int64 passage ids, -1 where no passage is near enough.
        """
        added = self._by_words(photo_ids)
        passages = np.broadcast_to(np.int64(-1), len(photo_ids))
        links = self.store.texts.links()
        if self.indexes.text.rows and len(links.of_passage):
            near, passages = self._near(photo_ids, *links.pairs_of(photo_ids))
            added = added + near
        return added, passages

    def _near(self, photo_ids: Ids, of_passage: Ids, owners: Ids) -> tuple[Floats, Ids]:
        """What the meaning of the best passage of each photo adds, and which one it is.

        Args:
            of_passage, owners: pairs of a passage and a photo of these.
        """
        scoring = self.context.scoring
        legend, offset = scoring.passages
        known, cosines = self.indexes.text.best(legend[None], np.unique(of_passage))
        has_vector = np.isin(of_passage, known)
        of_passage, owners = of_passage[has_vector], owners[has_vector]
        beyond = cosines[np.searchsorted(known, of_passage), 0] - np.float32(offset + NEAR_FROM)
        order = np.lexsort((of_passage, -beyond, owners))  # by photo, its nearest passage first
        own, first = np.unique(owners[order], return_index=True)
        best, passage = beyond[order][first], of_passage[order][first]
        near, chosen = np.zeros(len(photo_ids), np.float32), np.full(len(photo_ids), -1, np.int64)
        if len(own):
            places = np.minimum(np.searchsorted(own, photo_ids), len(own) - 1)
            counts = (own[places] == photo_ids) & (best[places] > 0)
            near[counts] = np.float32(scoring.nat * PASSAGE_NATS) * best[places][counts]
            chosen[counts] = passage[places][counts]
        return near, chosen

    def _by_words(self, photo_ids: Ids) -> Floats:
        """What words add to the scores of these photos."""
        if not len(self._occurrences.ids):
            return np.zeros(len(photo_ids), np.float32)
        return np.float32(self.context.scoring.nat) * self._occurrences.nats(photo_ids)

    def matches(self, photo_ids: Ids) -> list[TextMatch | None]:
        """What to say of each of a few photos: what its texts added, and which of them."""
        added, near = self.added(photo_ids)
        holding, held = self._holding(photo_ids), self._occurrences
        strange = np.isin(photo_ids, held.ids[held.unknown > 0])  # found by words that the model does not know
        speaking = np.where((near >= 0) & ~(strange & (holding >= 0)), near, holding)
        known = self.store.texts.passages([int(passage) for passage in speaking if passage >= 0])
        return [
            TextMatch(float(value), known.get(passage_id), self._occurrences.words_of(photo_id)) if value > 0 else None
            for photo_id, value, passage_id in zip(photo_ids.tolist(), added, speaking.tolist(), strict=True)
        ]

    def _holding(self, photo_ids: Ids) -> Ids:
        """(n,) the passage of each photo that holds most of the words, the first of equals; -1 where none does."""
        links = self.store.texts.links()
        of_passage, owners = links.pairs_of(photo_ids)
        counts = np.zeros(len(of_passage), np.int64)
        for ids in self._told.values():
            if ids is not None:
                counts += np.isin(of_passage, ids)
        best = np.full(len(photo_ids), -1, np.int64)
        order = np.lexsort((of_passage, -counts, owners))
        own, first = np.unique(owners[order], return_index=True)
        chosen = {
            int(photo_id): int(of_passage[place])
            for photo_id, place in zip(own, order[first], strict=True)
            if counts[place]
        }
        for row, photo_id in enumerate(photo_ids.tolist()):
            best[row] = chosen.get(photo_id, -1)
        return best


def text_notes(context: QueryContext, store: Store, shown: Sequence[TextHit] = ()) -> list[str]:
    """What the user should know of how texts took part; `shown` are passages that the answer shows."""
    notes = [
        f"no text and no file name holds {phrase!r}, which must occur"
        for phrase in context.words.required
        if not any(_occurs(store, source, phrase) for source in SOURCES)
    ]
    built = context.interface.built
    with_pictures = any(hit.passage.inline for hit in shown)
    if built is not None and with_pictures and not built.capabilities.reads_pictures_in_text:
        notes.append("this model cannot read pictures inside a text: passages are found by their words alone")
    return notes


def _occurs(store: Store, source: Source, phrase: str) -> bool:
    ids = store.texts.holding(source, phrase, NO_LIMIT)
    return ids is None or len(ids) > 0
