"""What one part of an evaluation gives back: figures for the report and arrays for the dump."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .. import metrics
from ..records import BoolMask

Figures: TypeAlias = dict[str, Any]  # plain JSON values
Arrays: TypeAlias = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Figures as plain JSON values, percent unless the name says otherwise, and arrays by name."""

    figures: Figures
    arrays: Arrays = field(default_factory=dict)


def percent(which: BoolMask) -> float:
    """The share that is True; 0 where there is nothing."""
    return 100 * float(which.mean()) if len(which) else 0.0


def evenly(count: int, most: int) -> list[int]:
    """At most so many of the numbers below `count`, evenly apart.

    >>> evenly(5, 3), evenly(2, 3)
    ([0, 2, 4], [0, 1])
    """
    chosen: list[int] = np.linspace(0, count - 1, min(most, count)).round().astype(int).tolist()
    return chosen


def with_chance(figures: dict[str, float], chance: dict[str, float], count: int) -> Figures:
    """Figures with ``chance_NAME`` beside each, ``chance`` of the first one, and ``n``.

    >>> with_chance({"IR@1": 50.0}, {"IR@1": 25.0}, 4)
    {'IR@1': 50.0, 'chance_IR@1': 25.0, 'chance': 25.0, 'n': 4}
    """
    beside = {f"chance_{name}": chance[name] for name in figures}
    return {**figures, **beside, "chance": chance[next(iter(figures))], "n": count}


def image_chance(gallery: int) -> dict[str, float]:
    """Chance of ``IR@k`` for one wanted photo in a gallery, percent; an empty gallery gives 0.

    >>> image_chance(20)
    {'IR@1': 5.0, 'IR@5': 25.0, 'IR@10': 50.0}
    """
    return {f"IR@{k}": 100.0 * min(k, gallery) / gallery if gallery else 0.0 for k in metrics.CUTOFFS}


def text_chance(own: NDArray[Any], captions: int) -> dict[str, float]:
    """Chance of ``TR@k``: that k captions drawn at random hold one of a photo's own, mean over photos, percent.

    Args:
        own: (N,) number of own captions of each photo.
        captions: of all photos together.

    >>> text_chance(np.array([1, 3]), 4)
    {'TR@1': 50.0, 'TR@5': 100.0, 'TR@10': 100.0}
    """
    chance = {}
    for k in metrics.CUTOFFS:
        drawn = np.arange(min(k, captions))
        missed = np.prod(np.maximum(captions - own[:, None] - drawn, 0) / (captions - drawn), axis=1)
        chance[f"TR@{k}"] = 100.0 * float(1 - missed.mean()) if len(own) else 0.0
    return chance
