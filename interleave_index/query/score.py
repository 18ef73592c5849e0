"""The score of a photo, as pure numpy functions over stored vectors. Search and evaluation rank through this module.

    S = (l - m/2) · image + w * sum(w_e * s_e) / sum(w_e) - penalties      s_e = max over regions of (e - m) · region

l is the sentence's vector, e an entity's, m the mean of the calibration's captions, read as sentences or as entities.
What a photo or a region scores for captions in general is how near it lies to everything, and is taken off: half of
it for photos, all of it for regions. Since the mean is linear in the vectors it is taken off the query instead, once,
which makes it exact in every index. A whole picture also meets the image vector.

w grows with the share of the sentence that stands in brackets: `query.entity_weight` of the settings beside a long
sentence, 1 for entities alone. The score of a query that is one entity alone is that entity's *evidence*, by which its
presence is judged.

Texts of a photo add to S what their meaning and their words are worth, in nats of the query's log-odds; a photo
without any gets nothing added and nothing taken off (`texts.py`).

What a negative takes off goes by its own evidence, as a chance at even odds: nothing where it is surely absent, and
`PENALTY` nats of the query's log-odds, times its weight, where it is surely there (`judgement.py`).

A photo without regions gives an entity no region evidence, s_e = 0. Everything is float32, and S is rounded to six
decimals: the last places depend on how many photos are scored together, and equal photos must tie.
Source: the interleaved retrieval score of FIND (arXiv 2312.07532), with weights, centring and negatives added; the
measurements behind the constants stand in docs/experiments.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..config import QuerySettings
from ..errors import EmptyQuery, ShapeError, SpaceMismatch
from ..interface.calibration import Calibration
from ..records import Floats, QueryEncoding, ResolvedPart
from .judgement import curve_of, kind_of_part, sentence_share

ALONE = 1.0  # w of entities without a sentence
PENALTY = 5.0  # nats that a negative which is surely there takes off the log-odds
IMAGE_CENTRING = 0.5  # share of the mean caption that is taken off before images are compared
NO_EVIDENCE = -np.inf  # the best cosine over no regions at all
DECIMALS = 6
CAPTION_SPREAD, SMALLEST_SPREAD = 0.12, 1e-3  # that of find-mini, and the least that is divided by
_DEFAULTS = QuerySettings()
_SPREADS: deque[tuple[Floats, float]] = deque(maxlen=4)  # of the last banks, for every query asks
SURE = 80.0  # nats; a chance so near to 0 or 1 goes no nearer, and its exponential fits into float32


class Block(Protocol):
    """Vectors of n photos, such as `StoredVectors`."""

    @property
    def image(self) -> Floats:
        """(n, D) float32."""

    @property
    def regions(self) -> Floats:
        """(sum R, D) float32, photo by photo."""

    @property
    def offsets(self) -> NDArray[np.int64]:
        """(n + 1,) where each photo's regions begin."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Entities or negatives of a query, k of them.

    Attributes:
        regions: (k, D) float32, centred, compared with regions.
        images: (k, D) float32, centred, compared with images.
        weights: (k,) float32, above 0.
        whole: (k,) bool, the term is a whole picture: images count among its regions.
    """

    regions: Floats
    images: Floats
    weights: Floats
    whole: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.weights)


@dataclass(frozen=True, slots=True)
class ScoringQuery:
    """A query as the score sees it.

    Attributes:
        legend: (D,) float32, the whole sentence, centred.
        entities, negatives: its terms.
        entity_weight: w.
        penalties: (N,) float32, what each negative takes off where it is surely there, in units of S.
        slopes, middles: (N,) float32, of the curve that gives a negative's chance at even odds from its evidence.
        passages: (D,) float32 and what is taken off: `passages[0] @ p - passages[1]` says by how many standard
            deviations a passage p is nearer to the sentence than captions in general are.
        nat: by how much S rises where the log-odds of the query rise by one.
        offset: that every photo gets.
    """

    legend: Floats
    entities: Terms
    negatives: Terms
    entity_weight: float = _DEFAULTS.entity_weight
    penalties: Floats = field(default_factory=lambda: np.zeros(0, np.float32))
    slopes: Floats = field(default_factory=lambda: np.zeros(0, np.float32))
    middles: Floats = field(default_factory=lambda: np.zeros(0, np.float32))
    passages: tuple[Floats, float] = field(default_factory=lambda: (np.zeros(0, np.float32), 0.0))
    nat: float = 0.0
    offset: float = 0.0


@dataclass(frozen=True, slots=True)
class Cosines:
    """What the score is made of, for n photos.

    Attributes:
        legend: (n,) float32, image with the sentence.
        entities, negatives: (n, k) float32, best over regions; -inf where there is nothing to compare with.
        entity_images, negative_images: (n, k) float32, image with each term.
    """

    legend: Floats
    entities: Floats
    entity_images: Floats
    negatives: Floats
    negative_images: Floats


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of n photos.

    Attributes:
        total: (n,) float32, S.
        wanted: (n,) float32, S without what negatives take off.
        evidence: (n, E) float32, what each entity would score as a query of its own.
        negative_evidence: (n, N) float32, the same of negatives.
    """

    total: Floats
    wanted: Floats
    evidence: Floats
    negative_evidence: Floats

    def rows(self, chosen: NDArray[np.int64]) -> Scores:
        """The photos at these positions, in that order."""
        return Scores(self.total[chosen], self.wanted[chosen], self.evidence[chosen], self.negative_evidence[chosen])


