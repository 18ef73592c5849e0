"""Noun phrases of a text, by rules. No model."""

from __future__ import annotations

from ...records.texts import Span


def noun_phrases(text: str, language: str | None = None) -> tuple[Span, ...]:
    """Noun phrases as half-open spans of characters, ascending, not overlapping."""
    return ()
