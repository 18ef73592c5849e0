"""Commands of the group `models` about released checkpoints: taking one in, and looking into one."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ..wording import number_of
from . import show
from .options import ConfigOption, DeviceOption, IndexOption, JsonOption, settings, understanding_paths


class SeemVersion(StrEnum):
    """The released versions of SEEM, and the demonstration, which reads the files of v0 in its own way."""

    V0 = "v0"
    V1 = "v1"
    DEMO = "demo"


@understanding_paths("language")
def import_model(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A checkpoint as its authors released it.")],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="What it shall be called here.")],
    language: Annotated[
        str | None, typer.Option("--language", metavar="DIR|NAME", help="Its language model: folder or pulled name.")
    ] = None,
    heads: Annotated[int, typer.Option("--heads", min=1, help="Attention heads of the interface.")] = 8,
    seem_version: Annotated[
        SeemVersion | None,
        typer.Option("--seem-version", help="Of a file of SEEM, which does not tell it itself."),
    ] = None,
    short_side: Annotated[
        int | None, typer.Option("--short-side", min=32, help="Photos are resized to it; else as published.")
    ] = None,
    long_side: Annotated[
        int | None, typer.Option("--long-side", min=32, help="The longer side is never larger; else as published.")
    ] = None,
    index: IndexOption = None,
    config: ConfigOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take in a released checkpoint of FIND, X-Decoder or SEEM. Every key must fit; only tensors are read from it."""
    from ..interface.importing import import_released, prepare_released
    from ..interface.published.importing import KeysDoNotFit
    from ..interface.registry import torch_device

    _, effective = settings(index, config, models_device=device)
    try:
        imported = import_released(
            file,
            name,
            language=language,
            heads=heads,
            sides=(short_side, long_side),
            seem_version=None if seem_version is None else seem_version.value,
        )
    except KeysDoNotFit as error:
        for line in error.problems:
            show.note(line)
        raise
    if imported.language != "none":
        with show.progress_bar("class table and banks") as update:
            prepare_released(
                imported.folder,
                device=torch_device(effective.models.device),
                progress=lambda done, total: update(done, total, ""),
            )
    facts = {
        "name": name,
        "folder": str(imported.folder),
        "preset": imported.preset,
        "tensors": imported.tensors,
        "parameters": imported.parameters,
        "language": imported.language,
        "left_out": list(imported.left_out),
    }
    if as_json:
        show.emit_json(facts)
        return
    show.say(
        f"{name}: {number_of(imported.tensors, 'tensor')}, {imported.parameters / 1e6:.1f} M parameters, sizes of "
        f"{imported.preset or 'no released model'}, in {imported.folder}"
    )
    if imported.left_out:
        show.say(f"left out, as not needed: {number_of(len(imported.left_out), 'key')}")
    show.say(
        f"use it with --model {name}"
        if imported.language != "none"
        else "it cannot read text yet: import it again with --language and the folder of its language model"
    )


@understanding_paths("name")
def info(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model, as --model takes it.")],
    index: IndexOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what is inside a model. Its files are looked at, it is not built."""
    from ..interface.model_files import contents

    settings(index, config)
    facts = contents(name)
    if as_json:
        show.emit_json(facts)
        return
    for key, value in facts.items():
        if isinstance(value, dict):
            show.say(f"{key}:")
            for inner, entry in value.items():
                show.say(f"  {inner}: {_shown(entry)}")
        else:
            show.say(f"{key}: {_shown(value)}")


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "none" if value is None else str(value)
