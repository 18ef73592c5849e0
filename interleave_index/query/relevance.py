"""From a score to a relevance in 0 to 1: how far a photo stands above what it scores for queries that mean nothing.

A score says little by itself: some photos answer everything a little, some queries fit everything a little. So a
photo's score is standardised against the scores that *this photo* gets from a bank of generic queries of the
same kind, z = (S - mean) / deviation, and a fitted logistic curve turns z into a relevance. Negatives have already
lowered S, so they lower z too. The banks come with the interface and are kept in the index for its space.

Kinds. A query without entities is judged against generic captions. One with entities is judged against generic
captions with one phrase each (text entities), generic whole pictures (whole pictures), and parts of them (parts of
pictures); for a mixture, means, deviations and constants are mixed by the weights of the entities. The curve of text
entities is ``entity``, that of pictures and parts is ``picture``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import ShapeError
from ..interface.protocol import Calibration
from ..records import Floats, ResolvedPart
from .score import ENTITY_WEIGHT, Block, best_cosines

NullKind = Literal["caption", "text", "picture", "region"]
SMALLEST_DEVIATION = 1e-3  # a bank that a photo cannot tell apart must not blow z up
_CURVE = {"caption": "caption", "text": "entity", "picture": "picture", "region": "picture"}


@dataclass(frozen=True, slots=True)
class NullMoments:
    """What n photos score for a bank of generic queries: mean and standard deviation, (n,) float32 each."""

    mean: Floats
    deviation: Floats


def kinds_of(parts: Sequence[ResolvedPart]) -> dict[NullKind, float]:
    """Share of each kind in a query, by the weights of its entities; shares sum to 1.

    >>> kinds_of([ResolvedPart("caption", "text", "on a beach")])
    {'caption': 1.0}
    >>> kinds_of([ResolvedPart("entity", "text", "a dog", weight=3), ResolvedPart("entity", "region", "[region:1/2]")])
    {'text': 0.75, 'region': 0.25}
    """
    entities = [part for part in parts if part.role == "entity"]
    if not entities:
        return {"caption": 1.0}
    total = sum(part.weight for part in entities)
    shares: dict[NullKind, float] = {}
    for part in entities:
        shares[part.kind] = shares.get(part.kind, 0.0) + part.weight / total
    return shares


def null_moments(block: Block, calibration: Calibration, kind: NullKind, *,
                 entity_weight: float = ENTITY_WEIGHT) -> NullMoments:
    """What each photo of the block scores for the bank of one kind.

    Args:
        block: n photos.
        calibration: the banks.
        kind: `caption` has no entities; `text` a caption with one phrase; `picture` a whole picture;
            `region` a part of one.
        entity_weight: w of the score.
    Raises:
        ShapeError: the bank is empty.
    """
    legends, entities = {
        "caption": (calibration.captions, None), "text": (calibration.captions, calibration.phrases),
        "picture": (calibration.pictures, calibration.pictures), "region": (calibration.regions, calibration.regions),
    }[kind]
    if not len(legends):
        raise ShapeError(f"calibration has no bank for {kind} queries, expected at least one vector")
    scores = block.image @ legends.T
    if entities is not None:
        found = best_cosines(block, entities, np.full(len(entities), kind == "picture"))
        scores = scores + np.float32(entity_weight) * np.where(np.isneginf(found), np.float32(0), found)
    deviation = np.maximum(scores.std(axis=1), np.float32(SMALLEST_DEVIATION))
    return NullMoments(scores.mean(axis=1).astype(np.float32), deviation.astype(np.float32))


class Nulls:
    """What the photos of one block score for the banks, worked out once a kind and used for many queries.

    Args:
        block: n photos.
        calibration: the banks.
        entity_weight: w of the score.
    """

    def __init__(self, block: Block, calibration: Calibration, *, entity_weight: float = ENTITY_WEIGHT) -> None:
        self._block, self._calibration, self._weight = block, calibration, entity_weight
        self._moments: dict[NullKind, NullMoments] = {}

    def standardise(self, total: Floats, parts: Sequence[ResolvedPart]) -> Floats:
        """z of each photo: deviations that its score stands above its own scores for generic queries of the same kind.

        Args:
            total: (n,) float32 scores of the block's photos for the query.
            parts: of the query; their kinds and weights count, not their vectors.
        """
        mean, deviation = np.zeros_like(total), np.zeros_like(total)
        for kind, share in kinds_of(parts).items():
            moments = self._of(kind)
            mean += np.float32(share) * moments.mean
            deviation += np.float32(share) * moments.deviation
        z: Floats = (total - mean) / deviation
        return z

    def _of(self, kind: NullKind) -> NullMoments:
        if kind not in self._moments:
            self._moments[kind] = null_moments(self._block, self._calibration, kind, entity_weight=self._weight)
        return self._moments[kind]


def standardised(total: Floats, block: Block, parts: Sequence[ResolvedPart], calibration: Calibration, *,
                 entity_weight: float = ENTITY_WEIGHT) -> Floats:
    """`Nulls.standardise` for a single query."""
    return Nulls(block, calibration, entity_weight=entity_weight).standardise(total, parts)


def relevance(z: Floats, parts: Sequence[ResolvedPart], calibration: Calibration) -> Floats:
    """Relevance of each photo, (n,) float32 in 0 to 1, rising with z."""
    shares = kinds_of(parts)
    slope = sum(share * calibration.slope[_CURVE[kind]] for kind, share in shares.items())
    offset = sum(share * calibration.offset[_CURVE[kind]] for kind, share in shares.items())
    return _logistic(slope * z.astype(np.float64) + offset).astype(np.float32)


def library_calibration(null: Block) -> Calibration:
    """A stand-in where an index keeps no calibration: the library's own photos as the bank of pictures.

    Relevance 0.5 is then three deviations above them. There are no captions in it: only queries made of photos
    and regions of the index can be judged.
    """
    firsts = null.offsets[:-1][np.diff(null.offsets) > 0]
    regions = null.regions[firsts] if len(firsts) else null.image
    empty = np.zeros((0, null.image.shape[1]), np.float32)
    return Calibration(captions=empty, phrases=empty, pictures=null.image, regions=regions,
                       slope={"picture": 2.0}, offset={"picture": -6.0})


def fit_constants(z: NDArray[np.floating], present: NDArray[np.bool_], *, steps: int = 100,
                  ridge: float = 1e-4) -> tuple[float, float]:
    """Slope and offset of the logistic curve that best tells present from absent.

    Both classes count half, however many examples each has: relevance 0.5 is where a photo with the label is as likely
    as one without. Newton's method on the mean log-loss; the ridge keeps the slope finite for separable data.

    Args:
        z: (n,) standardised scores.
        present: (n,) bool, whether the photo has what was asked for.
    Returns:
        slope (0 or more: relevance never falls with z) and offset.
    Raises:
        ShapeError: arrays of different lengths, or only one class.

    >>> slope, offset = fit_constants(np.array([0.0, 1.0, 3.0, 4.0]), np.array([False, False, True, True]))
    >>> round(-offset / slope, 2)
    2.0
    """
    z, present = np.asarray(z, np.float64).ravel(), np.asarray(present, bool).ravel()
    if z.shape != present.shape or not (present.any() and (~present).any()):
        raise ShapeError(f"fit got {z.size} scores and {present.size} labels, {int(present.sum())} of them present, "
                         "expected as many of each, and both classes")
    weight = np.where(present, 0.5 / present.sum(), 0.5 / (~present).sum())
    centre = float(weight @ z)
    scale = max(float(np.sqrt(weight @ (z - centre) ** 2)), 1e-9)
    inputs = np.stack([(z - centre) / scale, np.ones_like(z)], axis=1)
    theta, penalty = np.zeros(2), np.array([ridge, 0.0])
    for _ in range(steps):
        guess = _logistic(inputs @ theta)
        gradient = inputs.T @ (weight * (guess - present)) + penalty * theta
        curvature = (inputs * (weight * guess * (1 - guess))[:, None]).T @ inputs + np.diag(penalty + 1e-9)
        step = np.linalg.solve(curvature, gradient)
        theta -= step * min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-9:
            break
    slope = max(float(theta[0]), 0.0) / scale
    return slope, float(theta[1]) - slope * centre


def _logistic(value: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-np.clip(value, -500, 500)))
