"""The judgement: whether what an answer calls meant is right, what it misses, and what its chances are worth.

Every question is asked twice: of the photos that are annotated for it, and of those of them that are certainly wrong,
where nothing should be claimed. Both are ranked and judged as a search would, see `answers`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..interface.protocol import Interface
from ..records import BoolMask
from .answers import Answered, Asker
from .judged_questions import RIGHT, UNKNOWN, WRONG, Kind, Question, judged_questions
from .labelled import References
from .library import Library, Progress
from .outcome import Outcome
from .presence import Hit, presence
from .remembered import chunks
from .verdicts import Reliability, best_f1, precision_recall, reliability

SHOWN = 10  # hits of an answer that a user sees at first
FIRST = 5  # where a good answer has its photo
GROUPS = ("things", "classes", "strangers")
PRESENCE_OF: tuple[Kind, ...] = ("bracketed", "mixed_word")


@dataclass(frozen=True, slots=True)
class Pairs:
    """(question, photo) pairs of one kind of query, in the order asked.

    Attributes:
        question: (n,) number of the question within its kind.
        position: (n,) of the photo in the pack.
        absent: (n,) asked of the photos without what is meant.
        score, chance: (n,) float32.
        right: (n,) whether the photo is right.
        above: (n,) whether it counts as meant.
        rank: (n,) place in its answer, from 1.
    """

    question: NDArray[np.int64]
    position: NDArray[np.int64]
    absent: BoolMask
    score: NDArray[np.float32]
    chance: NDArray[np.float32]
    right: BoolMask
    above: BoolMask
    rank: NDArray[np.int64]

    def where(self, wanted: BoolMask) -> Pairs:
        """Those where `wanted` (n,) is True."""
        return Pairs(*(getattr(self, name)[wanted] for name in self.__slots__))


def judgement(library: Library, interface: Interface, references: References, progress: Progress) -> Outcome:
    """Missed and false answers, F1, calibration and order of every kind of query, and presence of entities.

    Returns:
        By kind of query the figures of `_figures`; for mixtures also ``first_five`` and ``first_five_above``; for words
        also the counts of each of `GROUPS`; ``all``: calibration and order over all kinds; ``presence``: see
        `presence`. Arrays by kind: ``judgement_KIND_`` with the fields of `Pairs` and ``_labels`` of the questions;
        ``judgement_KIND_reliability`` (bins, 4).
    """
    asker = Asker(library, interface)
    figures: dict[str, Any] = {}
    arrays: dict[str, NDArray[Any]] = {}
    every: list[tuple[Pairs, list[bool]]] = []
    hits: list[Hit] = []
    for kind, asked in judged_questions(library.photos, references).items():
        pairs, monotone, found = _asked(asker, kind, asked, progress)
        hits += found
        every.append((pairs, monotone))
        figures[kind] = _figures(pairs, asked, monotone)
        groups = np.array([question.group for question in asked], str)
        if kind in ("words", "bracketed"):
            for group in GROUPS:
                some = pairs.where((groups == group)[pairs.question]) if len(asked) else pairs
                figures[kind][group] = _counted(some, asked)
        if kind in ("mixed_part", "mixed_word"):
            figures[kind] |= _targets(pairs)
        arrays |= {f"judgement_{kind}_{name}": getattr(pairs, name) for name in Pairs.__slots__}
        arrays[f"judgement_{kind}_labels"] = np.array([question.label for question in asked], str)
        arrays[f"judgement_{kind}_reliability"] = np.array(_shown(pairs).rows(), float).reshape(-1, 4)
    together = Pairs(*(np.concatenate([getattr(pairs, name) for pairs, _ in every]) for name in Pairs.__slots__))
    figures["all"] = _calibration(together, [one for _, monotone in every for one in monotone])
    arrays["judgement_all_reliability"] = np.array(_shown(together).rows(), float).reshape(-1, 4)
    there = presence(asker, hits, progress)
    figures["presence"] = there.figures
    return Outcome(figures, arrays | there.arrays)


def _asked(
    asker: Asker, kind: Kind, asked: Sequence[Question], progress: Progress
) -> tuple[Pairs, list[bool], list[Hit]]:
    """Every question over its photos, and over those without what it means."""
    found: list[Pairs] = []
    monotone: list[bool] = []
    hits: list[Hit] = []
    number = 0
    for some in chunks(asked):
        queries = [question.query() for question in some]
        asker.learn(queries)
        for question, query in zip(some, queries, strict=True):
            scored = asker.ask(query)
            for absent, photos in ((False, question.photos), (True, question.absent)):
                if not len(photos) or (not absent and not (question.truth == RIGHT).any()):
                    continue
                answer = scored.over(photos)
                monotone.append(answer.monotone)
                truth = np.full(len(photos), WRONG, np.int8) if absent else question.truth
                found.append(_pairs(answer, truth, number, absent))
                if kind in PRESENCE_OF and question.enough and not absent:
                    hits += _entity_hits(answer, question)
            number += 1
            progress(f"judgement of {kind.replace('_', ' ')}", number, len(asked))
    return _joined(found), monotone, hits


def _pairs(answer: Answered, truth: NDArray[np.int8], number: int, absent: bool) -> Pairs:
    """One answer, without the photos of which nothing is known; they keep their places in the ranking."""
    places = np.empty(len(truth), np.int64)
    places[answer.order] = np.arange(1, len(truth) + 1)
    known = truth != UNKNOWN
    count = int(known.sum())
    return Pairs(
        np.full(count, number),
        answer.photos[known],
        np.full(count, absent),
        answer.scores.total[known],
        answer.chances[known],
        truth[known] == RIGHT,
        answer.above[known],
        places[known],
    )


def _joined(found: Sequence[Pairs]) -> Pairs:
    none = Pairs(
        *(np.zeros(0, kind) for kind in (np.int64, np.int64, bool, np.float32, np.float32, bool, bool, np.int64))
    )
    return Pairs(
        *(np.concatenate([getattr(none, name), *(getattr(pairs, name) for pairs in found)]) for name in Pairs.__slots__)
    )


def _entity_hits(answer: Answered, question: Question) -> Iterator[Hit]:
    """What is said of the entity in the first hits, where it is known whether it is there."""
    for row in answer.order[:SHOWN].tolist():
        truth = int(question.truth[row])
        if truth != UNKNOWN:
            (asked,) = [one for one in answer.asked(row) if one.part.role == "entity"]
            yield Hit(question, int(answer.photos[row]), asked.probability, asked.present, truth == RIGHT)


# --- figures ---------------------------------------------------------------------------------


def _figures(pairs: Pairs, asked: Sequence[Question], monotone: Sequence[bool]) -> dict[str, Any]:
    """What `_counted` and `_calibration` give."""
    return {**_counted(pairs, asked), **_calibration(pairs, monotone)}


def _counted(pairs: Pairs, asked: Sequence[Question]) -> dict[str, Any]:
    """Missed and false answers, and F1 at the default cut-off beside the best that one cut for all could give.

    Returns:
        ``missed``: share of right photos below the cut-off; ``false``: share of absent things claimed; ``precision``,
        ``recall``, ``f1`` over questions with enough right photos; ``best_f1`` by a single cut of the chances,
        ``best_f1_score`` by one of the raw scores; ``f1_share`` of the better of both; ``n`` questions with a right
        photo, ``absent`` questions without one.
    """
    there, absent = pairs.where(~pairs.absent), pairs.where(pairs.absent)
    enough = np.array([question.enough for question in asked], bool)
    some = there.where(enough[there.question]) if len(asked) else there
    f1 = precision_recall(some.above, some.right)
    best, by_score = best_f1(some.chance, some.right), best_f1(some.score, some.right)
    claimed = [bool(absent.above[start:end].any()) for start, end in _runs(absent.question)]
    return {
        "missed": _percent(~there.above[there.right]),
        "false": _percent(np.array(claimed, bool)),
        **f1,
        "best_f1": best,
        "best_f1_score": by_score,
        "f1_share": 100 * f1["f1"] / max(best, by_score, 1e-9),
        "n": len(np.unique(there.question)),
        "absent": len(claimed),
    }


def _calibration(pairs: Pairs, monotone: Sequence[bool]) -> dict[str, Any]:
    """``ece`` over the first hits of all answers, its ``reliability`` table, their number ``pairs``, ``monotone``."""
    found = _shown(pairs)
    return {
        "ece": 100 * found.error,
        "monotone": _percent(np.array(monotone, bool)),
        "pairs": int(found.count.sum()),
        "reliability": found.rows(),
    }


def _targets(pairs: Pairs) -> dict[str, float]:
    """``first_five``: share of questions whose own photo ranks in the first five; ``first_five_above``: share of those
    photos that count as meant.
    """
    own = pairs.where(~pairs.absent & pairs.right)
    first = own.rank <= FIRST
    return {"first_five": _percent(first), "first_five_above": _percent(own.above[first])}


def _shown(pairs: Pairs) -> Reliability:
    first = pairs.rank <= SHOWN
    return reliability(pairs.chance[first], pairs.right[first])


def _runs(numbers: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Where equal numbers stand together: start and end of each run."""
    cuts = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
    return ((start, end) for start, end in pairwise(cuts) if end > start)


def _percent(which: BoolMask) -> float:
    return 100 * float(which.mean()) if len(which) else 0.0