def scoring_query(
    parts: Sequence[ResolvedPart],
    encoding: QueryEncoding,
    calibration: Calibration,
    *,
    entity_weight: float = _DEFAULTS.entity_weight,
    negative_weight: float = _DEFAULTS.negative_weight,
) -> ScoringQuery:
    """Put together what the score needs.

    Args:
        parts: the resolved query; its entities and negatives in the order of the encoding.
        encoding: of the same query, unit vectors.
        calibration: of the space: its banks centre the vectors, its curves weigh the negatives.
        entity_weight: w beside a long sentence.
        negative_weight: of what negatives take off.
    Raises:
        EmptyQuery: nothing but negatives.
        ShapeError: the encoding has another number of vectors than the query has parts.
    """
    entities = [part for part in parts if part.role == "entity"]
    negatives = [part for part in parts if part.role == "negative"]
    if len(negatives) == len(parts):
        raise EmptyQuery("query has negatives only, expected also something to look for; add text or a part to it")
    if (len(encoding.entities), len(encoding.negatives)) != (len(entities), len(negatives)):
        raise ShapeError(
            f"query encoding has {len(encoding.entities)} entities and {len(encoding.negatives)} "
            f"negatives, expected {len(entities)} and {len(negatives)}"
        )
    dim = len(encoding.legend)
    mean = mean_of(calibration.phrases, dim)
    unwanted = terms(negatives, encoding.negatives, mean)
    own = [calibration.curves[kind_of_part(part)] for part in negatives]
    nat = 1 / curve_of(parts, calibration).slope
    mean_caption = mean_of(calibration.captions, dim)
    spread = spread_of_captions(calibration)
    passages = encoding.legend / np.float32(spread), float(encoding.legend @ mean_caption) / spread
    return ScoringQuery(
        legend=encoding.legend - np.float32(IMAGE_CENTRING) * mean_caption,
        entities=terms(entities, encoding.entities, mean),
        negatives=unwanted,
        entity_weight=entity_weight + (ALONE - entity_weight) * sentence_share(parts),
        penalties=np.float32(negative_weight * PENALTY * nat) * unwanted.weights,
        slopes=np.array([curve.slope for curve in own], np.float32),
        middles=np.array([curve.middle for curve in own], np.float32),
        passages=passages,
        nat=nat,
    )


def spread_of_captions(calibration: Calibration) -> float:
    """Standard deviation of the centred cosines of different captions of the bank; `CAPTION_SPREAD` without a bank."""
    captions = calibration.captions
    if len(captions) < 2:
        return CAPTION_SPREAD
    for known, spread in tuple(_SPREADS):
        if known is captions:
            return spread
    cosines = captions @ captions.T - (captions @ captions.mean(0))[:, None]
    spread = max(float(cosines[~np.eye(len(captions), dtype=bool)].std()), SMALLEST_SPREAD)
    _SPREADS.append((captions, spread))
    return spread


def mean_of(bank: Floats, dim: int) -> Floats:
    """(D,) float32: the mean of a bank; zeros where it is empty."""
    mean: Floats = bank.mean(axis=0, dtype=np.float32) if len(bank) else np.zeros(dim, np.float32)
    return mean


def terms(parts: Sequence[ResolvedPart], vectors: Floats, mean: Floats) -> Terms:
    """Parts with their (k, D) unit vectors as terms, centred by the (D,) mean phrase."""
    rows = vectors.reshape(-1, len(mean)).astype(np.float32)
    return Terms(
        regions=rows - mean,
        images=rows - np.float32(IMAGE_CENTRING) * mean,
        weights=np.array([part.weight for part in parts], np.float32),
        whole=np.array([part.kind == "picture" for part in parts], bool),
    )


def score(block: Block, query: ScoringQuery) -> Scores:
    """Score every photo of the block; an empty block gives empty arrays.

    >>> from types import SimpleNamespace as Photos
    >>> axes = np.eye(2, dtype=np.float32)
    >>> none = Terms(axes[:0], axes[:0], np.zeros(0), np.zeros(0, bool))
    >>> photos = Photos(image=axes, regions=axes[:1], offsets=np.array([0, 1, 1]))
    >>> one = Terms(axes[:1], axes[:1], np.ones(1, np.float32), np.zeros(1, bool))
    >>> score(photos, ScoringQuery(axes[0], one, none, 0.5)).total.tolist()
    [1.5, 0.0]
    """
    return fuse(cosines(block, query), query)


