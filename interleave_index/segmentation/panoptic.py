"""Masks that overlap into a panoptic picture, and its size. numpy only, pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from ..records import BoolMask, Panoptic, PanopticSegment, Size

LEAST_KEPT = 0.5  # share of its own mask that a segment keeps beside better ones


@dataclass(frozen=True, slots=True)
class Candidate:
    """A mask that may become a segment: (H, W), the position of its class, and how sure the model is, 0 to 1."""

    mask: BoolMask
    category: int
    score: float


def compose(candidates: Sequence[Candidate], things: Collection[int], size: Size) -> Panoptic:
    """Each pixel to the surest mask that covers it; a mask of which too little is left is no segment.

    Args:
        candidates: masks of this size.
        things: positions of the countable classes; segments of one other class become one.
        size: (height, width).
    Source: the way in which Kirillov et al. (Panoptic Segmentation, 2019) make one picture of instances and stuff.

    >>> masks = [np.array([[True, True, False]]), np.array([[False, True, True]])]
    >>> found = compose([Candidate(masks[0], 0, 0.9), Candidate(masks[1], 1, 0.8)], {0, 1}, (1, 3))
    >>> found.ids.tolist(), [segment.category for segment in found.segments]
    ([[1, 1, 2]], [0, 1])
    """
    ids = np.zeros(size, np.int32)
    segments: list[PanopticSegment] = []
    stuff: dict[int, int] = {}
    for one in sorted(candidates, key=lambda one: -one.score):
        left = one.mask & (ids == 0)
        if not left.any() or left.sum() < LEAST_KEPT * one.mask.sum():
            continue
        known = stuff.get(one.category)
        ids[left] = len(segments) + 1 if known is None else known
        if known is None:
            segments.append(PanopticSegment(len(segments) + 1, one.category, one.category in things, one.score))
            if one.category not in things:
                stuff[one.category] = len(segments)
    return Panoptic(ids, tuple(segments))


def enlarged(panoptic: Panoptic, size: Size) -> Panoptic:
    """The same segments at another size (height, width), by nearest neighbour; those that vanish are left out.

    >>> enlarged(Panoptic(np.array([[1, 0]], np.int32), (PanopticSegment(1, 7, True),)), (1, 4)).ids.tolist()
    [[1, 1, 0, 0]]
    """
    height, width = panoptic.ids.shape
    if size == (height, width):
        return panoptic
    rows = ((np.arange(size[0]) + 0.5) * height / size[0]).astype(int)
    columns = ((np.arange(size[1]) + 0.5) * width / size[1]).astype(int)
    ids = panoptic.ids[rows[:, None], columns]
    there = set(np.unique(ids).tolist())
    return Panoptic(ids, tuple(segment for segment in panoptic.segments if segment.id in there))
