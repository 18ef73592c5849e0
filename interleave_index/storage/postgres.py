"""How a catalog in PostgreSQL is connected to: transactions, its one lock, what its errors mean. Knows no tables.

Any number of machines may use one catalog, each with an index folder of its own for FAISS files and thumbnails. A
writing transaction takes an advisory lock when it begins, as SQLite takes the lock of its file: writers follow each
other, one short transaction at a time, and each sees all that those before it wrote. Readers see one snapshot and
wait for nobody. The lock ends with the transaction, and that with its connection, however the process ends.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError

from ..config import FOLDER, POSTGRESQL, index_folder, shown_index
from ..errors import BackendMissing, ConfigError, IndexBusy, IndexDamaged, StorageError
from ..whole_files import replaced
from .database import CATALOG, MARKER

LOCK = 0x696E7465726C6561  # any number will do; locks belong to one database
WAIT_MS = 30_000  # for another writer's transaction
CONNECT_S = 15
# A machine that lost its power must not hold the lock for the hours that TCP waits for it.
SERVER = "-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3 -c timezone=UTC"
IDLE_MS = 300_000  # that a writing transaction may do nothing
BEGIN_WRITING = text(
    f"SELECT set_config('lock_timeout', '{WAIT_MS}', true), "
    f"set_config('idle_in_transaction_session_timeout', '{IDLE_MS}', true), pg_advisory_xact_lock({LOCK})"
)
HOLDER = text(
    "SELECT activity.application_name, date_trunc('second', activity.xact_start) "
    "FROM pg_locks AS lock JOIN pg_stat_activity AS activity USING (pid) "
    "WHERE lock.locktype = 'advisory' AND lock.granted AND activity.datname = current_database() "
    f"AND lock.classid = {LOCK >> 32} AND lock.objid = {LOCK & 0xFFFFFFFF}"
)
MAY_WRITE = text("SELECT NOT pg_is_in_recovery() AND has_table_privilege('catalog', 'UPDATE')")
LOCK_TIMEOUT, DATA_CORRUPTED = "55P03", ("XX001", "XX002")  # SQLSTATE


class PostgresCatalog:
    """The catalog in a database of PostgreSQL, with the index folder of this machine.

    Args:
        name: URL of the database, with ``folder=`` among its options.
    Attributes:
        folder: the index folder, absolute.
        shown: the database for messages, without user, password and options.
        engine: for writing; transactions see what is committed.
        snapshots: for reading; each transaction sees the catalog as of its beginning.
    Raises:
        ConfigError: the URL cannot be used.
        BackendMissing: psycopg is not installed.
    """

    def __init__(self, name: str) -> None:
        self.name, self.folder, self.shown = name, index_folder(name), shown_index(name)
        self._key = read_marker(self.folder)[FOLDER] if (self.folder / MARKER).exists() else ""
        self.engine = _engine(name, self.shown)
        self.snapshots: Engine = self.engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )

    @cached_property
    def read_only(self) -> bool:
        """Whether the folder may not be written, or this user may not write to the database, or nobody may."""
        if self.folder.is_dir() and not os.access(self.folder, os.W_OK):
            return True
        with self.snapshots.connect() as connection:
            return self._has_tables(connection) and not connection.execute(MAY_WRITE).scalar_one()

    def is_there(self) -> bool:
        """Whether the database holds a catalog."""
        with self.snapshots.connect() as connection:
            encoding = connection.execute(text("SHOW server_encoding")).scalar_one()
            if encoding != "UTF8":
                raise ConfigError(
                    f"database {self.shown} has the encoding {encoding}, expected UTF8, which holds every file name; "
                    "make one by `createdb --encoding UTF8 --template template0 NAME`"
                )
            return self._has_tables(connection)

    @staticmethod
    def _has_tables(connection: Connection) -> bool:
        return bool(connection.dialect.has_table(connection, "catalog"))

    def check_folder(self) -> None:
        """Refuse a folder that is that of an index in SQLite.

        Raises:
            ConfigError: it is.
        """
        if (self.folder / CATALOG).exists():
            raise ConfigError(
                f"folder {self.folder} is an index of its own ({CATALOG}), expected a new folder for the FAISS files "
                f"of {self.shown}; `interleave-index backup` and `restore` move an index into a database"
            )

    def take_folder(self) -> None:
        """Tie the index folder to this catalog, and learn by which key the catalog knows it.

        Raises:
            ConfigError: the folder belongs to another catalog.
        """
        with self.reading() as connection:
            made_at = connection.execute(text("SELECT created_at FROM catalog")).scalar_one().isoformat()
        marker = self.folder / MARKER
        if not marker.exists():
            if self.read_only:
                return
            with replaced(marker) as draft:
                draft.write_text(json.dumps({FOLDER: uuid.uuid4().hex, "catalog": self.shown, "made_at": made_at}))
        kept = read_marker(self.folder)
        if kept["made_at"] != made_at:
            raise ConfigError(
                f"folder {self.folder} belongs to the catalog {kept['catalog']} made at {kept['made_at']}, not to "
                f"{self.shown} made at {made_at}; name another folder"
            )
        self._key = kept[FOLDER]

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection on one snapshot of the catalog."""
        with self.snapshots.connect() as connection, connection.begin():
            yield connection.execution_options(interleave_folder=self._place)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A connection in a transaction that has the writers' lock; committed when the body ends well."""
        with self.engine.connect().execution_options(interleave_write=True) as connection, connection.begin():
            yield connection.execution_options(interleave_folder=self._place)

    @property
    def _place(self) -> tuple[str, str]:
        """Key of the index folder, and its place for people."""
        return self._key, f"{socket.gethostname()}:{self.folder}"

    def copy_to(self, target: Path) -> None:
        """Write the catalog as of one moment to a new file, as a catalog of SQLite."""
        from .transfer import copy_to_file

        with self.reading() as connection:
            copy_to_file(connection, target)

    def version(self) -> str:
        """Name and version of the database, and where it is, in words."""
        with self.snapshots.connect() as connection:
            number = str(connection.execute(text("SHOW server_version")).scalar_one()).split()[0]
        return f"PostgreSQL {number}, {self.shown}"

    def worded(self, error: DBAPIError) -> StorageError:
        """What an error of the database means, in the words of this package."""
        said, state = _first_line(error), getattr(error.orig, "sqlstate", None)
        if state == LOCK_TIMEOUT:
            return IndexBusy(f"cannot write to the catalog {self.shown}: {self._holder()} is writing; wait for it")
        if state in DATA_CORRUPTED:
            return IndexDamaged(f"catalog {self.shown} is damaged ({said}); restore a backup into a new database")
        if isinstance(error, OperationalError | InterfaceError):
            return StorageError(
                f"catalog {self.shown} cannot be reached just now ({said}); see that the server runs and lets this "
                "user in; what was committed is kept, so run this again"
            )
        return StorageError(f"catalog {self.shown} refused a statement ({said}); nothing of its transaction is kept")

    def _holder(self) -> str:
        with suppress(SQLAlchemyError), self.snapshots.connect() as connection:
            found = connection.execute(HOLDER).first()
            if found is not None:
                return f"{found[0] or 'another program'} (since {found[1]})"
        return "another process"


