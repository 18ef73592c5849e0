"""Where machines of a cluster keep what is theirs, and how they name the catalog. Knows names, not databases."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from ..config import FOLDER, index_folder, shown_index
from ..errors import StorageError
from ..regular import os_words

try:
    import fcntl
except ImportError:  # a system without file locks of this kind has no Ray either
    fcntl = None  # type: ignore[assignment]

MOST_SLOTS = 64  # replicas of one part on one machine
VARIABLE = "INTERLEAVE_PARTS"


def is_shared(catalog: str) -> bool:
    """Whether machines other than this one can open a catalog: one in a database, not one in a folder."""
    return "://" in catalog


def library_name(catalog: str) -> str:
    """A short name for the library of a catalog, the same whoever asks, with whichever folder of its own."""
    named = shown_index(catalog) if is_shared(catalog) else str(index_folder(catalog))
    return hashlib.sha256(named.encode()).hexdigest()[:12]


def with_folder(catalog: str, folder: Path) -> str:
    """The same catalog for a process with another folder; of one in a folder the catalog itself.

    >>> with_folder("postgresql+psycopg://ann@db/photos?folder=/srv/a&sslmode=require", Path("/srv/b c"))
    'postgresql+psycopg://ann@db/photos?folder=/srv/b%20c&sslmode=require'
    """
    if not is_shared(catalog):
        return catalog
    address, _, options = catalog.partition("?")
    kept = [option for option in options.split("&") if option and not option.startswith(f"{FOLDER}=")]
    return f"{address}?{'&'.join([f'{FOLDER}={quote(os.fspath(folder))}', *kept])}"


def parts_folder() -> Path:
    """Where this machine keeps its parts: the variable INTERLEAVE_PARTS, else a folder of the user's cache."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    cache = os.environ.get("XDG_CACHE_HOME")
    try:
        parent = Path(cache) if cache else Path.home() / ".cache"
    except RuntimeError:  # a user without a home
        parent = Path(tempfile.gettempdir())
    return parent / "interleave-index" / "parts"


@contextmanager
def own_slot(folder: Path) -> Iterator[Path]:
    """A folder below this one that no other living process has; what a dead one left there is found again.

    Raises:
        StorageError: none can be had.
    """
    lock, slot = _taken_slot(folder)
    try:
        yield slot
    finally:
        os.close(lock)


def _taken_slot(folder: Path) -> tuple[int, Path]:
    """An open lock, which ends with this process, and the folder that it stands for."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(MOST_SLOTS):
            lock = os.open(folder / f"{number}.lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                continue
            return lock, folder / str(number)
    except OSError as error:
        raise StorageError(f"the folder of parts {folder} cannot be used: {os_words(error)}; set {VARIABLE}") from error
    raise StorageError(f"all {MOST_SLOTS} places in {folder} are taken; set {VARIABLE} to another folder")
