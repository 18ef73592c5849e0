"""The questions by which the judgement is measured, by kind of query, with the photos that are right and wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..grammar import Query
from ..records import Entity, Part, PhotoRef
from .interleaved import Question as Asked
from .interleaved import questions as interleaved_questions
from .labelled import Labelled, References, sha1_number
from .packs import PackPhoto
from .truth import FEWEST, Named, classes, named, shown, strangers

Kind: TypeAlias = Literal["words", "bracketed", "pictures", "parts", "mixed_part", "mixed_word"]
MOST_OF_A_NAME = 4  # parts that stand for one name
RIGHT, WRONG, UNKNOWN = 1, 0, -1


@dataclass(frozen=True, slots=True)
class Question:
    """One query and what is known of the photos that it is asked of.

    Attributes:
        group: that of its name, see `Named`, or ``captions``.
        label: the name behind it.
        query: makes it; pictures of a whole pack need not lie in memory.
        photos: (n,) positions in the pack.
        truth: (n,) RIGHT, WRONG, or UNKNOWN: shown and ranked, but not counted.
        enough: enough photos show the label for it to count in figures over right photos.
    """

    group: Literal["things", "classes", "strangers", "captions"]
    label: str
    query: Callable[[], Query]
    photos: NDArray[np.int64]
    truth: NDArray[np.int8]
    enough: bool

    @property
    def absent(self) -> NDArray[np.int64]:
        """Positions of the photos that are certainly wrong: a library without what is meant."""
        wrong: NDArray[np.int64] = self.photos[self.truth == WRONG]
        return wrong


def judged_questions(photos: Sequence[PackPhoto], references: References) -> dict[Kind, list[Question]]:
    """All questions of a pack, by kind."""
    known = named(photos)
    every = known + strangers(photos)
    return {
        "words": [_of_name(one, Query(one.name)) for one in every],
        "bracketed": [_of_name(one, Query(Entity(one.name))) for one in every],
        "pictures": list(_pictures(photos)),
        "parts": list(_parts(photos, references, known)),
        **_mixed(photos, references),
    }


def _of_name(one: Named, query: Query) -> Question:
    return Question(one.group, one.name, lambda: query, one.photos, one.right.astype(np.int8), one.enough)


def _pictures(photos: Sequence[PackPhoto]) -> Iterator[Question]:
    """Whole photos of a class, which mean the others of their class."""
    positions, names = classes(photos)
    count = Counter(names.tolist())
    for position, name in zip(positions, names, strict=True):
        others = positions != position
        if count[name] > 1:
            yield Question(
                "classes",
                str(name),
                partial(Query, PhotoRef(int(position))),
                positions[others],
                (names == name)[others].astype(np.int8),
                count[name] >= FEWEST,
            )


def _parts(photos: Sequence[PackPhoto], references: References, known: Sequence[Named]) -> Iterator[Question]:
    """Masked things, which mean the other photos with such a thing; those that the photos of a label are asked by."""
    for one in known:
        if one.group != "things":
            continue
        asking = sorted(references.positions(one.name), key=lambda n: sha1_number(photos[n].key))
        chosen = [references.choose(position, one.name) for position in asking]
        apart = {reference.position: reference for reference in chosen if reference is not None}
        for reference in list(apart.values())[:MOST_OF_A_NAME]:
            others = one.photos != reference.position
            if one.right[others].any():
                yield Question(
                    "things",
                    one.name,
                    partial(_part, references, reference),
                    one.photos[others],
                    one.right[others].astype(np.int8),
                    one.enough,
                )


def _mixed(photos: Sequence[PackPhoto], references: References) -> dict[Kind, list[Question]]:
    """The questions of interleaved retrieval, as far as it is known which photos are without the label.

    The caption's own photo is right. Another that shows the label may answer the caption as well and is not counted.
    """
    captioned = np.array([n for n, photo in enumerate(photos) if photo.captions], np.int64)
    truths: dict[str, NDArray[np.int8]] = {}
    for part in shown(photos):
        for column, name in enumerate(part.names):
            table = np.full(len(photos), UNKNOWN, np.int8)
            table[part.photos[part.areas[:, column] == 0]] = WRONG
            truths[name] = table
    enough = {one.name: one.enough for one in named(photos) if one.group == "things"}
    middles: dict[Kind, Callable[[References, Asked], Part]] = {"mixed_part": _shown, "mixed_word": _said}
    found: dict[Kind, list[Question]] = {kind: [] for kind in middles}
    for ask in interleaved_questions(photos, references):
        if ask.label not in truths:
            continue
        truth = truths[ask.label].copy()
        truth[ask.position] = RIGHT
        for kind, middle in middles.items():
            query = partial(_around, ask, partial(middle, references, ask))
            found[kind].append(Question("captions", ask.label, query, captioned, truth[captioned], enough[ask.label]))
    return found


def _part(references: References, reference: Labelled) -> Query:
    return Query(references.picture(reference))


def _around(ask: Asked, middle: Callable[[], Part]) -> Query:
    return Query(ask.before, middle(), ask.after)


def _shown(references: References, ask: Asked) -> Part:
    return references.picture(ask.reference)


def _said(references: References, ask: Asked) -> Part:
    return Entity(ask.word)
