"""Is a thing in a photo at all? Its cosine is judged against what the same thing scores over a sample of photos.

An entity is present when its best cosine lies more than three standard deviations above the median of the sample. The
deviation is that of the lower half alone, mirrored, so that a thing which is common in the library does not raise its
own bar.

Where about half of the library or more show it, that no longer holds: the median lies between the photos with and
those without the thing, the lower half spans the gap, and the bar may lie above any cosine there is. So where nothing
in the sample reaches the bar although two fifths of it stand clear of the bar that the lowest quarter alone would
set, that lower bar holds. (For a bell-shaped sample the two are the same.) What more than three quarters of the
library show cannot be told from a sample of it.

A library of fewer than 200 photos may show a thing on most of them. There an entity is also present where it scores
more than 95 % of what a bank of other queries scores on the same photos.

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
LOWEST_QUARTER, QUARTER_SIGMAS = 25.0, 4.75  # for a bell, that quartile and so many of its deviations: median + 3 sigma
CLEAR_PERCENTILE = 60.0  # of the sample: when even this lies above the lowest quarter's bar, the thing is common
FEW_PHOTOS = 200  # a smaller library says too little of what a query scores in photos without the thing
SMALLEST_SIGMA = 0.01  # where the lower half is all alike, rounding alone must not make a thing present


def presence_bar(null: NDArray[np.floating]) -> float:
    """The cosine above which an entity is present.

    Args:
        null: (m,) best cosines of the entity over a sample of photos.
    Returns:
        Median plus three mirrored lower deviations, or the bar of the lowest quarter where at least about half of
        the sample show the thing; +inf for an empty sample.

    >>> [round(presence_bar(np.array(null)), 3) for null in ([-0.1, 0.0, 0.1], [0.0] * 4, [0.0] * 4 + [0.9] * 4)]
    [0.212, 0.03, 0.048]
    """
    if not len(null):
        return float("inf")
    middle, step = _middle_and_step(null)
    return middle + step


def general_bar(found: NDArray[np.floating]) -> float:
    """What queries in general rarely reach: the bar that may stand in for `presence_bar` in a small library.

    Args:
        found: best cosines of a bank of other queries over the photos of the library, all in one.
    Returns:
        Their 95th percentile; +inf for none.
    """
    return float(np.percentile(found, NEGATIVE_PERCENTILE)) if len(found) else float("inf")


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
    """What photos without the thing score in the middle, and the way from there to the bar of presence."""
    middle, step = _below(null, 50.0, SIGMAS)
    if middle + step > null.max():
        low, low_step = _below(null, LOWEST_QUARTER, QUARTER_SIGMAS)
        if np.percentile(null, CLEAR_PERCENTILE) > low + low_step:
            return low, low_step
    return middle, step


def _below(null: NDArray[np.floating], percentile: float, sigmas: float) -> tuple[float, float]:
    """A percentile, and so many deviations of the values under it, mirrored at it."""
    start = float(np.percentile(null, percentile))
    below = null[null <= start].astype(np.float64) - start
    return start, sigmas * max(float(np.sqrt(np.mean(below**2))), SMALLEST_SIGMA)
