"""What is said of an answer: how many of its hits are meant, and whether an entity is there. Shown alike everywhere.

`Answer.meant` is the one rule; nothing is judged here.
"""

from __future__ import annotations

import re

from ..records import Answer, EntityHit
from ..wording import number_of
from .files import printable

NOTHING = "Nothing here matches well; these are the nearest"
LONGEST = 64  # characters of an entity in a table
UNDER = "under the cut-off: probably not meant"


def counted(answer: Answer) -> str:
    """How many hits are meant, and how many more are shown.

    >>> counted(Answer("red", "exact", ()))
    'No photo was searched'
    """
    meant, more = answer.meant_count, len(answer) - answer.meant_count
    if not len(answer):
        return "No photo was searched"
    if not meant:
        return NOTHING
    matching = f"{number_of(meant, 'photo')} {'matches' if meant == 1 else 'match'}"
    return matching + (f"; {more} more {'is' if more == 1 else 'are'} near" if more else "")


def verdict(entity: EntityHit, cutoff: float) -> str:
    """Whether the entity is there, in a word: a doubt that reaches the cut-off is not called absent.

    Args:
        cutoff: of the answer; 0 for a photo that was named by hand, where every doubt counts.
    """
    if entity.grounding.present:
        return "there"
    return "unsure" if entity.grounding.probability >= cutoff and not entity.negative else "not there"


def percent(chance: float) -> str:
    """A chance in whole percent, with a space that does not break.

    >>> percent(0.724)
    '72\\xa0%'
    """
    return f"{min(max(chance, 0.0), 1.0) * 100:.0f}\N{NO-BREAK SPACE}%"


def short_name(entity: EntityHit) -> str:
    """`name_of`, in a table's cell: of a long one the beginning and the end, at which the part of a picture stands."""
    return shortened(name_of(entity))


def shortened(text: str, most: int = LONGEST) -> str:
    """Text of at most so many characters; what is left out is an ellipsis at two thirds.

    >>> shortened("a dog", 9), shortened("a very small dog", 9)
    ('a dog', 'a very…og')
    """
    if len(text) <= most:
        return text
    end = (most - 1) // 3
    return f"{text[: most - 1 - end]}…{text[len(text) - end :]}"


def name_of(entity: EntityHit) -> str:
    """The phrase, or the part as it is written without the folders of its picture."""
    return printable(entity.text if entity.kind == "text" else re.sub(r"(?<=image:).*/", "", entity.text))
