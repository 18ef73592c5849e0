"""File names as SQL text, reversibly. Knows no tables.

A path becomes the text that its bytes spell in UTF-8. Two things cannot be kept as they are: a byte that is not
UTF-8, and the character U+001A, which is our escape. Each becomes U+001A and two lower-case hex digits:
byte FF is stored as ``\\x1aff``, U+001A itself as ``\\x1a1a``. Bytes that are not UTF-8 are always 80 or higher,
so the two never meet, and every text has exactly one path. Common names are stored unchanged.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

ESCAPE = "\x1a"


def stored_path(path: str | Path) -> str:
    """The absolute path as text that any database can hold.

    >>> stored_path("/p/" + os.fsdecode(b"caf\\xe9.jpg"))
    '/p/caf\\x1ae9.jpg'
    """
    text = os.path.abspath(path)
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
