"""Presence: verdicts on an entity in the photos of an answer, by stored regions and by exact grounding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..records import BoolMask
from .answers import ask
from .judged_questions import Question
from .library import Library
from .outcome import Outcome, evenly
from .precision import best_f1, precision_recall
from .progress import Progress, tracked

MOST_LOOKS = 150


@dataclass(frozen=True, slots=True)
class Hit:
    """An entity in one hit: its chance to be there, whether it counts as there, and whether it is."""

    question: Question
    position: int
    probability: float
    present: bool
    right: bool


def presence(library: Library, hits: Sequence[Hit], progress: Progress) -> Outcome:
    """Precision and recall of "there", over the first hits of queries with one entity.

    Args:
        hits: with the verdict of the stored regions. An exact look is taken at `MOST_LOOKS` of them, evenly chosen.
    Returns:
        ``stored`` over all hits, ``exact`` and ``stored_same`` over those looked at: ``precision``, ``recall``, ``f1``,
        ``best_f1`` by any single cut (of the chance; of an exact look also of its score), ``f1_share``, ``n``.
        Arrays: ``presence_probability``, ``_present``, ``_right``, ``_keys``, ``_labels`` (hits,) and, for the looks,
        ``presence_looked_at`` (looks,) numbers of hits, ``presence_exact_present``, ``_probability``, ``_score``.
    """
    probability = np.array([hit.probability for hit in hits], np.float32)
    present = np.array([hit.present for hit in hits], bool)
    right = np.array([hit.right for hit in hits], bool)
    looked_at = np.array(evenly(len(hits), MOST_LOOKS), np.int64)
    looks = np.zeros((3, len(looked_at)), np.float32)
    for number, place in tracked(looked_at.tolist(), "exact presence", progress):
        looks[:, number] = _look(library, hits[place])
    exact, exact_probability, exact_score = looks[0] > 0, looks[1], looks[2]
    return Outcome(
        {
            "stored": _figures(present, right, probability),
            "exact": _figures(exact, right[looked_at], exact_probability, exact_score),
            "stored_same": _figures(present[looked_at], right[looked_at], probability[looked_at]),
        },
        {
            "presence_probability": probability,
            "presence_present": present,
            "presence_right": right,
            "presence_keys": library.keys(hit.position for hit in hits),
            "presence_labels": np.array([hit.question.named.name for hit in hits], str),
            "presence_looked_at": looked_at,
            "presence_exact_present": exact,
            "presence_exact_probability": exact_probability,
            "presence_exact_score": exact_score,
        },
    )


def _look(library: Library, hit: Hit) -> tuple[bool, float, float]:
    """Whether the entity is there, how likely, and the score of its best mask, by an exact look at the photo."""
    photos = hit.question.named.photos
    answer = ask(library, hit.question.query()).among(photos)
    (entity,) = (part for part in answer.looked_at(int(np.searchsorted(photos, hit.position))) if not part.negative)
    return entity.grounding.present, entity.grounding.probability, entity.grounding.score


def _figures(present: BoolMask, right: BoolMask, *values: NDArray[np.float32]) -> dict[str, float]:
    figures, best = precision_recall(present, right), max(best_f1(value, right) for value in values)
    return {**figures, "best_f1": best, "f1_share": 100 * figures["f1"] / max(best, 1e-9), "n": len(right)}
