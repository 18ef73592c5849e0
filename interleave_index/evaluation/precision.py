"""How right a judgement is: calibration error, precision, recall and F1, average precision. Pure numpy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..records import BoolMask

Values: TypeAlias = NDArray[np.floating[Any]]

BINS = 10


def reliability(chances: Values, right: BoolMask) -> list[list[float]]:
    """The table behind a reliability plot: a row for each of ten bins of equal width that holds anything.

    Args:
        chances: (n,) 0 to 1.
        right: (n,) what came true.
    Returns:
        lower edge of the bin, mean chance of what is in it, share of it that is right, how much is in it.

    >>> reliability(np.array([0.1, 0.15, 0.9, 1.0]), np.array([False, False, True, False]))
    [[0.1, 0.125, 0.0, 2], [0.9, 0.95, 0.5, 2]]
    """
    chances = np.asarray(chances, np.float64)
    places = np.minimum((chances * BINS + 1e-9).astype(np.int64), BINS - 1)
    held, places, count = np.unique(places, return_inverse=True, return_counts=True)
    columns = held / BINS, np.bincount(places, chances) / count, np.bincount(places, right) / count, count
    return [list(row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def calibration_error(table: Sequence[Sequence[float]]) -> float:
    """Expected calibration error of a `reliability` table, 0 to 1: how far the shares are from the chances, on average.

    >>> calibration_error([[0.1, 0.125, 0.0, 2], [0.9, 0.95, 0.5, 2]])
    0.2875
    """
    _, chance, right, count = np.reshape(table, (-1, 4)).T
    return float((count * np.abs(chance - right)).sum() / max(count.sum(), 1))


def precision_recall(claimed: BoolMask, right: BoolMask) -> dict[str, float]:
    """``precision``, ``recall`` and ``f1`` of what was claimed, percent; 0 where there is nothing to count.

    >>> precision_recall(np.array([True, True, False, True]), np.array([True, False, True, True]))["recall"]
    66.66666666666667
    """
    hits = float((claimed & right).sum())
    return {
        "precision": 100 * hits / max(int(claimed.sum()), 1),
        "recall": 100 * hits / max(int(right.sum()), 1),
        "f1": 200 * hits / max(int(claimed.sum() + right.sum()), 1),
    }


def best_f1(values: Values, right: BoolMask) -> float:
    """The best F1 that any single cut of the values gives, percent; equal values are claimed together.

    >>> best_f1(np.array([0.9, 0.8, 0.8, 0.1]), np.array([True, True, False, False]))
    80.0
    """
    if not right.any():
        return 0.0
    order = np.argsort(-values, kind="stable")
    last = np.append(values[order][1:] != values[order][:-1], True)  # only there a cut can lie
    hits, claimed = np.cumsum(right[order]), np.arange(1, len(order) + 1)
    return float((200 * hits / (claimed + int(right.sum())))[last].max())


def average_precision(scores: Values, right: BoolMask) -> float:
    """Mean over the right ones, best first, of the precision at their rank, percent; ties in order of position.

    >>> average_precision(np.array([0.9, 0.8, 0.7]), np.array([True, False, True]))
    83.33333333333333
    """
    if not right.any():
        return 0.0
    ranked = right[np.argsort(-scores, kind="stable")]
    precision = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
    return 100 * float(precision[ranked].mean())
