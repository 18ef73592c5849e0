"""What commands print: JSON, tables, progress. Answers go to stdout, all else to stderr. Knows no index."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..export.files import printable, to_json_text
from ..export.table import answer_table, mark_of, passages_table, plain_table, shown_path, texts_table
from ..export.words import counted, percent, short_name, verdict
from ..records import Answer, FailedFile, Hit, IngestReport
from ..records.texts import Passage, TextHit
from ..wording import number_of

Copies = Mapping[int, Sequence[str]] | None  # by photo id all its paths, the shown one first
UNBOUNDED = 2**16  # columns, more than a line of ours has
BROKEN_PIPE = 141
LINE_EVERY, LINE_AT_LEAST = 10.0, 2.0  # seconds between two lines of progress without a terminal, at most and at least
LINE_SHARE = 0.05  # of the whole


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


def is_stdout(path: Path) -> bool:
    """Whether a path is our own stdout, as ``/dev/stdout`` is."""
    try:
        return os.path.samestat(path.stat(), os.fstat(sys.stdout.fileno()))
    except (OSError, ValueError):  # no such file, or a stdout without one
        return False


def note(line: str) -> None:
    """One line to stderr."""
    print(printable(line), file=sys.stderr)


def emit_notes(notes: Sequence[str]) -> None:
    """What is to be known of an answer, to stderr."""
    for line in notes:
        note(f"note: {line}")


def emit_json(value: Any) -> None:
    """One JSON object on one line of pure ASCII, whatever the names inside."""
    with _reader_may_leave():
        print(to_json_text(value))


def emit_table(table: Table) -> None:
    """A table on stdout, as wide as the terminal; without one, as wide as it needs and without blanks at line ends."""
    with _reader_may_leave():
        if sys.stdout.isatty():
            Console().print(table)
            return
        console = Console(width=UNBOUNDED)
        console.width = console.measure(table).maximum  # what is piped is never folded
        with console.capture() as captured:
            console.print(table)
        print("\n".join(line.rstrip() for line in captured.get().rstrip("\n").split("\n")))


def emit_answer(answer: Answer, copies: Copies = None) -> None:
    """The photos of an answer, the passages, or both, each as a table under a line that counts them."""
    if answer.texts is None or answer.hits:
        _emit_photos(answer, copies)
    if answer.texts is not None:
        if answer.hits:
            say()
        _emit_texts(answer.texts, explained=bool(answer.notes))


def _emit_photos(answer: Answer, copies: Copies) -> None:
    if not len(answer):
        why = "." if answer.notes else ": the index is empty, or the filters leave nothing."
        say(f"No photo was searched{why}")
    else:
        say(f"{counted(answer)}:")
        emit_table(answer_table(answer, copies))


def _emit_texts(texts: Sequence[TextHit], *, explained: bool) -> None:
    if not texts:
        why = "." if explained else ": the index has no texts, or the filters leave none."
        say(f"No passage was found{why}")
    else:
        say(f"{number_of(len(texts), 'passage')}, best first:")
        emit_table(texts_table(texts, marked=not _can_underline()))


def _can_underline() -> bool:
    """Whether stdout shows styles; where colour is not wanted, marks say what they would."""
    console = Console()
    return sys.stdout.isatty() and console.color_system is not None and not console.no_color


def emit_passages(passages: Sequence[Passage]) -> None:
    """Passages with their sources."""
    emit_table(passages_table(passages))


def emit_paths(answer: Answer, end: bytes, copies: Copies = None) -> None:
    """The paths of the hits, then of the sources of passages, each once, best first, as the bytes that the disk has.

    A photo without one is left out.
    """
    paths: list[str | None] = []
    for hit in answer:
        paths += [hit.photo.path] if copies is None else copies[hit.photo.id]
    paths += [hit.passage.path for hit in answer.texts or ()]
    emit_plain_paths([path for path in dict.fromkeys(paths) if path is not None], end)


def emit_plain_paths(paths: Sequence[str], end: bytes) -> None:
    """Paths as the bytes that the disk has, each with `end` behind it."""
    with _reader_may_leave():
        sys.stdout.flush()
        sys.stdout.buffer.write(b"".join(os.fsencode(path) + end for path in paths))


def emit_report(report: IngestReport) -> None:
    """What a run of ingest did, its new failures last."""
    before = len(report.failed) - len(report.new_failures)
    counts = (
        f"{report.added} added",
        f"{report.changed} changed",
        f"{report.present} already there",
        f"{report.moved} moved",
        f"{report.duplicate} duplicate",
        f"{report.missing} missing",
        f"{len(report.new_failures)} failed" + (f" ({before} more failed before)" if before else ""),
    )
    say(", ".join(counts))
    if report.photos_per_s:
        spent = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in report.seconds.items())
        say(f"{report.photos_per_s:.1f} photos/s ({spent})")
    texts = report.texts
    if any(texts.values()):
        sources = f"{number_of(texts['seen'], 'source')} beside the photos"
        passages = f"{number_of(texts['passages'], 'passage')} encoded"
        say(f"texts: {sources}, {texts['read']} read, {texts['missing']} missing, {passages}")
    passed = [_passed_over(kind, count) for kind, count in report.not_read.items() if count]
    if passed:
        say(f"not read: {', '.join(passed)}")
    if report.new_failures:
        emit_failed(report.new_failures, title="skipped")
    emit_unmounted(report)


def emit_unmounted(report: IngestReport) -> None:
    """Folders that look like disks which are not there, to stderr."""
    for root in report.unmounted:
        count = "its photo is" if root.photos == 1 else f"its {root.photos} photos are"
        note(
            f"warning: {shown_path(root.path)} looks like a disk that is not there ({root.why}), so {count} not called "
            "missing; `ingest --really` does so"
        )


def _passed_over(kind: str, count: int) -> str:
    one, several = _NOT_READ.get(kind, (kind, kind))
    return f"{count} {one if count == 1 else several}"


_NOT_READ = {  # kind: what one is called, and several
    "forgotten": ("forgotten (`forget --undo` takes it back)", "forgotten (`forget --undo` takes them back)"),
    "forgotten_folders": (
        "forgotten folder (`forget --undo` takes it back)",
        "forgotten folders (`forget --undo` takes them back)",
    ),
    "hidden": ("hidden picture", "hidden pictures"),
    "hidden_folders": ("hidden folder", "hidden folders"),
    "jpeg_2000": ("JPEG 2000", "JPEG 2000"),
    "left_out": ("left out by a pattern", "left out by patterns"),
    "left_out_folders": ("folder left out by a pattern", "folders left out by patterns"),
    "other_pictures": ("picture of another kind (SVG, EXR, EPS ...)", "pictures of other kinds (SVG, EXR, EPS ...)"),
    "own_outputs": ("mask or heat map of this program", "masks and heat maps of this program"),
    "psd": ("Photoshop document", "Photoshop documents"),
    "raw_beside_jpeg": ("raw file beside its JPEG", "raw files beside their JPEG"),
    "system_folders": ("folder of systems and other programs", "folders of systems and other programs"),
    "tiff_pages": ("page of a TIFF file after the first", "pages of TIFF files after the first"),
    "video": ("film", "films"),
}


def emit_failed(failed: Sequence[FailedFile], title: str | None = None) -> None:
    """Files that could not be read, with the reason."""
    table = plain_table("file", "reason", "detail", title=title)
    for file in failed:
        table.add_row(*(Text(cell) for cell in (shown_path(file.path), file.reason, printable(file.detail))))
    emit_table(table)


@contextmanager
def progress_bar(verb: str) -> Iterator[Callable[[int, int, str], None]]:
    """How far a command is, on stderr: a bar on a terminal, else a line now and then.

    Gives `update(done, total, detail)`, total 0 when unknown.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield ProgressLines(verb).update
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[detail]}"),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task(verb, total=None, detail="")

        def update(done: int, total: int = 0, detail: str = "") -> None:
            bars.update(task, completed=done, total=total or None, detail=printable(detail))

        yield update


