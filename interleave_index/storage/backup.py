"""An index in one file and back: the catalog as of one moment, the thumbnails, the settings. Knows files and SQLite.

The catalog in a backup is one of SQLite, whatever database it comes from, and goes back into either.

A backup is a plain tar file: `backup.json` with the schema and the hash of the catalog, `catalog.sqlite`, the settings,
and the thumbnails. FAISS files are not in it, for the next open makes them from the catalog. It is made while others
search and write: what is copied is the state of one moment.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from ..errors import IndexDamaged, InputError, StorageError
from ..regular import sha256_of, worded
from . import database, schema
from .session import Session

MANIFEST = "backup.json"
FORM = 1  # of what `backup.json` says
THUMBNAILS = "thumbnails"
LARGEST_MANIFEST = 1 << 20

Progress = Callable[[int, int], None]  # thumbnails done, thumbnails in all


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup holds: when it was made, schema and sha256 of its catalog, numbers of photos and thumbnails."""

    made_at: str
    revision: str
    catalog_sha256: str
    photos: int
    thumbnails: int
    form: int = FORM


def write_backup(
    folder: Path, file: Path, copy_catalog: Callable[[Path], None], progress: Progress | None = None
) -> Backup:
    """Write a backup of an index to a new file; the caller gives it its final name.

    Args:
        folder: of the index: settings and thumbnails are taken from there.
        copy_catalog: writes the catalog as of one moment to a new file, as one of SQLite.
    Raises:
        StorageError: it cannot be written.
        IndexDamaged: the catalog is damaged.
    """
    with (
        worded(f"backup cannot be written to {file.parent}"),
        tempfile.TemporaryDirectory(dir=file.parent, prefix=".interleave-backup-") as work,
    ):
        catalog = Path(work) / database.CATALOG
        copy_catalog(catalog)
        thumbnails = sorted(_thumbnails(folder / THUMBNAILS))
        with closing(sqlite3.connect(catalog)) as connection:
            photos = int(connection.execute("SELECT count(*) FROM photo").fetchone()[0])
            revision = str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])
        made_at = datetime.now(UTC).replace(microsecond=0).isoformat()
        about = Backup(made_at, revision, sha256_of(catalog), photos, len(thumbnails))
        manifest = Path(work) / MANIFEST
        manifest.write_text(json.dumps(asdict(about)), "utf-8")
        with tarfile.open(file, "w", format=tarfile.PAX_FORMAT) as tar:
            tar.add(manifest, MANIFEST)
            tar.add(catalog, database.CATALOG)
            for settings in sorted(folder.glob("config*.yaml")):
                tar.add(settings, settings.name, recursive=False)
            for number, path in enumerate(thumbnails, 1):
                try:
                    tar.add(path, f"{THUMBNAILS}/{path.parent.name}/{path.name}", recursive=False)
                except FileNotFoundError:  # it was forgotten just now; the catalog in the backup may still name it
                    continue
                if progress is not None:
                    progress(number, len(thumbnails))
    with file.open("rb+") as written:
        os.fsync(written.fileno())
    return about


def _thumbnails(folder: Path) -> Iterator[Path]:
    """Thumbnails of a folder: files of 64 hexadecimal digits in folders of their first two."""
    if folder.is_dir():
        yield from folder.glob("[0-9a-f][0-9a-f]/*.jpg")


