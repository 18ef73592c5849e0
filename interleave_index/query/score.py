"""The score of a photo, as pure numpy functions over stored vectors. Search and evaluation rank through this module.

    S = cos(legend, image) + w * sum(w_e * s_e) / sum(w_e) - lambda * sum(w_n * max(0, s_n - t_n))

where s of a part is its best cosine over the photo's regions (a whole picture also meets the image vector),
and t_n the negative's threshold: the 95th percentile of its s over a sample of the library (presence.py says what
stands in for it where the thing is common).

A photo without regions gives an entity no evidence, s_e = 0, and a negative nothing to take off.
All vectors have unit length, so that a cosine is a dot product; everything is float32, and S is rounded to six
decimals: the last places depend on how many photos are scored together, and equal photos must tie.
Source: the interleaved retrieval score of FIND (arXiv 2312.07532), with weights and negatives added.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import EmptyQuery, ShapeError, SpaceMismatch
from ..records import Floats, QueryEncoding, ResolvedPart
from .presence import negative_threshold

ENTITY_WEIGHT = 0.5  # w
NEGATIVE_WEIGHT = 1.0  # lambda
NO_EVIDENCE = -np.inf  # the best cosine over no regions at all
DECIMALS = 6


class Block(Protocol):
    """Stored vectors of n photos: what the score needs of `storage.StoredVectors`."""

    @property
    def image(self) -> Floats:
        """(n, D) float32, unit length."""

    @property
    def regions(self) -> Floats:
        """(sum of R, D) float32, unit length, photo after photo."""

    @property
    def offsets(self) -> NDArray[np.int64]:
        """(n + 1,): the regions of photo i are the rows offsets[i] to offsets[i + 1]."""


def _no_floats() -> Floats:
    return np.zeros(0, np.float32)


def _no_flags() -> NDArray[np.bool_]:
    return np.zeros(0, bool)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A query as the score sees it.

    Attributes:
        legend: (D,) float32, the whole sentence.
        entities: (E, D) float32; E may be 0.
        weights: (E,) float32, above 0.
        whole: (E,) bool, the entity is a whole picture and also meets the image vector.
        negatives: (N, D) float32; N may be 0.
        negative_weights, negative_whole: the same for negatives.
        thresholds: (N,) float32, above which a negative counts; +inf never does.
    """

    legend: Floats
    entities: Floats
    weights: Floats = field(default_factory=_no_floats)
    whole: NDArray[np.bool_] = field(default_factory=_no_flags)
    negatives: Floats = field(default_factory=_no_floats)
    negative_weights: Floats = field(default_factory=_no_floats)
    negative_whole: NDArray[np.bool_] = field(default_factory=_no_flags)
    thresholds: Floats = field(default_factory=_no_floats)


