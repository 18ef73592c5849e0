"""The questions by which the judgement is measured, by kind of query, with the photos that are right and wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias

import numpy as np

from ..grammar import Query
from ..records import Entity, PhotoRef
from . import interleaved
from .annotations import (
    RIGHT,
    UNKNOWN,
    WRONG,
    Labelled,
    Named,
    References,
    captioned,
    class_names,
    classes,
    strangers,
    things,
)
from .packs import Photos

Kind: TypeAlias = Literal["words", "bracketed", "pictures", "parts", "mixed_part", "mixed_word"]
MOST_OF_A_NAME = 4  # parts that stand for one name


@dataclass(frozen=True, slots=True)
class Question:
    """One query and what is known of the photos that it is asked of.

    Attributes:
        named: the name behind it, with those photos.
        query: makes it; pictures of a whole pack need not lie in memory.
    """

    named: Named
    query: Callable[[], Query]


def judged_questions(photos: Photos, references: References) -> dict[Kind, list[Question]]:
    """All questions of a pack, by kind."""
    known, of_classes = things(photos), class_names(photos)
    names = [*known, *of_classes, *strangers(photos)]
    mixed_part, mixed_word = _mixed(photos, references, known)
    return {
        "words": [Question(named, partial(Query, named.name)) for named in names],
        "bracketed": [Question(named, partial(Query, Entity(named.name))) for named in names],
        "pictures": list(_pictures(photos, of_classes)),
        "parts": list(_parts(references, known)),
        "mixed_part": mixed_part,
        "mixed_word": mixed_word,
    }


def _pictures(photos: Photos, of_classes: Sequence[Named]) -> Iterator[Question]:
    """Whole photos of a class, which mean the others of their class."""
    by_name = {named.name: named for named in of_classes}
    for position, name in zip(*classes(photos), strict=True):
        others = by_name[str(name)].without(position)
        if others.right.any():
            yield Question(others, partial(Query, PhotoRef(int(position))))


def _parts(references: References, known: Sequence[Named]) -> Iterator[Question]:
    """Masked things, which mean the other photos with such a thing; those that the photos of a label are asked by."""
    for named in known:
        chosen: dict[int, Labelled] = {}
        for position in references.positions(named.name):
            reference = references.choose(position, named.name)
            if reference is not None:
                chosen[reference.position] = reference
        for reference in list(chosen.values())[:MOST_OF_A_NAME]:
            others = named.without(reference.position)
            if others.right.any():
                yield Question(others, partial(_shown_query, references, reference))


def _mixed(photos: Photos, references: References, known: Sequence[Named]) -> tuple[list[Question], list[Question]]:
    """The questions of interleaved retrieval, as far as it is known which photos are without the label.

    The caption's own photo is right. Another that shows the label may answer the caption as well and is not counted.
    """
    with_captions = captioned(photos)
    things_of_name = {named.name: named for named in known}
    with_part, with_word = [], []
    for ask in interleaved.questions(photos, references):
        thing = things_of_name.get(ask.label)
        if thing is None:
            continue
        truth = np.full(len(photos), UNKNOWN, np.int8)
        truth[thing.photos[thing.truth == WRONG]] = WRONG
        truth[ask.position] = RIGHT
        named = Named(ask.label, "captions", with_captions, truth[with_captions], thing.enough)
        with_part.append(Question(named, partial(_shown_query, references, ask.reference, ask.before, ask.after)))
        with_word.append(Question(named, partial(Query, ask.before, Entity(ask.word), ask.after)))
    return with_part, with_word


def _shown_query(references: References, reference: Labelled, before: str = "", after: str = "") -> Query:
    return Query(before, references.picture(reference), after)
