"""Commands that keep an index over years: repair, backup and restore, watching folders."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..config import named_index, shown_index
from ..export.table import shown_path
from ..wording import number_of
from . import show
from .collect import INTERRUPTED, SKIPPED, how_far, how_it_goes
from .options import (
    ConfigOption,
    DeviceOption,
    IndexOption,
    JsonOption,
    ModelOption,
    OfflineOption,
    existing_path,
    opened,
    settings,
)

if TYPE_CHECKING:
    from ..records.ingested import IngestReport
    from ..storage.repair import RepairPlan

SHOWN = 5  # files of one kind that a plan names


def repair(
    index: IndexOption = None,
    config: ConfigOption = None,
    apply: Annotated[bool, typer.Option("--apply", help="Do it; else only say what would be done.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Mend lost or damaged vectors, thumbnails and failed files. Says first what it would do."""
    with opened(index, config) as found:
        plan = found.repair_plan()
        if not apply:
            _say_plan(plan, as_json)
            return
        with show.progress_bar("repair") as update:
            report = found.repair(plan, progress=lambda step: update(*how_far(step), how_it_goes(step)))
    if as_json:
        done = {"done": _plan_as_json(plan), "ingest": None if report is None else report.to_json()}
        show.emit_json(done)
    else:
        for line in _lines(plan):
            show.say(line)
        show.say("repaired" if plan else "nothing to repair")
        if report is not None:
            show.emit_report(report)
    if report is not None and report.interrupted:
        raise typer.Exit(INTERRUPTED)
    if report is not None and report.failed:
        raise typer.Exit(SKIPPED)


def _say_plan(plan: RepairPlan, as_json: bool) -> None:
    if as_json:
        show.emit_json({"plan": _plan_as_json(plan)})
        return
    for line in _lines(plan):
        show.say(line)
    show.say("nothing was done; --apply does it" if plan else "nothing to repair")


def _plan_as_json(plan: RepairPlan) -> dict[str, object]:
    return {
        "rebuild": [{"space": space_id, "kinds": list(kinds)} for space_id, kinds in plan.rebuild],
        "unencoded": list(plan.unencoded),
        "failed": list(plan.failed),
        "thumbnails": list(plan.thumbnails),
        "damaged_thumbnails": [str(path) for path in plan.damaged_thumbnails],
        "orphans": [str(path) for path in plan.orphans],
        "texts": list(plan.texts),
        "damaged": list(plan.damaged),
        "damaged_passages": sum(len(ids) for _, ids in plan.damaged_passages),
        "calibrations": list(plan.calibrations),
        "beyond": list(plan.beyond),
    }


