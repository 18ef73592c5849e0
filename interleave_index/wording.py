"""Numbers in sentences. Knows English nouns of the regular kind and nothing else."""

from __future__ import annotations


def number_of(count: int, noun: str) -> str:
    """A number and what is counted, which takes an ``s`` unless it is one.

    >>> number_of(1, "photo"), number_of(0, "photo"), number_of(1234, "path")
    ('1 photo', '0 photos', '1234 paths')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
