"""Notes on queries that can be read but were probably meant otherwise. Knows the query and nothing of photos."""

from __future__ import annotations

import difflib
import re

from ..grammar import Query
from ..records import Entity, Not, Part
from ..terms import KINDS, written

_KIND = re.compile(r"\s*(\w+)\s*:\s*(.+)", re.DOTALL)
_OTHER_KINDS = {
    "img": "image",
    "pic": "image",
    "picture": "image",
    "file": "image",
    "path": "image",
    "id": "photo",
    "foto": "photo",
}
_PICTURE_NAME = re.compile(r"\S.*\.(jpe?g|png|webp|heic|heif|avif|tiff?|gif|bmp|jxl|dng)", re.IGNORECASE | re.DOTALL)
_BRACKETS = re.compile(r"\[[^\]]*\]")
_WEIGHT = re.compile(r"\^?\s*[0-9]+(?:\.[0-9]+)?(?!\S)|[\u00b2\u00b3\u00b9\u2070-\u2079]+")
_MINUS_QUOTED = re.compile('(?<!\\w)-"([^"]+)"')
_DASHES = ("-", "\u2010", "\u2011", "\u2012", "\u2013", "\u2014", "\u2212")
ALIKE = 0.7  # share of common letters from which a word is taken for another


def query_hints(query: Query) -> list[str]:
    """One line for each part that was probably meant otherwise.

    >>> query_hints(Query.parse("[imge:dog.jpg]"))
    ['[imge:dog.jpg] is read as a phrase; a picture is written [image:dog.jpg]']
    """
    hints: list[str] = []
    before: Part | None = None
    for number, part in enumerate(query.parts):
        following = query.parts[number + 1] if number + 1 < len(query.parts) else None
        if isinstance(part, str):
            hints += _text_hints(part, before, following)
        else:
            term = part.term if isinstance(part, Not) else part
            hints += _phrase_hints(term.text) if isinstance(term, Entity) else []
        before = part
    return hints


def _phrase_hints(phrase: str) -> list[str]:
    parts = _KIND.fullmatch(phrase)
    kind = None if parts is None else _meant_kind(parts[1].lower())
    if parts is not None and kind is not None:
        thing = "picture" if kind == "image" else kind
        return [f"[{phrase}] is read as a phrase; a {thing} is written [{kind}:{parts[2]}]"]
    if _PICTURE_NAME.fullmatch(phrase):
        return [f"[{phrase}] is read as a phrase; a picture is written [image:{phrase}]"]
    return []


def _meant_kind(word: str) -> str | None:
    """The kind of part that a word before a colon was meant to be; None where it is a word like any other."""
    kinds = [kind.removesuffix(":") for kind in KINDS]
    if word in _OTHER_KINDS:
        return _OTHER_KINDS[word]
    near = difflib.get_close_matches(word, kinds, n=1, cutoff=ALIKE)
    return near[0] if near else None


def _text_hints(text: str, before: Part | None, following: Part | None) -> list[str]:
    brackets = _BRACKETS.search(text)
    if brackets is not None:
        return [f"{brackets[0]} is read as plain text, brackets and all; parts are read by Query.parse"]
    hints = [
        f'-"{phrase}" leaves nothing out; what should not be there is written -[{phrase}]'
        for phrase in _MINUS_QUOTED.findall(text)
    ]
    weight = _WEIGHT.match(text)
    if weight is not None and before is not None and not isinstance(before, Not) and not isinstance(before, str):
        hints.append(
            f"{weight[0]!r} behind {written(before)} is read as a word; a weight is written {written(before)}^2"
        )
    if following is not None and not isinstance(following, Not) and text.endswith(_DASHES):
        part = written(following)
        hints.append(f"the dash before {part} leaves nothing out; that is written -{part}")
    return hints
