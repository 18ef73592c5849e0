"""The FAISS files of an index over time: opening, rebuilding, folding in, sweeping up. Knows no photo facts."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from sqlalchemy import Connection, delete, select

from ..errors import BackendMissing, IndexBusy, StorageError
from ..regular import os_words
from . import builder, checksums, folds, generations, published, text_reads, text_writes
from .files import KINDS, PHOTO_KINDS, Generation, Kind, is_as_written, looks_right
from .indexes import SpaceIndexes
from .session import Session
from .statements import in_this_folder
from .tables import GenerationFolderRow, GenerationRow


class NotWritten(StorageError):
    """FAISS files could not be written, as on a full disk; those before them are searched on."""


class Upkeep:
    """Indexes of every space of one open catalog; safe to share between threads."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.folder = session.folder / "faiss"
        self._guard = threading.Lock()
        self._open: dict[int, SpaceIndexes] = {}
        self._wrong: set[int] = set()  # generations whose files were found to be damaged while they were open

    def close(self) -> None:
        """Let go of every mapped file."""
        with self._guard:
            self._open.clear()

    def forget(self, space_id: int) -> None:
        """Let go of the files of a space that is no more."""
        with self._guard:
            self._open.pop(space_id, None)

    def compare(self, space_id: int) -> None:
        """See `Store.compare_files`."""
        with self._session.reading() as connection:
            rows = generations.live(connection, space_id)
        wrong = {row.id for row in rows if not is_as_written(self.folder, row, anew=True)}
        with self._guard:
            self._wrong |= wrong
            self._open.pop(space_id, None)

    def indexes(self, space_id: int) -> SpaceIndexes:
        """See `Store.indexes`."""
        with self._guard:
            found = self._load(space_id)
            if found.lost and not self._session.read_only:
                with suppress(IndexBusy, NotWritten, OSError), self._session.writer("rebuilding FAISS files", wait=0):
                    found = self._load(space_id)  # whoever held the lock until now may have rebuilt them
                    if found.lost:
                        self._rebuild(space_id, {kind: found.of(kind).mark for kind in found.lost})
                        found = self._load(space_id)
            self._open[space_id] = found
            return found

    def _load(self, space_id: int) -> SpaceIndexes:
        before = self._open.get(space_id)
        for _ in range(3):
            with self._session.reading() as connection:
                if before is not None and before.version == generations.version(connection, space_id):
                    return before
                read_only = self._session.read_only
                found = generations.load(
                    connection, self.folder, space_id, before, read_only=read_only, wrong=self._wrong
                )
                if not found.lost:
                    return found
            # Between the snapshot and the opening of its files, another process may have put new ones in their place.
            with self._session.reading() as connection:
                if found.version[1] == generations.version(connection, space_id)[1]:
                    return found
        return found

    def build(
        self, space_id: int, kinds: Sequence[Kind], progress: builder.Progress | None = None, after: int = 0
    ) -> list[Generation]:
        """Write files of what was encoded with ``seq > after``, and commit their rows; the caller holds the write lock.

        Raises:
            NotWritten: the operating system refused.
        """
        try:
            with self._session.reading() as connection:
                built = builder.build(connection, self.folder, space_id, kinds, progress, after)
                made = built.files
                kept = folds.to_recheck(connection, space_id, made)
            recipes = [(row.id, builder.rechecked(self.folder, row, made)) for row in kept]
        except OSError as error:
            raise NotWritten(
                f"FAISS files in {self.folder} cannot be written: {os_words(error)}; mend that and run "
                "`interleave-index optimize`"
            ) from error
        with self._session.writing("optimize") as connection:
            generations.commit(connection, made)
            generations.put_recipes(connection, recipes)
            # They are in no file now: without a mark nothing would say so, and passages are encoded by the next ingest.
            checksums.mark(connection, space_id, built.damaged)
            text_writes.drop_vectors(connection, space_id, sorted(built.damaged_passages))
        return made

    def optimize(
        self,
        space_id: int,
        progress: builder.Progress | None,
        kinds: Sequence[Kind] | None = None,
        *,
        anew: bool = False,
    ) -> list[Generation]:
        """See `Store.optimize`; `anew` makes one file of each kind, whatever files there are."""
        made: list[Generation] = []
        with self._session.writer("optimize"):
            wanted = self.kinds(space_id) if kinds is None else tuple(kinds)
            for together in folds.TOGETHER:
                some = [kind for kind in together if kind in wanted]
                if some:
                    after = 0 if anew else self._fold_after(space_id, some)
                    made += self.build(space_id, some, progress, after)
            self.sweep()
        return made

    def publish(self, place: str) -> int:
        """See `Store.publish`."""
        return published.publish(self._session, self.folder, place)

    def fetch(self, place: str, space_id: int) -> published.Fetched:
        """See `Store.fetch`."""
        taken = published.fetch(self._session, self.folder, place, space_id)
        self.sweep()
        return taken

    def _rebuild(self, space_id: int, after: Mapping[Kind, int]) -> None:
        """Make files anew: by kind, what was encoded after the last file before that can be used."""
        for value in sorted(set(after.values())):
            self.build(space_id, [kind for kind in after if after[kind] == value], after=value)

    def _fold_after(self, space_id: int, kinds: Sequence[Kind]) -> int:
        """The value of the counter after which a fold writes all anew; what it leaves is compared with its checksum."""
        with self._session.reading() as connection:
            return folds.after(connection, space_id, kinds, partial(is_as_written, self.folder))

    def kinds(self, space_id: int) -> tuple[Kind, ...]:
        """Kinds of files that this space wants: one for texts only where there are texts, or was a file."""
        with self._session.reading() as connection:
            has_file = any(row.kind == "text" for row in generations.live(connection, space_id))
            return KINDS if has_file or text_reads.count(connection, space_id) else PHOTO_KINDS

    def due(self, space_id: int) -> tuple[Kind, ...]:
        """See `Store.due`."""
        with self._session.reading() as connection:
            return folds.due(connection, space_id)

    def restore(self) -> None:
        """Rebuild files that are gone or short, as far as a cheap check shows, unless somebody is writing just now."""
        if not self._lost():
            return
        with (
            suppress(IndexBusy, NotWritten, OSError, BackendMissing),
            self._session.writer("rebuilding FAISS files", wait=0),
        ):
            lost = self._lost()  # whoever held the lock until now may have put new files in the place of those
            for space_id in sorted({row.space_id for row in lost}):
                first: dict[Kind, int] = {}
                for row in lost:
                    if row.space_id == space_id:
                        first.setdefault(row.kind, row.after)
                self._rebuild(space_id, first)

    def _lost(self) -> list[Generation]:
        with self._session.reading() as connection:
            return [row for row in generations.live(connection) if not looks_right(self.folder, row)]

    def sweep(self) -> None:
        """Remove files that no generation owns, and retired rows, unless somebody is writing just now."""
        with self._session.reading() as connection:
            retired = connection.execute(select(GenerationRow.id).where(*_retired(connection))).first()
            stray = generations.strays(connection, self.folder)
        if not stray and retired is None:
            return
        with suppress(IndexBusy, OSError), self._session.writer("removing old FAISS files", wait=0):
            with self._session.reading() as connection:
                stray = generations.strays(connection, self.folder)
            for path in stray:
                path.unlink(missing_ok=True)
            with self._session.writing("optimize") as connection:
                ids = connection.execute(select(GenerationRow.id).where(*_retired(connection))).scalars().all()
                connection.execute(delete(GenerationFolderRow).where(GenerationFolderRow.generation_id.in_(ids)))
                connection.execute(delete(GenerationRow).where(GenerationRow.id.in_(ids)))


def _retired(connection: Connection) -> list[Any]:
    """SQL conditions: the generation is retired, and its file was in the index folder of the connection."""
    return [GenerationRow.state == "retired", *in_this_folder(connection)]
