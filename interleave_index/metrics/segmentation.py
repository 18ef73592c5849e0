"""Figures of generic segmentation: panoptic quality as COCO counts it, and mean IoU over classes."""

from __future__ import annotations

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
    found: Counts, found_segments: Iterable[Segment], truth: Counts, truth_segments: Iterable[Segment]
) -> dict[int, PanopticCounts]:
    """What one photo adds to the panoptic quality, by class.

    Args:
        found, truth: (H, W) integer maps of segment ids, 0 where there is none.
        found_segments, truth_segments: what the ids mean. An id of `found` that is in no segment counts as no
            segment; a found segment without a pixel is left out.
    Returns:
        counts of every class that occurs. A pair matches with the same class and an IoU above 0.5, pixels of the
        found segment that are void in the truth not counted. A found segment that lies for more than half in void
        and in a group of its class counts for nothing.
    Raises:
        ShapeError: the maps have different shapes.
    Source: COCO panoptic task, `pq_compute` of panopticapi.

    >>> one = np.array([[1, 1], [2, 2]])
    >>> panoptic_counts(one, [Segment(1, 7), Segment(2, 8)], np.array([[5, 5], [5, 0]]), [Segment(5, 7)])
    {7: PanopticCounts(iou=0.666..., matched=1, false=0, missed=0), 8: PanopticCounts(iou=0.0, matched=0, ...)}
    """
    if found.shape != truth.shape or found.ndim != 2:
        raise ShapeError(f"panoptic maps have shapes {found.shape} and {truth.shape}, expected the same (H, W)")
    shared = _shared(found, truth)
    area = {int(n): int(c) for n, c in zip(*np.unique(found, return_counts=True), strict=True)}
    truth_area = {int(n): int(c) for n, c in zip(*np.unique(truth, return_counts=True), strict=True)}
    mine = {s.id: s for s in found_segments if area.get(s.id) and s.id != VOID}
    theirs = {s.id: s for s in truth_segments}
    counts: dict[int, PanopticCounts] = {}
    taken: set[int] = set()
    met: set[int] = set()
    for (one, other), pixels in shared.items():
        if one not in mine or other not in theirs or theirs[other].crowd:
            continue
        if mine[one].category != theirs[other].category:
            continue
        iou = pixels / (area[one] + truth_area[other] - pixels - shared.get((one, VOID), 0))
        if iou > 0.5:
            _add(counts, mine[one].category, PanopticCounts(iou=iou, matched=1))
            taken.add(one)
            met.add(other)
    for segment in theirs.values():
        if segment.id not in met and not segment.crowd:
            _add(counts, segment.category, PanopticCounts(missed=1))
    groups = {s.category: s.id for s in theirs.values() if s.crowd}
    for segment in mine.values():
        void = shared.get((segment.id, VOID), 0)
        if segment.category in groups:
            void += shared.get((segment.id, groups[segment.category]), 0)
        if segment.id not in taken:
            _add(counts, segment.category, PanopticCounts(false=int(void / area[segment.id] <= 0.5)))
    return counts


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
        halves = count.matched + (count.false + count.missed) / 2
        if halves:
            rows.append((count.iou / halves, count.iou / count.matched if count.matched else 0, count.matched / halves))
    means = 100 * np.mean(rows, axis=0) if rows else np.zeros(3)
    return {**dict(zip(("PQ", "SQ", "RQ"), map(float, means), strict=True)), "classes": float(len(rows))}


def class_confusion(found: NDArray[np.integer[Any]], truth: NDArray[np.integer[Any]], classes: int) -> Counts:
    """Pixels by true class (rows) and found class (columns), (K, K + 1); the last column is "no class".

    Args:
        found: (H, W), 0 to K - 1; anything else is no class.
        truth: (H, W), 0 to K - 1; anything else (such as 255) is left out.

    >>> class_confusion(np.array([[0, 1, 255]]), np.array([[0, 0, 1]]), 2).tolist()
    [[1, 1, 0], [0, 0, 1]]
    """
    if found.shape != truth.shape:
        raise ShapeError(f"class maps have shapes {found.shape} and {truth.shape}, expected the same (H, W)")
    counted = (truth >= 0) & (truth < classes)
    named = np.where((found >= 0) & (found < classes), found, classes)
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


def _shared(found: Counts, truth: Counts) -> dict[tuple[int, int], int]:
    pairs, counts = np.unique((found.astype(np.int64) << 32) | truth.astype(np.int64), return_counts=True)
    return {(int(pair >> 32), int(pair & 0xFFFFFFFF)): int(count) for pair, count in zip(pairs, counts, strict=True)}


def _add(counts: dict[int, PanopticCounts], category: int, more: PanopticCounts) -> None:
    counts[category] = counts.get(category, PanopticCounts()) + more
