"""Text sources beside the photos, cut into passages, and the passages that answer a query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PICTURE_MARK = "\ufffc"  # stands in a passage's text where a picture stands: Unicode's object replacement character

TextKind = Literal["embedded", "xmp", "txt", "takeout", "captions", "markdown", "html"]
TEXT_KINDS: tuple[TextKind, ...] = ("embedded", "xmp", "txt", "takeout", "captions", "markdown", "html")

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class PassageText:
    """One piece of a text source.

    Attributes:
        text: plain words, blanks folded, with `PICTURE_MARK` where a picture stands among them.
        pictures: absolute paths of these pictures, in their order.
        about: absolute paths of photos that the text describes without standing around them, as a caption does.
        phrases: noun phrases as half-open spans of characters of `text`, ascending, not overlapping.
    """

    text: str
    pictures: tuple[str, ...] = ()
    about: tuple[str, ...] = ()
    phrases: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceText:
    """What one text source says: the passages of a sidecar or a page, or what is written inside a photo's file.

    Attributes:
        title: of a page, or None.
        language: as the source declares it, such as ``en`` or ``de-CH``, or None.
    """

    kind: TextKind
    title: str | None = None
    language: str | None = None
    passages: tuple[PassageText, ...] = ()
