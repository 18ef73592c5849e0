"""Figures of merit for retrieval, grounding and interaction as pure functions on arrays. Knows numpy only.

Conventions follow the published evaluation code of FIND and READ: float32 arithmetic, thresholds met by
equality in float32, ties between scores broken by the lower position. Functions whose name ends in
``_percent`` and all recalls, cIoU, mIoU and P@t give 0 to 100; everything else says its range.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ShapeError
from .records import BoolMask, Floats

Counts = NDArray[np.int64]
IGNORED = 255  # value of a pixel that counts for nothing in READ's ground truth
CUTOFFS = (1, 5, 10)
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)


# --- ranking ---------------------------------------------------------------------------------


def cosines(one: Floats, other: Floats) -> Floats:
    """Cosine of every row of `one` (N, D) with every row of `other` (M, D), (N, M) float32; zero vectors give 0.

    >>> cosines(np.array([[3.0, 0.0]]), np.array([[1.0, 0.0], [0.0, 2.0]])).tolist()
    [[1.0, 0.0]]
    """
    return _unit(one) @ _unit(other).T


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


def retrieval(scores: Floats, image_ids: NDArray[Any], text_ids: NDArray[Any],
              cutoffs: Sequence[int] = CUTOFFS) -> dict[str, float]:
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


def interleaved_scores(legends: Floats, entities: Floats, offsets: Counts, references: NDArray[Any], images: Floats,
                       objects: Floats, image_ids: NDArray[Any], *, weight: float = 0.5,
                       penalty: float = 1e-6) -> InterleavedScores:
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
    flat = _unit(objects).reshape(-1, objects.shape[-1])
    for start in range(0, len(entities), 256):  # bounded memory: 256 x N x R cosines at a time
        block = _unit(entities[start:start + 256]) @ flat.T
        best[start:start + 256] = block.reshape(len(block), len(images), -1).max(2)
    entity, minus = np.zeros_like(legend), np.zeros_like(legend)
    for query, (start, stop) in enumerate(pairwise(offsets)):
        if stop > start:
            entity[query] = best[start:stop].mean(0)
        minus[query, np.isin(image_ids, references[start:stop])] = -penalty
    return InterleavedScores(legend, entity, minus, legend + minus + np.float32(weight) * entity)


# --- grounding -------------------------------------------------------------------------------


def overlap(found: BoolMask, truth: BoolMask) -> tuple[Counts, Counts]:
    """Pixels in the intersection and in the union of pairs of masks (..., H, W), each (...) int64.

    >>> overlap(np.array([[True, True]]), np.array([[True, False]]))
    (array(1), array(2))
    """
    if found.shape != truth.shape:
        raise ShapeError(f"masks have shapes {found.shape} and {truth.shape}, expected the same")
    return np.asarray((found & truth).sum((-2, -1))), np.asarray((found | truth).sum((-2, -1)))


def grounding_ious(intersection: Counts, union: Counts) -> Floats:
    """I / (U + 1e-6) in float32, 0 to 1; two empty masks give 0. Source: FIND, `GroundingEvaluator`.

    >>> grounding_ious(np.array([5, 50]), np.array([10, 100])) >= 0.5
    array([False,  True])
    """
    return intersection.astype(np.float32) / (union.astype(np.float32) + np.float32(1e-6))


def grounding(intersection: Counts, union: Counts, thresholds: Sequence[float] = THRESHOLDS) -> dict[str, float]:
    """cIoU, mIoU and P@t over masks, percent; no masks give 0.

    Args:
        intersection, union: (N,) pixels of each mask, as `overlap` counts them.
        thresholds: of ``P@t``, met by equality in float32.
    Source: FIND, `GroundingEvaluator`.

    >>> grounding(np.array([1, 0]), np.array([2, 2]), (0.9,))
    {'cIoU': 25.0, 'mIoU': 24.99998..., 'P@0.9': 0.0}
    """
    ious, total = grounding_ious(intersection, union), float(union.sum())
    met = {f"P@{t:g}": 100.0 * float((ious >= t).mean()) if len(ious) else 0.0 for t in thresholds}
    return {"cIoU": 100.0 * float(intersection.sum()) / total if total else 0.0,
            "mIoU": 100.0 * float(ious.mean()) if len(ious) else 0.0, **met}


def proposal_recall(ious: Sequence[Floats], most: int | None = None, threshold: float = 0.5) -> float:
    """Share of annotated masks that a proposal of their photo covers with at least `threshold` IoU, percent.

    Args:
        ious: per photo (T, P), annotated masks x proposals, best proposal first.
        most: how many proposals of a photo count; None is all.

    >>> proposal_recall([np.array([[0.2, 0.7], [0.1, 0.4]])], 1), proposal_recall([np.array([[0.2, 0.7], [0.1, 0.4]])])
    (0.0, 50.0)
    """
    found = np.concatenate([np.zeros(0, bool), *((table[:, :most] >= threshold).any(1) for table in ious)])
    return 100.0 * float(found.mean()) if len(found) else 0.0


# --- interaction -----------------------------------------------------------------------------


def iou_without_ignored(found: BoolMask, truth: NDArray[np.integer[Any]]) -> Floats:
    """I / U over the pixels whose truth is not negative, per mask, 0 to 1, no epsilon.

    Args:
        found: (N, H, W) bool.
        truth: (N, H, W), 1 inside, 0 outside, -1 ignored.
    Returns:
        (N,) float32; 0 where nothing is found and nothing is there.
    Source: FIND, `evaluate_interactive`.
    """
    counted = truth >= 0
    intersection, union = overlap(found & counted, truth == 1)
    return np.divide(intersection, union, out=np.zeros(len(found), np.float32), where=union > 0, dtype=np.float32)


def clicks_needed(ious: Floats, threshold: float, most: int) -> Counts:
    """First click, from 1, after which the IoU reaches the threshold (in float32), else `most`.

    Args:
        ious: (N, clicks) after each click; need not rise.
    Source: FIND, `InteractiveEvaluator` (NoC).

    >>> clicks_needed(np.array([[0.4, 0.9, 0.1], [0.1, 0.2, 0.3]], np.float32), 0.9, 20)
    array([ 2, 20])
    """
    reached = ious >= np.float32(threshold)
    return np.where(reached.any(1), reached.argmax(1) + 1, most)


# --- READ ------------------------------------------------------------------------------------


def class_overlap(found: BoolMask, truth: NDArray[np.integer[Any]]) -> tuple[Counts, Counts]:
    """Intersection and union of the ground (column 0) and the target (column 1), ignored pixels removed.

    Args:
        found: (N, H, W) bool.
        truth: (N, H, W), 0, 1, or 255 = ignored.
    Returns:
        two (N, 2) int64 arrays.
    Source: READ, `intersectionAndUnionGPU` with two classes.
    """
    counted = truth != IGNORED
    ground, target = overlap(~found & counted, truth == 0), overlap(found & counted, truth == 1)
    return np.stack([ground[0], target[0]], -1), np.stack([ground[1], target[1]], -1)


@dataclass(frozen=True, slots=True)
class ReadIou:
    """READ's summary: gIoU and cIoU of the target, 0 to 1, and gIoU's numerator per class (2,)."""

    giou: float
    ciou: float
    giou_sums: NDArray[np.float64]


def read_iou(intersection: Counts, union: Counts) -> ReadIou:
    """gIoU (mean over masks, an empty union counts 1) and cIoU of the target class, 0 to 1.

    Args:
        intersection, union: (N, 2) as `class_overlap` counts them.
    Source: READ, `validate`.

    >>> read_iou(np.array([[4, 1], [5, 0]]), np.array([[5, 2], [5, 0]])).ciou
    0.4999999999...
    """
    per_mask = intersection / (union + 1e-5) + (union == 0)
    sums = per_mask.sum(0)
    total = intersection.sum(0) / (union.sum(0) + 1e-10)
    return ReadIou(float(sums[1] / (len(union) + 1e-5)), float(total[1]), sums)


@dataclass(frozen=True, slots=True)
class SeeSegment:
    """READ's false-premise figures, 0 to 1: right about presence, and pooled IoU of ground and target."""

    see: float
    segment: float
    class_iou: NDArray[np.float64]


