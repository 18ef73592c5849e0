"""What a part of a query may hold, and how it is written. Knows no models, files or SQL.

Reading the string form back is grammar.py's work.
"""

from __future__ import annotations

import math
import os
import re
from typing import Any

import numpy as np

from .errors import InputError
from .records import Box, Entity, Not, Part, PhotoRef, Picture, RegionRef, Term, region_id
from .records.parts import check_weight

KINDS = ("image:", "photo:", "region:")
_LARGEST_ID = 2**55  # a region id is photo id * 256 and must fit SQL's 64 bits


def checked(part: Part) -> Part:
    """The part with blanks folded, paths as text and numbers as plain Python ones, so that equal parts compare equal.

    Raises:
        InputError: a value that cannot mean anything: a box of no size, a weight out of range, an id below 0.
        TypeError: not a part of a query.

    >>> checked("  a   dog "), checked(Entity(" a dog"))
    ('a dog', Entity(text='a dog', weight=1.0))
    """
    if isinstance(part, str):
        return _checked_text(part)
    if isinstance(part, Not):
        if isinstance(part.term, Not):
            raise InputError("Not holds another Not, expected what should be absent")
        return Not(checked_term(part.term))
    return checked_term(part)


def checked_term(term: Term) -> Term:
    """`checked` for a part that is not plain text and not negative."""
    if not isinstance(term, Entity | Picture | PhotoRef | RegionRef):
        raise TypeError(
            f"query part is {type(term).__name__}, expected text, Entity, Picture, PhotoRef, RegionRef or Not"
        )
    weight = float(term.weight)
    check_weight(weight)
    if isinstance(term, Entity):
        return Entity(_checked_text(term.text), weight)
    if isinstance(term, Picture):
        return _checked_picture(term, weight)
    if not 0 <= term.photo_id < _LARGEST_ID:
        raise InputError(f"photo id is {term.photo_id}, expected 0 to {_LARGEST_ID - 1}")
    if isinstance(term, PhotoRef):
        return PhotoRef(int(term.photo_id), weight)
    region_id(term.photo_id, term.ordinal)
    return RegionRef(int(term.photo_id), int(term.ordinal), weight)


def is_undecoded(character: str) -> bool:
    """Whether a character stands for a byte that is not UTF-8, as `os.fsdecode` keeps it."""
    return 0xD800 <= ord(character) <= 0xDFFF


def undecoded_words(character: str) -> str:
    r"""What to say of such a character.

    >>> undecoded_words("\udce9")
    "text holds the byte 0xe9, which is not UTF-8, expected text in the terminal's encoding"
    """
    byte = ord(character) & 0xFF
    return f"text holds the byte 0x{byte:02x}, which is not UTF-8, expected text in the terminal's encoding"


def _checked_text(text: str) -> str:
    for character in text:
        if is_undecoded(character):
            raise InputError(undecoded_words(character))
    return " ".join(text.split())


def _checked_picture(term: Picture, weight: float) -> Picture:
    source = term.source if isinstance(term.source, np.ndarray) else os.fspath(term.source)
    if isinstance(source, str) and not source:
        raise InputError("picture has no name, expected a path, a URL or an RGB array")
    mask = term.mask if term.mask is None or isinstance(term.mask, np.ndarray) else os.fspath(term.mask)
    if isinstance(mask, str) and not mask:
        raise InputError("mask has no name, expected a path or an (H, W) bool array")
    box = None if term.box is None else _checked_box(term.box)
    points, background = (
        tuple((float(x) + 0.0, float(y) + 0.0) for x, y in group)  # + 0.0 turns -0.0 into 0.0
        for group in (term.points, term.background)
    )
    for x, y in points + background:
        if not (0 <= x < math.inf and 0 <= y < math.inf):
            raise InputError(f"point is ({x}, {y}), expected pixels from the upper left corner, 0 or more")
    return Picture(source, box, points, background, mask, weight)


def _checked_box(given: Box) -> Box:
    box = tuple(float(value) for value in given)
    if len(box) != 4 or not all(map(math.isfinite, box)) or box[0] >= box[2] or box[1] >= box[3]:
        raise InputError(f"box is {tuple(given)}, expected x0, y0, x1, y1 with x0 < x1 and y0 < y1")
    return box


def keys(parts: tuple[Part, ...]) -> list[Any]:
    """Parts as values that compare with ==, arrays included."""
    return [(type(part).__name__, _key(part.term if isinstance(part, Not) else part)) for part in parts]


def _key(part: Any) -> Any:
    if not isinstance(part, Picture):
        return part
    arrays = [
        (value.shape, value.dtype.str, value.tobytes()) if isinstance(value, np.ndarray) else value
        for value in (part.source, part.mask)
    ]
    return (*arrays, part.box, part.points, part.background, part.weight)


def label(term: Term) -> str:
    """What an answer calls a term: the phrase itself, or the part as it is written in a query, without weight.

    >>> label(Entity("a dog", weight=2)), label(RegionRef(1234, 7))
    ('a dog', '[region:1234/7]')
    """
    return term.text if isinstance(term, Entity) else f"[{_inside(term)}]"


def written(part: Part) -> str:
    r"""The part as it stands in the string form, escapes and weight included.

    >>> written(Not(Picture("a#1.jpg", box=(0, 0, 9, 8.5), weight=2)))
    '-[image:a\\#1.jpg#box=0,0,9,8.5]^2'
    """
    if isinstance(part, str):
        return _escaped(part, "[]\\^")
    term = part.term if isinstance(part, Not) else part
    weight = "" if term.weight == 1 else f"^{_number(term.weight)}"
    return f"{'-' if isinstance(part, Not) else ''}[{_inside(term)}]{weight}"


def _inside(term: Term) -> str:
    if isinstance(term, PhotoRef):
        return f"photo:{term.photo_id}"
    if isinstance(term, RegionRef):
        return f"region:{term.photo_id}/{term.ordinal}"
    if isinstance(term, Picture):
        return f"image:{_named(term.source)}{_part_of(term)}"
    text = _escaped(term.text, "[]\\^")
    return text.replace(":", "\\:", 1) if text.lower().startswith(KINDS) else text


def _part_of(picture: Picture) -> str:
    if picture.mask is not None:
        return f"{'' if isinstance(picture.mask, np.ndarray) else '#mask='}{_named(picture.mask)}"
    if picture.box is not None:
        return f"#box={','.join(map(_number, picture.box))}"
    points = [
        f"{sign}{_number(x)},{_number(y)}"
        for sign, group in (("", picture.points), ("-", picture.background))
        for x, y in group
    ]
    return f"#point={';'.join(points)}" if points else ""


def _named(source: Any) -> str:
    if isinstance(source, np.ndarray):
        return f"#array={'x'.join(map(str, source.shape[:2]))}"
    name = _escaped(os.fspath(source), "[]\\^#")
    return re.sub(r"\A\s|\s\Z", r"\\\g<0>", name)


def _escaped(text: str, special: str) -> str:
    return "".join(f"\\{char}" if char in special else char for char in text)


def _number(value: float) -> str:
    """The shortest text that reads back as the same float."""
    return repr(float(value)).removesuffix(".0")
