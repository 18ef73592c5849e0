"""Ranks, recalls, and the scores of interleaved queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ShapeError
from ..geometry import unit
from ..records import BoolMask, Floats

Counts = NDArray[np.int64]
CUTOFFS = (1, 5, 10)
VIEWED = 500  # photos that are compared at a time, so that all their vectors fit into memory


def cosines(one: Floats, other: Floats) -> Floats:
    """Cosine of every row of `one` (N, D) with every row of `other` (M, D), (N, M) float32; zero vectors give 0.

    >>> cosines(np.array([[3.0, 0.0]]), np.array([[1.0, 0.0], [0.0, 2.0]])).tolist()
    [[1.0, 0.0]]
    """
    return unit(one) @ unit(other).T


def nearest_views(views: Sequence[Floats], texts: Floats) -> Floats:
    """Cosines of photos with texts; of several vectors of a photo, the nearest to a text counts.

    Args:
        views: by photo (V, D), or (D,) where it has one vector.
        texts: (M, D).
    Returns:
        (N, M) float32.

    >>> nearest_views([np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0.0, 1.0])], np.array([[2.0, 0.0]])).tolist()
    [[1.0], [0.0]]
    """
    blocks = [np.zeros((0, len(texts)), np.float32)]
    for start in range(0, len(views), VIEWED):
        of_photos = [np.atleast_2d(rows) for rows in views[start : start + VIEWED]]
        starts = np.cumsum([0, *map(len, of_photos)])[:-1]
        blocks.append(np.maximum.reduceat(cosines(np.concatenate(of_photos), texts), starts))
    return np.concatenate(blocks)


def average_precisions(right: Sequence[BoolMask], truths: Sequence[int], cutoff: int) -> Floats:
    """AP@K of every query by its ranking: the mean precision at its truths among the first K, of those that fit there.

    Args:
        right: by query the (N,) ranked photos, True where one is a truth.
        truths: how many truths each query has, at least one.
    Returns:
        (Q,) from 0 to 1.
    Source: CIRCO, Baldrati et al., Zero-Shot Composed Image Retrieval with Textual Inversion, 2023.

    >>> average_precisions([np.array([True, False, True, False])], [3], 3).round(4).tolist()
    [0.5556]
    """
    found = []
    for flags, count in zip(right, truths, strict=True):
        hits = np.asarray(flags[:cutoff], bool)
        precisions = np.cumsum(hits) / np.arange(1, len(hits) + 1)
        found.append(float(precisions[hits].sum()) / min(count, cutoff))
    return np.array(found)


def first_ranks(scores: Floats, wanted: BoolMask) -> Counts:
    """Rank of the best wanted column in every row, from 1; equal scores rank by column.

    Args:
        scores: (Q, N), higher is better; not-a-number is worse than everything.
        wanted: (Q, N) bool.
    Returns:
        (Q,) int64; N + 1 where a row wants nothing.
    Raises:
        ShapeError: the two have different shapes.

    >>> first_ranks(np.array([[0.1, 0.9, 0.9]]), np.array([[True, False, True]]))
    array([2])
    """
    if scores.shape != wanted.shape or scores.ndim != 2:
        raise ShapeError(f"scores have shape {scores.shape} and wanted {wanted.shape}, expected the same (Q, N)")
    count = scores.shape[1]
    if not count:
        return np.ones(len(scores), np.int64)
    scores = np.nan_to_num(scores, nan=float(np.finfo(scores.dtype).min))  # no infinity is left to meet the hidden ones
    hidden = np.where(wanted, scores, -np.inf)
    place = hidden.argmax(1)[:, None]
    best = np.take_along_axis(scores, place, 1)
    ahead = (scores > best) | ((scores == best) & (np.arange(count) < place))
    ranks: Counts = np.where(wanted.any(1), ahead.sum(1) + 1, count + 1)
    return ranks


def recall_at(ranks: Counts, cutoff: int) -> float:
    """Share of ranks that are at most `cutoff`, percent; no ranks give 0.

    >>> recall_at(np.array([1, 7, 3, 2]), 2)
    50.0
    """
    return 100.0 * float((ranks <= cutoff).mean()) if len(ranks) else 0.0


def retrieval(
    scores: Floats, image_ids: NDArray[Any], text_ids: NDArray[Any], cutoffs: Sequence[int] = CUTOFFS
) -> dict[str, float]:
    """Image and text retrieval by ids, percent.

    Args:
        scores: (N, M) cosines, images x captions.
        image_ids, text_ids: (N,) and (M,); a caption and an image belong together when their ids are
            equal. Ids may repeat, every entry counts.
    Returns:
        ``IR@k``, the share of captions with an image of theirs in the top k images, and ``TR@k``, the
        share of images with a caption of theirs in the top k captions.
    Source: FIND, `RetrievalEvaluator`.

    >>> retrieval(np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([5, 6]), np.array([5, 6]), (1,))
    {'IR@1': 100.0, 'TR@1': 50.0}
    """
    own = image_ids[:, None] == text_ids[None, :]
    images, texts = first_ranks(scores.T, own.T), first_ranks(scores, own)
    return {**{f"IR@{k}": recall_at(images, k) for k in cutoffs}, **{f"TR@{k}": recall_at(texts, k) for k in cutoffs}}


@dataclass(frozen=True, slots=True)
class InterleavedScores:
    """Scores of interleaved queries, each (Q, N) float32, queries x images; `total` is what ranks."""

    legend: Floats
    entity: Floats
    penalty: Floats
    total: Floats


def interleaved_scores(
    legends: Floats,
    entities: Floats,
    offsets: Counts,
    references: NDArray[Any],
    images: Floats,
    objects: Floats,
    image_ids: NDArray[Any],
    *,
    weight: float = 0.5,
    penalty: float = 1e-6,
) -> InterleavedScores:
    """FIND's score of interleaved queries: cos(legend, image) + penalty + weight * mean of best objects.

    Args:
        legends: (Q, D), one a query; vectors need not be of unit length.
        entities: (E, D); query q owns the rows ``offsets[q]:offsets[q + 1]``, possibly none.
        references: (E,) id of the image that an entity was taken from; an id that is no image has no effect.
        images: (N, D); objects: (N, R, D), R at least 1; image_ids: (N,).
        penalty: taken off once where an image is a reference of the query.
    Source: FIND, `InterleaveEvaluator`.
    """
    legend = cosines(legends, images)
    best = np.empty((len(entities), len(images)), np.float32)
    flat = unit(objects).reshape(-1, objects.shape[-1])
    for start in range(0, len(entities), 256):  # bounded memory: 256 x N x R cosines at a time
        block = unit(entities[start : start + 256]) @ flat.T
        best[start : start + 256] = block.reshape(len(block), len(images), -1).max(2)
    entity, minus = np.zeros_like(legend), np.zeros_like(legend)
    for query, (start, stop) in enumerate(pairwise(offsets)):
        if stop > start:
            entity[query] = best[start:stop].mean(0)
        minus[query, np.isin(image_ids, references[start:stop])] = -penalty
    return InterleavedScores(legend, entity, minus, legend + minus + np.float32(weight) * entity)
