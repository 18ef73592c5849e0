"""Averages over groups, areas under curves, intervals, and constant guesses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..records import BoolMask, Floats


def auc_percent(present: NDArray[Any], absent: NDArray[Any]) -> float:
    """Share of (present, absent) pairs in which the present one scores higher, ties half, percent.

    Returns:
        50 is chance; also when one side is empty.

    >>> auc_percent(np.array([0.9, 0.5]), np.array([0.5, 0.1]))
    87.5
    """
    if not len(present) or not len(absent):
        return 50.0
    order = np.sort(absent)
    below, upto = np.searchsorted(order, present, "left"), np.searchsorted(order, present, "right")
    return 100.0 * float((below + upto).sum()) / (2 * len(present) * len(absent))


def macro(values: NDArray[Any], groups: NDArray[Any]) -> float:
    """Mean of the groups' means; no values give 0.

    >>> macro(np.array([100, 0, 0]), np.array(["cat", "dog", "dog"]))
    50.0
    """
    if not len(values):
        return 0.0
    _, place = np.unique(groups, return_inverse=True)
    return float((np.bincount(place, values.astype(float)) / np.bincount(place)).mean())


def bootstrap_interval(
    gains: NDArray[Any], groups: NDArray[Any], *, seed: int, samples: int = 2000, level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of the macro-average of paired differences, by resampling groups, then members.

    Args:
        gains: (N,) difference of two systems on the same item.
        groups: (N,) the item's group; groups weigh the same whatever their size.
        seed: the same seed gives the same interval.
    Returns:
        low and high; both 0 without items.

    >>> bootstrap_interval(np.ones(4), np.array([0, 0, 1, 1]), seed=0)
    (1.0, 1.0)
    """
    if not len(gains):
        return (0.0, 0.0)
    order = np.argsort(groups, kind="stable")
    _, start, size = np.unique(np.asarray(groups)[order], return_index=True, return_counts=True)
    values, random = np.asarray(gains, float)[order], np.random.default_rng(seed)
    member = np.arange(size.max())
    means = np.empty(samples)
    for sample in range(samples):
        drawn = random.integers(len(size), size=len(size))
        place = (random.random((len(size), len(member))) * size[drawn][:, None]).astype(np.int64)
        inside = member < size[drawn][:, None]
        picked = values[start[drawn][:, None] + place] * inside
        means[sample] = (picked.sum(1) / size[drawn]).mean()
    low, high = np.quantile(means, ((1 - level) / 2, (1 + level) / 2))
    return (float(low), float(high))


def best_constant(masks: Floats, score: Callable[[BoolMask], float], steps: int = 99) -> tuple[float, BoolMask]:
    """Cut of a mean mask (H, W), 0 to 1, that makes the best constant guess by `score`; the first of equals."""
    cuts = np.linspace(0, 1, steps + 2)[1:-1]
    scores = [score(masks >= cut) for cut in cuts]
    best = int(np.argmax(scores))
    return float(cuts[best]), masks >= cuts[best]
