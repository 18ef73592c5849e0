"""`TextStore`: the part of a store that holds text sources, their passages, and the words of file names."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from pathlib import Path

import numpy as np
from sqlalchemy import select

from ..records import Floats
from ..records.texts import Passage, SourceText
from . import text_reads, text_writes, words
from .generations import space_head
from .rows import Ids
from .session import Session
from .tables import TextReadRow
from .text_rows import DocumentWrite, KnownDocument, PassageLinks, PassageVectors, PendingPassage


class TextStore:
    """Text sources of one index; reached as `Store.texts`.

    In an older catalog that may only be read there are none, and nothing is found.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    # --- what ingest needs -------------------------------------------------------------------

    def known(self, roots: Sequence[Path | str]) -> dict[str, KnownDocument]:
        """Every text source at or below the roots, by path as `os.fsdecode` makes it."""
        with self._session.reading() as connection:
            return text_reads.known_documents(connection, roots)

    def missing_contents(self) -> dict[str, str]:
        """Paths of missing text sources by content (sha256)."""
        with self._session.reading() as connection:
            return text_reads.missing_contents(connection)

    def read_photos(self) -> frozenset[int]:
        """Ids of the photos whose files were searched for text."""
        with self._session.reading() as connection:
            return frozenset(connection.execute(select(TextReadRow.photo_id)).scalars())

    def write(self, documents: Sequence[DocumentWrite]) -> None:
        """Write text sources with their passages in one transaction; passages whose words stay keep their vectors."""
        with self._session.writing("ingest") as connection:
            text_writes.write_documents(connection, documents)

    def write_embedded(self, texts: Mapping[int, SourceText]) -> None:
        """Keep what is written inside the files of some photos, by photo id."""
        with self._session.writing("ingest") as connection:
            text_writes.write_embedded(connection, texts)

    def mark_missing(
        self,
        roots: Sequence[Path | str],
        seen: Set[str],
        unlisted: Sequence[Path | str] = (),
        known: Set[str] | None = None,
    ) -> int:
        """Call text sources below fully listed roots missing when they were not seen; see `Store.mark_missing`."""
        with self._session.writing("ingest") as connection:
            return text_writes.mark_missing(connection, roots, seen, unlisted, known)

    def relink(self) -> int:
        """Tie the pictures of passages to the photos that lie at their paths now; returns how many were tied anew."""
        with self._session.writing("ingest") as connection:
            return text_writes.relink(connection)

    def waiting(self, space_id: int) -> Ids:
        """Passages that wait for their vectors in a space: new ones, and those whose pictures are others now."""
        with self._session.reading() as connection:
            return text_reads.waiting(connection, space_id)

    def pending(self, passage_ids: Sequence[int]) -> list[PendingPassage]:
        """What is to be encoded of these passages, in their order; those that are gone are left out."""
        with self._session.reading() as connection:
            return text_reads.pending(connection, passage_ids)

    def write_vectors(self, space_id: int, dim: int, made: Sequence[PassageVectors]) -> None:
        """Keep vectors of passages in one transaction; a passage that is gone by now is passed over.

        Raises:
            InputError: a vector does not fit the space.
        """
        with self._session.writing("ingest") as connection:
            text_writes.write_vectors(connection, space_id, dim, made)

    def keep_refused(self, refused: Mapping[int, str], *, all_of_them: bool) -> set[int]:
        """Keep which passages the model refused; returns those of which it was known: `text_writes.keep_refused`."""
        with self._session.reading() as connection:
            if not refused and not text_writes.any_refused(connection):
                return set()
        with self._session.writing("ingest") as connection:
            return text_writes.keep_refused(connection, refused, all_of_them=all_of_them)

    # --- what a query needs ------------------------------------------------------------------

    def links(self) -> PassageLinks:
        """Which photos the passages of present sources show or are about."""
        return self._session.remembered("passage links", text_reads.links)

    def inline(self, passage_ids: Ids) -> tuple[Ids, Ids]:
        """Pairs of a passage and an indexed photo among its words, of these passages; see `PassageLinks`."""
        with self._session.reading() as connection:
            return text_reads.inline_pairs(connection, passage_ids)

    def passages(self, passage_ids: Sequence[int]) -> dict[int, Passage]:
        """Those of the ids that the catalog knows."""
        with self._session.reading() as connection:
            return text_reads.passages(connection, passage_ids)

    def of_photo(self, photo_id: int) -> list[Passage]:
        """Passages that show a photo or are about it, in the order of their sources."""
        with self._session.reading() as connection:
            ids = text_reads.of_photo(connection, photo_id)
            found = text_reads.passages(connection, ids)
        return [found[passage_id] for passage_id in ids]

    def at(self, path: str) -> list[Passage]:
        """Passages of the present source at a path, links resolved, in their order; none where there is no such one."""
        with self._session.reading() as connection:
            ids = text_reads.at_path(connection, path)
            found = text_reads.passages(connection, ids)
        return [found[passage_id] for passage_id in ids]

    def every(self) -> list[int]:
        """Ids of all passages of present sources, by source and place in it."""
        with self._session.reading() as connection:
            return text_reads.every_passage(connection) if text_reads.are_there(connection) else []

    def of_kinds(self, kinds: Collection[str]) -> Ids:
        """Ids of the passages of present sources of some kinds, ascending."""
        wanted = tuple(sorted(set(kinds)))
        return self._session.remembered(
            ("passages of kinds", wanted), lambda connection: text_reads.of_kinds(connection, wanted)
        )

    def phrase_vectors(self, space_id: int, dim: int, passage_ids: Sequence[int]) -> dict[int, Floats]:
        """(P, D) float32 vectors of the phrases of these passages, by id; those without vectors are left out."""
        with self._session.reading() as connection:
            return text_reads.phrase_vectors(connection, space_id, dim, passage_ids)

    def vectors(self, space_id: int, passage_ids: Ids) -> dict[int, Floats]:
        """(D,) float32 vectors of these passages, by id; those without vectors, and damaged ones, are left out."""
        with self._session.reading() as connection:
            dim = space_head(connection, space_id)[1]
            found = text_reads.halves(connection, space_id, dim, np.sort(passage_ids))
        return dict(zip(found.passage_ids.tolist(), found.vectors.astype(np.float32), strict=True))

    def holding(self, source: words.Source, phrase: str, limit: int) -> Ids | None:
        """Ids of the passages, or photos by their file names, that hold a word or phrase; see `words.holding`."""
        return self.all_holding(source, (phrase,), limit)[phrase]

    def all_holding(self, source: words.Source, phrases: Sequence[str], limit: int) -> dict[str, Ids | None]:
        """`holding` of several words or phrases, in one reading."""
        if not phrases:
            return {}
        with self._session.reading() as connection:
            if not words.are_there(connection):
                return dict.fromkeys(phrases, words.NONE)
            return {phrase: words.holding(connection, source, phrase, limit) for phrase in phrases}

    def count_words(self, source: words.Source) -> int:
        """Passages, or photos, whose words can be searched."""
        return self._session.remembered(
            ("count words", source),
            lambda connection: words.count(connection, source) if words.are_there(connection) else 0,
        )
