"""The words of passages as people read them: pictures by their ids, what answers a query, excerpts. Knows records."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ..records.texts import PICTURE_MARK, Passage, Span, TextHit, TextMatch
from .files import printable

EXCERPT, BEFORE = 48, 16  # characters of an excerpt at most, and of them before its word
WEAK = 0.5  # of the best score of an entity among the passages: what answers it no better is not lit


def pieces(passage: Passage, lit: Sequence[Span] = ()) -> list[tuple[str, bool]]:
    """The words of a passage in pieces, each with whether it is lit.

    A picture is shown as ``[photo 12]``, one that is not indexed as ``[picture]``.

    Args:
        passage: any.
        lit: spans of its text, ascending, not overlapping.
    """
    pictures = iter(passage.inline)
    found: list[tuple[str, bool]] = []
    place = 0
    for start, end in lit:
        found.append((_shown(passage.text[place:start], pictures), False))
        found.append((_shown(passage.text[start:end], pictures), True))
        place = end
    found.append((_shown(passage.text[place:], pictures), False))
    return [piece for piece in found if piece[0]]


def _shown(text: str, pictures: Iterator[int | None]) -> str:
    """Printable words with the pictures that stand in them, which are taken from `pictures` in order."""
    words = text.split(PICTURE_MARK)
    shown = printable(words[0])
    for more in words[1:]:
        photo_id = next(pictures, None)
        shown += ("[picture]" if photo_id is None else f"[photo {photo_id}]") + printable(more)
    return shown


def lit_spans(hits: Sequence[TextHit]) -> list[list[Span]]:
    """Characters of each passage that answer the query, ascending, not overlapping.

    They are the query's words where they stand in the text as they were asked, and the phrases of its entities. One
    that answers its entity at most half as well as that of the best passage is only the nearest there, and left out.
    """
    best = [max(entity.score for entity in same) for same in zip(*(hit.entities for hit in hits), strict=True)]
    return [_lit_in(hit, best) for hit in hits]


def _lit_in(hit: TextHit, best: Sequence[float]) -> list[Span]:
    spans = [
        entity.span
        for entity, most in zip(hit.entities, best, strict=True)
        if entity.span is not None and entity.score > WEAK * most
    ]
    spans += [span for word in hit.words for span in _places(word, hit.passage.text)]
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _places(word: str, text: str) -> list[Span]:
    """Where a whole word stands, in any case; an underscore parts words, as in names of files."""
    pattern = rf"(?<![^\W_]){re.escape(word)}(?![^\W_])"
    return [match.span() for match in re.finditer(pattern, text, re.IGNORECASE)]


def spoken(match: TextMatch) -> str:
    """Which text of a photo spoke for it, in few words: an excerpt, or words that stand in the name of its file.

    >>> spoken(TextMatch(0.1, None, ("IMG", "2043")))
    'name: IMG, 2043'
    """
    if match.passage is None:
        return f"name: {', '.join(map(printable, match.words))}"
    words = "".join(piece for piece, _ in pieces(match.passage))
    places = sorted(span for word in match.words for span in _places(word, words))
    return f"text: {excerpt(words, places[0][0] if places else 0)}"


def excerpt(text: str, place: int = 0) -> str:
    """At most 48 characters of a text around a place, cut between words; an ellipsis stands for what is left out.

    >>> excerpt("The old wall of the harbour, and behind it the hills with the first snow", 57)
    '…and behind it the hills with the first snow'
    >>> excerpt("The old wall of the harbour, and behind it the hills with the first snow")
    'The old wall of the harbour, and behind it the…'
    """
    if len(text) <= EXCERPT:
        return text
    start = max(0, min(place - BEFORE, len(text) - EXCERPT + 1))
    if start:
        blank = text.find(" ", start, max(place, start + BEFORE))
        start = start if blank < 0 else blank + 1
    end = start + EXCERPT - (2 if start else 1)
    if end >= len(text):
        return f"…{text[start:]}"
    blank = text.rfind(" ", start + EXCERPT // 2, end + 1)
    return f"{'…' if start else ''}{text[start : end if blank < 0 else blank]}…"
