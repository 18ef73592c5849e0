"""The judgement: whether what an answer calls meant is right, what it misses, and what its chances are worth.

Every question is asked twice: of the photos that are annotated for it, and of those of them that are certainly wrong,
where nothing should be claimed. Both are ranked and judged as a search would, see `answers`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..records import BoolMask
from .annotations import RIGHT, UNKNOWN, WRONG, References, Truth
from .answers import Answer, ask_all
from .judged_questions import Kind, Question, judged_questions
from .library import Library
from .outcome import Arrays, Figures, Outcome, percent
from .precision import best_f1, calibration_error, precision_recall, reliability
from .presence import Hit, presence
from .progress import Progress, tracked

SHOWN = 10  # hits of an answer that a user sees at first
FIRST = 5  # where a good answer has its photo
GROUPS = ("things", "classes", "strangers")
PRESENCE_OF: tuple[Kind, ...] = ("bracketed", "mixed_word")
PAIR = np.dtype(
    [
        ("question", np.int64),  # number of the question within its kind
        ("position", np.int64),  # of the photo in the pack
        ("absent", bool),  # asked of the photos without what is meant
        ("score", np.float32),
        ("chance", np.float32),
        ("right", bool),  # the photo is right
        ("above", bool),  # it counts as meant
        ("rank", np.int64),  # place in its answer, from 1
    ]
)
Pairs: TypeAlias = NDArray[Any]  # (n,) of PAIR


def judgement(library: Library, references: References, progress: Progress) -> Outcome:
    """Missed and false answers, F1, calibration and order of every kind of query, and presence of entities.

    Returns:
        By kind of query the figures of `_counted` and `_calibration`; for mixtures also ``first_five`` and
        ``first_five_above``; for words also the counts of each of `GROUPS`; ``all``: calibration and order over all
        kinds; ``presence``: see `presence`. Arrays by kind: ``judgement_KIND_`` with the fields of `PAIR` and
        ``_labels`` of the questions; ``judgement_KIND_reliability`` (bins, 4).
    """
    figures: Figures = {}
    arrays: Arrays = {}
    every_pair, every_order, hits = [], [], []
    for kind, questions in judged_questions(library.photos, references).items():
        pairs, monotone, entity_hits = _asked(library, kind, questions, progress)
        hits += entity_hits
        every_pair.append(pairs)
        every_order += monotone
        figures[kind] = _counted(pairs, questions) | _calibration(pairs, monotone)
        if kind in ("words", "bracketed"):
            groups = np.array([question.named.group for question in questions], str)
            for group in GROUPS:
                of_group = np.isin(pairs["question"], np.flatnonzero(groups == group))
                figures[kind][group] = _counted(pairs[of_group], questions)
        if kind in ("mixed_part", "mixed_word"):
            figures[kind] |= _targets(pairs)
        for name in PAIR.names or ():
            arrays[f"judgement_{kind}_{name}"] = pairs[name]
        arrays[f"judgement_{kind}_labels"] = np.array([question.named.name for question in questions], str)
        arrays[f"judgement_{kind}_reliability"] = np.reshape(figures[kind]["reliability"], (-1, 4))
    figures["all"] = _calibration(np.concatenate(every_pair), every_order)
    arrays["judgement_all_reliability"] = np.reshape(figures["all"]["reliability"], (-1, 4))
    there = presence(library, hits, progress)
    figures["presence"] = there.figures
    return Outcome(figures, arrays | there.arrays)


def _asked(
    library: Library, kind: Kind, questions: Sequence[Question], progress: Progress
) -> tuple[Pairs, list[bool], list[Hit]]:
    """Every question over its photos, and over those without what it means: pairs, whether each is in order, hits."""
    pairs = [np.zeros(0, PAIR)]
    monotone: list[bool] = []
    hits: list[Hit] = []
    answers = ask_all(library, (question.query() for question in questions))
    for number, question in tracked(questions, f"judgement of {kind}", progress):
        everywhere, named = next(answers), question.named
        if named.right.any():
            answer = everywhere.among(named.photos)
            monotone.append(answer.monotone)
            pairs.append(_pairs(answer, named.truth, number, absent=False))
            if kind in PRESENCE_OF and named.enough:
                hits += _entity_hits(answer, question)
        wrong = named.among(named.truth == WRONG)
        if len(wrong.photos):
            answer = everywhere.among(wrong.photos)
            monotone.append(answer.monotone)
            pairs.append(_pairs(answer, wrong.truth, number, absent=True))
    return np.concatenate(pairs), monotone, hits


def _pairs(answer: Answer, truth: Truth, number: int, *, absent: bool) -> Pairs:
    """One answer as pairs, without the photos of which nothing is known; they keep their places in the ranking."""
    pairs = np.zeros(len(truth), PAIR)
    pairs["question"], pairs["absent"], pairs["position"] = number, absent, answer.photos
    pairs["score"], pairs["chance"], pairs["above"] = answer.scores.total, answer.chances, answer.above
    pairs["right"] = truth == RIGHT
    pairs["rank"][answer.order] = np.arange(1, len(truth) + 1)
    known: Pairs = pairs[truth != UNKNOWN]
    return known


def _entity_hits(answer: Answer, question: Question) -> Iterator[Hit]:
    """Verdicts on the entity in the first hits, where it is known whether it is there."""
    for row in answer.order[:SHOWN].tolist():
        truth = question.named.truth[row]
        if truth != UNKNOWN:
            (asked,) = (part for part in answer.asked(row) if part.part.role == "entity")
            yield Hit(question, int(answer.photos[row]), asked.probability, asked.present, bool(truth == RIGHT))


# --- figures ---------------------------------------------------------------------------------


def _counted(pairs: Pairs, questions: Sequence[Question]) -> Figures:
    """Missed and false answers, and F1 at the default cut-off beside the best that one cut for all could give.

    Returns:
        ``missed``: share of right photos below the cut-off; ``false``: share of absent things claimed; ``precision``,
        ``recall``, ``f1`` over questions with enough right photos; ``best_f1`` by a single cut of the chances,
        ``best_f1_score`` by one of the raw scores; ``f1_share`` of the better of both; ``n`` questions with a right
        photo, ``absent`` questions without one.
    """
    there, absent = pairs[~pairs["absent"]], pairs[pairs["absent"]]
    enough = [number for number, question in enumerate(questions) if question.named.enough]
    counting = there[np.isin(there["question"], enough)]
    f1 = precision_recall(counting["above"], counting["right"])
    best, by_score = (best_f1(counting[name], counting["right"]) for name in ("chance", "score"))
    absent_questions = np.unique(absent["question"])
    claimed = np.isin(absent_questions, absent["question"][absent["above"]])
    return {
        "missed": percent(~there["above"][there["right"]]),
        "false": percent(claimed),
        **f1,
        "best_f1": best,
        "best_f1_score": by_score,
        "f1_share": 100 * f1["f1"] / max(best, by_score, 1e-9),
        "n": len(np.unique(there["question"])),
        "absent": len(claimed),
    }


def _calibration(pairs: Pairs, monotone: Sequence[bool]) -> Figures:
    """``ece`` over the first hits of all answers, its ``reliability`` table, their number ``pairs``, ``monotone``."""
    first = pairs[pairs["rank"] <= SHOWN]
    table = reliability(first["chance"], first["right"])
    return {
        "ece": 100 * calibration_error(table),
        "monotone": percent(np.array(monotone, bool)),
        "pairs": len(first),
        "reliability": table,
    }


def _targets(pairs: Pairs) -> dict[str, float]:
    """``first_five``: share of questions whose own photo ranks in the first five; ``first_five_above``: share of those
    photos that count as meant.
    """
    own = pairs[~pairs["absent"] & pairs["right"]]
    first: BoolMask = own["rank"] <= FIRST
    return {"first_five": percent(first), "first_five_above": percent(own["above"][first])}
