"""How a catalog is connected to: the SQLite file, its pragmas, transactions. Knows no tables."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, NullPool, QueuePool, create_engine, event

from ..errors import ConfigError, StorageError

CATALOG = "catalog.sqlite"
PAGE_BYTES = 16384  # a photo's vectors fit one page or two; scans are 1.7 times as fast as with SQLite's 4096
BUSY_MS = 30_000
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
    scheme, separator, rest = text.partition("://")
    if not separator:
        return Path(text).absolute()
    if scheme == "sqlite":
        path = Path(rest.removeprefix("/")).absolute()  # sqlite:///relative, sqlite:////absolute
        return path.parent if path.suffix == ".sqlite" else path
    if scheme.split("+")[0] in ("postgresql", "postgres"):
        raise ConfigError(
            f"index is {scheme}://…, catalogs in PostgreSQL are not supported yet; name a local folder instead"
        )
    raise ConfigError(f"index is {scheme}://…, expected a folder or sqlite:///path/of/folder")


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
