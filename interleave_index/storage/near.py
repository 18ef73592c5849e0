"""Lists of the photos nearest to a query, and how lists of several places become one. numpy only, pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..records import Floats
from .rows import Ids


class Near(NamedTuple):
    """Photos that are nearest to a query, nearest first, by the scores of their best rows.

    Attributes:
        photo_ids, scores: (n,); scores are those of product codes where a segment has them.
        least: what a photo that is not among them has at most; -inf where there are no others, inf where that is not
            known.
    """

    photo_ids: Ids
    scores: Floats
    least: float

    @property
    def all_of_them(self) -> bool:
        """Whether there are no others."""
        return self.least == -np.inf

    def down_to(self, score: float) -> Near:
        """The list without the photos that have less than this."""
        kept = int((self.scores >= score).sum())
        if kept == len(self.scores):
            return self
        return Near(self.photo_ids[:kept], self.scores[:kept], max(self.least, float(score)))


def first_of(photo_ids: Ids, scores: Floats, *, all_of_them: bool) -> Near:
    """A list that leaves out nobody who has more than its last photo."""
    if all_of_them:
        return Near(photo_ids, scores, -np.inf)
    return Near(photo_ids, scores, float(scores[-1]) if len(scores) else np.inf)


def joined(lists: Sequence[Near], most: int | None = None) -> Near:
    """The nearest photos of several places, none of which is in two; ties by id.

    Args:
        most: photos that are kept; None is all.

    >>> one, other = Near(np.array([4, 2]), np.array([0.9, 0.5]), 0.5), Near(np.array([3]), np.array([0.4]), -np.inf)
    >>> joined([one, other]).photo_ids.tolist(), joined([one, other]).least
    ([4, 2, 3], 0.5)
    >>> joined([one, other], most=1).least
    0.9
    """
    ids = np.concatenate([near.photo_ids for near in lists])
    scores = np.concatenate([near.scores for near in lists])
    least = max(near.least for near in lists)
    order = np.lexsort((ids, -scores))
    if most is not None and most < len(order):
        order = order[:most]
        least = max(least, float(scores[order[-1]]) if len(order) else np.inf)
    return Near(ids[order], scores[order], least)
