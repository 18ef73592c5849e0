"""Opening and hashing files that may have been replaced, without opening a FIFO or device; file errors in words.

A file may be an object in a store that its URL names; then a copy of it is opened.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import remote
from .errors import StorageError
from .paths import is_url


def open_regular(path: Path | str) -> io.BufferedReader:
    """The file at a path, open for reading, as long as it is a regular file.

    Opening a FIFO waits for a writer and opening a device may act on it, so what lies at the path is looked at before;
    it is looked at again afterwards, since it may have been replaced in between.

    Raises:
        OSError: it cannot be read, or it is no regular file (EINVAL).
        RemoteError: it is in a store that cannot be used.
    """
    if is_url(path):
        return remote.opened(os.fspath(path))
    _check_regular(os.stat(path), path)
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    file = os.fdopen(descriptor, "rb")
    try:
        _check_regular(os.fstat(descriptor), path)
    except OSError:
        file.close()
        raise
    return file


def sha256_of(path: Path | str) -> str:
    """SHA-256 of a file's content, 64 hexadecimal digits.

    Raises:
        OSError, RemoteError: as `open_regular`.
    """
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_there(path: Path | str) -> bool:
    """Whether something lies at a path or URL; nothing does in a store that cannot be used."""
    return remote.is_there(os.fspath(path)) if is_url(path) else os.path.exists(path)


def _check_regular(facts: os.stat_result, path: Path | str) -> None:
    if not stat.S_ISREG(facts.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))


def os_words(trouble: OSError) -> str:
    """The operating system's message, without the path.

    >>> os_words(PermissionError(13, "Permission denied", "a.jpg"))
    'permission denied'
    """
    if trouble.errno == errno.ENOENT:
        return "no such file"
    return (trouble.strerror or str(trouble) or type(trouble).__name__).lower()


@contextmanager
def worded(what: str) -> Iterator[None]:
    """Let an error of the operating system inside be one of this program, in one line.

    Args:
        what: what could not be done, as "catalog.sqlite cannot be written".

    >>> with worded("folder /photos.index cannot be used"):
    ...     raise OSError(5, "Input/output error")
    Traceback (most recent call last):
    interleave_index.errors.StorageError: folder /photos.index cannot be used: input/output error; see that ...
    """
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{what}: {os_words(error)}; see that its disk is there, whole and not full, and that it may be written"
        ) from error
