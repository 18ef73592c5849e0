"""The words of a query: words that only frame others, text that names nothing, and what a model cannot read."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from ..interface.protocol import Interface, TextReading
from ..records import ResolvedPart, ResolvedQuery

_ARTICLES = frozenset(["a", "an", "the", "some", "my", "of"])
_FRAMING = _ARTICLES | {"photo", "photos", "picture", "pictures", "image", "images"}


@dataclass(frozen=True, slots=True)
class ReadQuery:
    """The parts of a query that a model reads.

    Attributes:
        parts: in the order of the query; parts that cannot be read at all are left out.
        says_nothing: nothing of what is looked for can be read, so that no photo can be meant.
        notes: what the caller should know.
        unknown: words that the model has not met, or cannot read.
    """

    parts: ResolvedQuery
    says_nothing: bool
    notes: tuple[str, ...]
    unknown: tuple[str, ...] = ()


def words(text: str) -> list[str]:
    """The words of a text, lower case: what stands between blanks and holds a letter or a digit.

    >>> words("A photo -- of U.N. peace-keepers!")
    ['a', 'photo', 'of', 'u.n.', 'peace-keepers!']
    """
    return [word.lower() for word in text.split() if any(letter.isalnum() for letter in word)]


def only_frames(text: str) -> bool:
    """Whether all words of a text only frame what stands beside it, as "a photo of a" does in "a photo of a [dog]"."""
    return all(word in _FRAMING for word in words(text))


def says_nothing(text: str) -> bool:
    """Whether a text by itself names nothing: signs alone, or a frame that ends before its picture.

    A picture may well be what is looked for, so "a photo" says something; so does a pictograph.

    >>> [text for text in ("!!!", "a photo of", "the", "a photo", "5", "\N{DOG FACE}") if says_nothing(text)]
    ['!!!', 'a photo of', 'the']
    """
    spoken = words(text)
    if spoken:
        return only_frames(text) and spoken[-1] in _ARTICLES
    return not any(unicodedata.category(letter) == "So" for letter in text)


def read_query(parts: ResolvedQuery, interface: Interface) -> ReadQuery:
    """Leave out the parts of words that cannot be read, and say so.

    Plain text that only frames the other parts stays: it belongs to the sentence.

    Args:
        parts: the resolved query.
        interface: knows which words it can read.
    """
    readings = {part.label: interface.reading(part.label) for part in parts if part.kind == "text"}
    notes = [note for reading in readings.values() for note in reading.notes()]
    empty = [part.label for part in parts if _says_nothing(part) and part.role != "caption"]
    kept = tuple(part for part in parts if part.label not in empty and not _lost(part, readings))
    wanted = [part for part in parts if part.role != "negative"]
    nothing = all(_says_nothing(part) or (part.kind == "text" and readings[part.label].nothing) for part in wanted)
    unread = any(
        _says_nothing(part) or readings[part.label].unknown or readings[part.label].left_out
        for part in wanted
        if part.kind == "text"
    )
    if nothing and unread:
        empty = [part.label for part in parts if _says_nothing(part)]
    notes += [f"{label!r} says nothing that could be looked for" for label in dict.fromkeys(empty)]
    if all(part.role == "negative" for part in kept):  # the score needs something to look for, however little it says
        kept = parts
    unknown = [word for reading in readings.values() for word in (*reading.unknown, *reading.left_out)]
    return ReadQuery(kept, nothing and unread, tuple(notes), tuple(unknown))


def _says_nothing(part: ResolvedPart) -> bool:
    return part.kind == "text" and says_nothing(part.label)


def _lost(part: ResolvedPart, readings: dict[str, TextReading]) -> bool:
    """Whether the model can read nothing of a part at all."""
    if part.kind != "text":
        return False
    reading = readings[part.label]
    return reading.empty and bool(reading.left_out)