class ProgressLines:
    """Progress where there is no terminal: a line every 10 seconds, or every 5 % where these take longer than 2."""

    def __init__(self, verb: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._verb, self._clock = verb, clock
        self._last_time, self._last_share = clock(), 0.0

    def update(self, done: int, total: int = 0, detail: str = "") -> None:
        """Print a line if one is due."""
        waited = self._clock() - self._last_time
        share = done / total if total else 0.0
        if share < self._last_share:
            self._last_share = 0.0  # another stage has begun
        if waited < LINE_EVERY and (waited < LINE_AT_LEAST or share < self._last_share + LINE_SHARE):
            return
        self._last_time, self._last_share = self._clock(), share
        known = f"{done} of {total} ({share:.0%})" if total else f"{done}"
        note(f"{self._verb}: {known}{'  ' if detail else ''}{detail}")


def emit_status(folder: str, facts: dict[str, Any]) -> None:
    """The counts of an index, its space, and one line a FAISS file."""
    say(f"index {printable(folder)}")
    say(f"catalog {printable(facts['catalog'])}")
    table = plain_table("", "")
    table.show_header = False
    for name, value in facts.items():
        if isinstance(value, int):
            table.add_row(name, str(value))
    table.add_row("texts", Text(_texts_in_words(facts["texts"])))
    space = facts["space"]
    if space:
        table.add_row(
            "space",
            Text(
                f"{space['id']}: {printable(space['interface'])}, D={space['dim']}, "
                f"checkpoint {space['checkpoint'][:12]}"
            ),
        )
    for generation in facts["generations"]:
        table.add_row(
            "generation",
            Text(
                f"{generation['kind']} of space {generation['space']}: {number_of(generation['rows'], 'row')}, "
                f"{generation['recipe']}, {generation['delta']} written or removed since"
            ),
        )
    emit_table(table)


def _texts_in_words(texts: dict[str, Any]) -> str:
    """Sources by kind, passages, and what is not in order.

    >>> counts = {"documents": 3, "passages": 9, "kinds": {"txt": 2, "xmp": 1}, "missing": 0, "failed": 1}
    >>> _texts_in_words(counts | {"encoded": 8})
    '3 sources (2 txt, 1 xmp), 9 passages, 1 waiting for its vectors, 1 failed'
    """
    kinds = ", ".join(f"{count} {kind}" for kind, count in texts["kinds"].items())
    waiting = texts["passages"] - texts["encoded"]
    parts = [
        number_of(texts["documents"], "source") + (f" ({kinds})" if kinds else ""),
        number_of(texts["passages"], "passage"),
        f"{waiting} waiting for {'its' if waiting == 1 else 'their'} vectors" if waiting > 0 else "",
        *(f"{texts[state]} {state}" for state in ("missing", "failed") if texts[state]),
    ]
    return ", ".join(filter(None, parts))


def emit_grounding(hit: Hit) -> None:
    """What each entity found in one photo that was named: there or unsure, how likely, the box and share of its mask.

    Where there were several ways to find it, the one that did, too.
    """
    ways = any(entity.grounding.rung for entity in hit.entities)
    table = plain_table("", "entity", "judged", "chance#", "score#", "box", "share#", *(["found by"] if ways else []))
    for entity in hit.entities:
        for region in entity.regions or (None,):
            box = "" if region is None else " ".join(f"{corner:.0f}" for corner in region.box)
            share = "" if region is None else f"{region.rle.decode().mean():.1%}"
            table.add_row(
                mark_of(entity, 0.0),
                Text(short_name(entity)),
                verdict(entity, 0.0),
                percent(entity.grounding.probability),
                f"{entity.score:.3f}",
                box,
                share,
                *([entity.grounding.rung] if ways else []),
            )
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
