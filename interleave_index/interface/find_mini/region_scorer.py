"""What a mask is worth as a region, told from what cells and proposals around it say (find-mini only).

A proposal is a poor judge of its own mask. Better witnesses are the cells that lie inside: where most of them, asked
for the mask that they lie in, draw the same one, there is a thing. Ten such figures, weighed by a logistic regression
that is fitted on training photos once the network has learned (`training.find_mini.fit_scorer`), order the candidates of a photo.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

EVIDENCE = (
    "quality",  # what the proposal itself says
    "agreed",  # quality of the best proposal that draws nearly the same
    "echo",  # share of the cells inside that draw nearly the same
    "likeness",  # mean IoU with what the cells inside draw
    "best_cell",  # score of the best cell that draws nearly the same
    "cells",  # mean score of the cells inside
    "holds",  # log of how many proposals lie inside, and one
    "side",  # root of the share of the photo
    "firm",  # how little the mask changes with the cut
    "piece",  # share of its proposal's mask that it is
)
AGREED, ECHOED, WITHIN = 0.5, 0.6, 0.8  # IoU with a proposal or a cell, IoU with the best cell, share that is inside
FIRM = 1.0  # logits to both sides of the edge


@dataclass(frozen=True, slots=True)
class Witnesses:
    """What the best cells of one photo draw.

    Attributes:
        rows: (L,) numbers of the cells among all.
        on: (L, h / 2 * w / 2) float, 1 where a mask is.
        score: (L,), 0 to 1.
        sizes: (h, w) of the levels that all cells are of, in order.
    """

    rows: Tensor
    on: Tensor
    score: Tensor
    sizes: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Rating:
    """Weights of the `EVIDENCE`, and last the constant: (11,) float32."""

    weights: Tensor

    def __call__(self, figures: Tensor) -> Tensor:
        """(N, 10) evidence to (N,) worth, 0 to 1."""
        return (figures @ self.weights[:-1] + self.weights[-1]).sigmoid()


def evidence(masks: Tensor, quality: Tensor, share: Tensor, proposals: int, witnesses: Witnesses) -> Tensor:
    """(N, 10) figures of the candidates of one photo, in the order of `EVIDENCE`.

    Args:
        masks: (N, h, w) logits, h and w even; the first `proposals` are the proposals themselves.
        quality: (N,), 0 to 1, of the proposal that each is or comes from.
        share: (N,), of its proposal's mask.
    """
    small = (F.avg_pool2d(masks[:, None], 2) > 0).float()
    flat = small.flatten(1)
    own, cells = flat[:proposals], flat.sum(1)
    iou, _ = _overlap(flat, witnesses.on)
    levels = [
        flat if size == small.shape[-2:] else F.adaptive_avg_pool2d(small, size).flatten(1) for size in witnesses.sizes
    ]
    inside = torch.cat(levels, 1)[:, witnesses.rows]
    inside = inside / inside.sum(1, keepdim=True).clamp(min=1e-3)
    with_proposals, shared = _overlap(flat, own)
    holds = (shared > WITHIN * own.sum(1)).sum(1) * (cells > 0)
    return torch.stack(
        [
            quality,
            ((with_proposals > AGREED) * quality[:proposals]).amax(1),
            (inside * (iou > AGREED)).sum(1),
            (inside * iou).sum(1),
            ((iou > ECHOED) * witnesses.score).amax(1),
            inside @ witnesses.score,
            holds.float().log1p(),
            (cells / flat.shape[1]).sqrt(),
            (masks > FIRM).sum((1, 2)) / (masks > -FIRM).sum((1, 2)).clamp(min=1),
            share,
        ],
        1,
    )


def _overlap(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and shared cells of (N, P) with (M, P) masks of zeros and ones, (N, M) each."""
    shared = one @ other.T
    return shared / (one.sum(1)[:, None] + other.sum(1) - shared).clamp(min=1), shared