def precisely(block: Block, query: ScoringQuery) -> Scores:
    """As `score`, in double precision: of each photo the same to the last bit, whatever photos stand beside it.

    For the few photos of an answer; a product of float32 rows differs in its last digits with their number and order.
    """
    doubled = _Doubled(block.image.astype(np.float64), block.regions.astype(np.float64), block.offsets)
    return fuse(cosines(doubled, query), query)


class _Doubled(NamedTuple):
    """A block in double precision."""

    image: NDArray[np.float64]
    regions: NDArray[np.float64]
    offsets: NDArray[np.int64]


def cosines(block: Block | _Doubled, query: ScoringQuery) -> Cosines:
    """The cosines of every photo of the block with every part of the query, float32."""
    entities, negatives = query.entities, query.negatives
    return Cosines(
        (block.image @ query.legend).astype(np.float32, copy=False),
        best_cosines(block, entities),
        (block.image @ entities.images.T).astype(np.float32, copy=False),
        best_cosines(block, negatives),
        (block.image @ negatives.images.T).astype(np.float32, copy=False),
    )


def fuse(cosines: Cosines, query: ScoringQuery) -> Scores:
    """The formula itself, from cosines that are already there."""
    evidence = cosines.entity_images + np.float32(ALONE) * _evident(cosines.entities)
    total, wanted, unwanted = totals(cosines, query)
    return Scores(_rounded(total), _rounded(wanted), _rounded(evidence), _rounded(unwanted))


def totals(cosines: Cosines, query: ScoringQuery) -> tuple[Floats, Floats, Floats]:
    """S (n,), S without what negatives take off (n,), and the evidence of negatives (n, N), none of them rounded."""
    total: Floats = cosines.legend + np.float32(query.offset)
    if len(query.entities):
        weights = query.entities.weights
        total = total + np.float32(query.entity_weight) * _weighted(_evident(cosines.entities), weights / weights.sum())
    wanted = total
    unwanted = cosines.negative_images + np.float32(ALONE) * _evident(cosines.negatives)
    if len(query.negatives):
        nats = np.clip(query.slopes * (unwanted - query.middles), -SURE, SURE)
        chances: Floats = (1 / (1 + np.exp(-nats, dtype=np.float32))).astype(np.float32)
        total = total - _weighted(chances, query.penalties)
    return total, wanted, unwanted


def _weighted(columns: Floats, weights: Floats) -> Floats:
    """(n,) sums of (n, k) columns times (k,) weights, added in their order: a row is the same in any company."""
    total = np.zeros(len(columns), np.float32)
    for column, weight in zip(columns.T, weights, strict=True):
        total += column * np.float32(weight)
    return total


def with_texts(scores: Scores, added: Floats) -> Scores:
    """The scores with what texts add, (n,) float32; zeros change nothing."""
    return replace(scores, total=_rounded(scores.total + added), wanted=_rounded(scores.wanted + added))


def _evident(best: Floats) -> Floats:
    if not best.size or best.min() > NO_EVIDENCE:
        return best
    return np.where(np.isneginf(best), np.float32(0), best)


def _rounded(scores: Floats) -> Floats:
    return scores.astype(np.float32).round(DECIMALS)


def best_cosines(block: Block | _Doubled, compared: Terms) -> Floats:
    """Best cosine of each term over each photo's regions; where a term is a whole picture, over its image too.

    Args:
        block: n photos.
        compared: k terms.
    Returns:
        (n, k) float32; -inf where there is nothing to compare with.
    Raises:
        SpaceMismatch: the vectors have another length than the stored ones.
    """
    count, lengths = len(block.image), np.diff(block.offsets)
    best = np.full((count, len(compared)), NO_EVIDENCE, np.float32)
    if not (count and len(compared)):
        return best
    if compared.regions.shape[1] != block.image.shape[1]:
        raise SpaceMismatch(
            f"query vectors have D={compared.regions.shape[1]}, the index has D={block.image.shape[1]}; "
            "search with the interface that the photos were ingested with"
        )
    filled = np.flatnonzero(lengths > 0)
    if len(filled):
        # empty photos own no rows, so the starts of the filled ones alone cut the rows rightly
        best[filled] = np.maximum.reduceat(block.regions @ compared.regions.T, block.offsets[filled], axis=0)
    if compared.whole.any():
        best[:, compared.whole] = np.maximum(best[:, compared.whole], block.image @ compared.regions[compared.whole].T)
    return best


def rank(photo_ids: NDArray[np.int64], total: Floats, top_k: int) -> NDArray[np.int64]:
    """Positions of the best `top_k` photos, best first, ties by photo id.

    >>> rank(np.array([7, 3, 5]), np.array([0.5, 0.5, 0.9], np.float32), 2).tolist()
    [2, 1]
    """
    if 0 < top_k < len(total) // 4:  # a partition first: a full sort of a large library is slow
        bar = np.partition(total, len(total) - top_k)[len(total) - top_k]
        kept = np.flatnonzero(total >= bar)
    else:
        kept = np.arange(len(total))
    order = np.lexsort((photo_ids[kept], -total[kept]))
    return kept[order[: max(top_k, 0)]]
