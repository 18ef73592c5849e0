"""Which masks of a photo are kept as its regions. Knows masks and their quality; knows no network."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ...records import Floats

COMPARED = 4  # times as many masks as are kept


def soft_nms(
    masks: Tensor, quality: Floats, *, most: int, same_iou: float, smallest: float, sigma: float = np.inf
) -> tuple[list[int], list[float]]:
    """Masks to keep, best first, and what each is worth once those before it were taken.

    What is left falls in worth, from its quality on, by exp(-IoU^2 / sigma) with every mask that is taken; it goes
    where the IoU is above `same_iou`. With an infinite sigma this is plain greedy suppression.

    Args:
        masks: (N, h, w) logits, or bool.
        quality: (N,).
        most: masks to keep, of the `COMPARED` times as many of the best quality.
        smallest: share of the photo; smaller masks are left out.
    Source: Bodla et al., "Soft-NMS", ICCV 2017, the Gaussian form.
    """
    best_quality = np.argsort(-quality, kind="stable")[: COMPARED * most]
    flat = (masks[best_quality] > 0).flatten(1).float()
    area = flat.sum(1)
    shared = flat @ flat.T
    iou = (shared / (area[:, None] + area[None] - shared).clamp(min=1)).cpu().numpy()
    left = (area >= max(smallest * flat.shape[1], 1)).cpu().numpy()
    worth = quality[best_quality].astype(np.float64)
    kept, worths = list[int](), list[float]()
    while left.any() and len(kept) < most:
        best = int(np.where(left, worth, -np.inf).argmax())
        kept.append(int(best_quality[best]))
        worths.append(float(worth[best]))
        left &= iou[best] <= same_iou
        left[best] = False
        worth = worth * np.exp(-(iou[best] ** 2) / sigma)
    return kept, worths
