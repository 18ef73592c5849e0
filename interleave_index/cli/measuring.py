"""The command `evaluate` and what all its benchmarks share: options, the run, the report. Knows no data set."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Collection, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text
from typer.core import TyperGroup

from ..export.table import plain_table
from ..wording import number_of
from . import show
from .options import (
    ConfigOption,
    DeviceOption,
    DtypeOption,
    GroundersOption,
    IndexOption,
    JsonOption,
    ModelOption,
    OfflineOption,
    settings,
    understanding_paths,
)

PACK = "pack"


class PackGroup(TyperGroup):
    """Commands of which `pack` may be left out: what is no command's name is its argument."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the left-out word in."""
        named = bool(args) and (args[0] in self.commands or args[0] in ("-h", "--help"))
        return super().parse_args(ctx, args if named else [PACK, *args])

    def list_commands(self, ctx: Any) -> list[str]:
        """Names for the help, `pack` first."""
        return sorted(super().list_commands(ctx), key=lambda name: name != PACK)


app = typer.Typer(
    cls=PackGroup,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Measure a model: on a photo pack (the word `pack` may be left out), or on a published benchmark. "
    "Figures are in percent.",
)


class Answers(StrEnum):
    """Where the answers of READ come from."""

    supplied = "supplied"
    free = "free"


def _run(
    opens: Callable[[], Sequence[Any]],
    work: Annotated[
        Path | None, typer.Option("--work", metavar="DIR", help="Keep what is measured; a stopped run goes on.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of everything that is drawn.")] = 0,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only so many items, for a trial.")] = None,
    published_protocol: Annotated[
        bool, typer.Option("--published-protocol", help="Replay the published evaluation with its oddities.")
    ] = False,
    answers: Annotated[
        list[Answers] | None,
        typer.Option("--answers", help="Of READ: supplied, as published, or free, as it says by itself; else both."),
    ] = None,
    index: IndexOption = None,
    config: ConfigOption = None,
    model: ModelOption = None,
    grounders: GroundersOption = None,
    proposals: Annotated[
        str | None,
        typer.Option(
            "--proposals", metavar="NAME", help="What finds the regions of a model of a hub; none: no regions."
        ),
    ] = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    offline: OfflineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run the benchmarks that `opens` gives, and print their reports. All else are options of every benchmark."""
    from ..evaluation.published import Run
    from ..evaluation.published.opening import open_subjects

    _, effective = settings(
        index,
        config,
        models_interface=model,
        models_grounders=grounders,
        models_proposals=proposals,
        models_device=device,
        models_dtype=dtype,
        models_offline=offline,
    )
    benchmarks = opens()
    subjects = open_subjects(
        effective, published_protocol=published_protocol, answers=[way.value for way in answers or ()]
    )
    reports = []
    with show.progress_bar("evaluate") as update:
        run = Run(work=work, seed=seed, limit=limit, progress=lambda what, done, total: update(done, total, what))
        for opened, subject in _different(benchmarks, subjects):
            reports.append(run(opened, subject))
            if not as_json:
                _print(reports[-1])
    if as_json:
        show.emit_json({"benchmarks": reports})


def _different(benchmarks: Sequence[Any], subjects: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Each benchmark with the subjects that are asked differently in it."""
    pairs = []
    for opened in benchmarks:
        by_protocol = {subject.protocol(presence=opened.presence): subject for subject in subjects}
        pairs += [(opened, subject) for subject in by_protocol.values()]
    return pairs


def benchmark(
    name: str, *, without: Collection[str] = ()
) -> Callable[[Callable[..., Sequence[Any]]], Callable[..., None]]:
    """Make a command of a function that opens data sets: the options of `_run` are added, and what it gives is run.

    A parameter `published_protocol` of the function is the shared option of that name.

    Args:
        name: of the command.
        without: parameters of `_run` that would change nothing here, so that the command does not take them.
    """

    def register(opens: Callable[..., Sequence[Any]]) -> Callable[..., None]:
        own = dict(inspect.signature(opens, eval_str=True).parameters)
        shared = dict(inspect.signature(_run, eval_str=True).parameters)
        for left_out in ("opens", *without):
            del shared[left_out]

        @understanding_paths()
        @functools.wraps(opens)
        def command(**values: Any) -> None:
            asked = {key: value for key, value in values.items() if key in own}
            common = {key: value for key, value in values.items() if key in shared}
            _run(lambda: opens(**asked), **common)

        parameters = [parameter for key, parameter in own.items() if key not in shared]
        parameters += shared.values()
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        app.command(name)(command)
        return command

    return register


def _print(report: dict[str, Any]) -> None:
    part = "" if report["complete"] else ", a part of the set: not to be compared"
    asked = f", {report['protocol']}" if "protocol" in report else ""
    show.say(f"{report['benchmark']}: {report['model']['interface']}{asked}, {number_of(report['n'], 'item')}{part}")
    table = plain_table("figure", "here#")
    for name, value in report["figures"].items():
        table.add_row(Text(name), _cell(value))
    show.emit_table(table)
    published = report["published"]
    if published:
        printed = dict.fromkeys(name for row in published for name in row["figures"])
        names = [name for name in report["figures"] if name in printed]
        names += [name for name in printed if name not in names]  # what only the server of a data set measures
        table = plain_table("published", *(f"{name}#" for name in names), "source")
        for row in published:
            cells = [_cell(row["figures"].get(name, {}).get("published", "")) for name in names]
            table.add_row(Text(row["model"]), *cells, Text(row["source"]))
        show.emit_table(table)


def _cell(value: Any) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def files_of_index(folder: Path | str) -> Callable[[Path], bool]:
    """Whether a path lies in the folder of an index, which is not opened."""
    inside = os.path.realpath(folder)
    return lambda path: path.is_relative_to(inside)