def _lines(plan: RepairPlan) -> Iterator[str]:
    """A plan in words, a line each kind of thing to do, with the first files of each."""
    for space_id, kinds in plan.rebuild:
        yield f"vectors of space {space_id}: files to make anew: {', '.join(kinds)}"
    for space_id in plan.calibrations:
        yield f"calibration of space {space_id}: damaged, to be kept anew"
    passages = sum(len(ids) for _, ids in plan.damaged_passages)
    if passages:
        yield f"{number_of(passages, 'passage')} with damaged vectors, to be encoded again"
    if plan.beyond:
        named = ", ".join(map(str, plan.beyond[:SHOWN])) + (", …" if len(plan.beyond) > SHOWN else "")
        yield (
            f"{number_of(len(plan.beyond), 'photo')} with damaged vectors or masks that cannot be mended now, since no "
            f"file is here or another space is active: photo {named}"
        )
    for files, what in (
        (plan.damaged, "with damaged vectors or masks, to be encoded again"),
        (plan.unencoded, "without vectors, to be taken in again"),
        (plan.failed, "that failed, to be tried again"),
        (plan.texts, "with passages without vectors, to be encoded"),
        (plan.thumbnails, "without a whole thumbnail, to be made again"),
        (tuple(map(str, plan.damaged_thumbnails)), "with a damaged thumbnail, to be removed"),
        (tuple(map(str, plan.orphans)), "with a thumbnail of no photo, to be removed"),
    ):
        if files:
            yield f"{number_of(len(files), 'file')} {what}"
            yield from (f"  {shown_path(path)}" for path in files[:SHOWN])
            if len(files) > SHOWN:
                yield f"  and {len(files) - SHOWN} more"


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file; nothing may lie there yet.")],
    index: IndexOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the whole index into one file. Photos are not in it. Searches and an ingest may go on meanwhile."""
    with opened(index, config) as found, show.progress_bar("backup") as update:
        about = found.backup(file, progress=lambda done, total: update(done, total, "thumbnails"))
    if as_json:
        show.emit_json({"file": str(file), "photos": about.photos, "thumbnails": about.thumbnails})
    else:
        held = f"{number_of(about.photos, 'photo')} and {number_of(about.thumbnails, 'thumbnail')}"
        show.say(f"{shown_path(str(file))} holds {held}; `interleave-index restore` makes an index of it")


def restore(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", parser=existing_path, help="As `interleave-index backup` wrote it.")
    ],
    index: IndexOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make an index of a backup, in an empty folder or database."""
    from ..service import Index
    from ..storage.backup import restore_backup

    _, effective = settings(index, config)
    name = named_index(index, effective)
    with show.progress_bar("restore") as update:
        about = restore_backup(file, name, progress=lambda done, total: update(done, total, "thumbnails"))
        with Index.open(name) as found:
            found.optimize()
            place = shown_index(found.name)
    if as_json:
        show.emit_json({"index": place, "photos": about.photos, "made_at": about.made_at})
    else:
        show.say(f"{shown_path(place)} holds {number_of(about.photos, 'photo')} as of {about.made_at}")


def watch(
    folders: Annotated[
        list[Path], typer.Argument(metavar="FOLDER", parser=existing_path, help="Folders to keep in the index.")
    ],
    index: IndexOption = None,
    config: ConfigOption = None,
    model: ModelOption = None,
    device: DeviceOption = None,
    offline: OfflineOption = None,
) -> None:
    """Keep folders in the index while they change, until Ctrl-C. Takes everything in first."""
    from ..ingest.watch import changes

    for folder in folders:
        if not folder.is_dir():
            raise typer.BadParameter(f"{shown_path(str(folder))} is a file, expected folders")
    flags = {"models_interface": model, "models_device": device, "models_offline": offline}
    roots = {Path(os.path.realpath(folder)) for folder in folders}
    with opened(index, config, create=True, **flags) as found, _until_ctrl_c() as stop:
        for places in changes(folders, stop):
            # What is gone from a folder that was seen to change was deleted there; a whole root may be a lost disk.
            report = found.ingest(places, stop=stop, really=not roots.issuperset(places))
            show.emit_unmounted(report)
            happened = _happened(report)
            if happened:
                show.say(happened)
            for failed in report.new_failures:
                show.note(f"failed: {shown_path(failed.path)}: {failed.detail}")
    show.note("stopped watching")


def _happened(report: IngestReport) -> str:
    """What an ingest changed, in counts; empty where nothing changed."""
    photos = {
        "added": report.added,
        "changed": report.changed,
        "moved": report.moved,
        "duplicate": report.duplicate,
        "missing": report.missing,
        "failed": len(report.new_failures),
    }
    parts = [f"{count} {name}" for name, count in photos.items() if count]
    for name in ("read", "missing"):
        count = report.texts.get(name, 0)
        if count:
            parts.append(f"{number_of(count, 'text')} {name}")
    return ", ".join(parts)


@contextmanager
def _until_ctrl_c() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set; a second one ends the program at once."""
    stop = threading.Event()

    def pressed(*_: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {kind: signal.signal(kind, pressed) for kind in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
