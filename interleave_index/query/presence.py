"""Is an entity in a photo at all? Its cosine is judged against what the same entity scores over a sample of photos.

An entity is present when its best cosine lies more than three standard deviations above the median of the sample. The
deviation is that of the lower half alone, mirrored, so that a thing which is common in the library does not raise its
own bar.
Source: the presence gate of the project's restatement of READ (similarity as points, before any normalisation).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SIGMAS = 3.0
SMALLEST_SIGMA = 0.01  # where the lower half is all alike, rounding alone must not make a thing present


def presence_bar(null: NDArray[np.floating]) -> float:
    """The cosine above which an entity is present.

    Args:
        null: (m,) best cosines of the entity over a sample of photos.
    Returns:
        Median plus three mirrored lower deviations; +inf for an empty sample.

    >>> round(presence_bar(np.array([-0.1, 0.0, 0.1, 0.9, 0.9])[:3]), 3), round(presence_bar(np.zeros(4)), 3)
    (0.212, 0.03)
    """
    if not len(null):
        return float("inf")
    middle = float(np.median(null))
    below = null[null <= middle].astype(np.float64) - middle
    return middle + SIGMAS * max(float(np.sqrt(np.mean(below**2))), SMALLEST_SIGMA)
