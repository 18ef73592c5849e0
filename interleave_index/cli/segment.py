"""The command that segments whole photos into classes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..building import build_segmenter
from ..config import Config
from ..errors import IndexNotFound
from ..service import Index, load_picture
from ..wording import number_of
from . import show
from .options import (
    ConfigOption,
    DeviceOption,
    DtypeOption,
    IndexOption,
    JsonOption,
    ModelOption,
    OverwriteOption,
    existing_path,
    settings,
    understanding_paths,
)

if TYPE_CHECKING:
    from ..export.outputs import Protected
    from ..export.segment_files import SegmentReport

SKIPPED = 3  # status of a run that finished but could not read some files


@understanding_paths()
def segment(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH", parser=existing_path, help="Photos, or folders of photos.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the segments go.")] = Path("segments"),
    classes: Annotated[
        Path | None,
        typer.Option(
            "--classes",
            metavar="FILE",
            help="What is looked for: a name a line, stuff below a line `stuff:`, or COCO's categories as JSON.",
        ),
    ] = None,
    index: IndexOption = None,
    config: ConfigOption = None,
    model: ModelOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Segment photos into classes, as PNGs, JSON and painted photos. A stopped run goes on."""
    place, effective = settings(index, config, models_interface=model, models_device=device, models_dtype=dtype)
    from ..export.outputs import check_folder
    from ..export.segment_files import SegmentFolder, names_of, segment_files
    from ..segmentation.classes import read_classes

    asked = None if classes is None else read_classes(classes)
    with _protection(place, effective) as protected:
        check_folder(out, protected=protected)  # before a model is built
        segmenter = build_segmenter(effective, asked)
        into = SegmentFolder(out, segmenter.name, segmenter.classes, overwrite=overwrite, protected=protected)

        def tell(row: dict[str, Any]) -> None:
            if not as_json:
                found = names_of(row, segmenter.classes)
                show.say(f"{row['path']}: {number_of(len(row['segments']), 'segment')}{': ' if found else ''}{found}")

        with show.progress_bar("segment") as update:
            load = partial(load_picture, config=effective)
            report = segment_files(paths, segmenter, into, load, progress=update, finished=tell)
    if as_json:
        facts = {"model": segmenter.name, "classes": len(segmenter.classes), "folder": str(into.folder)}
        show.emit_json(facts | asdict(report))
    else:
        show.say(f"{_counted(report)}; in {into.folder}")
        if report.failed:
            show.emit_failed(report.failed, title="skipped")
    if report.failed:
        raise typer.Exit(SKIPPED)


def _counted(report: SegmentReport) -> str:
    counts = [f"{number_of(report.segmented, 'photo')} segmented"]
    if report.before:
        counts.append(f"{report.before} already there")
    if report.own:
        counts.append(f"{number_of(report.own, 'picture')} of this program passed over")
    if report.failed:
        counts.append(f"{len(report.failed)} failed")
    return ", ".join(counts)


@contextmanager
def _protection(place: Path | str, config: Config) -> Iterator[Protected | None]:
    """Whether a path belongs to the index, where there is one."""
    with ExitStack() as opened:
        try:
            found = opened.enter_context(Index.open(place, config=config))
        except IndexNotFound:
            yield None
            return
        yield found.owns
