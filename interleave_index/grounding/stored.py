"""Which of a photo's stored regions answer what is asked. Knows vectors and scores only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WELL_DRAWN = 3.0  # what a predicted quality of 1 is worth, in standard deviations of the photo's cosines
LEAST_SPREAD = 0.01  # of cosine: regions that lie nearer together than this say nothing of how far a model spreads them


def answers(cosines: NDArray[np.floating], scores: NDArray[np.floating] | None = None) -> NDArray[np.int64]:
    """Ordinals of a photo's regions as answers to an entity, best first.

    Of two regions that are nearly as near to what is asked the better drawn one counts. How near is near depends on how
    far the photo's regions lie apart, for the cosines of one model spread ten times as wide as those of another.

    Args:
        cosines: (R,) of every stored region with what is asked.
        scores: (R,) predicted quality of their masks, 0 to 1, or None: all are alike.

    >>> answers(np.array([0.5, 0.501, 0.7]), np.array([0.9, 0.3, 0.8])).tolist()
    [2, 0, 1]
    """
    if scores is None or not len(cosines):
        return np.argsort(-cosines, kind="stable")
    spread = max(float(np.std(cosines)), LEAST_SPREAD)
    return np.argsort(-(cosines + WELL_DRAWN * spread * scores), kind="stable")