@dataclass(frozen=True, slots=True)
class Cosines:
    """What the score is made of, for n photos.

    Attributes:
        caption: (n,) float32, cos(legend, image).
        entities: (n, E) float32, best cosine of each entity; -inf where there is nothing to compare with.
        negatives: (n, N) float32, the same for negatives.
    """

    caption: Floats
    entities: Floats
    negatives: Floats


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of n photos.

    Attributes:
        total: (n,) float32, S.
        entities: (n, E) float32, s_e; 0 where the photo has nothing to compare with.
        penalty: (n,) float32, what the negatives took off, 0 or more, lambda included.
    """

    total: Floats
    entities: Floats
    penalty: Floats


def want(parts: Sequence[ResolvedPart], encoding: QueryEncoding, null: Block) -> Wanted:
    """Put together what the score needs.

    Args:
        parts: the resolved query; its entities and negatives in the order of the encoding.
        encoding: of the same query.
        null: a sample of the library, for the thresholds of the negatives.
    Raises:
        EmptyQuery: nothing but negatives.
        ShapeError: the encoding has another number of vectors than the query has parts.
    """
    entities = [part for part in parts if part.role == "entity"]
    negatives = [part for part in parts if part.role == "negative"]
    if len(negatives) == len(parts):
        raise EmptyQuery("query has negatives only, expected also something to look for; add text or a part to it")
    if (len(encoding.entities), len(encoding.negatives)) != (len(entities), len(negatives)):
        raise ShapeError(f"query encoding has {len(encoding.entities)} entities and {len(encoding.negatives)} "
                         f"negatives, expected {len(entities)} and {len(negatives)}")
    negative_whole = np.array([part.kind == "picture" for part in negatives], bool)
    return Wanted(
        legend=encoding.legend, entities=encoding.entities,
        weights=np.array([part.weight for part in entities], np.float32),
        whole=np.array([part.kind == "picture" for part in entities], bool),
        negatives=encoding.negatives, negative_weights=np.array([part.weight for part in negatives], np.float32),
        negative_whole=negative_whole,
        thresholds=np.array([negative_threshold(known) for known in
                             null_cosines(null, encoding.negatives, negative_whole)], np.float32))


def score(block: Block, wanted: Wanted, *, entity_weight: float = ENTITY_WEIGHT,
          negative_weight: float = NEGATIVE_WEIGHT) -> Scores:
    """Score every photo of the block; an empty block gives empty arrays.

    >>> from types import SimpleNamespace as Photos
    >>> axes = np.eye(2, dtype=np.float32)
    >>> photos = Photos(image=axes, regions=axes[:1], offsets=np.array([0, 1, 1]))
    >>> score(photos, Wanted(axes[0], axes[:1], np.ones(1, np.float32), np.zeros(1, bool))).total.tolist()
    [1.5, 0.0]
    """
    return fuse(cosines(block, wanted), wanted, entity_weight=entity_weight, negative_weight=negative_weight)


def cosines(block: Block, wanted: Wanted) -> Cosines:
    """The cosines of every photo of the block with every part of the query."""
    return Cosines(block.image @ wanted.legend, best_cosines(block, wanted.entities, wanted.whole),
                   best_cosines(block, wanted.negatives, wanted.negative_whole))


def fuse(found: Cosines, wanted: Wanted, *, entity_weight: float = ENTITY_WEIGHT,
         negative_weight: float = NEGATIVE_WEIGHT) -> Scores:
    """The formula itself, from cosines that are already there."""
    entities = np.where(np.isneginf(found.entities), np.float32(0), found.entities)
    total, penalty = found.caption, np.zeros_like(found.caption)
    if len(wanted.weights):
        total = total + np.float32(entity_weight) * (entities @ (wanted.weights / wanted.weights.sum()))
    if len(wanted.negative_weights):
        over = np.maximum(np.float32(0), found.negatives - wanted.thresholds)
        penalty = np.float32(negative_weight) * (over @ wanted.negative_weights)
    return Scores(np.round(total - penalty, DECIMALS), entities, penalty)


def best_cosines(block: Block, vectors: Floats, whole: NDArray[np.bool_]) -> Floats:
    """Best cosine of each vector over each photo's regions.

    Args:
        block: n photos.
        vectors: (Q, D) float32, unit length.
        whole: (Q,) bool; where True the image vector counts as one more region.
    Returns:
        (n, Q) float32; -inf where there is nothing to compare with.
    Raises:
        SpaceMismatch: the vectors have another length than the stored ones.
    """
    count, lengths = len(block.image), np.diff(block.offsets)
    best = np.full((count, len(vectors)), NO_EVIDENCE, np.float32)
    if not (count and len(vectors)):
        return best
    if vectors.shape[1] != block.image.shape[1]:
        raise SpaceMismatch(f"query vectors have D={vectors.shape[1]}, the index has D={block.image.shape[1]}; "
                            "search with the interface that the photos were ingested with")
    filled = np.flatnonzero(lengths > 0)
    if len(filled):
        # empty photos own no rows, so the starts of the filled ones alone cut the rows rightly
        best[filled] = np.maximum.reduceat(block.regions @ vectors.T, block.offsets[filled], axis=0)
    if whole.any():
        best[:, whole] = np.maximum(best[:, whole], block.image @ vectors[whole].T)
    return best


def null_cosines(null: Block, vectors: Floats, whole: NDArray[np.bool_]) -> list[Floats]:
    """For each of (Q, D) vectors its best cosine with every photo of the sample that has something to compare."""
    found = best_cosines(null, vectors, whole)
    return [line[~np.isneginf(line)] for line in found.T]


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
    return kept[order[:max(top_k, 0)]]
