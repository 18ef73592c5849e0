"""Relevance feedback: photos that a user calls right or wrong move the query towards them or away (Rocchio, 1971).

    S' = S + nat * (P * z(mean of the liked) - M * z(mean of the unliked))

z(v) of a photo is its cosine with v, both less the mean picture, in standard deviations of such cosines between
pictures that have nothing in common. It is linear in the photo's vector, so that it joins the sentence's vector and is
exact on both paths. The constants were chosen on training photos (docs/experiments.md).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ..errors import InputError
from ..interface.calibration import Calibration
from ..records import Floats
from .score import ScoringQuery, mean_of

if TYPE_CHECKING:
    from ..storage.rows import StoredVectors

LIKED_NATS = 1.8  # P: for each standard deviation
UNLIKED_NATS = 0.36  # M
PICTURE_SPREAD, SMALLEST_SPREAD = 0.137, 1e-3  # that of find-mini, and the least that is divided by


class Vectors(Protocol):
    """What gives stored vectors: a store, or a library that an evaluation holds in memory."""

    def vectors(self, space_id: int, photo_ids: Sequence[int]) -> StoredVectors:
        """Those of these photos, in their order."""


def with_feedback(
    scoring: ScoringQuery,
    calibration: Calibration,
    store: Vectors,
    space_id: int,
    liked: Collection[int],
    unliked: Collection[int],
) -> ScoringQuery:
    """A query moved by what its user said of photos.

    Args:
        calibration: of the space: its bank of pictures says what pictures in general are like.
        liked, unliked: ids of photos.
    Raises:
        NotInIndex: a photo has no vectors in the space.
        InputError: a photo is called right and wrong.
    """
    both = set(liked) & set(unliked)
    if both:
        raise InputError(f"photo {min(both)} is called right and wrong, expected one of them")
    if not liked and not unliked:
        return scoring
    mean = mean_of(calibration.pictures, len(scoring.legend))
    moved = np.zeros_like(scoring.legend)
    for photo_ids, nats in ((liked, LIKED_NATS), (unliked, -UNLIKED_NATS)):
        if photo_ids:
            images = store.vectors(space_id, sorted(set(photo_ids))).image
            moved += np.float32(nats * scoring.nat / _spread(calibration.pictures)) * (images.mean(0) - mean)
    return replace(scoring, legend=scoring.legend + moved, offset=scoring.offset - float(moved @ mean))


def _spread(pictures: Floats) -> float:
    """Standard deviation of the centred cosines of different pictures of a bank."""
    if len(pictures) < 2:
        return PICTURE_SPREAD
    centred = pictures - pictures.mean(0)
    cosines = centred @ centred.T
    return max(float(cosines[~np.eye(len(pictures), dtype=bool)].std()), SMALLEST_SPREAD)
