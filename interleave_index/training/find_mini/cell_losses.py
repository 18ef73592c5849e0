"""What cells and proposals learn of how good their masks are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ...interface.find.network import FindInterface
from ...interface.find.proposal_selector import Cells
from ..losses import overlaps

FINE_DRAWN, COARSE_DRAWN = 4, 2  # cells of each level that learn a mask
INSIDE = 0.5  # share of a cell that a mask must cover to own it


def seed_losses(
    interface: FindInterface,
    cells: Cells,
    mask_features: Tensor,
    masks: Sequence[Tensor],
    annotated: Tensor,
    rng: np.random.Generator,
) -> dict[str, Tensor]:
    """Masks of drawn cells towards the mask they lie in, scores of cells towards the IoU of those masks.

    Args:
        mask_features: those of the pass.
        masks: one (T_i, h, w) coverage an image, h and w multiples of the cells' sizes.
        annotated: (B,) bool, images whose cells outside all masks count as empty.
    """
    images, numbers, wanted, empty = [], [], [], torch.zeros(cells.score.shape, dtype=torch.bool)
    for image, own in enumerate(masks):
        if not len(own):
            continue
        owner = owners(own, cells.sizes)
        empty[image] = owner < 0
        for target in range(len(own)):
            for number in _drawn(owner == target, cells.sizes, rng):
                images.append(image)
                numbers.append(number)
                wanted.append(own[target])
    zero = cells.score.sum() * 0.0
    if not images:
        return {"seed_bce": zero, "seed_dice": zero, "seed_score": zero}
    rows, columns, truth = torch.tensor(images), torch.tensor(numbers), torch.stack(wanted).float()
    pixel = interface.pixel(cells.content[rows, columns])
    parts = [torch.einsum("nc,chw->nhw", pixel[rows == n], mask_features[n]) for n in sorted(set(images))]
    logits = torch.cat(parts).float()
    soft = logits.sigmoid()
    dice = 1 - (2 * (soft * truth).sum((1, 2)) + 1) / (soft.sum((1, 2)) + truth.sum((1, 2)) + 1)
    on, off = logits.detach() > 0, truth > 0.5
    iou = (on & off).sum((1, 2)) / (on | off).sum((1, 2)).clamp(min=1)
    score = F.binary_cross_entropy_with_logits(cells.score[rows, columns].float(), iou)
    nothing = empty & annotated[:, None]
    lure = (F.softplus(cells.score.float()) * nothing).sum() / nothing.sum().clamp(min=1)
    return {
        "seed_bce": F.binary_cross_entropy_with_logits(logits, truth),
        "seed_dice": dice.mean(),
        "seed_score": score + lure,
    }


def owners(masks: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
    """(N,) number of the mask that each cell lies in, -1 where it lies in none.

    A coarse cell belongs to the largest mask that covers it, a fine one to the smallest; a mask that covers half of
    no fine cell owns the cell that it covers most of.

    Args:
        masks: (T, h, w) coverage.
        sizes: (h, w) of the coarse and of the fine level.
    """
    area = masks.sum((1, 2))
    found = []
    for level, size in enumerate(sizes):
        covered = F.adaptive_avg_pool2d(masks[:, None].float(), size).flatten(1)
        rank = area if level else -area
        order = torch.where(covered > INSIDE, rank[:, None], torch.inf)
        owner = torch.where(order.amin(0) < torch.inf, order.argmin(0), -1)
        if level:
            for target in range(len(masks)):
                if not (owner == target).any():
                    owner[covered[target].argmax()] = target
        found.append(owner)
    return torch.cat(found)


def _drawn(mine: Tensor, sizes: Sequence[tuple[int, int]], rng: np.random.Generator) -> list[int]:
    """Some of a mask's cells, by level."""
    numbers = mine.nonzero()[:, 0].cpu().numpy()
    first = sizes[0][0] * sizes[0][1]
    levels = numbers[numbers < first], numbers[numbers >= first]
    drawn: list[int] = []
    for some, most in zip(levels, (COARSE_DRAWN, FINE_DRAWN), strict=True):
        drawn += rng.permutation(some)[:most].tolist()
    return drawn


def quality_loss(quality: Tensor, logits: Tensor, masks: Sequence[Tensor]) -> Tensor:
    """Cross-entropy of (B, Q) quality logits with the best IoU of each (B, Q, h, w) mask with any true one."""
    losses = [
        F.binary_cross_entropy_with_logits(quality[n].float(), overlaps(logits[n], own).amax(1))
        for n, own in enumerate(masks)
        if len(own)
    ]
    return torch.stack(losses).mean() if losses else quality.sum() * 0.0
