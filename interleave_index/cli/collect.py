"""Commands that fill, check and tend an index."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..export.table import plain_table, shown_path
from ..records.texts import TEXT_KINDS
from ..wording import number_of
from . import show
from .clustered import RayOption, decoders_on
from .options import (
    ConfigOption,
    DeviceOption,
    DtypeOption,
    IndexOption,
    JsonOption,
    ModelOption,
    OfflineOption,
    existing_source,
    opened,
    photo_argument,
    text_kinds_of,
)

if TYPE_CHECKING:
    from ..ingest.tally import IngestProgress
    from ..storage.rows import Exclusion, Prunable

BUNDLED = "find-mini"
SHOWN_FAILURES = 3  # by `status`
SKIPPED = 3  # status of a run that finished but could not read files that it had not met before
INTERRUPTED = 130  # by Ctrl-C
GRACE_DAYS = 7.0  # a disk may be away for some days before what it holds is forgotten


def ingest(
    paths: Annotated[
        list[Any],
        typer.Argument(
            metavar="PATH", parser=existing_source, help="Photos, folders of photos, or URLs as s3://b/photos."
        ),
    ],
    index: IndexOption = None,
    config: ConfigOption = None,
    model: ModelOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    offline: OfflineOption = None,
    workers: Annotated[int | None, typer.Option(help="Processes that decode; 0 none, -1 by processors.")] = None,
    batch: Annotated[int | None, typer.Option(help="Photos of one transaction, 1 to 256.")] = None,
    text: Annotated[
        str | None,
        typer.Option(
            metavar="KINDS", help=f"Texts to take in, by commas, of {', '.join(TEXT_KINDS)}; or all, or none."
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Leave files or folders out, in gitignore's form; may be repeated."),
    ] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Try files that failed before once more.")] = False,
    reread: Annotated[
        bool, typer.Option("--reread", help="Read files again whose size and time did not change.")
    ] = False,
    really: Annotated[
        bool, typer.Option("--really", help="Call photos missing even where a whole folder seems to be gone.")
    ] = False,
    ray: RayOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take photos and the texts beside them into the index. Runs again for free, and notices what changed."""
    flags = {
        "models_interface": model,
        "models_device": device,
        "models_dtype": dtype,
        "models_offline": offline,
        "ingest_workers": workers,
        "ingest_batch": batch,
        "ingest_text": None if text is None else text_kinds_of(text),
        "ingest_exclude": tuple(exclude) if exclude else None,
    }
    with (
        opened(index, config, create=True, **flags) as found,
        decoders_on(ray, found) as open_decoders,
        show.progress_bar("ingest") as update,
    ):
        first = found.status()["space"] is None
        report = found.ingest(
            paths,
            progress=lambda step: update(*how_far(step), how_it_goes(step)),
            retry=retry,
            reread=reread,
            really=really,
            open_decoders=open_decoders,
        )
        bundled = found.config.models.interface == BUNDLED
        filled = (row for row in found.spaces() if row.state != "active" and row.encodings)
        beside = next((row for row in filled if row.space == found.interface.space), None)
    if as_json:
        show.emit_json(report.to_json())
    else:
        show.emit_report(report)
    if first and bundled and report.added:
        show.note(
            f"taken in with {BUNDLED}, a small model for trying this out (its weights: WEIGHTS_LICENSE); "
            "docs/models.md names stronger ones, `interleave-index models pull OWNER/NAME` gets one"
        )
    if beside is not None:
        photos = number_of(beside.encodings, "photo")
        show.note(
            f"taken in by a model that is not searched yet: space {beside.id} holds {photos} beside the active one; "
            f"`interleave-index activate {beside.id}` makes searches use it"
        )
    if report.interrupted:
        show.note("stopped; the next run goes on from here")
        raise typer.Exit(INTERRUPTED)
    if report.new_failures:
        raise typer.Exit(SKIPPED)


