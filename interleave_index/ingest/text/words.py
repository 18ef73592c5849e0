"""From bytes to text, and text without characters that nobody reads."""

from __future__ import annotations

import codecs
import os
import re

from ...errors import TextUnreadable

# Control characters become blanks; marks of direction, soft hyphens, halves of surrogate pairs and the character that
# stands for a picture are left out. Joiners stay: Persian, Indic scripts and emoji are written with them.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f]")
_UNSEEN = re.compile("[\xad\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff\ufffc\ud800-\udfff]")
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def visible(text: str) -> str:
    r"""The text without characters that cannot be seen or stored; blanks stay as they are.

    >>> visible("a\x00b soft\u00adhyphen \ufffc")
    'a b softhyphen '
    """
    return _CONTROLS.sub(" ", _UNSEEN.sub("", text))


def folded(text: str) -> str:
    r"""`visible` with each run of blanks as one space, none at the ends.

    >>> folded("  two\n\n dogs ")
    'two dogs'
    """
    return " ".join(visible(text).split())


def says_something(text: str) -> bool:
    """Whether a text has a letter or a digit."""
    return any(character.isalnum() for character in text)


def decoded(data: bytes, path: str, declared: str | None = None) -> str:
    """The text of a file.

    The encoding is that of the byte order mark; else UTF-8 when the bytes are; else the declared one when it is known;
    else Windows-1252, in which every other byte sequence of Western text files is written.

    Raises:
        TextUnreadable: the bytes are not text.
    """
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    if b"\0" in data:
        raise unreadable(path, f"has a NUL byte at {data.index(0)}", "text in UTF-8")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    try:
        return data.decode(declared or "cp1252", "replace")
    except (LookupError, ValueError):  # an encoding that Python does not know, or that is none of text
        return data.decode("cp1252", "replace")


def unreadable(path: str, got: str, expected: str) -> TextUnreadable:
    """The error for a text source that cannot be used."""
    return TextUnreadable(f"text {os.path.basename(path)!r} {got}, expected {expected}")
