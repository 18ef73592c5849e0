"""Which proposal stands for which mask: an assignment of least cost.

Source: bipartite matching of DETR (arXiv 2005.12872, eq. 1), with the costs of Mask2Former (arXiv 2112.01527, section
3.3): class, binary cross-entropy and dice, over a few random points of a mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

COST_CLASS, COST_BCE, COST_DICE = 2.0, 5.0, 5.0
IMPOSSIBLE = 1e6  # cost in place of one that is not a number


@dataclass(frozen=True, slots=True)
class Assignment:
    """Pairs of proposals and targets over a batch, all (M,) int64: image, proposal, target of that image."""

    image: Tensor
    proposal: Tensor
    target: Tensor

    def __len__(self) -> int:
        return len(self.image)

    def of_proposals(self, values: Tensor) -> Tensor:
        """(M, ...) rows of (B, Q, ...) values that belong to the matched proposals."""
        return values[self.image, self.proposal]

    def of_targets(self, values: Sequence[Tensor]) -> Tensor:
        """(M, ...) rows of one (T_i, ...) tensor an image that belong to the matched targets."""
        counts = torch.tensor([len(own) for own in values], device=self.image.device)
        first = counts.cumsum(0) - counts
        return torch.cat(list(values))[first[self.image] + self.target]


@torch.no_grad()
def hungarian_match(
    logits: Tensor, targets: Sequence[Tensor], probabilities: Sequence[Tensor], *, points: int | None = None
) -> Assignment:
    """Match proposals and target masks, image by image; each target gets one proposal as long as there are enough.

    Args:
        logits: (B, Q, h, w) mask logits.
        targets: one (T_i, H, W) mask in 0..1 an image; T_i may be 0.
        probabilities: one (Q, T_i) an image, of the proposal to be that target by its class or its query.
        points: compare masks at so many random points, the same for all masks of an image; None at every pixel, for
            which h, w and H, W are the same.
    """
    from scipy.optimize import linear_sum_assignment

    pairs = [np.zeros((0, 3), np.int64)]
    for image, (target, probability) in enumerate(zip(targets, probabilities, strict=True)):
        if not len(target):
            continue
        if points is None:
            predicted, true = logits[image].float().flatten(1), target.float().flatten(1)
        else:
            places = torch.rand((1, points, 2), device=logits.device)
            predicted = sample_at(logits[image], places.expand(logits.shape[1], -1, -1))
            true = sample_at(target, places.expand(len(target), -1, -1))
        bce = (F.softplus(predicted).sum(1, keepdim=True) - predicted @ true.T) / predicted.shape[1]
        soft = predicted.sigmoid()
        dice = 1 - (2 * soft @ true.T + 1) / (soft.sum(1, keepdim=True) + true.sum(1) + 1)
        cost = COST_BCE * bce + COST_DICE * dice - COST_CLASS * probability.float()
        proposals, chosen = linear_sum_assignment(cost.nan_to_num(IMPOSSIBLE).cpu().numpy())
        pairs.append(np.stack([np.full(len(chosen), image), proposals, chosen], 1))
    image_of, proposal_of, target_of = torch.as_tensor(np.concatenate(pairs).T.copy(), device=logits.device)
    return Assignment(image_of, proposal_of, target_of)


def sample_at(maps: Tensor, places: Tensor) -> Tensor:
    """(N, h, w) maps at (N, P, 2) places x, y in 0..1, bilinear: (N, P) float32."""
    grid = 2 * places[:, None] - 1
    return F.grid_sample(maps[:, None].float(), grid, align_corners=False)[:, 0, 0]
