"""The forms in which people write a label: `dog`, `a dog`, `the dog`, `dogs`, `a photo of a dog`. Knows text only."""

from __future__ import annotations

from collections.abc import Callable

from .words import is_plural, plural, with_article


def one(name: str) -> str:
    """One of what a name names; a plural stays as it is.

    >>> one("apple"), one("wine glass"), one("scissors")
    ('an apple', 'a wine glass', 'scissors')
    """
    return name if is_plural(name) else with_article(name)


def many(name: str) -> str:
    """Several of what a name names; a plural stays as it is.

    >>> many("dog"), many("wine glass"), many("skis")
    ('dogs', 'wine glasses', 'skis')
    """
    if is_plural(name):
        return name
    *first, last = name.split(" ")
    return " ".join([*first, plural(last)])


FORMS: dict[str, Callable[[str], str]] = {
    "bare": lambda name: name,
    "a": one,
    "the": lambda name: f"the {name}",
    "plural": many,
    "photo_of": lambda name: f"a photo of {one(name)}",
}
