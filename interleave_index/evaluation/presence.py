"""Presence: what an answer says of an entity in the photos that it shows, as stored regions and as a look judge it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .answers import Asker
from .judged_questions import Question
from .library import Progress
from .outcome import Outcome
from .verdicts import best_f1, precision_recall

MOST_LOOKS = 150


@dataclass(frozen=True, slots=True)
class Hit:
    """An entity in one hit: how likely it is said to be there, whether it counts as there, and whether it is."""

    question: Question
    position: int
    probability: float
    present: bool
    right: bool


def presence(asker: Asker, hits: Sequence[Hit], progress: Progress) -> Outcome:
    """Precision and recall of "there", over the first hits of queries with one entity.

    Args:
        hits: with the verdict of the stored regions. An exact look is taken at `MOST_LOOKS` of them, evenly chosen.
    Returns:
        ``stored`` over all hits, ``exact`` and ``stored_same`` over those looked at: ``precision``, ``recall``, ``f1``,
        ``best_f1`` by any single cut (of the chance; of an exact look also of its score), ``f1_share``, ``n``.
        Arrays: ``presence_probability``, ``_present``, ``_right``, ``_keys``, ``_labels`` (hits,) and, for the looks,
        ``presence_looked_at`` (looks,) numbers of hits, ``presence_exact_present``, ``_probability``, ``_score``.
    """
    probability, present, right = (
        np.array([getattr(hit, name) for hit in hits], kind)
        for name, kind in (("probability", np.float32), ("present", bool), ("right", bool))
    )
    some = np.unique(np.linspace(0, len(hits) - 1, min(MOST_LOOKS, len(hits))).round().astype(np.int64))
    looks = np.zeros((len(some), 3), np.float32)  # present, probability, score
    for number, place in enumerate(some.tolist()):
        looks[number] = _look(asker, hits[place])
        progress("exact presence", number + 1, len(some))
    said = looks[:, 0] > 0
    figures = {
        "stored": _figures(present, right, probability),
        "exact": _figures(said, right[some], *looks[:, 1:].T),
        "stored_same": _figures(present[some], right[some], probability[some]),
    }
    photos = asker.library.photos
    return Outcome(
        figures,
        {
            "presence_probability": probability,
            "presence_present": present,
            "presence_right": right,
            "presence_keys": np.array([photos[hit.position].key for hit in hits], str),
            "presence_labels": np.array([hit.question.label for hit in hits], str),
            "presence_looked_at": some,
            "presence_exact_present": said,
            "presence_exact_probability": looks[:, 1],
            "presence_exact_score": looks[:, 2],
        },
    )


def _look(asker: Asker, hit: Hit) -> tuple[bool, float, float]:
    """Whether the entity is there, how likely, and the score of its best mask, by an exact look at the photo."""
    answer = asker.ask(hit.question.query()).over(hit.question.photos)
    row = int(np.flatnonzero(answer.photos == hit.position)[0])
    (entity,) = [one for one in answer.looked_at(row) if not one.negative]
    return entity.grounding.present, entity.grounding.probability, entity.grounding.score


def _figures(
    present: NDArray[np.bool_], right: NDArray[np.bool_], *values: NDArray[np.floating[Any]]
) -> dict[str, float]:
    found, best = precision_recall(present, right), max(best_f1(some, right) for some in values)
    return {**found, "best_f1": best, "f1_share": 100 * found["f1"] / max(best, 1e-9), "n": len(right)}