def how_far(step: IngestProgress) -> tuple[int, int]:
    """What is done and what there is to do, in files, or in passages while texts are encoded."""
    if step.stage == "texts":
        return step.passages, step.passages_total
    return step.done, step.total or 0


def how_it_goes(step: IngestProgress) -> str:
    """The stage, the speed and the failures of an ingest, for its progress bar."""
    speed = f"{step.photos_per_s:.3g} photos/s" if step.photos_per_s and step.stage == "ingest" else ""
    failed = f"{step.failed} failed" if step.failed else ""
    stage = "" if step.stage == "ingest" else step.stage  # the command says so itself
    return "  ".join(part for part in (stage, speed, failed) if part)


def status(
    index: IndexOption = None,
    config: ConfigOption = None,
    failed: Annotated[bool, typer.Option("--failed", help="List the files that could not be read.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show how much is in the index, and in which space."""
    with opened(index, config) as found:
        facts = found.status() | {"catalog": found.database()}
        failures, folder = found.failed(), str(found.folder)
    named = [{"path": file.path, "reason": file.reason, "detail": file.detail} for file in failures]
    if as_json:
        show.emit_json(facts | {"failures": named} if failed else facts)
        return
    if failed:
        show.emit_failed(failures)
        return
    show.emit_status(folder, facts)
    for file in failures[:SHOWN_FAILURES]:
        show.say(f"failed: {shown_path(file.path)}: {file.detail}")
    if len(failures) > SHOWN_FAILURES:
        show.say(f"and {len(failures) - SHOWN_FAILURES} more: `interleave-index status --failed` lists all")


def _share(value: float | None) -> float | None:
    """A share of 0 to 1, which NaN is not."""
    if value is not None and not 0 <= value <= 1:
        raise typer.BadParameter(f"{value} is no share, expected 0 to 1, as 0.99")
    return value


def verify(
    index: IndexOption = None,
    config: ConfigOption = None,
    recall: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            callback=_share,
            help="Also measure that searches find this share of the best photos, as 0.99.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Prove that catalog, vectors and FAISS files agree. Changes nothing; status 1 when they do not."""
    with opened(index, config) as found:
        checks = found.verify()
        if recall is not None:
            checks += found.verify_recall(recall)
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


def optimize(
    index: IndexOption = None,
    config: ConfigOption = None,
    fetch: Annotated[
        str | None,
        typer.Option("--fetch", metavar="URL", help="First take the files that another machine published there."),
    ] = None,
    publish: Annotated[
        str | None,
        typer.Option("--publish", metavar="URL", help="Copy the files to a folder or URL, for other machines."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Fold what was written since into the FAISS files."""
    with opened(index, config) as found:
        with show.progress_bar("optimize") as update:
            copied = found.optimize(progress=lambda done, total: update(done, total, ""), fetch=fetch, publish=publish)
        for words in copied:
            show.note(words)
        facts = found.status() | {"catalog": found.database()}
    if as_json:
        show.emit_json(facts)
    else:
        show.emit_status(str(found.folder), facts)


def forget(
    what: Annotated[
        list[str] | None, typer.Argument(metavar="PATH|ID", help="Photo ids, photos, texts, or folders.")
    ] = None,
    index: IndexOption = None,
    config: ConfigOption = None,
    photo: Annotated[
        bool, typer.Option("--photo", help="A path means its photo, wherever that lies; ids always do.")
    ] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Let the next ingest take these paths in again.")] = False,
    list_all: Annotated[bool, typer.Option("--list", help="Name all that was forgotten.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Take files or folders out of the index for good. Later ingests leave them out. The disk is never touched."""
    if not what and not list_all:
        raise typer.BadParameter("no photo was named, expected a path, a folder or an id (or --list)")
    if undo and list_all:
        raise typer.BadParameter("--undo and --list exclude each other")
    with opened(index, config) as found:
        if list_all:
            _name_forgotten(found.forgotten(), as_json)
        elif undo:
            lifted = found.undo_forget(what or [])
            if as_json:
                show.emit_json({"lifted": [{"kind": row.kind, "name": row.name, "path": row.shown} for row in lifted]})
            else:
                show.say(f"{len(lifted)} no longer left out; the next ingest takes in what is there")
        else:
            gone = found.forget_all([photo_argument(item) for item in what or []], photo=photo)
            if as_json:
                show.emit_json({"forgotten": gone.photos, "locations": gone.locations})
            else:
                paths = number_of(gone.locations, "path")
                went = f"{gone.photos} forgotten ({paths})" if gone.photos else f"{paths} forgotten"
                show.say(f"{went}; `forget --undo` takes back")


def _name_forgotten(rows: Sequence[Exclusion], as_json: bool) -> None:
    if as_json:
        show.emit_json({"forgotten": [{"kind": row.kind, "name": row.name, "path": row.shown} for row in rows]})
        return
    for row in rows:
        show.say(f"{row.kind:<8}{shown_path(row.shown)}")


def prune(
    index: IndexOption = None,
    config: ConfigOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it; else only say what would be forgotten.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be forgotten.")] = False,
    grace: Annotated[
        float, typer.Option(metavar="DAYS", min=0, help="Keep what is missing for less than so many days.")
    ] = GRACE_DAYS,
    as_json: JsonOption = False,
) -> None:
    """Forget photos and texts whose files are gone for a while. Says first what it would do; --yes does it."""
    with opened(index, config) as found:
        due = found.prunable(grace)
        for folder, files in due.gone_folders:
            show.note(
                f"warning: nothing is left of {shown_path(folder)} ({number_of(files, 'file')} of the index); "
                "if that is a disk, connect it and ingest again instead"
            )
        if due.waiting:
            show.note(
                f"{number_of(due.waiting, 'path')} missing for less than {grace:g} days stay; --grace 0 takes them too"
            )
        if dry_run or not yes:
            _say_prunable(due, as_json, hint="" if dry_run else "; --yes does it")
            return
        gone = found.prune(grace)
    if as_json:
        show.emit_json({"forgotten": gone})
    elif due.texts:
        show.say(f"{number_of(gone, 'photo')} and {number_of(due.texts, 'text')} forgotten")
    else:
        show.say(f"{gone} forgotten")


def _say_prunable(due: Prunable, as_json: bool, hint: str) -> None:
    """How much would be forgotten; texts are named where there are any."""
    if as_json:
        counts = {"photos": due.photos, "locations": due.locations, "texts": due.texts, "waiting": due.waiting}
        show.emit_json(counts | {"gone_folders": [{"path": path, "files": files} for path, files in due.gone_folders]})
        return
    what = f"{number_of(due.photos, 'photo')} and {number_of(due.locations, 'path')}"
    if due.texts:
        what = (
            f"{number_of(due.photos, 'photo')}, {number_of(due.locations, 'path')} and {number_of(due.texts, 'text')}"
        )
    anything = due.photos or due.locations or due.texts
    show.say(f"{what} would be forgotten{hint if anything else ''}")


def _confirm(question: str, yes: bool) -> None:
    """Ask; where nobody can be asked, --yes has to say it."""
    if yes:
        return
    if not sys.stdin.isatty():
        show.note(f"{question} Nothing was done: give --yes")
        raise typer.Exit(1)
    typer.confirm(question, abort=True, err=True)


def spaces(
    index: IndexOption = None,
    config: ConfigOption = None,
    drop: Annotated[
        int | None, typer.Option("--drop", metavar="SPACE", help="Take out a space that is not searched.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the embedding spaces. There is one a model that photos were taken in with."""
    with opened(index, config) as found:
        if drop is not None:
            space = next((row for row in found.spaces() if row.id == drop and row.state != "active"), None)
            if space is not None:  # any other one is refused, and needs no question
                _confirm(f"Take out space {drop} with the vectors of {number_of(space.encodings, 'photo')}?", yes)
            found.drop_space(drop)
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
