"""An open catalog: its connections, its write lock, and what is remembered until it changes. Knows no rows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from sqlalchemy import Connection, select
from sqlalchemy.exc import DatabaseError, IntegrityError, OperationalError

from ..errors import IndexDamaged, IndexNotFound, StorageError
from . import database, schema
from .lock import WriteLock
from .tables import CatalogRow

T = TypeVar("T")
REMEMBERED = 64  # answers kept at most
CHANGE = select(CatalogRow.change)  # asked by every query: made once


class Session:
    """Connections to the catalog of one folder, shared by threads.

    Args:
        folder: the index folder, absolute.
    Attributes:
        read_only: the folder or its catalog may not be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.read_only = database.may_not_be_written(folder)
        self._engine = database.connect(folder, read_only=self.read_only)
        self._lock = WriteLock(folder / "writer.lock")
        self._guard = threading.Lock()
        self._here = threading.local()  # the connection of `one_moment`, and the change that it shows
        self._change = -1
        self._answers: dict[Hashable, Any] = {}

    @staticmethod
    def place(folder: Path | str, create: bool) -> Path:
        """The folder of an index that is there or may be made; see `Store.open` for the errors."""
        place = database.folder_of(folder)
        if not create and not (place / database.CATALOG).is_file():
            raise IndexNotFound(f"no index in {place}; `interleave-index ingest FOLDER --index {place}` makes one")
        place.mkdir(parents=True, exist_ok=True)
        database.refuse_network(place)
        return place

    def bring_up_to_date(self) -> None:
        """Make the tables of an empty catalog, or run the migrations that an older one lacks.

        An older catalog that may only be read stays as it is: migrations only ever add tables.

        Raises:
            IndexDamaged: the catalog is empty, but the index is not.
        """
        self._refuse_emptied()
        with self._worded():
            is_current = (self.folder / database.CATALOG).is_file() and schema.is_current(self._engine, self.folder)
        if is_current or self.read_only:
            return
        with self.writer("migrate", wait=30), self._worded():
            if schema.is_current(self._engine, self.folder):
                return
            with self.writing("migrate") as connection:
                fresh = schema.stored_revision(connection) is None
                if fresh:
                    schema.create(connection)
            if not fresh:
                schema.upgrade(self._engine)

    def _refuse_emptied(self) -> None:
        """A catalog of 0 bytes is that of a new index only where nothing else of an index lies beside it."""
        catalog = self.folder / database.CATALOG
        beside = [name for name in ("thumbnails", "faiss", "config.yaml") if (self.folder / name).exists()]
        if catalog.is_file() and catalog.stat().st_size == 0 and (beside or self.read_only):
            raise IndexDamaged(
                f"catalog of {self.folder} is empty (0 bytes), but an index was here; "
                f"restore {database.CATALOG} from a copy, or ingest into a new folder"
            )

    def close(self) -> None:
        """Give back every connection."""
        with self._guard:
            self._answers.clear()
        self._engine.dispose()

    def writer(self, purpose: str, wait: float = 2.0) -> AbstractContextManager[None]:
        """Hold the write lock; see `WriteLock.held`.

        Raises:
            StorageError: the index may only be read.
        """
        if self.read_only:
            raise StorageError(
                f"index {self.folder} is read-only for this user ({purpose} has to write to it); "
                "change its permissions, or copy it to a folder that may be written"
            )
        return self._lock.held(purpose, wait)

    @contextmanager
    def one_moment(self) -> Iterator[None]:
        """Let every `reading` of this thread inside see the same snapshot, by one connection."""
        if getattr(self._here, "connection", None) is not None:
            yield
            return
        with self.reading() as connection:
            self._here.connection, self._here.change = connection, None
            try:
                yield
            finally:
                self._here.connection = None

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection on one snapshot of the catalog: that of `one_moment`, inside one.

        Raises:
            StorageError: the index may only be read, and another process changed it meanwhile.
        """
        shared = getattr(self._here, "connection", None)
        if shared is not None:
            yield shared
            return
        still = database.unchanging(self.folder) if self.read_only else nullcontext()
        with still, self._worded(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self, purpose: str) -> Iterator[Connection]:
        """A connection in a writing transaction, under the write lock; committed when the body ends well."""
        with (
            self.writer(purpose),
            self._worded(),
            self._engine.connect().execution_options(interleave_write=True) as connection,
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def _worded(self) -> Iterator[None]:
        """Errors of the database as ours: a full disk or a lock as StorageError, a broken file as IndexDamaged."""
        try:
            yield
        except OperationalError as error:
            if self.read_only:
                raise StorageError(
                    f"index {self.folder} is read-only and was not closed, so that its journal cannot be read "
                    f"({error.orig}); let somebody who may write open it once, such as by `interleave-index status`"
                ) from error
            raise StorageError(
                f"catalog of {self.folder} cannot be used just now ({error.orig}); see that the disk is "
                "neither full nor read-only and that no other program holds the file"
            ) from error
        except IntegrityError:
            raise
        except DatabaseError as error:
            raise IndexDamaged(
                f"catalog of {self.folder} is damaged ({error.orig}); `interleave-index verify` says "
                "more; restore it from a copy, or ingest into a new folder"
            ) from error

    def _change_of(self, connection: Connection) -> int:
        """The number of the change that a snapshot shows; asked once in `one_moment`."""
        shared = getattr(self._here, "connection", None) is connection
        if shared and self._here.change is not None:
            return cast(int, self._here.change)
        change = int(connection.execute(CHANGE).scalar_one())
        if shared:
            self._here.change = change
        return change

    def remembered(self, key: Hashable, read: Callable[[Connection], T]) -> T:
        """What `read` gives, kept until the next transaction that changes the catalog, by whatever process."""
        with self.reading() as connection:
            change = self._change_of(connection)
            with self._guard:
                if change > self._change:
                    self._change = change
                    self._answers.clear()
                if change == self._change and key in self._answers:
                    return cast(T, self._answers[key])
            made = read(connection)
        if isinstance(made, np.ndarray):
            made.setflags(write=False)
        with self._guard:
            if change == self._change:
                while len(self._answers) >= REMEMBERED:
                    self._answers.pop(next(iter(self._answers)))
                self._answers[key] = made
        return made
