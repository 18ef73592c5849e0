"""What an answer of the program to a broken thing may be, and what it must not be."""

from __future__ import annotations

from typing import Literal

Outcome = Literal["taken", "refused"]
LONGEST_WORDS = 1000  # of a message


class WrongAnswer(Exception):
    """The program gave an answer that must not be."""


def demand(right: object, words: str | None) -> None:
    """Whether something is as it must be.

    Raises:
        WrongAnswer: it is not; with these words.
    """
    if not right:
        raise WrongAnswer(words)


def said_well(words: str) -> None:
    """A message has to be one line of ordinary length, which any file can hold."""
    demand(words.strip() and len(words) <= LONGEST_WORDS, f"message has {len(words)} characters")
    demand("\n" not in words, f"message has several lines: {words[:200]!r}")
    words.encode("utf-8")
