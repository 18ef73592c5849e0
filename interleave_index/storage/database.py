"""How a catalog is connected to: the SQLite file, its pragmas, transactions. Knows no tables."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, NullPool, QueuePool, create_engine, event
from sqlalchemy.exc import DBAPIError, OperationalError

from ..config import FOLDER, index_folder
from ..errors import ConfigError, IndexDamaged, StorageError

CATALOG = "catalog.sqlite"
MARKER = "catalog.json"  # in the index folder of a catalog in another database: which one it belongs to
PAGE_BYTES = 16384  # a photo's vectors fit one page or two; scans are 1.7 times as fast as with SQLite's 4096
BUSY_MS = 30_000
NO_TEXT = "Could not decode to UTF-8"  # what Python says of a text in which a byte was changed
NETWORK = {
    "nfs",
    "nfs3",
    "nfs4",
    "cifs",
    "smb",
    "smb2",
    "smb3",
    "smbfs",
    "ncpfs",
    "afs",
    "9p",
    "ceph",
    "glusterfs",
    "lustre",
    "beegfs",
    "gpfs",
    "fuse.sshfs",
    "fuse.glusterfs",
    "fuse.ceph",
    "fuse.s3fs",
    "fuse.rclone",
    "fuse.gcsfuse",
    "davfs",
    "fuse.davfs2",
}


def folder_of(place: Path | str) -> Path:
    """The index folder that a path or database URL names.

    Raises:
        ConfigError: the URL is of a database that is not supported.
    """
    text = os.fspath(place)
    if text.startswith("sqlite://"):
        path = Path(
            text.removeprefix("sqlite://").removeprefix("/")
        ).absolute()  # sqlite:///relative, sqlite:////absolute
        return path.parent if path.suffix == ".sqlite" else path
    return index_folder(text)


def filesystem_of(folder: Path, mounts: str | None = None) -> str:
    """Type of the file system that holds this folder, such as ``ext4``; empty when it cannot be found out.

    Args:
        mounts: text in the form of /proc/mounts; read from the system when None.
    """
    if mounts is None:
        if not sys.platform.startswith("linux"):
            return ""
        mounts = Path("/proc/self/mounts").read_text("utf-8", "surrogateescape")
    real, best, found = os.path.realpath(folder), -1, ""
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) < 3:
            continue
        mount = fields[1].replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
        inside = real == mount or real.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= best:
            best, found = len(mount), fields[2]
    return found


def refuse_network(folder: Path, mounts: str | None = None) -> None:
    """Raise ConfigError when the folder lies on a network file system, where SQLite's write-ahead log can corrupt."""
    kind = filesystem_of(folder, mounts)
    if kind in NETWORK:
        raise ConfigError(
            f"index folder {folder} lies on a network file system ({kind}); the catalog's write-ahead log needs "
            "memory shared between processes of one machine; put the index on a local disk, photos may stay remote"
        )


def may_not_be_written(folder: Path) -> bool:
    """Whether the folder holds a catalog and this process may write to the one or the other not."""
    catalog = folder / CATALOG
    return catalog.is_file() and not (os.access(folder, os.W_OK) and os.access(catalog, os.W_OK))


def _read_only_address(catalog: Path) -> str:
    """How SQLite opens a catalog without making files beside it.

    Its journal has to be read as well while it is there. Without one, nobody has the catalog open for writing, so that
    it can be read as a file that does not change, until somebody opens it for writing; see `connect`.
    """
    return f"file:{quote(os.fsencode(catalog))}?mode=ro{'' if _has_journal(catalog) else '&immutable=1'}"


def reading_address(folder: Path) -> str:
    """How SQLite opens the catalog of a folder for reading only, while others may write."""
    if may_not_be_written(folder):
        return _read_only_address(folder / CATALOG)
    return f"file:{quote(os.fsencode(folder / CATALOG))}?mode=ro"


def _has_journal(catalog: Path) -> bool:
    return any(os.path.exists(f"{catalog}{suffix}") for suffix in ("-wal", "-shm"))


@contextmanager
def unchanging(folder: Path) -> Iterator[None]:
    """Refuse what was read without locks while another process wrote to the catalog.

    Raises:
        StorageError: the file was changed in place during the body; whatever the body read or raised is void.
    """
    catalog = folder / CATALOG
    if _has_journal(catalog):  # locks keep readers and writers apart
        yield
        return
    before = _state(catalog)
    try:
        yield
    finally:
        after = _state(catalog)
        if before[:2] == after[:2] and before != after:  # a file that was put in its place leaves the old one whole
            raise StorageError(f"catalog of {folder} was changed by another process while it was read; ask again")


def _state(file: Path) -> tuple[int, ...]:
    """Device, inode, size and time of a file, by which a change shows; empty when it is gone."""
    try:
        facts = os.stat(file)
    except FileNotFoundError:
        return ()
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns


