"""Masks of a wanted quality, made from true ones: eroded, dilated or shifted until their IoU is about what is asked."""

from __future__ import annotations

import zlib

import numpy as np
from scipy import ndimage

from interleave_index.geometry import mask_iou
from interleave_index.records import BoolMask

WAYS = ("erode", "dilate", "shift")


def degraded(mask: BoolMask, quality: float, key: str) -> BoolMask:
    """The mask with an IoU of about `quality` with itself as it was.

    Args:
        mask: (H, W) bool.
        quality: 0 to 1; at 1 the mask is given back as it is.
        key: names the mask; it chooses the way, always the same one. Where that way cannot reach the quality (there is
            no space to dilate or to shift), the mask is eroded.
    """
    if quality >= 1 or not mask.any():
        return mask
    way = WAYS[zlib.crc32(key.encode()) % len(WAYS)]
    made = {"erode": eroded, "dilate": dilated, "shift": shifted}[way](mask, quality)
    return made if abs(mask_iou(made, mask) - quality) < 0.05 else eroded(mask, quality)


def eroded(mask: BoolMask, quality: float) -> BoolMask:
    """The pixels that lie deepest inside, a share `quality` of them, at least one."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    return _first(depth, max(1, round(quality * int(mask.sum()))))


def dilated(mask: BoolMask, quality: float) -> BoolMask:
    """The mask and the pixels nearest to it, so many that it is a share `quality` of the whole."""
    distance = ndimage.distance_transform_edt(~mask)
    return _first(-distance, min(mask.size, round(int(mask.sum()) / max(quality, 1e-6))))


def shifted(mask: BoolMask, quality: float) -> BoolMask:
    """The mask moved along a diagonal, by the first whole number of pixels at which the IoU is no more than asked."""
    made = mask
    for by in range(1, max(mask.shape)):
        made = np.zeros_like(mask)
        made[by:, by:] = mask[:-by, :-by] if by < min(mask.shape) else False
        if mask_iou(made, mask) <= quality:
            break
    return made


def _first(values: np.ndarray, count: int) -> BoolMask:
    """The `count` pixels of the highest values; ties in order of the pixels."""
    made = np.zeros(values.size, bool)
    made[np.argsort(-values, axis=None, kind="stable")[:count]] = True
    return made.reshape(values.shape)
