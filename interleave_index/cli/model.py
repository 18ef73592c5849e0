"""Commands that train a model, and show one at work."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from . import show
from .options import ConfigOption, DeviceOption, IndexOption, JsonOption, ModelOption, settings


class Stage(StrEnum):
    """Stages of the training, in their order."""

    space = "space"
    text = "text"
    vision = "vision"
    align = "align"
    regions = "regions"
    interface = "interface"
    refit = "refit"
    bundle = "bundle"


def train(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Folder with train-*.tar and val-*.tar packs.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Checkpoints and the finished model.")],
    targets: Annotated[
        Path | None, typer.Option("--targets", metavar="DIR", help="Teacher targets; without, no distillation.")
    ] = None,
    stage: Annotated[list[Stage] | None, typer.Option("--stage", help="Only these stages; else all.")] = None,
    more: Annotated[
        Path | None, typer.Option("--more", metavar="DIR", help="Further packs, for the vision tower alone.")
    ] = None,
    start: Annotated[
        Path | None, typer.Option("--start", metavar="DIR", help="An earlier run, or a bundle, that stages start from.")
    ] = None,
    minutes: Annotated[float, typer.Option(min=0, help="Of the stage `interface`.")] = 60.0,
    space_minutes: Annotated[float, typer.Option(min=0, help="Of the stage `space`.")] = 4.0,
    text_minutes: Annotated[float, typer.Option(min=0, help="Of the stage `text`.")] = 20.0,
    vision_minutes: Annotated[float, typer.Option(min=0, help="Of the stage `vision`.")] = 90.0,
    align_minutes: Annotated[float, typer.Option(min=0, help="Of the stage `align`.")] = 5.0,
    regions_minutes: Annotated[float, typer.Option(min=0, help="Of the stage `regions`.")] = 3.0,
    refit_minutes: Annotated[float, typer.Option(min=0, help="Of the stage `refit`.")] = 1.5,
    batch: Annotated[int, typer.Option(min=1, help="Photos a step of the stage `interface`.")] = 16,
    backbone_rate: Annotated[
        float,
        typer.Option(
            "--backbone-rate",
            min=0.0,
            max=1.0,
            help="Learning rate of the backbone in `interface`, as a share; 0 lets it stand.",
        ),
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many training photos, for a trial.")] = None,
    bf16: Annotated[bool, typer.Option("--bf16/--fp32", help="Mixed precision.")] = True,
    threads: Annotated[int, typer.Option(min=0, help="Of the network; 0 leaves the choice to torch.")] = 0,
    index: IndexOption = None,
    config: ConfigOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train find-mini on photo packs. Goes on from its last checkpoint when it is run again."""
    from ..training.find_mini.run import STAGES, TrainSettings, run

    settings(index, config)  # a config file that cannot be read is an error here too
    wanted = tuple(name for name in STAGES if stage is None or Stage(name) in stage)
    bundle = run(
        TrainSettings(
            data=data,
            out=out,
            targets=targets,
            more=more,
            start=start,
            stages=wanted,
            minutes=minutes,
            space_minutes=space_minutes,
            text_minutes=text_minutes,
            vision_minutes=vision_minutes,
            align_minutes=align_minutes,
            regions_minutes=regions_minutes,
            refit_minutes=refit_minutes,
            batch=batch,
            backbone_rate=backbone_rate,
            seed=seed,
            limit=limit,
            bf16=bf16,
            threads=threads,
            device=device or "auto",
        ),
        progress=lambda line: (show.note if as_json else show.say)(str(line)),
    )
    if as_json:
        show.emit_json({"model": str(bundle)})


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