def connect(folder: Path, *, read_only: bool = False) -> Engine:
    """Engine on the catalog of an index folder; nothing is opened until the first connection.

    Transactions are real ones: reads see one snapshot, and a connection with the execution option
    ``interleave_write`` takes SQLite's write lock when it begins. A reader that may not write is connected anew for
    each transaction: a connection to a file that does not change would stay at the state that it first read.
    """

    def open_file() -> sqlite3.Connection:
        catalog = folder / CATALOG
        return sqlite3.connect(
            _read_only_address(catalog) if read_only else catalog,
            uri=read_only,
            isolation_level=None,
            check_same_thread=False,
            timeout=BUSY_MS / 1000,
            cached_statements=256,
        )

    engine = create_engine("sqlite://", creator=open_file, poolclass=NullPool if read_only else QueuePool)
    event.listen(engine, "connect", _set_up_for_reading if read_only else _set_up)
    event.listen(engine, "begin", _begin)
    return engine


def _set_up(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in (
        f"page_size = {PAGE_BYTES}",
        "journal_mode = WAL",
        "synchronous = NORMAL",
        "foreign_keys = ON",
        f"busy_timeout = {BUSY_MS}",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _set_up_for_reading(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in ("query_only = ON", f"busy_timeout = {BUSY_MS}"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("interleave_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


class SqliteCatalog:
    """The file `catalog.sqlite` of an index folder.

    Attributes:
        name: by which it is opened again.
        folder: the index folder, absolute.
        shown: the folder, for messages.
        read_only: the folder or the file may not be written.
        engine, snapshots: its connections; a transaction sees the catalog as of its beginning.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = self.shown = os.fspath(folder)
        self.read_only = may_not_be_written(folder)
        self.engine = self.snapshots = connect(folder, read_only=self.read_only)

    def is_there(self) -> bool:
        """Whether there is such a file."""
        return (self.folder / CATALOG).is_file()

    def check_folder(self) -> None:
        """Refuse a folder in which a catalog is not safe, or whose catalog is lost or elsewhere.

        Raises:
            ConfigError: it lies on a network file system, or belongs to a catalog in another database.
            IndexDamaged: the file is empty, but the index is not.
        """
        refuse_network(self.folder)
        if (self.folder / MARKER).exists() and not self.is_there():
            raise ConfigError(
                f"folder {self.folder} keeps the FAISS files of a catalog in a database ({MARKER} says which); name "
                f"the URL of that database, with ?{FOLDER}={self.folder}"
            )
        beside = [name for name in ("thumbnails", "faiss", "config.yaml") if (self.folder / name).exists()]
        catalog = self.folder / CATALOG
        # A catalog of 0 bytes is that of a new index only where nothing else of an index lies beside it.
        if catalog.is_file() and catalog.stat().st_size == 0 and (beside or self.read_only):
            raise IndexDamaged(
                f"catalog of {self.folder} is empty (0 bytes), but an index was here; "
                f"restore {CATALOG} from a copy, or ingest into a new folder"
            )

    def take_folder(self) -> None:
        """Nothing: the catalog lies in its folder."""

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection on one snapshot of the catalog.

        Raises:
            StorageError: the index may only be read, and another process changed it meanwhile.
        """
        still = unchanging(self.folder) if self.read_only else nullcontext()
        with still, self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A connection in a transaction that has SQLite's write lock; committed when the body ends well."""
        with self.engine.connect().execution_options(interleave_write=True) as connection, connection.begin():
            yield connection

    def copy_to(self, target: Path) -> None:
        """Write the catalog as of one moment to a new file.

        Raises:
            StorageError: the disk is full, or a lock in the way.
            IndexDamaged: the catalog is damaged.
        """
        source = self.folder / CATALOG
        try:
            live = sqlite3.connect(reading_address(self.folder), uri=True)
            with closing(live), closing(sqlite3.connect(target)) as copy:
                # In one step: SQLite begins a copy in several ones anew whenever another process has written between.
                live.backup(copy, pages=-1)
                copy.execute("PRAGMA journal_mode = DELETE")
                (said,) = copy.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.OperationalError as error:  # a full disk or a lock, which says nothing against the catalog
            raise StorageError(f"catalog {source} cannot be copied to {target.parent.parent}: {error}") from error
        except sqlite3.DatabaseError as error:
            said = str(error)
        if said != "ok":
            report = " ".join(str(said).split())  # SQLite's has several lines
            raise IndexDamaged(f"catalog {source} cannot be copied: {report}; `interleave-index verify` says more")

    def version(self) -> str:
        """Name and version of the database, and where it is, in words."""
        return f"SQLite {sqlite3.sqlite_version}, {self.folder / CATALOG}"

    def worded(self, error: DBAPIError) -> StorageError:
        """What an error of the database means: a full disk or a lock is a StorageError, a broken file IndexDamaged."""
        if not isinstance(error, OperationalError) or NO_TEXT in str(error.orig):
            return IndexDamaged(
                f"catalog of {self.folder} is damaged ({error.orig}); `interleave-index verify` says "
                "more; restore it from a copy, or ingest into a new folder"
            )
        if self.read_only:
            return StorageError(
                f"index {self.folder} is read-only and was not closed, so that its journal cannot be read "
                f"({error.orig}); let somebody who may write open it once, such as by `interleave-index status`"
            )
        return StorageError(
            f"catalog of {self.folder} cannot be used just now ({error.orig}); see that the disk is "
            "neither full nor read-only and that no other program holds the file"
        )
