"""Options that commands share, and how they become settings and an open index. Knows no output."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from ..building import expand_set
from ..config import CONFIG_VARIABLE, Config, kept_config, named_index
from ..dates import moment
from ..errors import InputError
from ..paths import is_url, user_path
from ..records import Filters
from ..records.texts import TEXT_KINDS
from ..service import Index

PLACE = ("LAT", "LON", "KM")
IndexOption = Annotated[
    str | None,
    typer.Option("--index", metavar="DIR", help="Folder of the index; else INTERLEAVE_INDEX, else the config."),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Settings; else INTERLEAVE_CONFIG, else those kept in the index."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
ModelOption = Annotated[
    str | None, typer.Option("--model", metavar="NAME", help="find-mini, toy, a folder with a model, or one of a hub.")
]
DeviceOption = Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda or mps.")]
DtypeOption = Annotated[
    str | None, typer.Option("--dtype", help="Of models from a hub: auto, float32, bfloat16 or float16.")
]
GroundersOption = Annotated[
    str | None,
    typer.Option("--grounders", metavar="NAMES", help="Models that segment or detect, by commas: SAM 2, OWLv2 …"),
]
RerankOption = Annotated[
    int | None,
    typer.Option("--rerank", metavar="N", min=0, max=1000, help="Have the best N photos reranked; 0 has none."),
]
RerankerOption = Annotated[
    str | None, typer.Option("--reranker", metavar="NAME", help="The model that --rerank asks: a folder, or of a hub.")
]
HeatmapOption = Annotated[
    Path | None, typer.Option("--heatmap", metavar="DIR", help="Write a heat map of every entity as PNG.")
]
NoServerOption = Annotated[
    bool, typer.Option("--no-server", help="Do not ask the server of the index, if one runs; see `serve`.")
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Write over files that are there; never over a picture of yours.")
]
OfflineOption = Annotated[bool | None, typer.Option("--offline/--online", help="Never open a network connection.")]

AfterOption = Annotated[str | None, typer.Option("--after", metavar="DATE", help="Taken on this date or later.")]
BeforeOption = Annotated[str | None, typer.Option("--before", metavar="DATE", help="Taken before this date.")]
CameraOption = Annotated[str | None, typer.Option("--camera", help="Part of the camera's name.")]
NearOption = Annotated[
    str | None, typer.Option("--near", metavar=",".join(PLACE), help="Taken within so many kilometres of a place.")
]
FolderOption = Annotated[
    list[str] | None, typer.Option("--in", metavar="FOLDER", help="Lies in this folder or below. Repeatable.")
]
MissingOption = Annotated[bool, typer.Option("--include-missing", help="Also photos whose files are gone.")]


class Depth(StrEnum):
    """How masks are found."""

    stored = "stored"
    exact = "exact"
    none = "none"


class Target(StrEnum):
    """What is ranked."""

    photos = "photos"
    texts = "texts"
    both = "both"


TopOption = Annotated[int | None, typer.Option("--top-k", "-k", min=1, help="Hits to show.")]
GroundOption = Annotated[
    Depth, typer.Option("--ground", help="Masks from stored regions, by a second look at every hit, or none.")
]
SelfOption = Annotated[
    bool, typer.Option("--exclude-self", help="Leave out the photos that the query names by [photo:] and [region:].")
]
LikeOption = Annotated[
    list[int] | None,
    typer.Option("--like", metavar="ID", help="A photo that is right: the query moves towards it; may be repeated."),
]
UnlikeOption = Annotated[
    list[int] | None,
    typer.Option("--unlike", metavar="ID", help="A photo that is wrong: the query moves away; may be repeated."),
]
StacksOption = Annotated[
    bool | None,
    typer.Option(
        "--stacks/--no-stacks",
        help="Fold photos that look the same into the best of them; the default, but for --json and --paths.",
    ),
]
TargetOption = Annotated[
    Target, typer.Option("--target", "-t", help="Rank photos, the passages of texts beside them, or both.")
]


def existing_source(text: str) -> Path | str:
    """`existing_path`, or the URL of a folder or an object in a store, which is not asked yet."""
    try:
        place = user_path(text)
    except InputError as error:
        raise typer.BadParameter(str(error)) from None
    return place if is_url(place) else existing_path(text)


def existing_path(text: str) -> Path:
    """A file or folder that is there, as people write it: ``~`` and ``file://`` are understood where no shell has."""
    try:
        path = Path(user_path(text))
    except InputError as error:
        raise typer.BadParameter(str(error)) from None
    if not os.path.lexists(path):
        raise typer.BadParameter(f"Path {text!r} does not exist.")
    return path


