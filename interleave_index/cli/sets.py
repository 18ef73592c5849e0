"""`models pull` of a set of models that fit together: what it costs, the question, the pull, and the settings."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from ..config import Config
from ..errors import IndexNotFound, InterleaveError, WeightsMissing
from ..export.table import plain_table
from ..models.hub.cost import free_bytes, operations_per_second
from ..models.hub.local import home
from ..models.hub.sets import Member, ModelSet, Use
from ..service import Index
from ..wording import number_of
from . import show

MIB = 2**20
DECLINED = 1
STEPS: dict[Use, str] = {  # what one run of it is for, by use
    "encoder": "ingest",
    "proposals": "ingest",
    "grounder": "look",
    "reranker": "rerank",
}
STEP_WORDS = {"ingest": "a photo at ingest", "look": "a look by --ground exact", "rerank": "a photo of --rerank"}

Fetch = Callable[[str], Any]


def pull_set(
    chosen: ModelSet, folder: Path | str, config: Config, fetch: Fetch, *, agreed: bool, as_json: bool
) -> None:
    """Show what a set costs, ask, get what is lacking, and write it into the settings of the index.

    Args:
        chosen: the set.
        folder: of the index.
        config: settings in force.
        fetch: gets one model by its name.
        agreed: do not ask.
        as_json: print one JSON object; nothing is asked then.
    Raises:
        WeightsMissing: some models could not be had; those that could are kept, and no setting is changed.
    """
    plan = _plan(chosen, config)
    if not as_json:
        _emit_plan(chosen, plan)
    if not (agreed or not chosen.lacking() or _asked(as_json)):
        if as_json:
            show.emit_json(plan | {"pulled": [], "kept": None})
        show.note("nothing was pulled; say --yes to pull without being asked")
        raise typer.Exit(DECLINED)
    pulled = _pull(chosen, fetch)
    kept = _keep(chosen, folder, config)
    if as_json:
        show.emit_json(plan | {"pulled": pulled, "kept": kept})
    else:
        _emit_outcome(chosen, folder, kept)


def _plan(chosen: ModelSet, config: Config) -> dict[str, Any]:
    """What the set is and costs, as `--json` prints it."""
    from ..interface.registry import torch_device

    speed = operations_per_second(torch_device(config.models.device), config.models.dtype)
    seconds: dict[str, float] = {}
    for member in chosen.members:
        for use in member.uses:
            seconds[STEPS[use]] = seconds.get(STEPS[use], 0.0) + member.operations(use) / speed
    return {
        "set": chosen.name,
        "models": [_row(member) for member in chosen.members],
        "download_bytes": sum(member.mib for member in chosen.lacking()) * MIB,
        "free_bytes": free_bytes(home()),
        "seconds": {step: float(f"{value:.2g}") for step, value in seconds.items()},
        "settings": chosen.settings(),
    }


def _row(member: Member) -> dict[str, Any]:
    return {
        "name": member.name,
        "uses": list(member.uses),
        "bytes": member.mib * MIB or None,
        "licence": member.licence or None,
        "here": member.is_here,
        "unread": list(member.unread),
    }


def _marked(row: dict[str, Any], fact: str, text: str) -> str:
    """A fact of a model, with a question mark where it was not read on the model's own page."""
    return f"{text} ?" if text and fact in row["unread"] else text


def _emit_plan(chosen: ModelSet, plan: dict[str, Any]) -> None:
    show.say(f"{chosen.name}: {chosen.what}")
    table = plain_table("model", "as", "MiB#", "licence", "here")
    for row in plan["models"]:
        size = "" if row["bytes"] is None else f"{row['bytes'] / MIB:.0f}"
        size, licence = _marked(row, "size", size), _marked(row, "licence", row["licence"] or "")
        table.add_row(row["name"], ", ".join(row["uses"]), size, licence, "yes" if row["here"] else "")
    show.emit_table(table)
    if any(row["unread"] for row in plan["models"]):
        show.say("?: not read on the model's own page, but reckoned, or as of models of its family")
    free = f"{plan['free_bytes'] / MIB:,.0f} MiB are free on the disk of {home()}"
    show.say(f"to be pulled: about {plan['download_bytes'] / MIB:,.0f} MiB; {free}")
    costs = [f"{value:g} s {STEP_WORDS[step]}" for step, value in plan["seconds"].items() if value]
    if costs:
        show.say(f"on this machine, as busy as it is now, at least {', '.join(costs)}")
    if plan["download_bytes"] > plan["free_bytes"]:
        show.note("warning: the disk has not enough free space for it")


def _asked(as_json: bool) -> bool:
    """Whether someone at a terminal agrees; nobody is asked where none is there."""
    return not as_json and sys.stdin.isatty() and typer.confirm("Pull these models?", err=True)


def _pull(chosen: ModelSet, fetch: Fetch) -> list[str]:
    """Get what is lacking; what cannot be had is told in a line each, and the others are got all the same."""
    pulled: list[str] = []
    lacking = chosen.lacking()
    for member in lacking:
        try:
            fetch(member.name)
        except InterleaveError as error:
            show.note(f"error: {error}")
        else:
            pulled.append(member.name)
    if len(pulled) < len(lacking):
        raise WeightsMissing(
            f"{len(lacking) - len(pulled)} of {number_of(len(chosen.members), 'model')} of the set {chosen.name} are "
            "lacking, so that no setting was changed; what was pulled is kept, run the same command again to go on"
        )
    return pulled


def _keep(chosen: ModelSet, folder: Path | str, config: Config) -> str | None:
    """Write the set into the settings that the index keeps: ``all``, ``grounders``, or None where there is no index."""
    try:
        with Index.open(folder, config=config) as index:
            return "all" if index.keep_models(chosen.settings()) else "grounders"
    except IndexNotFound:
        return None


def _emit_outcome(chosen: ModelSet, folder: Path | str, kept: str | None) -> None:
    again = f"interleave-index ingest PHOTOS --model {chosen.name}"
    if kept == "all":
        show.say(f"the index {folder} keeps these models from now on; fill it with: interleave-index ingest PHOTOS")
    elif kept == "grounders":
        show.say(
            f"the index {folder} asks these grounders from now on; its photos are of another encoder. Fill a second "
            f"space beside them with: {again}, then switch with: interleave-index activate SPACE"
        )
    else:
        show.say(f"there is no index at {folder} yet; make one with: {again}")
