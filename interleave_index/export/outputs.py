"""The rule for everything that is written because a user named a file for it. Knows files and no format of ours.

* A picture is never written over, unless this program made it; neither is a file of the index.
* A file that is there is written over only when that was asked for, or when the name is a link to it.
* A link is followed: what it points to is written. It is never replaced itself.
* A stream is written to, never replaced: a FIFO, a device, a name for an open file such as ``/dev/stdout``, and the
  file that our own stdout or stderr already goes to.
* No folder is made but the one that was named for pictures, and that only in a folder that is there.
* A file appears whole or not at all, and one that is written over keeps its permissions.
"""

from __future__ import annotations

import io
import os
import re
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..marks import HEAD_BYTES, is_marked, jpeg_options, png_options
from ..paths import user_path
from ..whole_files import replaced

DESCRIPTOR = re.compile(r"/dev/(std(in|out|err)|fd/\d+)|/proc/[^/]+/(task/[^/]+/)?fd/\d+")
LINKS = 40  # as many links in a row as Linux follows

Protected = Callable[[Path], bool]


def check_distinct(paths: Iterable[Path | str | None]) -> None:
    """Refuse two outputs of one name, of which the second would take the place of the first; streams take several.

    Raises:
        InputError: two of them are the same file or folder.
    """
    seen: set[str] = set()
    for path in paths:
        if path is None or _is_stream(Path(user_path(path))):
            continue
        place = os.path.realpath(user_path(path))
        if place in seen:
            raise InputError(f"output {path} is named twice, expected a name of its own for each output")
        seen.add(place)


def check_output(path: Path | str, *, overwrite: bool = False, protected: Protected | None = None) -> Path:
    """Where an output may be written; links are followed.

    Args:
        path: as a user wrote it.
        overwrite: whether a file that is there may be written over.
        protected: whether a path must not be written, such as that of an indexed photo.
    Raises:
        InputError: it must not be written, or cannot be.
    """
    named = Path(user_path(path))
    target = Path(os.path.realpath(named))
    if protected is not None and (protected(target) or protected(Path(os.path.abspath(named)))):
        raise InputError(f"output {named} belongs to the index, expected another file")
    try:
        facts = named.stat()
    except FileNotFoundError:
        _check_parent(named, target)
        return target
    except OSError as error:
        raise InputError(f"output {named} cannot be written: {_words(error)}") from error
    if stat.S_ISDIR(facts.st_mode):
        raise InputError(f"output {named} is a folder, expected a file in it")
    if not stat.S_ISREG(facts.st_mode) or _names_descriptor(named):
        return named  # what /dev/stdout links to may have no path
    if _is_foreign_picture(target):
        raise InputError(f"output {named} is a picture, expected another file: pictures are never written over")
    if not overwrite and not named.is_symlink() and not _is_standard(facts):
        raise InputError(
            f"output {named} exists already, expected a new file, or --overwrite (in Python overwrite=True)"
        )
    return target


def check_folder(path: Path | str, *, protected: Protected | None = None) -> Path:
    """The folder that pictures may be written into; it need not be there, the one above it must.

    Raises:
        InputError: it is no folder, or cannot be made.
    """
    named = Path(user_path(path))
    if protected is not None and protected(Path(os.path.realpath(named))):
        raise InputError(f"output folder {named} belongs to the index, expected another folder")
    if named.exists() and not named.is_dir():
        raise InputError(f"output folder {named} is a file, expected a folder, or a new name for one")
    if not named.exists():
        _check_parent(named, Path(os.path.realpath(named)))
    return named


def made_folder(path: Path | str) -> Path:
    """`check_folder`, and the folder is there afterwards."""
    folder = check_folder(path)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"output folder {folder} cannot be made: {_words(error)}") from error
    return folder


