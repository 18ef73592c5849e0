"""The command that lists files which show the same, for whoever wants to tidy up. Deletes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer

from ..export.table import shown_path
from ..records.duplicates import Copy, Duplicates
from ..wording import number_of
from . import show
from .options import ConfigOption, IndexOption, JsonOption, opened


class Kind(StrEnum):
    """Which duplicates are listed."""

    exact = "exact"
    near = "near"
    both = "both"


def duplicates(
    index: IndexOption = None,
    config: ConfigOption = None,
    kind: Annotated[
        Kind, typer.Option(help="Files of one content, photos that look the same at a glance, or both.")
    ] = Kind.both,
    paths: Annotated[
        bool, typer.Option("--paths", help="Print only the paths that need not be kept, one a line.")
    ] = False,
    null: Annotated[
        bool, typer.Option("--null", "-0", help="As --paths, with a NUL behind each, for xargs -0.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List files that show the same, and which one of them to keep. Deletes nothing."""
    if as_json and (paths or null):
        raise typer.BadParameter("--json and --paths are two forms of one answer, expected one of them")
    with opened(index, config) as found, show.progress_bar("duplicates") as update:
        groups = found.duplicates(kind.value, progress=lambda done, total: update(done, total, "photos compared"))
    if as_json:
        show.emit_json({"duplicates": [group.to_json() for group in groups]})
    elif paths or null:
        spare = dict.fromkeys(copy.path for group in groups for copy in group.others)
        show.emit_plain_paths(list(spare), b"\0" if null else b"\n")
    else:
        _say(groups)


def _say(groups: Sequence[Duplicates]) -> None:
    for group in groups:
        show.say(f"{'same content' if group.kind == 'exact' else 'looks the same'}:")
        show.say(f"  keep  {_in_words(group.kept)}")
        for copy in group.others:
            show.say(f"        {_in_words(copy)}")
    spare = {copy.path: copy.bytes for group in groups for copy in group.others}
    if groups:
        megabytes = sum(spare.values()) / 2**20
        show.say(f"{number_of(len(spare), 'file')} beside those to keep, {megabytes:.1f} MiB; nothing was deleted")
    else:
        show.say("no duplicates")


def _in_words(copy: Copy) -> str:
    return f"{shown_path(copy.path)}  {copy.width} x {copy.height}, {copy.bytes / 1024:.0f} KiB"
