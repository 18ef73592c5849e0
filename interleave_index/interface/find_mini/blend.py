"""One mask out of all proposals: how likely each cell belongs to what is asked.

The published interface takes the mask of the best proposal. Where several are nearly as good, and the network predicts
how good each is, the expected mask of all of them is better than any single one.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

QUALITY_WEIGHT = 2.0  # of the predicted quality of a proposal, beside its score for what is asked


def blend(masks: Tensor, scores: Tensor, quality: Tensor) -> Tensor:
    """(B, E, h, w) chance, 0 to 1, of every cell to belong to what is asked.

    Args:
        masks: (B, Q, h, w) logits.
        scores: (B, Q, E) logits of each proposal to be what is asked.
        quality: (B, Q) logits of the IoU that each proposal is expected to have with a thing.
    """
    share = (scores.float() + QUALITY_WEIGHT * F.logsigmoid(quality.float())[..., None]).softmax(1)
    return torch.einsum("bqe,bqhw->behw", share, masks.float().sigmoid())
