"""An open catalog: its connections, its write lock, and what is remembered until it changes. Knows no rows."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import numpy as np
from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.exc import DBAPIError, IntegrityError

from ..config import shown_index
from ..errors import IndexDamaged, IndexNotFound, StorageError
from ..regular import worded
from . import database, schema
from .lock import WriteLock
from .tables import CatalogRow, PhotoRow

T = TypeVar("T")
REMEMBERED = 64  # answers kept at most
CHANGE = select(CatalogRow.change)  # asked by every query: made once
PHOTOS = select(func.count()).select_from(PhotoRow)
LONG_UPGRADE = 20_000  # photos from which that takes seconds; of a million photos it took 83
_log = logging.getLogger(__name__)


class Catalog(Protocol):
    """Where the rows of an index are: `database.SqliteCatalog` or `postgres.PostgresCatalog`."""

    name: str
    folder: Path
    shown: str
    engine: Engine
    snapshots: Engine

    @property
    def read_only(self) -> bool:
        """Whether nothing can be written."""

    def is_there(self) -> bool:
        """Whether it has been made."""

    def check_folder(self) -> None:
        """Refuse a folder that cannot be that of its index."""

    def take_folder(self) -> None:
        """Tie the folder to the catalog, which has its tables by now."""

    def reading(self) -> AbstractContextManager[Connection]:
        """A connection on one snapshot."""

    def writing(self) -> AbstractContextManager[Connection]:
        """A connection in a transaction that is the only one that writes."""

    def copy_to(self, target: Path) -> None:
        """Write the catalog as of one moment to a new file, as a catalog of SQLite."""

    def version(self) -> str:
        """Name and version of the database, and where it is, in words."""

    def worded(self, error: DBAPIError) -> StorageError:
        """What an error of the database means."""


def catalog_of(name: Path | str) -> Catalog:
    """The catalog that a folder or a URL names; nothing is opened yet.

    Raises:
        ConfigError: the URL cannot be used.
        BackendMissing: the driver of its database is not installed.
    """
    folder = database.folder_of(name)
    if shown_index(name) == os.fspath(name):
        return database.SqliteCatalog(folder)
    from .postgres import PostgresCatalog

    return PostgresCatalog(os.fspath(name))


class Session:
    """Connections to the catalog of one index, shared by threads.

    Args:
        name: the index folder, or the URL of a database.
    Attributes:
        name: by which another session opens the same.
        folder: the index folder, absolute.
    """

    def __init__(self, name: Path | str) -> None:
        self._catalog = catalog_of(name)
        self.name, self.folder = self._catalog.name, self._catalog.folder
        self._lock = WriteLock(self.folder / "writer.lock")
        self._guard = threading.Lock()
        self._here = threading.local()  # the connection of `one_moment`, and the change that it shows
        self._change = -1
        self._answers: dict[Hashable, Any] = {}

    @property
    def read_only(self) -> bool:
        """Whether the folder or its catalog may not be written."""
        with self._worded():
            return self._catalog.read_only

    def find(self, create: bool) -> None:
        """See that there is an index, or that one may be made; see `Store.open` for the errors."""
        with self._worded(), worded(f"index folder {self.folder} cannot be read"):
            there = self._catalog.is_there()
            is_folder = self.folder.is_dir()
            if is_folder:
                self._catalog.check_folder()
        if not there and not create:
            place = self._catalog.shown
            named = place if place == self.name else "URL"
            raise IndexNotFound(f"no index in {place}; `interleave-index ingest FOLDER --index {named}` makes one")
        if not is_folder:
            with worded(f"index folder {self.folder} cannot be made"):
                self.folder.mkdir(parents=True, exist_ok=True)
                self._catalog.check_folder()

    def bring_up_to_date(self) -> None:
        """Make the tables of an empty catalog, or run the migrations that an older one lacks.

        An older catalog that may only be read stays as it is: migrations only ever add tables.
        """
        with self._worded():
            if not (self._is_current() or self.read_only):
                self._migrate()
            with worded(f"index folder {self.folder} cannot be used"):
                self._catalog.take_folder()

    def _is_current(self) -> bool:
        return self._catalog.is_there() and schema.is_current(self._catalog.snapshots, self._catalog.shown)

    def _migrate(self) -> None:
        with self.writer("migrate", wait=30):
            if self._is_current():
                return
            with self.writing("migrate") as connection:
                fresh = schema.stored_revision(connection) is None
                if fresh:
                    schema.create(connection)
                elif connection.execute(PHOTOS).scalar_one() >= LONG_UPGRADE:
                    _log.warning("catalog of %s is brought up to date for this version, once", self._catalog.shown)
            if not fresh:
                schema.upgrade(self._catalog.engine, place=self._catalog.shown)

    def close(self) -> None:
        """Give back every connection."""
        with self._guard:
            self._answers.clear()
        self._catalog.engine.dispose()

    @property
    def is_in_folder(self) -> bool:
        """Whether the catalog is a file of the index folder, and not in a database elsewhere."""
        return isinstance(self._catalog, database.SqliteCatalog)

    def copy_to(self, target: Path) -> None:
        """Write the catalog as of one moment to a new file, as a catalog of SQLite."""
        with self._worded():
            self._catalog.copy_to(target)

    def fill(self, work: Path, finish: Callable[[], None]) -> None:
        """Make the catalog of one in a file of SQLite, which is removed; all of it or nothing.

        Args:
            work: the folder of that file.
            finish: called before the rows are committed; an error of it leaves nothing behind.
        Raises:
            StorageError: the database holds a catalog, or cannot be reached.
        """
        from .transfer import copy_rows

        with self._worded(), self._catalog.writing() as new:
            if schema.stored_revision(new) is not None:
                shown = self._catalog.shown
                raise StorageError(f"{shown} holds a catalog, expected an empty database; nothing was restored")
            schema.create(new)
            with closing(Session(work)) as source:
                source.bring_up_to_date()
                with source.reading() as old:
                    copy_rows(old, new)
            for file in work.glob(f"{database.CATALOG}*"):
                file.unlink()
            finish()

    def version(self) -> str:
        """Name and version of the database, and where it is, in words."""
        with self._worded():
            return self._catalog.version()

    def writer(self, purpose: str, wait: float = 2.0) -> AbstractContextManager[None]:
        """Hold the write lock of the folder; see `WriteLock.held`.

        Raises:
            StorageError: the index may only be read.
        """
        if self.read_only:
            raise StorageError(
                f"index {self._catalog.shown} is read-only for this user ({purpose} has to write to it); "
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
            StorageError: the catalog cannot be used, or may only be read and was changed meanwhile.
        """
        shared = getattr(self._here, "connection", None)
        if shared is not None:
            yield shared
            return
        with self._worded(), self._catalog.reading() as connection:
            yield connection

    @contextmanager
    def writing(self, purpose: str) -> Iterator[Connection]:
        """A connection in a writing transaction, under the write lock; committed when the body ends well."""
        with self.writer(purpose), self._worded(), self._catalog.writing() as connection:
            yield connection

    @contextmanager
    def _worded(self) -> Iterator[None]:
        """Errors of the database as ours; rows that contradict each other are an error of this package."""
        try:
            yield
        except IntegrityError:
            raise
        except DBAPIError as error:
            raise self._catalog.worded(error) from error
        except UnicodeDecodeError as error:  # names of tables and words of the database in which bytes were changed
            raise IndexDamaged(
                f"catalog of {self._catalog.shown} is damaged (it holds text that is not UTF-8); "
                "restore it from a copy, or ingest into a new folder"
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
