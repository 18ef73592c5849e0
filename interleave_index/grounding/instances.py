"""Which of a photo's scored regions answer an entity: their order, and the instances of it that are shown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..geometry import overlap_coefficient
from ..records import Rle
from .grid import Reals

LEAST_DEVIATION = 0.01  # of cosine: regions that lie nearer together than this do not show how far a model spreads them
MARGIN, MARGIN_DEVIATIONS = 0.05, 0.5  # further instances: of cosine below the best, and in standard deviations
SAME_THING = 0.1  # share of the smaller of two masks; more than that is one thing masked twice
MOST_INSTANCES = 5


def rank_regions(cosines: Reals, scores: Reals | None, score_weight: float) -> NDArray[np.int64]:
    """Ordinals of a photo's regions as answers to an entity, best first; ties in order of the ordinals.

    A region counts by its cosine and by how well it is drawn, so that of two that are about as near the better drawn
    one answers. The score is measured in standard deviations of the photo's cosines, for those of one model spread ten
    times as wide as those of another.

    Args:
        cosines: (R,) of every stored region with what is asked.
        scores: (R,) of their masks, 0 to 1, see `PhotoEncoding`; None where they are not known.
        score_weight: see `Calibration`; 0 ranks by the cosine alone.

    >>> rank_regions(np.array([0.69, 0.7, 0.2]), np.array([0.9, 0.3, 0.5]), 3.0).tolist()
    [0, 1, 2]
    """
    if scores is None or not score_weight or not len(cosines):
        return np.argsort(-cosines, kind="stable")
    deviation = max(float(np.std(cosines)), LEAST_DEVIATION)
    return np.argsort(-(cosines + score_weight * deviation * scores), kind="stable")


def select_instances(cosines: Reals, scores: Reals | None, score_weight: float, masks: Sequence[Rle]) -> list[int]:
    """Ordinals of the regions that show instances of an entity, best first: as near as the best, and apart from it.

    Args:
        cosines, scores, score_weight: see `rank_regions`; at least one region.
        masks: R masks of one size.
    Returns:
        The best region, and at most four others that score nearly as well and whose masks lie elsewhere.
    """
    order = rank_regions(cosines, scores, score_weight)
    least = cosines[order[0]] - min(MARGIN, MARGIN_DEVIATIONS * float(np.std(cosines)))
    chosen = [int(order[0])]
    for number in order[1:][cosines[order[1:]] >= least].tolist():
        apart = all(overlap_coefficient(masks[number], masks[other]) <= SAME_THING for other in chosen)
        if apart and len(chosen) < MOST_INSTANCES:
            chosen.append(number)
    return chosen
