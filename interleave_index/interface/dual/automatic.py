"""Masks of everything in a photo by a promptable segmenter (SAM, SAM 2): a point on every crossing of a grid.

Source: the automatic mask generator of Kirillov et al., Segment Anything, 2023; without its crops.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...geometry import box_of, encode_rle, mask_iou, resize_mask
from ...models.segmenters.sam import Segmenter
from ...records import RGB, BoolMask, Box, Prompt
from .proposals import Proposals

POINTS = 12  # along each side; every one costs two passes of the mask decoder
QUALITY = 0.7  # predicted IoU
SMALLEST, LARGEST = 0.001, 0.95  # share of the photo
SAME_IOU = 0.7
MOST_REGIONS, LONG_SIDE = 32, 256


class AutomaticMasks:
    """Proposals of a promptable segmenter.

    Args:
        segmenter: makes masks of points.
        name: of its checkpoint, for the identity of a space.
        points: along each side of a photo.
    """

    def __init__(self, segmenter: Segmenter, name: str, *, points: int = POINTS) -> None:
        self._segmenter, self._points, self.name = segmenter, points, f"{name}, {points} x {points} points"

    def propose(self, photos: Sequence[RGB]) -> list[Proposals]:
        """See `Proposer.propose`. Of masks that cover the same pixels the best is kept."""
        return [self._of(photo) for photo in photos]

    def _of(self, photo: RGB) -> Proposals:
        found: list[tuple[float, float, Box, BoolMask]] = []
        segment = self._segmenter.look(photo)
        for prompt in grid_prompts((photo.shape[0], photo.shape[1]), self._points):
            (made,) = segment([prompt])
            area = float(made.mask.mean())
            there = made.object_score is None or made.object_score > 0
            if there and made.quality >= QUALITY and SMALLEST <= area <= LARGEST:
                small = resize_mask(made.mask, long_side=LONG_SIDE)
                if small.any():
                    found.append((min(made.quality, 1.0), area, box_of(made.mask), small))
        found.sort(key=lambda one: (-one[0], -one[1]))
        kept: list[tuple[float, float, Box, BoolMask]] = []
        for one in found:
            if len(kept) < MOST_REGIONS and all(mask_iou(one[3], other[3]) < SAME_IOU for other in kept):
                kept.append(one)
        return Proposals(
            masks=tuple(encode_rle(one[3]) for one in kept),
            boxes=np.array([one[2] for one in kept], np.float32).reshape(-1, 4),
            areas=np.array([one[1] for one in kept], np.float32),
            scores=np.array([one[0] for one in kept], np.float32),
        )


def grid_prompts(size: tuple[int, int], points: int) -> list[Prompt]:
    """One prompt of one point for the middle of every field of a grid over a photo of (height, width).

    >>> [prompt.points.tolist() for prompt in grid_prompts((10, 40), 1)]
    [[[20.0, 5.0]]]
    """
    middles = (np.arange(points) + 0.5) / points
    on = np.ones(1, np.int8)
    return [Prompt(np.array([[x * size[1], y * size[0]]], np.float32), on) for y in middles for x in middles]
