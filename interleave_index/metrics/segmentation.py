"""Figures of generic segmentation: panoptic quality as COCO counts it, and mean IoU over classes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ShapeError
from .ranking import Counts

VOID = 0  # id of pixels without a segment in a panoptic map


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment of a panoptic map: its id there, its class, and whether it is a group drawn as one."""

    id: int
    category: int
    crowd: bool = False


@dataclass(frozen=True, slots=True)
class PanopticCounts:
    """Of one class: summed IoU of matched pairs, their number, predictions and truths without a partner."""

    iou: float = 0.0
    matched: int = 0
    false: int = 0
    missed: int = 0

    def __add__(self, other: PanopticCounts) -> PanopticCounts:
        return PanopticCounts(
            self.iou + other.iou, self.matched + other.matched, self.false + other.false, self.missed + other.missed
        )


def panoptic_counts(
    predicted: Counts, predicted_segments: Iterable[Segment], truth: Counts, truth_segments: Iterable[Segment]
) -> dict[int, PanopticCounts]:
    """What one photo adds to the panoptic quality, by class.

    Args:
        predicted, truth: (H, W) integer maps of segment ids, 0 where there is none.
        predicted_segments, truth_segments: what the ids mean. An id of `predicted` that is in no segment counts as no
            segment; a predicted segment without a pixel is left out.
    Returns:
        counts of every class that occurs. A pair matches with the same class and an IoU above 0.5, pixels of the
        predicted segment that are void in the truth not counted. One that lies for more than half in void
        and in a group of its class counts for nothing.
    Raises:
        ShapeError: the maps have different shapes.
    Source: COCO panoptic task, `pq_compute` of panopticapi.

    >>> one = np.array([[1, 1], [2, 2]])
    >>> panoptic_counts(one, [Segment(1, 7), Segment(2, 8)], np.array([[5, 5], [5, 0]]), [Segment(5, 7)])
    {7: PanopticCounts(iou=0.666..., matched=1, false=0, missed=0), 8: PanopticCounts(iou=0.0, matched=0, ...)}
    """
    if predicted.shape != truth.shape or predicted.ndim != 2:
        raise ShapeError(f"panoptic maps have shapes {predicted.shape} and {truth.shape}, expected the same (H, W)")
    # both ids in one number, as NumPy sorts plain numbers much faster than pairs
    pairs, pixels = np.unique((predicted.astype(np.int64) << 32) | truth, return_counts=True)
    shared = {divmod(pair, 1 << 32): count for pair, count in zip(pairs.tolist(), pixels.tolist(), strict=True)}
    areas: dict[int, int] = defaultdict(int)
    truth_areas: dict[int, int] = defaultdict(int)
    for (predicted_id, truth_id), count in shared.items():
        areas[predicted_id] += count
        truth_areas[truth_id] += count
    segments = {segment.id: segment for segment in predicted_segments if segment.id in areas and segment.id != VOID}
    truths = {segment.id: segment for segment in truth_segments}
    counts: dict[int, PanopticCounts] = defaultdict(PanopticCounts)
    matched: set[int] = set()
    met: set[int] = set()
    for (predicted_id, truth_id), intersection in shared.items():
        if predicted_id not in segments or truth_id not in truths or truths[truth_id].crowd:
            continue
        category = segments[predicted_id].category
        if category != truths[truth_id].category:
            continue
        void = shared.get((predicted_id, VOID), 0)
        iou = intersection / (areas[predicted_id] + truth_areas[truth_id] - intersection - void)
        if iou > 0.5:
            counts[category] += PanopticCounts(iou=iou, matched=1)
            matched.add(predicted_id)
            met.add(truth_id)
    for segment in truths.values():
        if segment.id not in met and not segment.crowd:
            counts[segment.category] += PanopticCounts(missed=1)
    groups = {segment.category: segment.id for segment in truths.values() if segment.crowd}
    for segment in segments.values():
        if segment.id in matched:
            continue
        ignored = shared.get((segment.id, VOID), 0)
        if segment.category in groups:
            ignored += shared.get((segment.id, groups[segment.category]), 0)
        counts[segment.category] += PanopticCounts(false=int(ignored / areas[segment.id] <= 0.5))
    return dict(counts)


def panoptic_quality(counts: Mapping[int, PanopticCounts], categories: Iterable[int]) -> dict[str, float]:
    """PQ, SQ and RQ over classes, percent, and ``classes``, how many of them occur; no class gives 0.

    Args:
        counts: summed over photos.
        categories: the classes that are averaged, such as the things alone; one that never occurs counts for nothing.

    >>> panoptic_quality({7: PanopticCounts(iou=0.8, matched=1, false=0, missed=2)}, [7, 8])
    {'PQ': 40.0, 'SQ': 80.0, 'RQ': 50.0, 'classes': 1.0}
    """
    rows = []
    for category in categories:
        count = counts.get(category, PanopticCounts())
        total = count.matched + (count.false + count.missed) / 2
        if total:
            mean_iou = count.iou / count.matched if count.matched else 0
            rows.append((count.iou / total, mean_iou, count.matched / total))
    means = 100 * np.mean(rows, axis=0) if rows else np.zeros(3)
    return {**dict(zip(("PQ", "SQ", "RQ"), map(float, means), strict=True)), "classes": float(len(rows))}


def class_confusion(predicted: NDArray[np.integer[Any]], truth: NDArray[np.integer[Any]], classes: int) -> Counts:
    """Pixels by true class (rows) and predicted class (columns), (K, K + 1); the last column is "no class".

    Args:
        predicted: (H, W), 0 to K - 1; anything else is no class.
        truth: (H, W), 0 to K - 1; anything else (such as 255) is left out.

    >>> class_confusion(np.array([[0, 1, 255]]), np.array([[0, 0, 1]]), 2).tolist()
    [[1, 1, 0], [0, 0, 1]]
    """
    if predicted.shape != truth.shape:
        raise ShapeError(f"class maps have shapes {predicted.shape} and {truth.shape}, expected the same (H, W)")
    counted = (truth >= 0) & (truth < classes)
    named = np.where((predicted >= 0) & (predicted < classes), predicted, classes)
    flat = truth[counted].astype(np.int64) * (classes + 1) + named[counted]
    return np.bincount(flat, minlength=classes * (classes + 1)).reshape(classes, classes + 1)


def semantic_figures(confusion: Counts) -> dict[str, float]:
    """mIoU over the classes that occur in the truth, and the share of pixels that are right, percent.

    Args:
        confusion: (K, K + 1) as `class_confusion` counts it, summed over photos.
    Source: the mean of COCO-Stuff and ADE20K evaluators; classes without a true pixel are left out.

    >>> semantic_figures(np.array([[1, 1, 0], [0, 2, 0]]))
    {'mIoU': 58.33..., 'pixel accuracy': 75.0}
    """
    right, truth = np.diag(confusion), confusion.sum(1)
    union = truth + confusion.sum(0)[:-1] - right
    there = truth > 0
    ious = right[there] / union[there]
    total = float(truth.sum())
    return {
        "mIoU": 100 * float(ious.mean()) if len(ious) else 0.0,
        "pixel accuracy": 100 * float(right.sum()) / total if total else 0.0,
    }
