"""Answers as the JSON that goes over the local socket, and back. Knows records; nothing of sockets."""

from __future__ import annotations

import os
from datetime import date, datetime
from typing import Any

from ..records import Answer, EntityHit, Grounding, Hit, Photo, Region, Rle


def plain(value: Any) -> Any:
    """What `json` does not know: dates, paths, and numbers of numpy."""
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.item()


def answer_of(values: dict[str, Any]) -> Answer:
    """An answer from `dataclasses.asdict` of it, after its way through JSON."""
    hits = tuple(hit_of(hit) for hit in values["hits"])
    return Answer(values["query"], values["path"], hits, tuple(values["notes"]), values["cutoff"])


def hit_of(values: dict[str, Any]) -> Hit:
    """A hit from `dataclasses.asdict` of it, after its way through JSON."""
    taken = values["photo"]["taken_at"]
    photo = Photo(**{**values["photo"], "taken_at": datetime.fromisoformat(taken) if taken else None})
    entities = tuple(_entity(entity) for entity in values["entities"])
    return Hit(**{**values, "photo": photo, "entities": entities, **_tuples(values, "stack", "notes")})


def _entity(values: dict[str, Any]) -> EntityHit:
    regions = tuple(_region(region) for region in values["regions"])
    return EntityHit(**{**values, "grounding": Grounding(**values["grounding"]), "regions": regions})


def _region(values: dict[str, Any]) -> Region:
    rle = Rle(**{**values["rle"], **_tuples(values["rle"], "size")})
    return Region(**{**values, "rle": rle, **_tuples(values, "box")})


def _tuples(values: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: tuple(values[name]) for name in names}
