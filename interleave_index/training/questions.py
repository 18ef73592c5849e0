"""The questions that the curves of the judgement are fitted on, by kind of query. Knows packs and queries only.

They are those that the judgement is measured by (`evaluation.judged_questions`), but that photos are given as pictures,
as a user brings them, and that mixtures hold names: things that are not there can be asked for by name alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from ..evaluation.annotations import RIGHT, UNKNOWN, Named, References, class_names, classes, sha1_number, shown
from ..evaluation.judged_questions import MOST_OF_A_NAME, Question, judged_questions
from ..evaluation.packs import PackPhoto
from ..evaluation.words import with_article
from ..grammar import Query
from ..interface.calibration import QueryKind
from ..records import Entity, Picture

MOST_QUESTIONS = 600  # of each kind
TOGETHER = 4  # photos that show two things of a pair, at least
MOST_PAIRS = 250  # of a closed list


def calibration_questions(photos: Sequence[PackPhoto]) -> dict[QueryKind, list[Question]]:
    """At most `MOST_QUESTIONS` of each kind, taken evenly from all there are."""
    judged = judged_questions(photos, References(photos))
    names = [question.named for question in judged["words"]]
    every: dict[QueryKind, list[Question]] = {
        "caption": judged["words"],
        "mixed": [*_named_mixtures(names), *_pairs(photos)],
        "entity": judged["bracketed"],
        "picture": list(_pictures(photos)),
        "region": judged["parts"],
    }
    for kind, questions in every.items():
        step = max(1.0, len(questions) / MOST_QUESTIONS)
        every[kind] = [questions[int(n * step)] for n in range(min(len(questions), MOST_QUESTIONS))]
    return every


def _named_mixtures(names: Sequence[Named]) -> Iterator[Question]:
    """Names in brackets among other words."""
    for named in names:
        yield Question(named, partial(Query, "a photo with", Entity(with_article(named.name)), "in it"))


def _pairs(photos: Sequence[PackPhoto]) -> Iterator[Question]:
    """Two things that photos show together, one of them in brackets."""
    for table in shown(photos):
        right = table.truth == RIGHT
        together = right.T.astype(int) @ right >= TOGETHER
        np.fill_diagonal(together, False)
        pairs = [(int(first), int(second)) for first, second in np.argwhere(together)]
        pairs.sort(key=lambda pair: sha1_number(f"{table.names[pair[0]]} {table.names[pair[1]]}"))
        for pair in pairs[:MOST_PAIRS]:
            clear = (table.truth[:, pair] != UNKNOWN).all(1)
            both = right[clear][:, pair].all(1)
            first, second = (with_article(table.names[column]) for column in pair)
            named = Named(f"{first} with {second}", "things", table.photos[clear], both.astype(np.int8), enough=True)
            yield Question(named, partial(Query, Entity(first), f"with {second}"))


def _pictures(photos: Sequence[PackPhoto]) -> Iterator[Question]:
    """Whole photos of a class, which mean the others of their class."""
    by_name = {named.name: named for named in class_names(photos)}
    asked = Counter[str]()
    for position, name in zip(*classes(photos), strict=True):
        others = by_name[str(name)].without(position)
        asked[name] += 1
        if others.right.any() and asked[name] <= MOST_OF_A_NAME:
            yield Question(others, _picture_query(photos[position]))


def _picture_query(photo: PackPhoto) -> Callable[[], Query]:
    return lambda: Query(Picture(photo.rgb()))
