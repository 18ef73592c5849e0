"""Short phrases read by the name in them: what a thing looks like does not depend on how it is counted or owned.

"a dog", "the dogs", "two dogs", "my dog" and "a photo of a dog" are asked as "dog" is. A small text tower, trained on
captions, takes the words around a name for much of what is meant.
"""

from __future__ import annotations

import re
from collections.abc import Callable

LONGEST_NAME = 3  # words; more are a sentence, which is read as it stands
_COUNTED = "one two three four five six seven eight nine ten a an the some any several many few no"
_OWNED = "my your his her its our their this that these those"
_EMPTY = frozenset(f"{_COUNTED} {_OWNED} and of in on at with by to".split())
_BEFORE = re.compile(
    r"^(?:(?:(?:a|an|the|some|my|our)\s+)?(?:photo|photos|picture|pictures|image|images)\s+of\s+|\d+\s+|(?:"
    + "|".join(f"{_COUNTED} {_OWNED}".split())
    + r")\s+)+",
    re.IGNORECASE,
)


def means_nothing(text: str) -> bool:
    """Whether no word is left in a text but articles, numbers and the like.

    >>> [means_nothing(text) for text in ("a", "", "two dogs")]
    [True, True, False]
    """
    return all(word.lower() in _EMPTY for word in text.split())


def name_of(phrase: str, singular: Callable[[str], str] | None = None) -> str | None:
    """The name that a short phrase is about, or None where it is a sentence or nothing is left of it.

    Args:
        phrase: as it was written.
        singular: gives the singular of a noun, and any other word as it is; None leaves plurals alone.

    >>> [name_of(text) for text in ("a dog", "My old dog", "a photo of the red cars", "dog", "a man walks his dog")]
    ['dog', 'old dog', 'red cars', 'dog', None]
    """
    words = _BEFORE.sub("", " ".join(phrase.split())).split()
    if not 0 < len(words) <= LONGEST_NAME:
        return None
    if singular is not None:
        words[-1] = singular(words[-1])
    return " ".join(words)
