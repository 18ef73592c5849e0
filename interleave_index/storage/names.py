"""File names as SQL text, reversibly. Knows no tables.

A path becomes the text that its bytes spell in UTF-8. Two things cannot be kept as they are: a byte that is not
UTF-8, and the character U+001A, which is our escape. Each becomes U+001A and two lower-case hex digits:
byte FF is stored as ``\\x1aff``, U+001A itself as ``\\x1a1a``. Bytes that are not UTF-8 are always 80 or higher,
so the two never meet, and every text has exactly one path. Common names are stored unchanged.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from .. import remote
from ..errors import BackendMissing, RemoteError
from ..paths import absolute, is_url, parent, top_of

ESCAPE = "\x1a"
_COPY = re.compile(
    r"^copy of |^copy \(\d+\) of |[ _-]copy( ?\(?\d+\)?)?$| \(\d+\)$|~\d+$|[ _-]kopie( ?\(?\d+\)?)?$|^kopie von ",
    re.IGNORECASE,
)


def stored_path(path: str | Path) -> str:
    """The absolute path, or the URL, as text that any database can hold.

    >>> stored_path("/p/" + os.fsdecode(b"caf\\xe9.jpg"))
    '/p/caf\\x1ae9.jpg'
    """
    text = absolute(path)
    if text.isascii() and ESCAPE not in text:
        return text
    return "".join(
        f"{ESCAPE}1a" if c == ESCAPE else f"{ESCAPE}{ord(c) - 0xDC00:02x}" if "\udc80" <= c <= "\udcff" else c
        for c in text
    )


def real_path(stored: str) -> str:
    """The path as `os.fsdecode` makes it: bytes that are not UTF-8 come as surrogate escapes.

    >>> os.fsencode(real_path('/p/caf\\x1ae9.jpg'))
    b'/p/caf\\xe9.jpg'
    """
    if ESCAPE not in stored:
        return stored

    def unescape(match: re.Match[str]) -> str:
        byte = int(match.group(1), 16)
        return ESCAPE if byte == 0x1A else chr(0xDC00 + byte)

    return re.sub(f"{ESCAPE}([0-9a-f]{{2}})", unescape, stored)


def folder_range(stored: str) -> tuple[str, str]:
    """Bounds (inclusive, exclusive) between which every path below this folder sorts, by code point.

    >>> folder_range("/photos")
    ('/photos/', '/photos0')
    """
    base = stored.rstrip(os.sep)
    return base + os.sep, base + chr(ord(os.sep) + 1)


def composed(text: str) -> str:
    """A path with every letter and its accents as one character, so that two spellings of one name are equal.

    >>> composed("Cafe\u0301") == composed("Caf\u00e9")
    True
    """
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def is_copy(path: str) -> bool:
    """Whether a file is named as programs name copies: the photo is shown by another of its paths, if it has one.

    >>> is_copy("/p/a (1).jpg"), is_copy("/p/Copy of a.jpg"), is_copy("/p/a-copy.jpg"), is_copy("/p/copyright.jpg")
    (True, True, True, False)
    """
    return _COPY.search(os.path.splitext(os.path.basename(path))[0]) is not None


def thumbnail_file(folder: Path | str, sha256: str) -> Path:
    """Where the thumbnail of a content lies below the folder of thumbnails: two hex digits make 256 folders.

    >>> thumbnail_file("thumbnails", "ab12").as_posix()
    'thumbnails/ab/ab12.jpg'
    """
    return Path(folder) / sha256[:2] / f"{sha256}.jpg"


def gone_folders(missing: Sequence[str], others: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """Folders of which nothing is left: with the number of missing files below each, by name.

    Such a folder holds missing files and no other file of the catalog, and it is not there or is empty.

    Args:
        missing, others: paths of the catalog that are missing, and all the rest.
    """
    alive = {folder for path in others for folder in folders_above(path)}
    groups: dict[str, list[str]] = {}
    for path in missing:
        dead = [folder for folder in folders_above(path) if folder not in alive]
        if dead:
            groups.setdefault(dead[-1], []).append(os.path.dirname(path))
    gone = []
    for own_folders in groups.values():
        top = top_of(own_folders)
        if top and _is_empty(top):
            gone.append((_highest_absent(top), len(own_folders)))
    return tuple(sorted(gone))


def folders_above(path: str) -> list[str]:
    """Every folder above a path, the nearest first.

    >>> folders_above("/a/b/c.jpg")
    ['/a/b', '/a', '/']
    """
    folders = []
    while (folder := parent(path)) != path:
        folders.append(folder)
        path = folder
    return folders


def _is_empty(folder: str) -> bool:
    """Whether nothing is seen in a folder: it is empty, not there, or in a store that cannot be used."""
    try:
        return not (remote.listed(folder) if is_url(folder) else os.listdir(folder))
    except (RemoteError, BackendMissing):
        return True
    except OSError:
        return is_url(folder) or not os.path.isdir(folder)


def _highest_absent(folder: str) -> str:
    if is_url(folder):  # stores have no folders that could be empty
        return folder
    while not os.path.lexists(os.path.dirname(folder)):
        folder = os.path.dirname(folder)
    return folder
