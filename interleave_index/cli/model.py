"""The command that shows a model at work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from . import show
from .options import ConfigOption, DeviceOption, IndexOption, JsonOption, ModelOption, settings, understanding_paths


@understanding_paths()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where photos, index and report go.")] = Path("demo"),
    index: IndexOption = None,
    config: ConfigOption = None,
    model: ModelOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take in photos, ask five queries, write a report. The photos are real ones and drawn scenes."""
    from ..demo.run import run_demo

    _, effective = settings(index, config, models_interface=model, models_device=device)
    report = run_demo(folder, config=effective, console=Console(stderr=as_json))
    if as_json:
        show.emit_json({"report": str(report)})
