"""Which of a photo's stored regions answer what is asked. Knows vectors and scores only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WELL_DRAWN = 3.0  # standard deviations of the photo's cosines that a score of 1 is worth
LEAST_SPREAD = 0.01  # of cosine: regions that lie nearer together than this say nothing of how far a model spreads them


def answers(cosines: NDArray[np.floating], scores: NDArray[np.floating] | None = None) -> NDArray[np.int64]:
    """Ordinals of a photo's regions as answers to an entity, best first; ties in order of the ordinals.

    A region counts by its cosine and by how well it is drawn, so that of two that are about as near the better drawn
    one answers. The score is measured in standard deviations of the photo's cosines, for those of one model spread ten
    times as wide as those of another.

    Args:
        cosines: (R,) of every stored region with what is asked.
        scores: (R,) of their masks, 0 to 1, see `PhotoEncoding`, or None: all are alike.

    >>> answers(np.array([0.69, 0.7, 0.2]), np.array([0.9, 0.3, 0.5])).tolist()
    [0, 1, 2]
    """
    if scores is None or not len(cosines):
        return np.argsort(-cosines, kind="stable")
    spread = max(float(np.std(cosines)), LEAST_SPREAD)
    return np.argsort(-(cosines + WELL_DRAWN * spread * scores), kind="stable")