def read_manifest(file: Path) -> Backup:
    """What a backup says of itself.

    Raises:
        InputError: it is no backup, or one of a newer form.
        OSError: it cannot be read.
    """
    try:
        with tarfile.open(file, "r:") as tar:
            first = tar.next()
            held = tar.extractfile(first) if first is not None and first.name == MANIFEST and first.isfile() else None
            if first is None or held is None or first.size > LARGEST_MANIFEST:
                raise InputError(f"{file} is no backup of an index, expected one that `interleave-index backup` wrote")
            values = json.loads(held.read())
            form = values.get("form")
            if form != FORM:
                raise InputError(f"backup {file} has form {form}, this version knows {FORM}; use a newer one")
            return Backup(**values)
    except (tarfile.TarError, ValueError, TypeError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{file} is no backup of an index, or a damaged one: {error}") from error


def restore_backup(file: Path, name: Path | str, progress: Progress | None = None) -> Backup:
    """Make an index in a folder that holds none, or in an empty database, from a backup; all of it or nothing.

    Args:
        name: the folder, or the URL of the database with that folder; the folder does not exist, or is empty.
    Raises:
        InputError: the file is no backup, or holds what no backup holds.
        StorageError: the folder or the database is not empty, or the database cannot be reached.
        IndexDamaged: the catalog in the backup is not the one that was written.
    """
    about, session = read_manifest(file), Session(name)
    folder = session.folder
    if about.revision not in schema.REVISIONS:
        raise InputError(f"backup {file} has schema {about.revision}, this version knows up to {schema.REVISIONS[-1]}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StorageError(f"{folder} is not empty, expected a new or empty folder; nothing was restored")
    with worded(f"backup cannot be restored to {folder}"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".interleave-restore-"))
    try:
        with worded(f"backup cannot be restored to {folder}"):
            _unpack(file, work, about, progress)
        catalog = work / database.CATALOG
        if not catalog.is_file() or sha256_of(catalog) != about.catalog_sha256:
            raise IndexDamaged(f"catalog in {file} is not the one that was written; take another backup")
        with worded(f"backup cannot be restored to {folder}"):
            os.chmod(work, 0o777 & ~_umask(work))
            if session.is_in_folder:
                _put_in_place(work, folder)
            else:
                session.fill(work, lambda: _put_in_place(work, folder))
    except BaseException:
        # Once the work is in its place, only the rows can be missing: the database went away before it kept them.
        shutil.rmtree(work if work.exists() else folder, ignore_errors=True)
        raise
    finally:
        session.close()
    return about


def _put_in_place(work: Path, folder: Path) -> None:
    if folder.exists():
        folder.rmdir()
    os.replace(work, folder)


def _umask(folder: Path) -> int:
    """The process's mask for new files, as a new folder shows it, since asking for it would change it for a moment."""
    probe = folder / ".mask"
    probe.mkdir()
    mode = probe.stat().st_mode & 0o777
    probe.rmdir()
    return 0o777 & ~mode


def _unpack(file: Path, work: Path, about: Backup, progress: Progress | None) -> None:
    """Write the members of a backup; names that no backup has are refused."""
    done = 0
    try:
        with tarfile.open(file, "r:") as tar:
            for member in tar:
                if member.name == MANIFEST:
                    continue
                if not member.isfile() or not _belongs(member.name):
                    raise InputError(f"{file} holds {member.name!r}, which no backup of an index does")
                target = work / member.name
                target.parent.mkdir(parents=True, exist_ok=True)
                source = tar.extractfile(member)
                if source is None:
                    raise InputError(f"{member.name!r} in {file} cannot be read")
                with source, target.open("wb") as written:
                    shutil.copyfileobj(source, written, 1 << 20)
                if progress is not None and member.name.startswith(THUMBNAILS):
                    done += 1
                    progress(done, about.thumbnails)
    except tarfile.TarError as error:
        raise InputError(f"backup {file} is cut off or damaged: {error}") from error


def _belongs(name: str) -> bool:
    """Whether a backup has a member of this name.

    >>> [_belongs(name) for name in ("catalog.sqlite", "config-2.yaml", "thumbnails/ab/ab12.jpg", "../x", "faiss/x")]
    [True, True, True, False, False]
    """
    if name == database.CATALOG:
        return True
    parts = name.split("/")
    if len(parts) == 1:
        return name.startswith("config") and name.endswith(".yaml")
    return len(parts) == 3 and parts[0] == THUMBNAILS and parts[1].isalnum() and parts[2].removesuffix(".jpg").isalnum()