def see_segment(intersection: Counts, union: Counts, said: BoolMask, exists: BoolMask) -> SeeSegment:
    """Share of sentences judged rightly (See), and class-1 IoU pooled over all sentences (Segment).

    Args:
        intersection, union: (N, 2) as `class_overlap` counts them, summed in any grouping.
        said, exists: (M,) bool, one a sentence: judged present, and present.
    Source: READ, false-premise evaluation.
    """
    ious = intersection.sum(0) / (union.sum(0) + 1e-10)
    return SeeSegment(float((said == exists).mean()) if len(said) else 0.0, float(ious[1]), ious)


# --- averages and intervals ------------------------------------------------------------------


def auc_percent(present: NDArray[Any], absent: NDArray[Any]) -> float:
    """Share of (present, absent) pairs in which the present one scores higher, ties half, percent.

    Returns:
        50 is chance; also when one side is empty.

    >>> auc_percent(np.array([0.9, 0.5]), np.array([0.5, 0.1]))
    87.5
    """
    if not len(present) or not len(absent):
        return 50.0
    order = np.sort(absent)
    below, upto = np.searchsorted(order, present, "left"), np.searchsorted(order, present, "right")
    return 100.0 * float((below + upto).sum()) / (2 * len(present) * len(absent))


def macro(values: NDArray[Any], groups: NDArray[Any]) -> float:
    """Mean of the groups' means; no values give 0.

    >>> macro(np.array([100, 0, 0]), np.array(["cat", "dog", "dog"]))
    50.0
    """
    if not len(values):
        return 0.0
    _, place = np.unique(groups, return_inverse=True)
    return float((np.bincount(place, values.astype(float)) / np.bincount(place)).mean())


