"""The typer application: every command by name, in the order of the help page."""

from __future__ import annotations

from typing import Annotated

import typer

from .. import __version__
from . import ask, collect, doctor, duplicates, export, measure, model, models, segment, serve, tend, texts, train
from .options import QueryCommand

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Search a folder of photos with words and pictures mixed, and see which pixels answered which phrase.",
)


def examples(*lines: str) -> str:
    """Lines below the help of a command, each after the name of the program."""
    return "\b\nExamples:\n" + "\n".join(f"  interleave-index {line}" for line in lines)  # \b keeps the line ends


SEARCHES = examples(
    "search 'a dog on a beach'",
    "search '[a dog] on a beach -[a person]' --after 2024 --html dogs.html",
    "search '[image:mug.jpg#box=10,20,200,180] on a table' --json",
    "search '[a dog]' -0 | xargs -0 cp -t dogs",
    "search 'the harbour of [Visby]' --target texts",
)
GROUNDINGS = examples(
    "ground kitchen.jpg '[a mug] beside [a plate]'",
    "ground 12 '[image:mug.jpg]' --html kitchen.html",
    "ground kitchen.jpg '#point=310,220;-40,60'",
)
SEGMENTS = examples(
    "segment ~/Pictures --out segments", "segment kitchen.jpg --classes classes.txt --out kitchen --model find-mini"
)
EXPORTS = examples(
    "export '[a dog]' --coco dogs.json --masks dogs",
    "export --jsonl all.jsonl",
    "export --jsonl - | jq .path",
    "export --texts texts.jsonl",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"interleave-index {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None: ...


app.command(epilog=examples("ingest ~/Pictures", "ingest . --index photos.index --model toy"))(collect.ingest)
app.command(cls=QueryCommand, epilog=SEARCHES)(ask.search)
app.command(cls=QueryCommand, epilog=GROUNDINGS)(ask.ground)
app.command(epilog=SEGMENTS)(segment.segment)
app.command(epilog=examples("texts ~/Pictures/mug.jpg", "texts 12 --json", "texts notes/harbour.md"))(texts.texts)
app.command(epilog=examples("duplicates", "duplicates --kind exact -0 | xargs -0 ls -l"))(duplicates.duplicates)
app.command()(collect.status)
app.command()(collect.verify)
app.command()(collect.optimize)
app.command()(collect.forget)
app.command()(collect.prune)
app.command()(tend.repair)
app.command(epilog=examples("doctor", "doctor --model owner/name --no-trial"))(doctor.doctor)
app.command(epilog=examples("backup photos-2026.tar"))(tend.backup)
app.command(epilog=examples("restore photos-2026.tar --index photos.index"))(tend.restore)
app.command(epilog=examples("watch ~/Pictures"))(tend.watch)
app.command()(collect.spaces)
app.command()(collect.activate)
app.command(cls=QueryCommand, epilog=EXPORTS)(export.export)
app.command(epilog=examples("serve", "serve --root ~/Pictures --port 9000"))(serve.serve)
app.add_typer(models.group, name="models")
app.add_typer(train.app, name="train", short_help="Train a model on photo packs or on COCO.")
app.add_typer(measure.app, name="evaluate", short_help="Measure a model on a photo pack or a benchmark.")
app.command()(model.demo)
