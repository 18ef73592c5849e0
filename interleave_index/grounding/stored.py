"""Which of a photo's stored regions answer what is asked. Knows vectors only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BETTER_DRAWN = 0.004  # of cosine: what a region's mask is worth for every place that it stands before another


def answers(cosines: NDArray[np.floating]) -> NDArray[np.int64]:
    """Ordinals of a photo's regions as answers to an entity, best first.

    Regions are stored best proposal first; of two that are nearly as near to what is asked the better drawn one counts.

    Args:
        cosines: (R,) of every stored region with what is asked, in the order of the regions.

    >>> answers(np.array([0.5, 0.501, 0.7])).tolist()
    [2, 0, 1]
    """
    return np.argsort(BETTER_DRAWN * np.arange(len(cosines)) - cosines, kind="stable")
