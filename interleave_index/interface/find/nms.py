"""How masks overlap, and which of a photo's are kept as its regions. Knows masks and quality, no network."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ...records import Floats

COMPARED = 4  # times as many masks as are kept


def pairwise_iou(masks: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and shared cells of (N, P) with (M, P) masks of zeros and ones, (N, M) each."""
    shared = masks @ others.T
    return shared / (masks.sum(1)[:, None] + others.sum(1) - shared).clamp(min=1), shared


def soft_nms(
    masks: Tensor, quality: Floats, *, most: int, same_iou: float, smallest: float, sigma: float = np.inf
) -> tuple[list[int], list[float]]:
    """Masks to keep, best first, and their scores once those before them were taken.

    The score of what is left falls, from its quality on, by exp(-IoU^2 / sigma) with every mask that is taken; it goes
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
    iou = pairwise_iou(flat, flat)[0].cpu().numpy()
    left = (flat.sum(1) >= max(smallest * flat.shape[1], 1)).cpu().numpy()
    score = quality[best_quality].astype(np.float64)
    kept, scores = list[int](), list[float]()
    while left.any() and len(kept) < most:
        best = int(np.where(left, score, -np.inf).argmax())
        kept.append(int(best_quality[best]))
        scores.append(float(score[best]))
        left &= iou[best] <= same_iou
        left[best] = False
        score = score * np.exp(-(iou[best] ** 2) / sigma)
    return kept, scores