def read_marker(folder: Path) -> dict[str, str]:
    """What an index folder says of its catalog: key of the folder, the catalog for people, and when it was made.

    Raises:
        IndexDamaged: it cannot be read.
    """
    try:
        kept = json.loads((folder / MARKER).read_text("utf-8"))
        return {name: str(kept[name]) for name in (FOLDER, "catalog", "made_at")}
    except (ValueError, KeyError, TypeError) as error:
        raise IndexDamaged(
            f"{folder / MARKER} cannot be read ({error}); remove it, and the folder's FAISS files are made anew"
        ) from error


def _engine(name: str, shown: str) -> Engine:
    try:
        url = make_url(name).set(drivername=POSTGRESQL[0])
    except (SQLAlchemyError, ValueError):  # their words hold what was given, which may be a password
        raise ConfigError(
            f"index {shown} is no URL of a database, expected {POSTGRESQL[0]}://user@host:port/database?{FOLDER}=/path/of/folder"
        ) from None
    here = {"connect_timeout": CONNECT_S, "application_name": _program(), "options": SERVER}
    options = here | {key: value for key, value in url.query.items() if key != FOLDER}
    try:
        # A connection that died while it was not used, as when the server was started anew, is replaced unseen.
        engine = create_engine(url.set(query={}), connect_args=options, pool_pre_ping=True)
    except ImportError as error:
        raise BackendMissing(
            f"psycopg cannot be imported ({error}), a catalog in PostgreSQL needs it; "
            "install interleave-index[postgres]"
        ) from error
    event.listen(engine, "begin", _begin)
    # It warns, beside the error that it raises, that a lost connection could not be closed in order.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    return engine


def _program() -> str:
    """By what name the server lists this process; it keeps 63 bytes."""
    return f"interleave-index, process {os.getpid()} on {socket.gethostname()}"[:63]


def _begin(connection: Connection) -> None:
    if connection.get_execution_options().get("interleave_write", False):
        connection.execute(BEGIN_WRITING)


def _first_line(error: DBAPIError) -> str:
    lines = str(error.orig).strip().splitlines() or [type(error.orig).__name__]
    return lines[0].strip()
