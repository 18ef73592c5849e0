"""What commands print: JSON, tables, progress. Answers go to stdout, all else to stderr. Knows no index."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..export.files import printable, to_json_text
from ..records import Answer, EntityHit, Hit, IngestReport

BAR = 10  # characters of a relevance bar
WIDE = 160  # columns when the output is no terminal
BROKEN_PIPE = 141


@contextmanager
def _reader_may_leave() -> Iterator[None]:
    """Ends quietly when whoever reads our stdout has seen enough, as in ``| head``."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the flush at exit must not fail again
        raise typer.Exit(BROKEN_PIPE) from None


def say(line: str = "") -> None:
    """One line to stdout."""
    with _reader_may_leave():
        print(printable(line))


def note(line: str) -> None:
    """One line to stderr."""
    print(printable(line), file=sys.stderr)


def emit_json(value: Any) -> None:
    """One JSON object on one line of pure ASCII, whatever the names inside."""
    with _reader_may_leave():
        print(to_json_text(value))


def emit_table(table: Table) -> None:
    """A table on stdout, as wide as the terminal, or as it needs where there is none."""
    console = Console(width=None if sys.stdout.isatty() else WIDE)
    with _reader_may_leave():
        console.print(table)


def plain_table(title: str, *columns: str) -> Table:
    """A light table; names of columns that hold numbers end in ``#`` and are set flush right."""
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name.rstrip("#"), justify="right" if name.endswith("#") else "left", overflow="fold")
    return table


def shown_path(path: str | None) -> str:
    """A path as people want it: relative when it lies below the current folder, and always printable."""
    if path is None:
        return "(no file)"
    try:
        short = os.path.relpath(path) if Path(path).is_relative_to(Path.cwd()) else path
    except OSError:
        short = path
    return printable(short)


def relevance_bar(relevance: float) -> str:
    """Ten characters and a number.

    >>> relevance_bar(0.72)
    '███████··· 0.72'
    """
    full = round(max(0.0, min(1.0, relevance)) * BAR)
    return f"{'█' * full}{'·' * (BAR - full)} {relevance:.2f}"


def answer_table(answer: Answer) -> Table:
    """Rank, relevance, score, photo and what was found; hits under the cut-off are grey."""
    table = plain_table("", "#", "relevance", "score#", "id#", "photo", "found")
    for hit in answer:
        table.add_row(str(hit.rank), relevance_bar(hit.relevance), f"{hit.score:.3f}", str(hit.photo.id),
                      Text(shown_path(hit.photo.path)), Text(found(hit)),
                      style="" if hit.relevance >= answer.cutoff else "bright_black")
    return table


def found(hit: Hit) -> str:
    """The entities of a hit in one cell: a tick, a cross or a minus, the phrase and its score."""
    return "  ".join(f"{_mark(entity)} {printable(entity.text)} {entity.score:.2f}" for entity in hit.entities)


def _mark(entity: EntityHit) -> str:
    if entity.negative:
        return "!" if entity.grounding.present else "−"
    return "✓" if entity.grounding.present else "✗"


def emit_answer(answer: Answer) -> None:
    """The table of an answer, with what the reader should know around it."""
    if not len(answer):
        say("No photo was searched: the index is empty, or the filters leave nothing.")
    else:
        if all(hit.relevance < answer.cutoff for hit in answer):
            say("Nothing here matches well; the nearest photos:")
        emit_table(answer_table(answer))
    for line in answer.notes:
        note(f"note: {line}")


def emit_report(report: IngestReport) -> None:
    """What a run of ingest did, its failures last."""
    counts = (f"{report.added} added", f"{report.changed} changed", f"{report.present} already there",
              f"{report.moved} moved", f"{report.duplicate} duplicate", f"{report.missing} missing",
              f"{len(report.failed)} failed")
    say(", ".join(counts))
    spent = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in report.seconds.items())
    say(f"{report.photos_per_s:.1f} photos/s ({spent})")
    if report.failed:
        table = plain_table("skipped", "file", "reason", "detail")
        for failed in report.failed:
            table.add_row(*(Text(cell) for cell in (shown_path(failed.path), failed.reason, printable(failed.detail))))
        emit_table(table)


@contextmanager
def progress_bar(verb: str) -> Iterator[Callable[[int, int, str], None]]:
    """A bar on stderr while a terminal is there; gives `update(done, total, detail)`, total 0 when unknown."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
               TextColumn("{task.fields[detail]}"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task(verb, total=None, detail="")

        def update(done: int, total: int = 0, detail: str = "") -> None:
            bars.update(task, completed=done, total=total or None, detail=printable(detail))

        yield update


def emit_status(folder: str, facts: dict[str, Any]) -> None:
    """The counts of an index, its space, and one line a FAISS file."""
    table = plain_table(f"index {printable(folder)}", "", "")
    table.show_header = False
    for name, value in facts.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {entry}" for key, entry in value.items())
        if not isinstance(value, list):
            table.add_row(name, Text(printable("none" if value is None else str(value))))
    for generation in facts.get("generations", ()):
        table.add_row("generation", Text(", ".join(f"{key} {entry}" for key, entry in generation.items())))
    emit_table(table)


def emit_grounding(hit: Hit) -> None:
    """What each entity found in one photo: a tick or a cross, its score, and the box and share of its mask."""
    table = plain_table("", "", "entity", "score#", "box", "share#")
    for entity in hit.entities:
        regions = entity.regions or (None,)
        for region in regions:
            box = "" if region is None else " ".join(f"{corner:.0f}" for corner in region.box)
            share = "" if region is None else f"{region.rle.decode().mean():.1%}"
            table.add_row(_mark(entity), Text(printable(entity.text)), f"{entity.score:.3f}", box, share)
    emit_table(table)

def emit_figures(figures: dict[str, Any]) -> None:
    """A report of `evaluate`: one line a measure, its figures behind it, in percent."""
    for name, value in figures.items():
        if isinstance(value, dict):
            parts = (f"{key} {_figure(entry)}" for key, entry in value.items() if not isinstance(entry, dict))
            say(f"{name}: {', '.join(parts)}".rstrip(": "))
            for key, entry in value.items():
                if isinstance(entry, dict):
                    say(f"  {key}: {', '.join(f'{part} {_figure(number)}' for part, number in entry.items())}")
        else:
            say(f"{name}: {_figure(value)}")


def _figure(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.1f}"
    return f"[{', '.join(map(_figure, value))}]" if isinstance(value, list | tuple) else str(value)
