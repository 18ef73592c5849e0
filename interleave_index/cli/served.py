"""Asking the server of an index, if one runs, instead of building the model and opening the index in this process."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from ..config import Config
from ..grammar import Query
from ..paths import user_path
from ..records import Answer, Filters, Hit, Not, Part, Picture
from ..records.texts import TextHit
from ..terms import label
from ..web.local_socket import ask_ground, ask_search

Found = TypeVar("Found", Hit, TextHit)
_STREAMS = ("/dev/", "/proc/")  # are those of this process


def search(
    folder: Path | str, config: Config, query: Query, filters: Filters, options: dict[str, Any]
) -> Answer | None:
    """The answer of the server; None when there is none that can give it.

    Raises:
        InterleaveError: as `Index.search`.
    """
    moved = _for_another_process(query)
    answer = None if moved is None else ask_search(folder, config, str(moved), filters, options)
    if answer is None or moved is None:
        return None
    names = _names_as_given(query, moved)
    texts = None if answer.texts is None else tuple(_renamed(hit, names) for hit in answer.texts)
    return replace(answer, query=str(query), hits=tuple(_renamed(hit, names) for hit in answer), texts=texts)


def ground(folder: Path | str, config: Config, photo: int | str, query: Query) -> Hit | None:
    """One photo as the server looks at it; None when there is no server that can.

    Raises:
        InterleaveError: as `Index.ground`.
    """
    moved = _for_another_process(query)
    named = photo if isinstance(photo, int) else _absolute(photo)
    hit = None if moved is None or named is None else ask_ground(folder, config, named, str(moved))
    if hit is None or moved is None:
        return None
    if not hit.photo.id and isinstance(photo, str):
        hit = replace(hit, photo=replace(hit.photo, path=photo))
    return _renamed(hit, _names_as_given(query, moved))


def _for_another_process(query: Query) -> Query | None:
    """The query with absolute paths; None where it names what only this process has."""
    parts: list[Part] = []
    for part in query:
        term = part.term if isinstance(part, Not) else part
        if not isinstance(term, Picture):
            parts.append(part)
            continue
        moved = _moved(term)
        if moved is None:
            return None
        parts.append(Not(moved) if isinstance(part, Not) else moved)
    return Query(*parts)


def _names_as_given(query: Query, moved: Query) -> dict[str, str]:
    """What answers call the parts of the query, by what those of the moved query call them."""
    given = (*query.entities, *query.negatives)
    return {label(there): label(here) for there, here in zip((*moved.entities, *moved.negatives), given, strict=True)}


def _renamed(hit: Found, names: dict[str, str]) -> Found:
    entities = tuple(replace(entity, text=names.get(entity.text, entity.text)) for entity in hit.entities)
    return replace(hit, entities=entities)


def _moved(picture: Picture) -> Picture | None:
    source = _absolute(str(picture.source))
    mask = None if picture.mask is None else _absolute(str(picture.mask))
    if source is None or (picture.mask is not None and mask is None):
        return None
    return Picture(source, picture.box, picture.points, picture.background, mask, picture.weight)


def _absolute(source: str) -> str | None:
    path = user_path(source)
    if path.lower().startswith(("http://", "https://")):
        return path
    path = os.path.abspath(path)
    return None if path.startswith(_STREAMS) else path
