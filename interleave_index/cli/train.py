"""The command `train`: photo packs by default, COCO's own files with `--data coco`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from . import model, show
from .options import ConfigOption, DeviceOption, IndexOption, JsonOption, settings

PACKS, COCO, DATA = "packs", "coco", "--data"


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
    help="Train a model: find-mini on photo packs, or with --data coco a FIND interface on COCO over any pair of "
    "models. `train --data coco --help` shows the options of the latter.",
)
app.command(PACKS)(model.train)


@app.command(COCO)
def coco(
    data: Annotated[Path, typer.Argument(metavar="DIR", help="COCO: annotations/ and folders of photos.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Checkpoint and the finished model.")],
    split: Annotated[str, typer.Option("--split", help="Of COCO.")] = "train2017",
    entity: Annotated[Path | None, typer.Option("--entity", metavar="FILE", help="entity_train2017.json.")] = None,
    refs: Annotated[Path | None, typer.Option("--refs", metavar="FILE", help="refs(...).p of a RefCOCO set.")] = None,
    instances: Annotated[Path | None, typer.Option("--instances", metavar="FILE", help="Of the references.")] = None,
    leave_out: Annotated[
        list[Path] | None,
        typer.Option("--leave-out", metavar="FILE", help="Do not train on photos of this benchmark file."),
    ] = None,
    vision: Annotated[
        str,
        typer.Option(
            "--vision", metavar="NAME", help="focal-t, focal-l, find-mini, or a backbone's folder or hub name."
        ),
    ] = "focal-t",
    vision_weights: Annotated[
        str | None,
        typer.Option("--vision-weights", metavar="FILE", help="State dict with backbone.*, for focal-t and focal-l."),
    ] = None,
    language: Annotated[
        str,
        typer.Option("--language", metavar="NAME", help="find-mini, or the folder or hub name of a language model."),
    ] = "find-mini",
    language_layer: Annotated[int, typer.Option("--language-layer", help="Hidden state; -1 is the last.")] = -12,
    size: Annotated[int, typer.Option("--size", min=32, help="Side of the crops, a multiple of 32.")] = 1024,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Photos a step, over all processes.")] = 18,
    epochs: Annotated[float, typer.Option("--epochs", help="Over the photos.")] = 50.0,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Instead of --epochs.")] = None,
    rate: Annotated[float, typer.Option("--rate", help="Learning rate.")] = 1e-4,
    width: Annotated[int, typer.Option("--width", help="Of the interface.")] = 512,
    layers: Annotated[int, typer.Option("--layers", help="Of the interface.")] = 9,
    object_queries: Annotated[int, typer.Option("--object-queries", help="Proposals.")] = 100,
    points: Annotated[int, typer.Option("--points", help="Sampled of every mask.")] = 12544,
    seed: Annotated[int, typer.Option("--seed", help="Of everything that is drawn.")] = 0,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only so many photos, for a trial.")] = None,
    bf16: Annotated[bool, typer.Option("--bf16/--fp32", help="Mixed precision.")] = False,
    device: DeviceOption = None,
    index: IndexOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a FIND interface on COCO over a frozen pair of models. Under torchrun in several processes."""
    from ..training.coco.data import Drawing
    from ..training.coco.run import run
    from ..training.coco.settings import CocoSettings

    settings(index, config)  # a config file that cannot be read is an error here too
    found = run(
        CocoSettings(
            data=data,
            out=out,
            split=split,
            entity=entity,
            refs=refs,
            instances=instances,
            leave_out=tuple(leave_out or ()),
            vision=vision,
            vision_weights=vision_weights,
            language=language,
            language_layer=language_layer,
            drawing=Drawing(size=size),
            batch=batch,
            epochs=epochs,
            steps=steps,
            lr=rate,
            width=width,
            layers=layers,
            object_queries=object_queries,
            points=points,
            seed=seed,
            limit=limit,
            bf16=bf16,
            device=device or "auto",
        ),
        progress=show.note if as_json else show.say,
    )
    if as_json:
        show.emit_json({"model": str(found)})