@contextmanager
def whole_file(path: Path | str, *, overwrite: bool = False) -> Iterator[IO[str]]:
    r"""Open a text file that appears under its name only when the block ends well.

    The text is UTF-8 with ``\n`` line ends. An exception inside the block leaves whatever lay at `path` as it was, but
    for a FIFO or device, which has had what was written until then.

    Args:
        path: see `check_output`.
        overwrite: whether a file that is there may be written over.
    Raises:
        InputError: it must not be written.
        OSError: it cannot be written.
    """
    with _opened(check_output(path, overwrite=overwrite), "", encoding="utf-8", newline="\n") as file:
        yield file


def save_picture(pixels: NDArray[np.uint8], path: Path | str, kind: str, *, overwrite: bool = False) -> Path:
    """Write a picture that carries the mark of this program.

    Args:
        pixels: (H, W) or (H, W, 3).
        path: ends with ``.png`` or ``.jpg``.
        kind: what the picture is, which the mark says.
        overwrite: whether a picture of ours that is there may be written over.
    Returns:
        `path` as it was given.
    Raises:
        InputError: it must not be written.
        OSError: it cannot be written.
    """
    from PIL import Image

    jpeg = str(path).lower().endswith((".jpg", ".jpeg"))
    options: dict[str, Any] = (
        {"format": "JPEG", "quality": 92, **jpeg_options(kind)} if jpeg else {"format": "PNG", **png_options(kind)}
    )
    target = check_output(path, overwrite=overwrite)
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, **options)
    with _opened(target, "b") as file:
        file.write(encoded.getbuffer())
    return Path(path)


@contextmanager
def _opened(target: Path, kind: str, **options: Any) -> Iterator[IO[Any]]:
    """What `check_output` allowed, open for writing: a stream itself, else a draft that becomes the file at the end.

    Args:
        kind: ``b`` for bytes, nothing for text.
        options: how text is coded.
    """
    if _is_stream(target):
        with _open_stream(target, "a" + kind, **options) as stream:
            yield stream
    else:
        with replaced(target) as draft, draft.open("w" + kind, **options) as file:
            yield file


def _open_stream(path: Path, mode: str, **options: Any) -> IO[Any]:
    """Open a stream to be added to.

    A file that our stdout or stderr goes to is written through that descriptor: opened a second time it would have a
    place of its own, and what is said on stdout or stderr afterwards would be written over what we wrote.
    """
    facts = path.stat()
    for descriptor, said in ((1, sys.stdout), (2, sys.stderr)):
        with suppress(OSError):  # a closed one
            if stat.S_ISREG(facts.st_mode) and os.path.samestat(facts, os.fstat(descriptor)):
                said.flush()
                return os.fdopen(os.dup(descriptor), mode, **options)
    return path.open(mode, **options)


def _is_stream(path: Path) -> bool:
    """Whether what lies at a path is written to where it is: it is no regular file, or it is open already."""
    try:
        facts = path.stat()
    except OSError:
        return False
    return not stat.S_ISREG(facts.st_mode) or _is_standard(facts) or _names_descriptor(path)


def _is_standard(facts: os.stat_result) -> bool:
    """Whether a file is the one that our stdout or stderr goes to."""
    for descriptor in (1, 2):
        with suppress(OSError):  # a closed one
            if os.path.samestat(facts, os.fstat(descriptor)):
                return True
    return False


def _names_descriptor(path: Path) -> bool:
    """Whether a path, or a link on its way, is a system's name for an open file, wherever that leads."""
    for _ in range(LINKS):
        place = Path(os.path.realpath(path.parent), path.name)
        if DESCRIPTOR.fullmatch(str(place)):
            return True
        if not place.is_symlink():
            return False
        path = place.parent / os.readlink(place)
    return False


def _check_parent(named: Path, target: Path) -> None:
    if not target.parent.is_dir():
        raise InputError(f"output {named} cannot be written: there is no folder {target.parent}; make it first")


def _is_foreign_picture(path: Path) -> bool:
    """Whether a file is a picture that this program did not make; one that cannot be read may be one."""
    from ..ingest.sniff import HEAD, sniff

    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return True
    return sniff(head[:HEAD]) is not None and not is_marked(head)


def _words(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
