"""When a caption names a label: the label's words, or their plural, in this order. Knows text only."""

from __future__ import annotations

import re
from functools import lru_cache

_IRREGULAR = {
    "person": "people",
    "man": "men",
    "woman": "women",
    "child": "children",
    "foot": "feet",
    "tooth": "teeth",
    "goose": "geese",
    "mouse": "mice",
    "knife": "knives",
    "leaf": "leaves",
    "loaf": "loaves",
    "shelf": "shelves",
    "scarf": "scarves",
    "wolf": "wolves",
    "sheep": "sheep",
    "deer": "deer",
    "fish": "fish",
    "potato": "potatoes",
    "tomato": "tomatoes",
}
_PLURALS = frozenset(_IRREGULAR.values())
_SINGULAR_IN_S = frozenset({"lens", "gas", "canvas", "atlas", "iris", "tennis", "chess", "christmas", "pancreas"})


def plural(word: str) -> str:
    """The English plural of one lower-case word.

    >>> plural("dog"), plural("bus"), plural("berry"), plural("toy"), plural("knife")
    ('dogs', 'buses', 'berries', 'toys', 'knives')
    """
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and word[-2:-1] not in ("", *"aeiou"):
        return word[:-1] + "ies"
    return word + "s"


def is_plural(name: str) -> bool:
    """Whether the last word of a name looks like an English plural.

    >>> [name for name in ("skis", "bus", "glass", "people", "dog", "wine glasses", "cactus") if is_plural(name)]
    ['skis', 'people', 'wine glasses']
    """
    last = name.lower().split(" ")[-1]
    if last in _SINGULAR_IN_S or last.endswith(("ss", "us")) or _IRREGULAR.get(last) == last:
        return False
    return last in _PLURALS or last.endswith("s")


def with_article(name: str) -> str:
    """A name as people ask for one of it.

    >>> with_article("apple"), with_article("red car")
    ('an apple', 'a red car')
    """
    return f"{'an' if name[:1].lower() in set('aeiou') else 'a'} {name}"


def mentions(caption: str, label: str) -> list[tuple[int, int]]:
    """Where a caption names a label, as (start, end) character positions, in order.

    The label's words must stand whole, in order, with blanks or a hyphen between them, the last one in
    the singular or plural; case does not count. Synonyms are not matched.

    >>> mentions("Two Dogs chase a hotdog and a dog.", "dog")
    [(4, 8), (30, 33)]
    >>> mentions("A hot-dog stand", "hot dog")
    [(2, 9)]
    """
    return [found.span() for found in _pattern(label).finditer(caption)]


@lru_cache(maxsize=4096)
def _pattern(label: str) -> re.Pattern[str]:
    *first, last = re.findall(r"\w+", label.lower()) or [label.lower()]
    ending = f"(?:{re.escape(last)}|{re.escape(plural(last))})"
    return re.compile(r"(?<!\w)" + r"(?:\s+|-)".join([*map(re.escape, first), ending]) + r"(?!\w)", re.IGNORECASE)
