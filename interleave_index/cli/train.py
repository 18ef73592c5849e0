"""The command `train`: photo packs by default, files of others with `--data`. All kinds read a recipe, and flags."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from . import show
from .options import ConfigOption, DeviceOption, IndexOption, JsonOption, settings, understanding_paths

PACKS, COCO, READ, DATA = "packs", "coco", "read", "--data"

RecipeOption = Annotated[
    Path | None, typer.Option("--recipe", metavar="FILE", help="YAML file with settings that differ from the recipe's.")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting of the recipe; several times.")
]
OutOption = Annotated[Path, typer.Option("--out", metavar="DIR", help="Checkpoints and the finished model.")]
RateOption = Annotated[float | None, typer.Option("--rate", help="Learning rate.")]
SeedOption = Annotated[int | None, typer.Option("--seed", help="Of everything that is drawn.")]
PrecisionOption = Annotated[bool | None, typer.Option("--bf16/--fp32", help="Mixed precision.")]
BackboneRateOption = Annotated[
    float | None,
    typer.Option(
        "--backbone-rate",
        min=0.0,
        max=1.0,
        help="Learning rate of the backbone in `interface`, as a share; 0 lets it stand.",
    ),
]
LeaveOutOption = Annotated[
    list[Path] | None,
    typer.Option("--leave-out", metavar="FILE", help="Do not train on photos of this benchmark file."),
]
VisionOption = Annotated[
    str | None,
    typer.Option(
        "--vision",
        metavar="NAME",
        help="focal-t, focal-l, davit-d3, davit-d5, sam-b, find-mini, a file with backbone.*, or a backbone's "
        "folder or hub name.",
    ),
]
VisionWeightsOption = Annotated[
    str | None, typer.Option("--vision-weights", metavar="FILE", help="State dict of a named backbone, or `random`.")
]
LanguageOption = Annotated[
    str | None,
    typer.Option(
        "--language",
        metavar="NAME",
        help="find-mini, a file with a UniCL tower, or the folder or hub name of a language model.",
    ),
]
TokenizerOption = Annotated[
    str | None, typer.Option("--tokenizer", metavar="DIR", help="Folder with the tokenizer.json of a UniCL tower.")
]


class Stage(StrEnum):
    """Stages of the training on packs, in their order."""

    space = "space"
    text = "text"
    vision = "vision"
    align = "align"
    regions = "regions"
    interface = "interface"
    refit = "refit"
    bundle = "bundle"


class DataGroup(TyperGroup):
    """One command a kind of data, chosen by `--data`; packs where it is not given."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Turn `--data KIND` into the command of that name."""
        kind, rest, words = PACKS, [], iter(args)
        for word in words:
            if word == DATA:
                kind = next(words, "")
            elif word.startswith(f"{DATA}="):
                kind = word.removeprefix(f"{DATA}=")
            else:
                rest.append(word)
        if kind not in self.commands:
            raise typer.BadParameter(f"--data is {kind!r}, expected {' or '.join(self.commands)}")
        if rest[:1] in (["-h"], ["--help"]) and len(rest) == len(args):
            return super().parse_args(ctx, rest)
        return super().parse_args(ctx, [kind, *rest])


app = typer.Typer(
    cls=DataGroup,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Train a model: find-mini on photo packs, with --data coco a FIND interface on COCO over any pair of models, "
    "or with --data read READ on RefCOCO and ReasonSeg. `train --data coco --help` shows the options of one of them.",
)


def _minutes(stage: str) -> Any:
    return typer.Option(f"--{stage}-minutes", min=0, help=f"Of the stage `{stage}`.")


