"""The command that shows the texts of one photo, or how one text source was cut into passages."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from ..errors import NotInIndex, TextUnreadable
from ..records.texts import Passage
from ..service import Index
from . import show
from .options import ConfigOption, IndexOption, JsonOption, opened, photo_argument


def texts(
    what: Annotated[
        str, typer.Argument(metavar="PATH|ID", help="A photo by path or id, or a sidecar or page by its path.")
    ],
    index: IndexOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the texts of a photo, or a page in its passages. Needs no model."""
    named = photo_argument(what)
    with opened(index, config) as found:
        passages = found.texts(found.photo(named)) if isinstance(named, int) else _at_path(found, named)
    if as_json:
        show.emit_json({"texts": [passage.to_json() for passage in passages]})
    elif passages:
        show.emit_passages(passages)
    else:
        show.say("No text belongs to this photo.")


def _at_path(found: Index, path: str) -> list[Passage]:
    """Passages of the photo or source at a path.

    Raises:
        TextUnreadable: it is a source that could not be read.
        NotInIndex: nothing of the index lies there.
    """
    try:
        return found.texts(path)
    except NotInIndex:
        place = os.path.realpath(path)
        failed = next((file for file in found.failed() if file.path == place), None)
        if failed is None:
            raise
        raise TextUnreadable(f"{place} could not be read: {failed.detail}") from None
