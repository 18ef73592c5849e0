"""The catalog and FAISS files of an index that is open: connections, snapshots and the lock of writers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import Connection

from .names import thumbnail_file
from .session import Session
from .text_store import TextStore
from .upkeep import Upkeep


class OpenStore:
    """What every part of a `Store` works with: the session of the catalog and the upkeep of FAISS files."""

    def __init__(self, name: Path | str) -> None:
        self._session = Session(name)
        self.folder = self._session.folder
        self._upkeep = Upkeep(self._session)
        self.texts = TextStore(self._session)

    @classmethod
    def open(cls, name: Path | str, *, create: bool = False) -> Self:
        """Open an index, bringing an older catalog up to date and rebuilding FAISS files that are gone.

        Args:
            name: a folder, ``sqlite:///`` and a folder, or ``postgresql+psycopg://user@host/database?folder=`` and the
                folder of FAISS files and thumbnails on this machine.
            create: make the folder and an empty catalog when there is none.
        A folder or catalog that may not be written is opened for reading: it can be searched, and a method that writes
        is a StorageError.

        Raises:
            IndexNotFound: there is no catalog in the folder or database.
            SchemaTooNew: it was written by a newer version.
            ConfigError: a database that is not supported, a folder of another index, or a network file system.
            IndexDamaged: the file is no catalog.
            StorageError: the database cannot be reached.
        """
        store = cls(name)
        try:
            store._session.find(create)
            store._session.bring_up_to_date()
            if not store.read_only:
                store._upkeep.restore()
                store._upkeep.sweep()
        except BaseException:
            store.close()
            raise
        return store

    @property
    def read_only(self) -> bool:
        """Whether the folder or its catalog may not be written."""
        return self._session.read_only

    @property
    def is_shared(self) -> bool:
        """Whether other machines may write to the catalog, each with an index folder of its own."""
        return not self._session.is_in_folder

    @property
    def name(self) -> str:
        """What opens the same index again; of a database its URL with the password: never show it."""
        return self._session.name

    def copy_catalog(self, target: Path) -> None:
        """Write the catalog as of one moment to a new file, as a catalog of SQLite, while others may go on writing."""
        self._session.copy_to(target)

    def database(self) -> str:
        """Name and version of the catalog's database, and where it is, in words."""
        return self._session.version()

    def close(self) -> None:
        """Give back every connection and mapped file; the store must not be used afterwards."""
        self._upkeep.close()
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def writer(self, purpose: str, wait: float = 2.0) -> AbstractContextManager[None]:
        """Hold the write lock; the same thread may hold it more than once, and every writing method takes it itself.

        Raises:
            IndexBusy: another process still writes after `wait` seconds; the message names it.
        """
        return self._session.writer(purpose, wait)

    def reading(self) -> AbstractContextManager[Connection]:
        """A connection on one snapshot of the catalog, for questions that no method answers; never write by it."""
        return self._session.reading()

    def one_moment(self) -> AbstractContextManager[None]:
        """Let all that this thread reads inside come from one snapshot, by one connection: faster, and consistent.

        What it writes inside is not seen before the end.
        """
        return self._session.one_moment()

    def thumbnail_path(self, sha256: str) -> Path:
        """Where the thumbnail of a content lies, whether it is there or not."""
        return thumbnail_file(self.folder / "thumbnails", sha256)

    def _gone(self, shas: Sequence[str]) -> int:
        for sha in shas:
            with suppress(OSError):  # the catalog is right already; a thumbnail that stays does no harm
                self.thumbnail_path(sha).unlink(missing_ok=True)
        return len(shas)