@app.command(PACKS)
@understanding_paths()
def packs(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Folder with train-*.tar and val-*.tar packs.")],
    out: OutOption,
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
    minutes: Annotated[float | None, typer.Option("--minutes", min=0, help="Of the stage `interface`.")] = None,
    space_minutes: Annotated[float | None, _minutes("space")] = None,
    text_minutes: Annotated[float | None, _minutes("text")] = None,
    vision_minutes: Annotated[float | None, _minutes("vision")] = None,
    align_minutes: Annotated[float | None, _minutes("align")] = None,
    regions_minutes: Annotated[float | None, _minutes("regions")] = None,
    refit_minutes: Annotated[float | None, _minutes("refit")] = None,
    batch: Annotated[int | None, typer.Option("--batch", min=1, help="Photos a step of the stage `interface`.")] = None,
    backbone_rate: BackboneRateOption = None,
    seed: SeedOption = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="At most so many training photos, for a trial.")
    ] = None,
    bf16: PrecisionOption = None,
    threads: Annotated[
        int | None, typer.Option("--threads", min=0, help="Of the network; 0 leaves the choice to torch.")
    ] = None,
    recipe: RecipeOption = None,
    set_: SetOption = None,
    index: IndexOption = None,
    config: ConfigOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train find-mini on photo packs. Goes on from its last checkpoint when it is run again."""
    from ..training.find_mini.run import run
    from ..training.find_mini.settings import find_mini_settings

    flags = {
        "targets": targets,
        "stages": [name.value for name in Stage if name in stage] if stage else None,
        "more": more,
        "start": start,
        "interface.minutes": minutes,
        "space.minutes": space_minutes,
        "text.minutes": text_minutes,
        "vision.minutes": vision_minutes,
        "align.minutes": align_minutes,
        "regions.minutes": regions_minutes,
        "refit.minutes": refit_minutes,
        "interface.batch": batch,
        "interface.backbone_rate": backbone_rate,
        "seed": seed,
        "limit": limit,
        "bf16": bf16,
        "threads": threads,
        "device": device,
    }
    settings(index, config)  # a config file that cannot be read is an error here too
    _train(run, find_mini_settings(data, out, recipe=recipe, overrides=_overrides(flags, set_)), as_json)


@app.command(COCO)
@understanding_paths("vision", "vision_weights", "language", "tokenizer")
def coco(
    data: Annotated[Path, typer.Argument(metavar="DIR", help="COCO: annotations/ and folders of photos.")],
    out: OutOption,
    split: Annotated[str | None, typer.Option("--split", help="Of COCO.")] = None,
    entity: Annotated[Path | None, typer.Option("--entity", metavar="FILE", help="entity_train2017.json.")] = None,
    refs: Annotated[Path | None, typer.Option("--refs", metavar="FILE", help="refs(...).p of a RefCOCO set.")] = None,
    instances: Annotated[Path | None, typer.Option("--instances", metavar="FILE", help="Of the references.")] = None,
    leave_out: LeaveOutOption = None,
    vision: VisionOption = None,
    vision_weights: VisionWeightsOption = None,
    language: LanguageOption = None,
    tokenizer: TokenizerOption = None,
    language_layer: Annotated[
        int | None, typer.Option("--language-layer", help="Hidden state; -1 is the last.")
    ] = None,
    size: Annotated[int | None, typer.Option("--size", min=32, help="Side of the crops, a multiple of 32.")] = None,
    batch: Annotated[int | None, typer.Option("--batch", min=1, help="Photos a step, over all processes.")] = None,
    epochs: Annotated[float | None, typer.Option("--epochs", help="Over the photos.")] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Instead of --epochs.")] = None,
    rate: RateOption = None,
    width: Annotated[int | None, typer.Option("--width", help="Of the interface.")] = None,
    layers: Annotated[int | None, typer.Option("--layers", help="Of the interface.")] = None,
    object_queries: Annotated[int | None, typer.Option("--object-queries", help="Proposals.")] = None,
    points: Annotated[int | None, typer.Option("--points", help="Sampled of every mask.")] = None,
    seed: SeedOption = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only so many photos, for a trial.")] = None,
    bf16: PrecisionOption = None,
    recipe: RecipeOption = None,
    set_: SetOption = None,
    device: DeviceOption = None,
    index: IndexOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a FIND interface on COCO over a frozen pair of models. Under torchrun in several processes."""
    from ..training.coco.run import run
    from ..training.coco.settings import coco_settings

    flags = {
        "split": split,
        "entity": entity,
        "refs": refs,
        "instances": instances,
        "leave_out": leave_out or None,
        "vision": vision,
        "vision_weights": vision_weights,
        "language": language,
        "language_layer": language_layer,
        "tokenizer": tokenizer,
        "drawing.size": size,
        "batch": batch,
        "epochs": epochs,
        "steps": steps,
        "rate": rate,
        "width": width,
        "layers": layers,
        "object_queries": object_queries,
        "points": points,
        "seed": seed,
        "limit": limit,
        "bf16": bf16,
        "device": device,
    }
    settings(index, config)  # a config file that cannot be read is an error here too
    _train(run, coco_settings(data, out, recipe=recipe, overrides=_overrides(flags, set_)), as_json)


@app.command(READ)
@understanding_paths("start")
def read(
    data: Annotated[Path, typer.Argument(metavar="DIR", help="LISA's layout: refer_seg/ and reason_seg/ReasonSeg/.")],
    out: OutOption,
    start: Annotated[
        str | None,
        typer.Option(
            "--start", metavar="NAME", help="read, read:DIR, or the folder of a SESAME; with --sam that of a LLaVA."
        ),
    ] = None,
    sam: Annotated[
        Path | None, typer.Option("--sam", metavar="FILE", help="sam_vit_h_4b8939.pth, to train from scratch.")
    ] = None,
    batch: Annotated[int | None, typer.Option("--batch", min=1, help="Photos that go through together.")] = None,
    accumulate: Annotated[int | None, typer.Option("--accumulate", min=1, help="Such batches of a step.")] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Each ends with a measurement.")] = None,
    steps_per_epoch: Annotated[int | None, typer.Option("--steps-per-epoch", min=1, help="Of the optimiser.")] = None,
    rate: RateOption = None,
    rank: Annotated[int | None, typer.Option("--rank", min=1, help="Of the adapters.")] = None,
    seed: SeedOption = None,
    bf16: PrecisionOption = None,
    recipe: RecipeOption = None,
    set_: SetOption = None,
    device: DeviceOption = None,
    index: IndexOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train READ by low-rank adapters. Goes on from its last checkpoint when it is run again."""
    from ..training.read.run import run
    from ..training.read.settings import read_settings

    flags = {
        "start": start,
        "sam": sam,
        "batch": batch,
        "accumulate": accumulate,
        "epochs": epochs,
        "steps_per_epoch": steps_per_epoch,
        "rate": rate,
        "lora.rank": rank,
        "seed": seed,
        "bf16": bf16,
        "device": device,
    }
    settings(index, config)  # a config file that cannot be read is an error here too
    _train(run, read_settings(data, out, recipe=recipe, overrides=_overrides(flags, set_)), as_json)


def _train(run: Callable[..., Path], chosen: Any, as_json: bool) -> None:
    """Train by settings; with `as_json` the progress goes to stderr, and the model that came of it is printed."""
    say = show.note if as_json else show.say
    model = run(chosen, progress=lambda line: say(str(line)))
    if as_json:
        show.emit_json({"model": str(model)})


def _overrides(flags: dict[str, Any], words: list[str] | None) -> dict[str, Any]:
    """Flags that were given, and behind them what `--set` says."""
    from ..training.settings import parse_overrides

    given = {key: value for key, value in flags.items() if value is not None}
    return given | parse_overrides(words or [])
