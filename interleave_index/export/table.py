"""Answers as tables for a terminal: photos with what was found in them, passages. Knows rich and the records."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from ..paths import is_url
from ..records import Answer, EntityHit, Hit
from ..records.texts import Passage, Span, TextHit
from .files import printable
from .passages import lit_spans, pieces, spoken
from .words import UNDER, percent, short_name, verdict

BAR = 10  # characters of a relevance bar
WORDS = 40  # columns at least for the words of a passage, however narrow the terminal is
LIT = "bold underline"
LEFT, RIGHT = "\N{LEFT-POINTING DOUBLE ANGLE QUOTATION MARK}", "\N{RIGHT-POINTING DOUBLE ANGLE QUOTATION MARK}"


def plain_table(*columns: str, title: str | None = None) -> Table:
    """A light table without lines; columns whose name ends in ``#`` hold numbers and are set flush right."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name.rstrip("#"), justify="right" if name.endswith("#") else "left", overflow="fold")
    return table


def answer_table(answer: Answer, copies: Mapping[int, Sequence[str]] | None = None) -> Table:
    """One row a hit, best first; where the meant ones end, a line at the cut-off, and grey hits under it.

    Args:
        answer: the hits.
        copies: by photo id all paths of a photo, the one of the hit first; the others get a row each under it.
    """
    table = plain_table("#", "relevance", "score#", "id#", "photo", "found")
    divided = answer.meant_count
    for number, hit in enumerate(answer):
        meant = answer.meant(hit)
        if number and number == divided:
            reached = f" {answer.cutoff:.2f}" if answer.cutoff < 1 else ""
            table.add_row("", f"{'─' * (BAR + 1)}{reached}", "", "", Text(UNDER), style="bright_black")
        table.add_row(
            str(hit.rank),
            relevance_bar(hit.relevance, answer.cutoff, meant),
            f"{hit.score:.3f}",
            str(hit.photo.id),
            _linked_path(hit.photo.path),
            Text(
                "  ".join(filter(None, (found(hit, answer.cutoff), spoken(hit.text) if hit.text else "", _alike(hit))))
            ),
            style="" if meant else "bright_black",
        )
        for path in (copies or {}).get(hit.photo.id, ())[1:]:
            table.add_row("", "", "", "", _linked_path(path), style="" if meant else "bright_black")
    return table


def texts_table(hits: Sequence[TextHit], *, marked: bool) -> Table:
    """One row a passage, best first.

    Args:
        hits: as an answer has them.
        marked: whether what answers the query stands in angle quotation marks; else it is bold and underlined.
    """
    rows = [
        ((str(hit.rank), f"{hit.score:.3f}"), hit.passage, lit) for hit, lit in zip(hits, lit_spans(hits), strict=True)
    ]
    return _passages(("#", "score#"), rows, marked)


def passages_table(passages: Sequence[Passage]) -> Table:
    """One row a passage, in their order."""
    return _passages(("kind",), [((passage.kind,), passage, []) for passage in passages], marked=False)


def _passages(first: Sequence[str], rows: Sequence[tuple[Sequence[str], Passage, list[Span]]], marked: bool) -> Table:
    """Passages with their sources behind the first cells; titles have a column where there are any."""
    titled = any(passage.title for _, passage, _ in rows)
    table = plain_table(*first, "source", *(["title"] if titled else []), "text")
    table.columns[-1].min_width = WORDS
    for cells, passage, lit in rows:
        title = [Text(printable(passage.title or ""))] if titled else []
        words = Text()
        for piece, is_lit in pieces(passage, lit):
            words.append(f"{LEFT}{piece}{RIGHT}" if is_lit and marked else piece, LIT if is_lit and not marked else "")
        table.add_row(*cells, _linked_path(passage.path), *title, words)
    return table


def relevance_bar(relevance: float, cutoff: float, meant: bool) -> str:
    """Ten characters and a number; a tick at a cut-off that can be reached, which the bar reaches if the hit is meant.

    >>> relevance_bar(0.52, 0.31, True)
    '████│██···· 0.52'
    >>> relevance_bar(0.3, 0.31, False)
    '███·│······ 0.30'
    >>> relevance_bar(0.72, 1.0, False)
    '███████···  0.72'
    """
    share = max(0.0, min(1.0, relevance)) * BAR
    if not 0 < cutoff < 1:
        return f"{'█' * round(share):·<{BAR}}  {relevance:.2f}"
    bar, tick = f"{'█' * (math.ceil(share) if meant else math.floor(share)):·<{BAR}}", math.ceil(cutoff * BAR)
    return f"{bar[:tick]}│{bar[tick:]} {relevance:.2f}"


def found(hit: Hit, cutoff: float) -> str:
    """The entities of a hit in one cell: whether each is there, its phrase and how likely that is."""
    return "  ".join(
        f"{mark_of(entity, cutoff)} {short_name(entity)} {percent(entity.grounding.probability)}"
        for entity in hit.entities
    )


def _alike(hit: Hit) -> str:
    return f"+{len(hit.stack)} that look the same" if hit.stack else ""


def mark_of(entity: EntityHit, cutoff: float) -> str:
    """A tick when the entity is there, ``?`` where that is in doubt, else ``✗``; negatives ``!`` and ``−``."""
    if entity.negative:
        return "!" if entity.grounding.present else "−"
    return {"there": "✓", "unsure": "?", "not there": "✗"}[verdict(entity, cutoff)]


def _linked_path(path: str | None) -> Text:
    """A path as people want it; a terminal that knows links opens the file."""
    try:
        link = Path(path).as_uri() if path is not None and not is_url(path) else ""
    except ValueError:  # not an absolute path
        link = ""
    return Text(shown_path(path), style=f"link {link}" if link else "")


def shown_path(path: str | None) -> str:
    """A path as people want it: relative when it lies below the current folder, and always printable."""
    if path is None:
        return "(no file)"
    if is_url(path):
        return printable(path)
    try:
        short = os.path.relpath(path) if Path(path).is_relative_to(Path.cwd()) else path
    except OSError:  # the current folder is gone
        short = path
    return printable(short)
