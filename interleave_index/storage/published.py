"""FAISS files in a folder that several machines reach: put there by one, taken from there by others. Knows no photo.

A file is named there by its checksum, and which files are live says the catalog alone: what lies in that folder is
never listed and never believed. A file that is taken is copied beside the others of this machine, since it is mapped
into memory, and gets a name there when its copy has the checksum that the catalog has; so what was put there by halves,
or was changed, is as good as not there. Files are taken as a whole of one machine, from the first mark to the last, and
only while they are live: what was removed after their marks is still in the catalog then.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .. import remote
from ..errors import ConfigError, IndexDamaged, StorageError
from ..paths import is_url, user_path
from ..regular import os_words, sha256_of
from ..whole_files import replaced
from . import checked, folds, generations
from .files import TEMPORARY, Generation, Kind, is_as_written
from .files import publish as give_name
from .session import Session
from .statements import folder_key


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was taken from a folder of published files.

    Attributes:
        files: that were copied and are searched from now on.
        refused: names of those that are there and are not what the catalog says.
    """

    files: tuple[Generation, ...] = ()
    refused: tuple[str, ...] = ()


def publish(session: Session, folder: Path, place: str) -> int:
    """Copy the live files of this machine to a folder or URL, where they do not lie there yet; gives how many.

    Raises:
        IndexDamaged: a file is not what it was written as.
        StorageError, RemoteError: it cannot be written there.
    """
    place = user_path(place)
    with session.reading() as connection:
        rows = generations.live(connection)
    copied = 0
    for row in rows:
        target = _named(place, row)
        if _size(target) == row.bytes:
            continue
        if not is_as_written(folder, row):
            raise IndexDamaged(f"FAISS file {folder / row.file} is damaged; `interleave-index repair --apply` mends it")
        _put(folder / row.file, target)
        copied += 1
    return copied


def fetch(session: Session, folder: Path, place: str, space_id: int) -> Fetched:
    """Take files that another machine published and that hold more than those of this one.

    Args:
        folder: of the FAISS files of this machine.
    Raises:
        ConfigError: the catalog has the files of one machine only.
        StorageError, RemoteError: the place cannot be read, or the folder not be written.
    """
    with session.reading() as connection:
        has_one_folder = folder_key(connection) is None
    if has_one_folder:
        raise ConfigError(
            "FAISS files of another machine are asked for, but the catalog is in a folder, which has one; "
            "expected a catalog in PostgreSQL"
        )
    taken: list[Generation] = []
    refused: list[str] = []
    with session.writer("taking FAISS files"):
        for kinds in folds.TOGETHER:
            for chain in _newer(session, space_id, kinds):
                copies, wrong = _copies(chain, folder, user_path(place))
                refused += wrong
                if copies and _commit(session, chain, copies):
                    taken += copies
                    break
                for copy in copies:
                    (folder / copy.file).unlink(missing_ok=True)
    return Fetched(tuple(taken), tuple(dict.fromkeys(refused)))


def _newer(session: Session, space_id: int, kinds: Sequence[Kind]) -> list[list[Generation]]:
    """Files of other machines, those of one machine together, that reach further than those here; furthest first."""
    with session.reading() as connection:
        here = _reach(generations.live(connection, space_id), kinds)
        others = generations.live_elsewhere(connection, space_id)
    chains = [[row for row in rows if row.kind in kinds] for rows in others]
    newer = [chain for chain in chains if _reach(chain, kinds) > here]
    return sorted(newer, key=lambda chain: -_reach(chain, kinds))


def _reach(rows: Sequence[Generation], kinds: Sequence[Kind]) -> int:
    """The counter up to which files of all these kinds hold what was encoded; 0 where one kind has none."""
    return min(max((row.mark for row in rows if row.kind == kind), default=0) for kind in kinds)


def _copies(chain: Sequence[Generation], folder: Path, place: str) -> tuple[list[Generation], list[str]]:
    """Checked copies of files under new names; none of them where one cannot be had, and names of what is wrong."""
    made: list[Generation] = []
    for row in chain:
        source = _named(place, row)
        copy = replace(row, file=f"{row.kind}-{row.space_id}-{row.mark}-{uuid.uuid4().hex[:12]}.faiss")
        if _size(source) is not None and _take(source, row, folder / copy.file):
            made.append(copy)
            continue
        for other in made:
            (folder / other.file).unlink(missing_ok=True)
        return [], [] if _size(source) is None else [source]
    return made, []


def _take(source: str, row: Generation, target: Path) -> bool:
    """Copy one file, and give the copy its name when it is what the catalog says; whether it is."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f"{uuid.uuid4().hex}{TEMPORARY}")
    try:
        if is_url(source):
            remote.download(source, draft)
        else:
            shutil.copyfile(source, draft)
        if draft.stat().st_size != row.bytes or sha256_of(draft) != row.sha256:
            return False
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        give_name(draft, target)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StorageError(f"FAISS file {source} cannot be copied to {target.parent}: {os_words(error)}") from error
    finally:
        draft.unlink(missing_ok=True)
    checked.remember(target, row.sha256, checked.state_of(target))
    return True


def _commit(session: Session, chain: Sequence[Generation], copies: Sequence[Generation]) -> bool:
    """Put copies in the place of the files of this machine, as long as what they are copies of is live."""
    with session.writing("taking FAISS files") as connection:
        if not generations.are_live(connection, [row.id for row in chain]):
            return False
        generations.commit(connection, sorted(copies, key=lambda row: row.mark))
    return True


def _named(place: str, row: Generation) -> str:
    return f"{place.rstrip('/')}/{row.sha256}.faiss"


def _size(target: str) -> int | None:
    """Bytes of what lies there; None where nothing does."""
    try:
        return remote.facts_of(target).bytes if is_url(target) else os.stat(target).st_size
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"{target} cannot be looked at: {os_words(error)}") from error


def _put(file: Path, target: str) -> None:
    try:
        if is_url(target):
            remote.upload(file, target)
            return
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with replaced(Path(target)) as draft:
            shutil.copyfile(file, draft)
    except OSError as error:
        raise StorageError(f"FAISS file {file.name} cannot be written to {target}: {os_words(error)}") from error
