"""How good a mask is as a region, judged by the cells and proposals around it.

A proposal is a poor judge of its own mask. Better judges are the cells inside: where most of them predict the same
mask, there is a thing. Nine such features go into a logistic regression, fitted on training photos once the network has
learned (`training.find_mini.fit_scorer`), whose answer ranks the proposals of a photo.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..find.nms import pairwise_iou
from ..find.tasks import Proposals
from ..find.tower_paths import pooled

REGION_FEATURES = (
    "quality",  # predicted by the proposal itself
    "agreement",  # quality of the best proposal with nearly the same mask
    "cell_share",  # share of the cells inside with nearly the same mask
    "cell_iou",  # mean IoU with the masks of the cells inside
    "best_cell",  # score of the best cell with nearly the same mask
    "cell_score",  # mean score of the cells inside
    "proposals_inside",  # log of how many proposals lie inside, and one
    "side",  # root of the share of the photo
    "stability",  # how little the mask changes with the threshold
)
SAME_PROPOSAL, SAME_CELL = 0.5, 0.6  # IoU of nearly the same mask
WITHIN = 0.8  # share of a proposal that is inside
STABLE = 1.0  # logits to both sides of the threshold
UNFITTED = (8.0, *[0.0] * 8, -6.0)  # ranks by quality


@dataclass(frozen=True, slots=True)
class RegionScorer:
    """Weights of the `REGION_FEATURES`, and last the constant: (10,) float32."""

    weights: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """(Q, 9) features to (Q,) scores, 0 to 1."""
        return (features @ self.weights[:-1] + self.weights[-1]).sigmoid()


@torch.no_grad()
def region_features(proposals: Proposals, row: int) -> Tensor:
    """(Q, 9) features of the proposals of photo `row`, in the order of `REGION_FEATURES`."""
    masks, quality, cells = proposals.masks[row], proposals.quality()[row], proposals.cells
    if cells is None or cells.top is None:
        raise TypeError("find-mini's proposals start from cells, expected an interface with seeds")
    cell_rows, cell_masks, cell_score = cells.top.rows[row], cells.top.on[row], cells.top.score[row]
    halved = 2 * cell_masks.shape[-1] < masks[0].numel()
    small = ((F.avg_pool2d(masks[:, None], 2) if halved else masks[:, None]) > 0).float()
    flat = small.flatten(1)
    area = flat.sum(1)
    cell_iou, _ = pairwise_iou(flat, cell_masks)
    proposal_iou, shared = pairwise_iou(flat, flat)
    levels = [pooled(small, size).flatten(1) for size in cells.sizes]
    inside = torch.cat(levels, 1)[:, cell_rows]
    inside = inside / inside.sum(1, keepdim=True).clamp(min=1e-3)
    proposals_inside = (shared > WITHIN * area).sum(1) * (area > 0)
    columns = [
        quality,
        ((proposal_iou > SAME_PROPOSAL) * quality).amax(1),
        (inside * (cell_iou > SAME_PROPOSAL)).sum(1),
        (inside * cell_iou).sum(1),
        ((cell_iou > SAME_CELL) * cell_score).amax(1),
        inside @ cell_score,
        proposals_inside.float().log1p(),
        (area / flat.shape[1]).sqrt(),
        (masks > STABLE).sum((1, 2)) / (masks > -STABLE).sum((1, 2)).clamp(min=1),
    ]
    return torch.stack(columns, 1)
