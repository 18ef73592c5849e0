"""The best of some photos, and the best of several such parts together. numpy only, pure.

Scores that are reckoned over many photos at once differ in their last digits with what stands beside a photo. They
choose photos here, and are not the numbers of an answer: those are scored once more, precisely (`score.precisely`).
What a library is judged by is the best score and the best evidence of each part; the photos that lead by one of these,
within what digits may differ, are therefore kept beside the best by the whole score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..records import Floats
from .score import DECIMALS, Scores, rank

Ids = NDArray[np.int64]
NEAR_LEAD = 3 * 10.0**-DECIMALS  # by so much scores of the same photo differ at most, reckoned in different company
MOST_LEADERS = 16  # of one measure; where more are equal, they are equal


@dataclass(frozen=True, slots=True)
class Leaders:
    """The photos that lead by one measure: (n,) ids and (n,) float32 values, largest first, ties by id."""

    photo_ids: Ids
    values: Floats

    @staticmethod
    def among(photo_ids: Ids, values: Floats) -> Leaders:
        """Those of some photos whose values are the largest, or as good as that."""
        near = np.flatnonzero(values >= values.max(initial=-np.inf) - np.float32(NEAR_LEAD))
        order = near[np.lexsort((photo_ids[near], -values[near]))[:MOST_LEADERS]]
        return Leaders(photo_ids[order], values[order])


@dataclass(frozen=True, slots=True)
class Leading:
    """What a ranking needs to know of the photos that were looked at.

    Attributes:
        looked_at: how many they are.
        photo_ids, totals: (m,) int64 and float32, the best by the whole score, best first, ties by id; the total of the
            photo that the query is counts as infinite.
        leaders: by the score without negatives, by the evidence of each entity, then of each negative. The photo that
            the query is leads nowhere but among negatives.
    """

    looked_at: int
    photo_ids: Ids
    totals: Floats
    leaders: tuple[Leaders, ...]

    def pool(self, passed: int = 0) -> Ids:
        """Ids of the photos that are to be scored precisely, ascending: leaders, and the best after `passed` others."""
        return np.unique(np.concatenate([self.photo_ids[passed:], *(one.photo_ids for one in self.leaders)]))


def leading(photo_ids: Ids, scores: Scores, count: int, own: int | None = None) -> Leading:
    """The `count` best of some photos, and their leaders.

    Args:
        photo_ids: (n,) ascending.
        scores: of these photos.
        own: the photo that the query is, or is a part of; it stands first where it is among them.
    """
    others = np.ones(len(photo_ids), bool) if own is None else photo_ids != own
    totals = np.where(others, scores.total, np.float32(np.inf))
    best = rank(photo_ids, totals, count)
    ids = photo_ids[others]
    measures = [scores.wanted[others], *scores.evidence[others].T]
    leaders = [Leaders.among(ids, values) for values in measures]
    leaders += [Leaders.among(photo_ids, values) for values in scores.negative_evidence.T]
    return Leading(len(photo_ids), photo_ids[best], totals[best], tuple(leaders))


def merged(parts: Sequence[Leading], count: int) -> Leading:
    """What `leading` gives of all photos together, from what it gave of each part, at least one of them.

    >>> scores = Scores(*np.array([[0.5, 0.9, 0.7, 0.1]] * 2, np.float32), *np.zeros((2, 4, 0), np.float32))
    >>> ids = np.arange(1, 5)
    >>> halves = [leading(ids[rows], scores.rows(rows), 2) for rows in (np.array([0, 2]), np.array([1, 3]))]
    >>> merged(halves, 2).photo_ids.tolist(), merged(halves, 2).leaders[0].photo_ids.tolist()
    ([2, 3], [2])
    """
    photo_ids = np.concatenate([part.photo_ids for part in parts])
    totals = np.concatenate([part.totals for part in parts])
    best = rank(photo_ids, totals, count)
    leaders = [
        Leaders.among(np.concatenate([one.photo_ids for one in group]), np.concatenate([one.values for one in group]))
        for group in zip(*(part.leaders for part in parts), strict=True)
    ]
    return Leading(sum(part.looked_at for part in parts), photo_ids[best], totals[best], tuple(leaders))