def understanding_paths(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a command understand ``~`` and ``file://`` in its paths, which no shell expands behind ``=`` or in quotes.

    Args:
        names: parameters that are texts and may name a file or folder; those of type `Path` need not be named.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def understanding(**values: Any) -> None:
            try:
                meant = {name: _meant(value, name in names) for name, value in values.items()}
            except InputError as error:
                raise typer.BadParameter(str(error)) from None
            command(**meant)

        return understanding

    return decorate


def _meant(value: Any, is_path: bool) -> Any:
    if isinstance(value, Path):
        return Path(user_path(value))
    if isinstance(value, list):
        return [_meant(item, is_path) for item in value]
    return user_path(value) if is_path and isinstance(value, str) else value


def existing_folder(text: str) -> Path:
    """`existing_path` that is a folder."""
    path = existing_path(text)
    if not path.is_dir():
        raise typer.BadParameter(f"Path {text!r} is no folder.")
    return path


class QueryCommand(TyperCommand):
    """A command whose query may begin with ``-[a person]`` without being taken for an option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """A blank before ``-[`` keeps the parser away; the query grammar folds blanks."""
        return super().parse_args(ctx, [f" {word}" if word.startswith("-[") else word for word in args])


def settings(index: str | None, config: Path | None, **flags: Any) -> tuple[Path | str, Config]:
    """Where the index is and the settings in force: default < file < flag.

    The file is --config, else INTERLEAVE_CONFIG, else the one that the index keeps.

    A word for a set of models stands for its models; further flags win over these.

    Raises:
        ConfigError: the file or a flag holds something that is no setting.
        WeightsMissing: a flag names a set whose models are not all here.
    """
    named = config or os.environ.get(CONFIG_VARIABLE)
    base = Config.load(user_path(named)) if named else Config()
    folder = named_index(index, base)
    if not named:
        base = kept_config(folder) or base
    word = flags.pop("models_interface", None)
    base = expand_set(base.with_flags(models_interface=word), check=word is not None)
    return folder, base.with_flags(index=folder, **flags)


@contextmanager
def opened(index: str | None, config: Path | None, *, create: bool = False, **flags: Any) -> Iterator[Index]:
    """The index of a command, closed afterwards; flags are settings by their `section_key` names."""
    folder, effective = settings(index, config, **flags)
    with Index.open(folder, config=effective, create=create) as found:
        yield found


def filters_of(
    after: str | None,
    before: str | None,
    camera: str | None,
    near: str | None,
    folder: list[str] | None,
    include_missing: bool,
) -> Filters:
    """Filters from their options; a value that cannot be read is wrong usage (status 2)."""
    place = None if near is None else re.split(r"\s*,\s*", near.strip())
    if place is not None and len(place) != len(PLACE):
        raise typer.BadParameter(f"--near is {near!r}, expected {','.join(PLACE)} such as 48.1,11.6,5")
    try:
        return Filters(
            after=moment(after, "--after"),
            before=moment(before, "--before"),
            camera=camera,
            near=place,  # type: ignore[arg-type]  # texts of numbers are read as numbers
            folder=folder,
            include_missing=include_missing,
        )
    except InputError as error:
        raise typer.BadParameter(str(error)) from None


def photo_argument(text: str) -> int | str:
    """A photo named by id (digits only) or by path.

    A file whose name is all digits is given as ``./1234``.
    """
    return int(text) if text.isascii() and text.isdigit() else user_path(text)


def depth_of(chosen: Depth) -> Literal["stored", "exact"] | None:
    """How masks are found, as `Index.search` takes it."""
    depths: dict[Depth, Literal["stored", "exact"]] = {Depth.stored: "stored", Depth.exact: "exact"}
    return depths.get(chosen)


def text_kinds_of(text: str) -> tuple[str, ...]:
    """Kinds of texts as the setting has them; a name that is none is wrong usage (status 2)."""
    named = [name.strip().lower() for name in text.split(",")]
    if named in (["none"], ["all"]):
        return TEXT_KINDS if named == ["all"] else ()
    for name in named:
        if name not in TEXT_KINDS:
            raise typer.BadParameter(f"--text names {name!r}, expected {', '.join(TEXT_KINDS)}, or all or none alone")
    return tuple(kind for kind in TEXT_KINDS if kind in named)
