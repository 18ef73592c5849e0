"""The demo from photos to report: ingest, five queries of different kinds, a table for each, one page for all.

Knows `Index` and the export; what is asked stands in `questions`.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..config import Config
from ..errors import InputError
from ..export.asked import query_pictures
from ..export.files import printable
from ..export.page import Section, write_report
from ..export.table import answer_table
from ..export.words import counted
from ..grammar import Query
from ..records import Entity, Not, Picture
from ..service import Index
from ..wording import number_of
from .photos import write_photos, write_query_pictures
from .scenes import SKY_OF_HARBOUR

if TYPE_CHECKING:
    from rich.console import Console

    from ..interface.protocol import Interface

TOP_K = 8
MARK = ".interleave-index-demo"  # an empty file in every folder that a demo made
WIDE = 120
LEAD = (
    "Photos that come with scikit-image and scikit-learn, and scenes drawn by code. "
    "Point at a mask to see what it answers; click a phrase to hide its masks."
)


@dataclass(frozen=True, slots=True)
class Question:
    """One query of the demo, with its heading and a line on what is new about it."""

    heading: str
    note: str
    query: Query


def questions(pictures: dict[str, Path]) -> list[Question]:
    """The five queries.

    Args:
        pictures: as `write_query_pictures` gives them.
    """
    sky = Picture(pictures["harbour"], box=SKY_OF_HARBOUR)
    return [
        Question("Words", "The phrase in brackets asks for a mask.", Query(Entity("a cat"))),
        Question(
            "A picture", "Another photo of something that is in the collection.", Query(Picture(pictures["motorcycle"]))
        ),
        Question("A part of a picture", "Only the sky is meant, not the boat or the house below it.", Query(sky)),
        Question(
            "Words and a part of a picture",
            "One sentence, in which a part of a picture stands for a noun.",
            Query(sky, "over mountains"),
        ),
        Question(
            "Something that should not be there",
            "A negative takes off where its own region is found.",
            Query(Entity("the sky"), Not(Entity("a house"))),
        ),
    ]


def run_demo(
    folder: Path | str = "demo",
    *,
    interface: Interface | None = None,
    config: Config | None = None,
    console: Console | None = None,
) -> Path:
    """Write the photos, take them in, ask the five queries, and write the report.

    Args:
        folder: gets ``photos/``, ``queries/``, ``index/`` (made anew), ``report.html`` and a mark that it is a demo's.
        interface: used instead of the one that `config` names.
        config: settings; None takes the defaults.
        console: where the tables go; None is stdout.
    Returns:
        Path of the report.
    Raises:
        InputError: the folder holds files and not the mark, or cannot be written to.
        BackendMissing: scikit-image or scikit-learn is not installed.
        InterleaveError: whatever keeps an ingest or a search from working.
    """
    from rich.console import Console

    console = console or Console()
    if not console.is_terminal:  # a log file has no width, and rows that wrap are hard to read
        console.width = max(console.width, WIDE)
    folder, begun = Path(folder), time.perf_counter()
    _claim_folder(folder)
    photos = write_photos(folder / "photos")
    pictures = write_query_pictures(folder / "queries")
    shutil.rmtree(folder / "index", ignore_errors=True)  # the demo shows a first ingest, so it starts anew
    with Index.open(folder / "index", config=config, interface=interface, create=True) as index:
        taken = number_of(len(photos), "photo")
        console.print(f"{taken} in {folder / 'photos'}; taking them in ...", highlight=False)
        report = index.ingest(folder / "photos")
        if report.interrupted:
            raise KeyboardInterrupt
        console.print(
            f"{report.added} added, {len(report.failed)} failed, {report.photos_per_s:.1f} photos/s\n", highlight=False
        )
        sections = [
            _ask(index, question, number, console) for number, question in enumerate(questions(pictures), start=1)
        ]
        page = write_report(
            sections,
            folder / "report.html",
            title="interleave-index: five queries",
            lead=LEAD,
            load_pixels=index.pixels,
            overwrite=True,  # the report of an earlier run
        )
    console.print(
        f"The same with pictures and masks: {page}  ({time.perf_counter() - begun:.0f} s in all)",
        highlight=False,
        soft_wrap=True,
    )
    return page


def _ask(index: Index, question: Question, number: int, console: Console) -> Section:
    answer = index.search(question.query, TOP_K, ground="exact")
    console.print(f"[bold]{number}. {question.heading}[/bold]", highlight=False)
    console.print(printable(answer.query), style="cyan", highlight=False, markup=False, soft_wrap=True)
    console.print(f"{counted(answer)}:", highlight=False)
    console.print(answer_table(answer))
    for note in answer.notes:
        console.print(f"note: {printable(note)}", style="bright_black", highlight=False, markup=False)
    console.print()
    return Section(
        answer, f"{number}. {question.heading}", question.note, query_pictures(question.query, index.load_picture)
    )


def _claim_folder(folder: Path) -> None:
    """Make the folder of a demo and mark it as one, before anything in it is removed or replaced.

    Only the mark tells that photos, queries, index and report in it are a demo's; their names may be anyone's.
    """
    mark = folder / MARK
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file, expected a folder, or a new name for one")
    if folder.is_dir() and any(folder.iterdir()) and not mark.is_file():
        raise InputError(
            f"{folder} holds files and no {MARK}, so that no demo of this version made them, expected a new or empty "
            "folder; name another one, or remove this one if a demo of an earlier version made it"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        mark.touch()
    except OSError as error:
        raise InputError(f"{folder} cannot be written to: {error.strerror or error}; name another folder") from error
