"""READ's figures: gIoU and cIoU, and See and Segment where nothing may be there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..records import BoolMask
from .grounding import intersection_and_union
from .ranking import Counts

IGNORED = 255  # value of a pixel that counts for nothing in READ's ground truth


def class_intersection_and_union(predicted: BoolMask, truth: NDArray[np.integer[Any]]) -> tuple[Counts, Counts]:
    """Intersection and union of the ground (column 0) and the target (column 1), ignored pixels removed.

    Args:
        predicted: (N, H, W) bool.
        truth: (N, H, W), 0, 1, or 255 = ignored.
    Returns:
        two (N, 2) int64 arrays.
    Source: READ, `intersectionAndUnionGPU` with two classes.
    """
    counted = truth != IGNORED
    ground, target = (
        intersection_and_union(~predicted & counted, truth == 0),
        intersection_and_union(predicted & counted, truth == 1),
    )
    return np.stack([ground[0], target[0]], -1), np.stack([ground[1], target[1]], -1)


@dataclass(frozen=True, slots=True)
class ReadIou:
    """READ's summary: gIoU and cIoU of the target, 0 to 1, and gIoU's numerator per class (C,)."""

    giou: float
    ciou: float
    giou_sums: NDArray[np.float64]


def read_iou(intersection: Counts, union: Counts) -> ReadIou:
    """gIoU (mean over masks, an empty union counts 1) and cIoU of the target class, 0 to 1.

    Args:
        intersection, union: (N, 2) as `class_intersection_and_union` counts them, or (N, 1), the target alone.
    Source: READ, `validate`.

    >>> read_iou(np.array([[4, 1], [5, 0]]), np.array([[5, 2], [5, 0]])).ciou
    0.4999999999...
    """
    per_mask = intersection / (union + 1e-5) + (union == 0)
    sums = per_mask.sum(0)
    total = intersection.sum(0) / (union.sum(0) + 1e-10)
    return ReadIou(float(sums[-1] / (len(union) + 1e-5)), float(total[-1]), sums)


@dataclass(frozen=True, slots=True)
class SeeSegment:
    """READ's false-premise figures, 0 to 1: right about presence, and pooled IoU of ground and target."""

    see: float
    segment: float
    class_iou: NDArray[np.float64]


def see_segment(intersection: Counts, union: Counts, said: BoolMask, exists: BoolMask) -> SeeSegment:
    """Share of sentences judged rightly (See), and class-1 IoU pooled over all sentences (Segment).

    Args:
        intersection, union: (N, 2) as `class_intersection_and_union` counts them, summed in any grouping.
        said, exists: (M,) bool, one a sentence: judged present, and present.
    Source: READ, false-premise evaluation.
    """
    ious = intersection.sum(0) / (union.sum(0) + 1e-10)
    return SeeSegment(float((said == exists).mean()) if len(said) else 0.0, float(ious[1]), ious)
