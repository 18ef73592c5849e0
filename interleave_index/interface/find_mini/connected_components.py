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
LOOKED_AT = 4  # times as many masks as are kept
APART = 0.25  # sigma of the decay by overlap; that of Soft-NMS is twice as long


def pieces(masks: Tensor) -> tuple[NDArray[np.int64], Tensor, Tensor]:
    """The connected pieces of (Q, h, w) mask logits that have several.

    Returns:
        parents: (K,) the mask that each piece belongs to.
        masks: (K, h, w) logits, below 0 in the other pieces.
        shares: (K,) float32, of the parent's cells.
    """
    from scipy import ndimage

    on = (masks > 0).cpu().numpy()
    beside = np.zeros((3, 3, 3), bool)  # cells of one mask that share an edge
    beside[1] = ndimage.generate_binary_structure(2, 1)
    labels, count = ndimage.label(on, beside)  # numbered mask by mask
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    last = np.maximum.accumulate(labels.reshape(len(on), -1).max(1, initial=0))
    first = np.concatenate([[0], last[:-1]]) + 1
    parents, outside, shares = list[int](), list[NDArray[np.bool_]](), list[float]()
    for parent in np.flatnonzero(last > first):
        own = areas[first[parent] : last[parent] + 1]
        for piece in np.flatnonzero(own >= SMALLEST_PIECE):
            parents.append(int(parent))
            outside.append(on[parent] & (labels[parent] != first[parent] + piece))
            shares.append(float(own[piece] / own.sum()))
    rows = np.array(parents, np.int64)
    if not len(rows):
        return rows, masks[:0], masks.new_zeros(0)
    hidden = torch.as_tensor(np.stack(outside), device=masks.device)
    own_masks = masks[rows]
    return rows, torch.where(hidden, -own_masks.abs(), own_masks), masks.new_tensor(shares)


def varied(masks: Tensor, quality: Floats, *, most: int, same: float, smallest: float) -> tuple[list[int], list[float]]:
    """Which masks to keep, in the order in which each says most that is new, and what each is worth there.

    What is left falls in worth, from its quality on, by exp(-IoU^2 / APART) with every mask that is taken.

    Args:
        masks: (N, h, w) logits.
        quality: (N,).
        most: masks to keep, of the `LOOKED_AT` times as many that are worth most.
        same: IoU above which two masks are one.
        smallest: share of the picture; smaller masks are left out.
    Source: Bodla et al., "Soft-NMS", ICCV 2017, the Gaussian form.
    """
    looked = np.argsort(-quality, kind="stable")[: LOOKED_AT * most]
    flat = (masks[looked] > 0).flatten(1).float()
    area = flat.sum(1)
    shared = flat @ flat.T
    iou = (shared / (area[:, None] + area[None] - shared).clamp(min=1)).cpu().numpy()
    left = (area >= max(smallest * flat.shape[1], 1)).cpu().numpy()
    worth = quality[looked].astype(np.float64)
    kept, worths = list[int](), list[float]()
    while left.any() and len(kept) < most:
        best = int(np.where(left, worth, -np.inf).argmax())
        kept.append(int(looked[best]))
        worths.append(float(worth[best]))
        left &= iou[best] <= same
        left[best] = False
        worth = worth * np.exp(-(iou[best] ** 2) / APART)
    return kept, worths
