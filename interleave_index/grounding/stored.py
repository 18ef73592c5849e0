"""Which of a photo's stored regions answer what is asked. Knows vectors and scores only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NEAR = 1.5  # standard deviations of the photo's cosines below the best, as far as regions answer nearly alike
WELL_DRAWN = 4.0  # what a score of 1 is worth among those, in the same unit
LEAST_SPREAD = 0.01  # of cosine: regions that lie nearer together than this say nothing of how far a model spreads them


def answers(cosines: NDArray[np.floating], scores: NDArray[np.floating] | None = None) -> NDArray[np.int64]:
    """Ordinals of a photo's regions as answers to an entity, best first.

    Of two regions that are nearly as near to what is asked the better drawn one counts. How near is near depends on how
    far the photo's regions lie apart, for the cosines of one model spread ten times as wide as those of another.

    Args:
        cosines: (R,) of every stored region with what is asked.
        scores: (R,) of their masks, 0 to 1, see `PhotoEncoding`, or None: all are alike.

    >>> answers(np.array([0.69, 0.7, 0.2]), np.array([0.9, 0.3, 1.0])).tolist()
    [0, 1, 2]
    """
    if scores is None or not len(cosines):
        return np.argsort(-cosines, kind="stable")
    spread = max(float(np.std(cosines)), LEAST_SPREAD)
    near = cosines >= cosines.max() - NEAR * spread
    return np.lexsort((-(cosines + np.where(near, WELL_DRAWN * spread * scores, 0)), ~near))
