"""The group `models`: which models there are, and getting one from a hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..building import build_interface
from ..config import Config
from ..errors import InterleaveError
from ..export.table import plain_table
from . import published, show
from .options import ConfigOption, IndexOption, JsonOption, OfflineOption, settings, understanding_paths
from .sets import pull_set

if TYPE_CHECKING:
    from ..models.hub.local import ModelFolder

group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List models, and get more of them.")


@group.command("list")
def list_models(
    measure: Annotated[
        bool, typer.Option("--measure", help="Time each usable model on this machine, and remember it.")
    ] = False,
    index: IndexOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the models. Those of the package, those that were pulled, and the one in force."""
    from ..interface import registry
    from ..models.hub.local import pulled

    _, effective = settings(index, config)
    names = dict.fromkeys([*registry.names(), effective.models.interface, *pulled()])
    rows = []
    for done, name in enumerate(names):
        if measure:
            show.note(f"measuring {name} ({done + 1} of {len(names)})")
        rows.append(_row(effective, name, measure))
    if as_json:
        show.emit_json({"models": rows})
        return
    table = plain_table("model", "in force", "dim#", "MiB#", "licence", "photos/s#", "checkpoint", "what")
    for row in rows:
        speed = max((entry["photos_per_s"] for entry in row["speeds"]), default=None)
        table.add_row(
            row["name"],
            "yes" if row["in_force"] else "",
            str(row["dim"] or ""),
            f"{row['bytes'] / 2**20:.0f}" if row["bytes"] else "",
            row["licence"] or "",
            "" if speed is None else f"{speed:.1f}",
            (row["checkpoint"] or "")[:12],
            row["error"] or row["what"],
        )
    show.emit_table(table)


@group.command()
@understanding_paths()
def pull(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="owner/name on the hub, or a set: small, recommended, best.")
    ],
    revision: Annotated[str | None, typer.Option("--revision", help="Branch, tag or commit.")] = None,
    source: Annotated[
        Path | None, typer.Option("--from", metavar="FOLDER", help="Take it from a folder instead of the hub.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Pull a set without being asked.")] = False,
    index: IndexOption = None,
    config: ConfigOption = None,
    offline: OfflineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Get a model, or a set of models that fit together. Goes on where it was stopped; checksums are checked."""
    from ..models.hub.pull import pull as pull_model
    from ..models.hub.sets import find_set
    from ..models.hub.take import take

    place, effective = settings(index, config, models_offline=offline)
    if source is not None and revision is not None:
        raise typer.BadParameter("--revision is about the hub, expected it without --from")

    def fetch(wanted: str) -> ModelFolder:
        with show.progress_bar(f"pull {wanted}") as update:
            if source is not None:
                return take(wanted, source, progress=update)
            return pull_model(wanted, revision=revision, offline=effective.models.offline, progress=update)

    if (chosen := find_set(name)) is not None:
        if revision is not None:
            raise typer.BadParameter("--revision is about one model, expected owner/name")
        pull_set(chosen, place, effective, fetch, agreed=yes, as_json=as_json)
        return
    model = fetch(name)
    if as_json:
        show.emit_json(
            {
                "name": model.name,
                "folder": str(model.folder),
                "revision": model.revision,
                "licence": model.licence,
                "bytes": model.bytes,
                "files": model.files,
            }
        )
    else:
        show.say(
            f"{model.name} is in {model.folder} ({model.bytes / 2**20:.0f} MiB, licence "
            f"{model.licence or 'not stated'}); use it with --model {model.name}"
        )


group.command("import")(published.import_model)
group.command()(published.info)


def _row(config: Config, name: str, measure: bool) -> dict[str, Any]:
    """One model: the bundled ones and the one in force are tried, of others only their files are looked at."""
    from ..interface import registry
    from ..models.hub.local import speeds

    model = registry.describe(name)
    row: dict[str, Any] = {
        "name": name,
        "in_force": name == config.models.interface,
        "usable": model.error is None,
        "dim": model.dim,
        "checkpoint": model.checkpoint,
        "error": model.error,
        "bytes": model.bytes,
        "licence": model.licence,
        "what": model.what,
        "speeds": [],
    }
    if model.error is None and (measure or row["in_force"] or name in registry.names()):
        try:
            if measure:
                _measure(config.with_flags(models_interface=name))
            interface = build_interface(config.with_flags(models_interface=name))
            row.update(dim=interface.space.dim, checkpoint=interface.space.checkpoint)
        except InterleaveError as error:
            row.update(usable=False, error=str(error))
    elif measure and (checkpoint := _measure_proposals(config, name)) is not None:
        row["checkpoint"] = checkpoint
    row["speeds"] = [
        {
            "device": speed.device,
            "dtype": speed.dtype,
            "photos_per_s": speed.photos_per_s,
            "measured_at": speed.measured_at,
            "cosine": speed.cosine,
        }
        for speed in speeds()
        if speed.checkpoint == row["checkpoint"]
    ]
    return row


def _measure(config: Config) -> None:
    """Time the model in force, proposals and regions counted, in the precisions that it may run in here."""
    from ..interface.measure import measure_precisions

    models = config.models
    measure_precisions(lambda dtype: build_interface(config.with_flags(models_dtype=dtype)), models.dtype)


def _measure_proposals(config: Config, name: str) -> str | None:
    """Time a model that only makes masks of everything; gives its checkpoint, None of all other models."""
    from ..interface import registry
    from ..interface.measure import measure_proposals
    from ..models.hub.local import checkpoint_of
    from ..models.segmenters.table import proposing_part

    try:
        model = registry.find(name)
        if proposing_part(str(model.config.get("model_type"))) is None:
            return None
        device, checkpoint = registry.torch_device(config.models.device), checkpoint_of(model.folder)
        measure_proposals(registry.load_proposer(name, device), checkpoint, device)
    except InterleaveError:
        return None  # why it cannot be used stands in its row
    return checkpoint
