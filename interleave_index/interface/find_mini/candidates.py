"""All masks of a photo that may become regions: proposals, pieces of those in several, what further cells draw.

Knows masks and what they are worth; what they show is asked of `tasks.vectors_of` for those that are kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .connected_components import pieces
from .region_scorer import Rating, Witnesses, evidence


@dataclass(frozen=True, slots=True)
class Drawn:
    """What the cells of one photo draw.

    Attributes:
        masks: (K, h, w) logits of the chosen cells.
        quality: (K,) what those masks are worth by themselves, 0 to 1.
        witnesses: all cells.
    """

    masks: Tensor
    quality: Tensor
    witnesses: Witnesses


@dataclass(frozen=True, slots=True)
class Candidates:
    """N masks of one photo; the first are its proposals.

    Attributes:
        masks: (N, h, w) logits.
        parents: (N,) int64, the proposal that each mask is, or comes from, or lies on most.
        kin: (N,) float32, how much of what its parent says by itself each shares: 1 for proposals and their pieces, for
            what a cell draws its IoU with the parent.
        figures: (N, 10) their evidence, or None where cells say nothing.
        worth: (N,), 0 to 1.
    """

    masks: Tensor
    parents: NDArray[np.int64]
    kin: Tensor
    figures: Tensor | None
    worth: Tensor


def candidates(masks: Tensor, quality: Tensor, drawn: Drawn | None, rating: Rating | None) -> Candidates:
    """The candidates of one photo.

    Without a rating they are proposals and pieces; a piece is worth what its proposal is, times the root of its share.

    Args:
        masks: (Q, h, w) logits of the proposals; quality: (Q,), 0 to 1.
        drawn: by the cells, or None where there are none.
    """
    count = len(masks)
    parents, torn, share = pieces(masks)
    shares = torch.cat([torch.ones_like(quality), share])
    some, origin = torch.cat([masks, torn]), np.concatenate([np.arange(count), parents])
    own = quality[origin]
    if drawn is None:
        return Candidates(some, origin, torch.ones_like(own), None, own * shares.sqrt())
    alike, nearest = _ious(drawn.masks, masks).max(1)
    everything = torch.cat([some, drawn.masks])
    figures = evidence(
        everything,
        torch.cat([own, drawn.quality]),
        torch.cat([shares, torch.ones_like(drawn.quality)]),
        count,
        drawn.witnesses,
    )
    if rating is None:
        worth = torch.cat([own * shares.sqrt(), torch.zeros_like(drawn.quality)])
    else:
        worth = rating(figures)
    parents, kin = np.concatenate([origin, nearest.cpu().numpy()]), torch.cat([torch.ones_like(own), alike])
    return Candidates(everything, parents, kin, figures, worth)


def _ious(masks: Tensor, others: Tensor) -> Tensor:
    """(K, Q) IoU of (K, h, w) with (Q, h, w) mask logits."""
    one, other = (masks > 0).flatten(1).float(), (others > 0).flatten(1).float()
    shared = one @ other.T
    return shared / (one.sum(1)[:, None] + other.sum(1) - shared).clamp(min=1)
