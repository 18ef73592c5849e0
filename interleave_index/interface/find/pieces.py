"""From proposals to regions worth keeping: masks in several pieces also count piece by piece, what differs comes first.

Proposals of a small network like to take several things of a kind for one, and the best of them like to lie on one
another. Knows masks and their quality; knows no network.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...records import Floats

SMALLEST_PIECE = 8  # cells
APART = 0.5  # sigma of the decay by overlap, that of Soft-NMS


def pieces(masks: Tensor, quality: Tensor) -> tuple[NDArray[np.int64], Tensor, Tensor]:
    """The connected pieces of masks that have several.

    Args:
        masks: (Q, h, w) logits.
        quality: (Q,), 0 to 1.
    Returns:
        parents: (K,) the mask that each piece belongs to.
        masks: (K, h, w) logits, below 0 in the other pieces.
        quality: (K,), that of the parent times the root of the piece's share of it.
    """
    from scipy import ndimage

    on = (masks > 0).cpu().numpy()
    parents, outside, shares = [], [], []
    for parent, mask in enumerate(on):
        labels, count = ndimage.label(mask)
        areas = np.bincount(labels.ravel())[1:]
        for piece in np.flatnonzero(areas >= SMALLEST_PIECE) if count > 1 else ():
            parents.append(parent)
            outside.append(mask & (labels != piece + 1))
            shares.append(areas[piece] / areas.sum())
    rows = np.array(parents, np.int64)
    if not len(rows):
        return rows, masks[:0], quality[:0]
    hidden = torch.as_tensor(np.stack(outside), device=masks.device)
    own = masks[rows]
    share = torch.as_tensor(np.array(shares, np.float32), device=masks.device)
    return rows, torch.where(hidden, -own.abs(), own), quality[rows] * share.sqrt()


def varied(
    masks: Tensor, quality: Floats, *, most: int, same: float, smallest: float
) -> tuple[list[int], list[float]]:
    """Which masks to keep, in the order in which each says most that is new, and what each is worth there.

    What is left falls in worth, from its quality on, by exp(-IoU^2 / APART) with every mask that is taken.

    Args:
        masks: (N, h, w) logits.
        quality: (N,).
        most: masks to keep.
        same: IoU above which two masks are one.
        smallest: share of the picture; smaller masks are left out.
    Source: Bodla et al., "Soft-NMS", ICCV 2017, the Gaussian form.
    """
    flat = (masks > 0).flatten(1).float()
    area = flat.sum(1)
    shared = flat @ flat.T
    iou = (shared / (area[:, None] + area[None] - shared).clamp(min=1)).cpu().numpy()
    left = (area >= max(smallest * flat.shape[1], 1)).cpu().numpy()
    worth = quality.astype(np.float64)
    kept, worths = list[int](), list[float]()
    while left.any() and len(kept) < most:
        best = int(np.where(left, worth, -np.inf).argmax())
        kept.append(best)
        worths.append(float(worth[best]))
        left &= iou[best] <= same
        left[best] = False
        worth = worth * np.exp(-(iou[best] ** 2) / APART)
    return kept, worths
