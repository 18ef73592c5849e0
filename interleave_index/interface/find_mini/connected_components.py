"""Masks in several parts, part by part: proposals of a small network like to take several things of a kind for one."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SMALLEST_COMPONENT = 8  # cells


def connected_components(masks: Tensor) -> tuple[NDArray[np.int64], Tensor, Tensor]:
    """The connected components of (Q, h, w) mask logits that have several.

    Returns:
        parents: (K,) the mask that each component belongs to.
        masks: (K, h, w) logits, below 0 in the other components.
        shares: (K,) float32, of the parent's cells.
    """
    from scipy import ndimage

    on = (masks > 0).cpu().numpy()
    parents, hidden, shares = list[int](), list[NDArray[np.bool_]](), list[float]()
    for parent, mask in enumerate(on):
        labels, count = ndimage.label(mask)
        if count < 2:
            continue
        areas = np.bincount(labels.ravel())[1:]
        for component in np.flatnonzero(areas >= SMALLEST_COMPONENT):
            parents.append(parent)
            hidden.append(mask & (labels != component + 1))
            shares.append(float(areas[component] / areas.sum()))
    rows = np.array(parents, np.int64)
    if not parents:
        return rows, masks[:0], masks.new_zeros(0)
    outside = torch.as_tensor(np.stack(hidden), device=masks.device)
    own_masks = masks[rows]
    return rows, torch.where(outside, -own_masks.abs(), own_masks), masks.new_tensor(shares)