def bootstrap_interval(gains: NDArray[Any], groups: NDArray[Any], *, seed: int, samples: int = 2000,
                       level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of the macro-average of paired differences, by resampling groups, then members.

    Args:
        gains: (N,) difference of two systems on the same item.
        groups: (N,) the item's group; groups weigh the same whatever their size.
        seed: the same seed gives the same interval.
    Returns:
        low and high; both 0 without items.

    >>> bootstrap_interval(np.ones(4), np.array([0, 0, 1, 1]), seed=0)
    (1.0, 1.0)
    """
    if not len(gains):
        return (0.0, 0.0)
    order = np.argsort(groups, kind="stable")
    _, start, size = np.unique(np.asarray(groups)[order], return_index=True, return_counts=True)
    values, random = np.asarray(gains, float)[order], np.random.default_rng(seed)
    member = np.arange(size.max())
    means = np.empty(samples)
    for sample in range(samples):
        drawn = random.integers(len(size), size=len(size))
        place = (random.random((len(size), len(member))) * size[drawn][:, None]).astype(np.int64)
        inside = member < size[drawn][:, None]
        picked = values[start[drawn][:, None] + place] * inside
        means[sample] = (picked.sum(1) / size[drawn]).mean()
    low, high = np.quantile(means, ((1 - level) / 2, (1 + level) / 2))
    return (float(low), float(high))


def best_constant(masks: Floats, score: Callable[[BoolMask], float], steps: int = 99) -> tuple[float, BoolMask]:
    """Cut of a mean mask (H, W), 0 to 1, that makes the best constant guess by `score`; the first of equals."""
    cuts = np.linspace(0, 1, steps + 2)[1:-1]
    scores = [score(masks >= cut) for cut in cuts]
    best = int(np.argmax(scores))
    return float(cuts[best]), masks >= cuts[best]


def _unit(vectors: NDArray[Any]) -> Floats:
    vectors = np.asarray(vectors, np.float32)
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled = vectors / np.where(length > 0, length, np.float32(1))
    return scaled.astype(np.float32, copy=False)
