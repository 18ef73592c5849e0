"""The command that looks whether everything is there that the program needs."""

from __future__ import annotations

from typing import Annotated

import typer

from ..examine import Finding, examine
from . import show
from .options import ConfigOption, DeviceOption, IndexOption, JsonOption, ModelOption, OfflineOption, settings

MARKS = {"ok": "ok     ", "warning": "warning", "problem": "PROBLEM"}


def doctor(
    index: IndexOption = None,
    config: ConfigOption = None,
    model: ModelOption = None,
    device: DeviceOption = None,
    offline: OfflineOption = None,
    trial: Annotated[
        bool, typer.Option("--trial/--no-trial", help="Try the whole program on ten drawn photos.")
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Look whether packages, machine, model and index are sound. Changes nothing; status 1 on a problem."""
    place, effective = settings(index, config, models_interface=model, models_device=device, models_offline=offline)
    found: list[Finding] = []
    for finding in examine(place, effective, trial=trial):
        found.append(finding)
        if not as_json:
            show.say(f"{MARKS[finding.level]} {finding.name}: {finding.detail}")
    problems = sum(finding.level == "problem" for finding in found)
    if as_json:
        rows = [{"name": each.name, "level": each.level, "detail": each.detail} for each in found]
        show.emit_json({"ok": not problems, "findings": rows})
    if problems:
        raise typer.Exit(1)
