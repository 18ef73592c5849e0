"""Masks against masks: FIND's grounding figures, and what proposals cover."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ShapeError
from ..records import BoolMask, Floats
from .ranking import Counts

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)


def intersection_and_union(predicted: BoolMask, truth: BoolMask) -> tuple[Counts, Counts]:
    """Pixels in the intersection and in the union of pairs of masks (..., H, W), each (...) int64.

    >>> intersection_and_union(np.array([[True, True]]), np.array([[True, False]]))
    (array(1), array(2))
    """
    if predicted.shape != truth.shape:
        raise ShapeError(f"masks have shapes {predicted.shape} and {truth.shape}, expected the same")
    return np.asarray((predicted & truth).sum((-2, -1))), np.asarray((predicted | truth).sum((-2, -1)))


def grounding_ious(intersection: Counts, union: Counts) -> Floats:
    """I / (U + 1e-6) in float32, 0 to 1; two empty masks give 0. Source: FIND, `GroundingEvaluator`.

    >>> grounding_ious(np.array([5, 50]), np.array([10, 100])) >= 0.5
    array([False,  True])
    """
    return intersection.astype(np.float32) / (union.astype(np.float32) + np.float32(1e-6))


def grounding(intersection: Counts, union: Counts, thresholds: Sequence[float] = THRESHOLDS) -> dict[str, float]:
    """cIoU, mIoU and P@t over masks, percent; no masks give 0.

    Args:
        intersection, union: (N,) pixels of each mask, as `intersection_and_union` counts them.
        thresholds: of ``P@t``, met by equality in float32.
    Source: FIND, `GroundingEvaluator`.

    >>> grounding(np.array([1, 0]), np.array([2, 2]), (0.9,))
    {'cIoU': 25.0, 'mIoU': 24.99998..., 'P@0.9': 0.0}
    """
    ious, total = grounding_ious(intersection, union), float(union.sum())
    met = {f"P@{t:g}": 100.0 * float((ious >= t).mean()) if len(ious) else 0.0 for t in thresholds}
    return {
        "cIoU": 100.0 * float(intersection.sum()) / total if total else 0.0,
        "mIoU": 100.0 * float(ious.mean()) if len(ious) else 0.0,
        **met,
    }


def proposal_recall(ious: Sequence[Floats], most: int | None = None, threshold: float = 0.5) -> float:
    """Share of annotated masks that a proposal of their photo covers with at least `threshold` IoU, percent.

    Args:
        ious: per photo (T, P), annotated masks x proposals, best proposal first.
        most: how many proposals of a photo count; None is all.

    >>> proposal_recall([np.array([[0.2, 0.7], [0.1, 0.4]])], 1), proposal_recall([np.array([[0.2, 0.7], [0.1, 0.4]])])
    (0.0, 50.0)
    """
    covered = [(table[:, :most] >= threshold).any(1) for table in ious]
    every = np.concatenate([np.zeros(0, bool), *covered])
    return 100.0 * float(every.mean()) if len(every) else 0.0


def iou_without_ignored(predicted: BoolMask, truth: NDArray[np.integer[Any]]) -> Floats:
    """I / U over the pixels whose truth is not negative, per mask, 0 to 1, no epsilon.

    Args:
        predicted: (N, H, W) bool.
        truth: (N, H, W), 1 inside, 0 outside, -1 ignored.
    Returns:
        (N,) float32; 0 where nothing is predicted and nothing is there.
    Source: FIND, `evaluate_interactive`.
    """
    counted = truth >= 0
    intersection, union = intersection_and_union(predicted & counted, truth == 1)
    return np.divide(intersection, union, out=np.zeros(len(predicted), np.float32), where=union > 0, dtype=np.float32)


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
