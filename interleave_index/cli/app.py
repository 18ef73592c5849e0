"""The typer application: every command by name, in the order of the help page."""

from __future__ import annotations

from typing import Annotated

import typer

from .. import __version__
from . import ask, collect, measure, model, models, serve, train
from .options import QueryCommand

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Search a folder of photos with words and pictures mixed, and see which pixels answered which phrase.",
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


app.command()(collect.ingest)
app.command(cls=QueryCommand)(ask.search)
app.command(cls=QueryCommand)(ask.ground)
app.command()(collect.status)
app.command()(collect.verify)
app.command()(collect.optimize)
app.command()(collect.forget)
app.command()(collect.prune)
app.command()(collect.spaces)
app.command()(collect.activate)
app.command(cls=QueryCommand)(ask.export)
app.command()(serve.serve)
app.add_typer(models.group, name="models")
app.add_typer(train.app, name="train")
app.add_typer(measure.app, name="evaluate")
app.command()(model.demo)
