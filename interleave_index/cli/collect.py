"""Commands that fill, check and tend an index."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..export.table import plain_table
from . import show
from .options import (
    ConfigOption,
    DeviceOption,
    DtypeOption,
    IndexOption,
    JsonOption,
    ModelOption,
    OfflineOption,
    opened,
    photo_argument,
)

SKIPPED = 3  # status of a run that finished but left files out
INTERRUPTED = 130  # by Ctrl-C


def ingest(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH", exists=True, readable=False, help="Photos, or folders of photos.")
    ],
    index: IndexOption = None,
    config: ConfigOption = None,
    model: ModelOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    offline: OfflineOption = None,
    workers: Annotated[int | None, typer.Option(help="Processes that decode; 0 none, -1 by processors.")] = None,
    batch: Annotated[int | None, typer.Option(help="Photos of one transaction, 1 to 256.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Take photos into the index. Runs again for free; what changed, moved or vanished is noticed."""
    flags = {
        "models_interface": model,
        "models_device": device,
        "models_dtype": dtype,
        "models_offline": offline,
        "ingest_workers": workers,
        "ingest_batch": batch,
    }
    with opened(index, config, create=True, **flags) as found, show.progress_bar("ingest") as update:
        report = found.ingest(
            paths,
            progress=lambda step: update(
                step.done, step.total or 0, f"{step.stage}  {step.photos_per_s:.0f} photos/s  {step.failed} failed"
            ),
        )
    if as_json:
        show.emit_json(report.to_json())
    else:
        show.emit_report(report)
    if report.interrupted:
        show.note("stopped; the next run goes on from here")
        raise typer.Exit(INTERRUPTED)
    if report.failed:
        raise typer.Exit(SKIPPED)


def status(index: IndexOption = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show how much is in the index, and in which space."""
    with opened(index, config) as found:
        facts = found.status()
        if as_json:
            show.emit_json(facts)
        else:
            show.emit_status(str(found.folder), facts)


def verify(index: IndexOption = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Prove that catalog, vectors and FAISS files agree. Changes nothing; status 1 when they do not."""
    with opened(index, config) as found:
        checks = found.verify()
    good = all(check.ok for check in checks)
    if as_json:
        show.emit_json(
            {"ok": good, "checks": [{"name": check.name, "ok": check.ok, "detail": check.detail} for check in checks]}
        )
    else:
        for check in checks:
            show.say(f"{'ok    ' if check.ok else 'FAILED'} {check.name}{': ' if check.detail else ''}{check.detail}")
    if not good:
        raise typer.Exit(1)


def optimize(index: IndexOption = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Fold what was written since into the FAISS files."""
    with opened(index, config) as found:
        with show.progress_bar("optimize") as update:
            found.optimize(progress=lambda done, total: update(done, total, ""))
        facts = found.status()
    if as_json:
        show.emit_json(facts)
    else:
        show.emit_status(str(found.folder), facts)


def forget(
    what: Annotated[list[str], typer.Argument(metavar="PATH|ID", help="Photo ids, photos, or folders.")],
    index: IndexOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take photos out of the catalog. Files on the disk are never touched."""
    with opened(index, config) as found:
        gone = found.forget([photo_argument(item) for item in what])
    if as_json:
        show.emit_json({"forgotten": gone})
    else:
        show.say(f"{gone} forgotten")


def prune(index: IndexOption = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Forget every photo whose files are all gone."""
    with opened(index, config) as found:
        gone = found.prune()
    if as_json:
        show.emit_json({"forgotten": gone})
    else:
        show.say(f"{gone} forgotten")


def spaces(index: IndexOption = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the embedding spaces. There is one a model that photos were taken in with."""
    with opened(index, config) as found:
        rows = [
            {
                "id": row.id,
                "interface": row.space.interface,
                "dim": row.space.dim,
                "state": row.state,
                "encodings": row.encodings,
                "checkpoint": row.space.checkpoint,
            }
            for row in found.spaces()
        ]
    if as_json:
        show.emit_json({"spaces": rows})
        return
    table = plain_table("id#", "interface", "dim#", "state", "encodings#")
    for row in rows:
        table.add_row(*(str(row[name]) for name in ("id", "interface", "dim", "state", "encodings")))
    show.emit_table(table)


def activate(
    space: Annotated[int, typer.Argument(metavar="SPACE", help="Id of the space, as `spaces` lists it.")],
    index: IndexOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Search another space from now on. The old one stays, and activating it again goes back."""
    with opened(index, config) as found:
        found.activate(space)
        rows = {row.id: row for row in found.spaces()}
    if as_json:
        show.emit_json({"active": space, "interface": rows[space].space.interface})
    else:
        show.say(f"space {space} ({rows[space].space.interface}) is searched from now on")
