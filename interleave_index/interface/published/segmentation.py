"""Generic segmentation from class logits and mask logits: semantic, panoptic and instance.

Pure. See docs/find-interface.md, section 6.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...records import BoolMask, Floats, Panoptic, PanopticSegment

LEAST_CHANCE = 0.8  # of a proposal's class, for a panoptic segment
LEAST_KEPT = 0.8  # share of its own mask that a panoptic segment keeps beside those that claim more
MOST_INSTANCES = 100


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance: its mask (H, W) in photo pixels, the position of its class, a score from 0 to 1."""

    mask: BoolMask
    category: int
    score: float


@dataclass(frozen=True, slots=True)
class Segmentation:
    """All three pictures of generic segmentation.

    Attributes:
        semantic: (H, W) int64, position of the class in the table.
        panoptic: where each pixel belongs to one segment at most.
        instances: best first.
    """

    semantic: NDArray[np.int64]
    panoptic: Panoptic
    instances: list[Instance]


def segment(logits: Tensor | Floats, masks: Tensor | Floats, things: Collection[int]) -> Segmentation:
    """Everything at once, see `semantic`, `panoptic` and `instances`; arrays are taken too."""
    logits, masks = (torch.as_tensor(rows, dtype=torch.float32) for rows in (logits, masks))
    classes: NDArray[np.int64] = semantic(logits, masks).argmax(0).cpu().numpy()
    return Segmentation(classes, panoptic(logits, masks, things), instances(logits, masks, things))


def semantic(logits: Tensor, masks: Tensor) -> Tensor:
    """(K, H, W) class scores of (Q, K + 1) logits, background last, and (Q, H, W) mask logits."""
    return torch.einsum("qk,qhw->khw", logits.softmax(-1)[:, :-1], masks.sigmoid())


def panoptic(
    logits: Tensor,
    masks: Tensor,
    things: Collection[int],
) -> Panoptic:
    """Each pixel to the proposal that claims it most, where enough of the proposal is left.

    Args:
        logits: (Q, K + 1), background last; masks: (Q, H, W) logits.
        things: positions of the countable classes; segments of one other class become one.
    """
    scores, labels = logits.softmax(-1).max(-1)
    keep = (labels != logits.shape[1] - 1) & (scores > LEAST_CHANCE)
    scores, labels, chances = scores[keep], labels[keep], masks.sigmoid()[keep]
    ids = np.zeros((int(masks.shape[1]), int(masks.shape[2])), np.int32)
    if not len(scores):
        return Panoptic(ids, ())
    owner = (scores[:, None, None] * chances).argmax(0)
    segments: list[PanopticSegment] = []
    stuff: dict[int, int] = {}
    for number, category in enumerate(labels.tolist()):
        claimed, sure = owner == number, chances[number] >= 0.5
        shown = claimed & sure
        if not shown.any() or int(claimed.sum()) / int(sure.sum()) < LEAST_KEPT:
            continue
        known = stuff.get(category)
        ids[shown.cpu().numpy()] = known if known is not None else len(segments) + 1
        if known is None:
            segments.append(PanopticSegment(len(segments) + 1, category, category in things, float(scores[number])))
            if category not in things:
                stuff[category] = len(segments)
    return Panoptic(ids, tuple(segments))


def instances(
    logits: Tensor, masks: Tensor, things: Collection[int] | None, *, most: int = MOST_INSTANCES
) -> list[Instance]:
    """The best pairs of proposal and class, best first.

    Args:
        logits: (Q, K + 1), background last; masks: (Q, H, W) logits.
        things: keep these classes only; None keeps all. The cut at `most` comes before, as published.
    Returns:
        Score = probability of the class times the mean certainty inside the mask.
    """
    chances = logits.softmax(-1)[:, :-1]
    kinds = chances.shape[1]
    best = chances.flatten().topk(min(most, chances.numel()))
    inside = (masks > 0).float()
    certainty = (masks.sigmoid() * inside).sum((1, 2)) / (inside.sum((1, 2)) + 1e-6)
    found = []
    for chance, place in zip(best.values.tolist(), best.indices.tolist(), strict=True):
        proposal, category = divmod(place, kinds)
        if things is None or category in things:
            mask: BoolMask = (masks[proposal] > 0).cpu().numpy()
            found.append(Instance(mask, category, chance * float(certainty[proposal])))
    return sorted(found, key=lambda one: -one.score)
