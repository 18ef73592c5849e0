"""Answers as the JSON that goes over the local socket, and back. Knows records; nothing of sockets."""

from __future__ import annotations

import os
from datetime import date, datetime
from typing import Any

from ..records import Answer, EntityHit, Grounding, Hit, Partial, Photo, Region, Reranked, Reranking, Rle
from ..records.texts import Passage, PhraseHit, TextHit, TextMatch


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
    texts = None if values["texts"] is None else tuple(map(_text_hit, values["texts"]))
    reranking = None if values["reranking"] is None else Reranking(**values["reranking"])
    lost = values["partial"]
    partial = None if lost is None else Partial(lost["partitions"], tuple(lost["lost"]))
    notes = tuple(values["notes"])
    return Answer(values["query"], values["path"], hits, notes, values["cutoff"], texts, reranking, partial)


def hit_of(values: dict[str, Any]) -> Hit:
    """A hit from `dataclasses.asdict` of it, after its way through JSON."""
    taken = values["photo"]["taken_at"]
    photo = Photo(**{**values["photo"], "taken_at": datetime.fromisoformat(taken) if taken else None})
    entities = tuple(_entity(entity) for entity in values["entities"])
    text = None if values["text"] is None else _text_match(values["text"])
    reranked = None if values["reranked"] is None else Reranked(**values["reranked"])
    more = _tuples(values, "stack", "notes")
    return Hit(**{**values, "photo": photo, "entities": entities, "text": text, "reranked": reranked, **more})


def _entity(values: dict[str, Any]) -> EntityHit:
    regions = tuple(_region(region) for region in values["regions"])
    return EntityHit(**{**values, "grounding": Grounding(**values["grounding"]), "regions": regions})


def _region(values: dict[str, Any]) -> Region:
    rle = Rle(**{**values["rle"], **_tuples(values["rle"], "size")})
    return Region(**{**values, "rle": rle, **_tuples(values, "box")})


def _text_match(values: dict[str, Any]) -> TextMatch:
    passage = None if values["passage"] is None else _passage(values["passage"])
    return TextMatch(values["added"], passage, tuple(values["words"]))


def _text_hit(values: dict[str, Any]) -> TextHit:
    entities = tuple(
        PhraseHit(one["text"], None if one["span"] is None else _span(one["span"]), one["score"])
        for one in values["entities"]
    )
    return TextHit(values["rank"], _passage(values["passage"]), values["score"], entities, tuple(values["words"]))


def _passage(values: dict[str, Any]) -> Passage:
    phrases = tuple(map(_span, values["phrases"]))
    return Passage(**{**values, "phrases": phrases, **_tuples(values, "photos", "inline")})


def _span(values: list[int]) -> tuple[int, int]:
    start, end = values
    return start, end


def _tuples(values: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: tuple(values[name]) for name in names}
