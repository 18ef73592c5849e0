"""Is a thing in a photo at all? Its cosine is judged against what the same thing scores over a sample of photos.

An entity is present when its best cosine lies more than three standard deviations above the median of the sample. The
deviation is that of the lower half alone, mirrored, so that a thing which is common in the library does not raise its
own bar.

A negative counts from the 95th percentile of its sample on. That is meant to be what photos without the thing reach at
most; where more than 5 % of the library show it, the percentile lies among those, far beyond the bar of presence, and
would excuse them all. There the bar is the threshold.
Source: the presence gate of the project's restatement of READ (similarity as points, before any normalisation).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SIGMAS = 3.0
NEGATIVE_PERCENTILE = 95.0
COMMON = 2.0  # times the way from the median to the bar: a percentile beyond that lies among photos that show the thing
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
    middle, step = _middle_and_step(null)
    return middle + step


def negative_threshold(null: NDArray[np.floating]) -> float:
    """The cosine from which on a negative counts.

    Args:
        null: (m,) best cosines of the negative over a sample of photos.
    Returns:
        The 95th percentile, or the bar of presence where the thing is common; +inf for an empty sample.

    >>> [round(negative_threshold(np.array(null)), 3) for null in (range(101), [0, 0, 0, 0, 1, 1])]
    [95.0, 0.03]
    """
    if not len(null):
        return float("inf")
    usual = float(np.percentile(null, NEGATIVE_PERCENTILE))
    middle, step = _middle_and_step(null)
    return middle + step if usual > middle + COMMON * step else usual


def _middle_and_step(null: NDArray[np.floating]) -> tuple[float, float]:
    """Median, and the way from there to the bar of presence."""
    middle = float(np.median(null))
    below = null[null <= middle].astype(np.float64) - middle
    return middle, SIGMAS * max(float(np.sqrt(np.mean(below**2))), SMALLEST_SIGMA)
