"""An answer as a table for a terminal: rank, relevance, score, photo and what was found. Knows rich and the records."""

from __future__ import annotations

import os
import re
from pathlib import Path

from rich.table import Table
from rich.text import Text

from ..records import Answer, EntityHit, Hit
from .files import printable

BAR = 10  # characters of a relevance bar


def plain_table(*columns: str, title: str | None = None) -> Table:
    """A light table without lines; columns whose name ends in ``#`` hold numbers and are set flush right."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name.rstrip("#"), justify="right" if name.endswith("#") else "left", overflow="fold")
    return table


def answer_table(answer: Answer) -> Table:
    """One row a hit, best first; hits under the cut-off are grey."""
    table = plain_table("#", "relevance", "score#", "id#", "photo", "found")
    for hit in answer:
        table.add_row(str(hit.rank), relevance_bar(hit.relevance), f"{hit.score:.3f}", str(hit.photo.id),
                      Text(shown_path(hit.photo.path)), Text(found(hit)),
                      style="" if hit.relevance >= answer.cutoff else "bright_black")
    return table


def relevance_bar(relevance: float) -> str:
    """Ten characters and a number.

    >>> relevance_bar(0.72)
    '███████··· 0.72'
    """
    full = round(max(0.0, min(1.0, relevance)) * BAR)
    return f"{'█' * full}{'·' * (BAR - full)} {relevance:.2f}"


def found(hit: Hit) -> str:
    """The entities of a hit in one cell: whether each is there, its phrase and its score."""
    return "  ".join(f"{mark_of(entity)} {name_of(entity)} {entity.score:.2f}" for entity in hit.entities)


def mark_of(entity: EntityHit) -> str:
    """A tick when the entity is there, a cross when not; for a negative ``!`` and ``−``."""
    if entity.negative:
        return "!" if entity.grounding.present else "−"
    return "✓" if entity.grounding.present else "✗"


def name_of(entity: EntityHit) -> str:
    """The phrase, or the part as it is written without the folders of its picture."""
    return printable(entity.text if entity.kind == "text" else re.sub(r"(?<=image:).*/", "", entity.text))


def shown_path(path: str | None) -> str:
    """A path as people want it: relative when it lies below the current folder, and always printable."""
    if path is None:
        return "(no file)"
    try:
        short = os.path.relpath(path) if Path(path).is_relative_to(Path.cwd()) else path
    except OSError:  # the current folder is gone
        short = path
    return printable(short)
