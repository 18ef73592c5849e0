"""The passages of an answer as HTML: source, title, words with what answers the query marked. Knows the records."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ..records.texts import Span, TextHit
from .files import printable
from .passages import lit_spans, pieces


def texts_html(texts: Sequence[TextHit]) -> str:
    """An ordered list of passages, best first; every text is escaped."""
    if not texts:
        return '<p class="empty">No passage answers this query.</p>\n'
    items = "".join(_item(hit, lit) for hit, lit in zip(texts, lit_spans(texts), strict=True))
    return f'<ol class="texts">\n{items}</ol>\n'


def _item(hit: TextHit, lit: Sequence[Span]) -> str:
    passage = hit.passage
    words = "".join(
        f"<mark>{_text(piece)}</mark>" if is_lit else _text(piece) for piece, is_lit in pieces(passage, lit)
    )
    title = f"<strong>{_text(passage.title)}</strong> · " if passage.title else ""
    source = f"{title}<bdi>{_text(passage.path or '(no file)')}</bdi> · score {hit.score:.3f}"
    return f'<li value="{hit.rank}"><p dir="auto">{words}</p><div class="folder">{source}</div></li>\n'


def _text(text: str) -> str:
    return escape(printable(text), quote=True)
