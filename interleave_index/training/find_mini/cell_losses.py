"""What cells learn of the masks that they lie in (find-mini's own part, `interface/find/proposal_selector.py`)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ...interface.find.network import FindInterface
from ...interface.find.proposal_selector import Cells
from ..losses import dice_losses

DRAWN = (2, 4, 4)  # cells of the coarse level, of the fine one and of the mask features that learn a mask
SMALL = 0.02  # share of the picture below which a mask is for the cells of the mask features
INSIDE = 0.5  # share of a cell that a mask must cover to own it


def cell_losses(
    interface: FindInterface,
    cells: Cells,
    mask_features: Tensor,
    masks: Sequence[Tensor],
    complete: Tensor,
    rng: np.random.Generator,
) -> dict[str, Tensor]:
    """Masks of drawn cells towards the mask they lie in, scores of cells towards the IoU of those masks.

    Args:
        mask_features: those of the pass.
        masks: one (T_i, h, w) coverage an image, h and w multiples of the cells' sizes.
        complete: (B,) bool, images whose masks are all that is there, so that cells outside of them are empty.
    """
    drawn: list[tuple[int, int]] = []  # image and cell
    true_masks: list[Tensor] = []
    empty = torch.zeros(cells.score.shape, dtype=torch.bool)
    for image, own in enumerate(masks):
        if not len(own):
            continue
        owner = owners(own, cells.sizes)
        empty[image] = (owner < 0) & complete[image]
        for target in range(len(own)):
            chosen = _draw(owner == target, cells.sizes, rng)
            drawn += [(image, cell) for cell in chosen]
            true_masks += [own[target]] * len(chosen)
    if not drawn:
        zero = cells.score.sum() * 0.0
        return {"cell_bce": zero, "cell_dice": zero, "cell_score": zero}
    image_of, cell_of = torch.tensor(drawn).T
    true = torch.stack(true_masks).float().flatten(1)
    pixel = interface.pixel(cells.content[image_of, cell_of])
    parts = [torch.einsum("nc,chw->nhw", pixel[image_of == n], mask_features[n]) for n in image_of.unique()]
    logits = torch.cat(parts).float().flatten(1)
    predicted_on, true_on = logits.detach() > 0, true > 0.5
    iou = (predicted_on & true_on).sum(1) / (predicted_on | true_on).sum(1).clamp(min=1)
    score = F.binary_cross_entropy_with_logits(cells.score[image_of, cell_of].float(), iou)
    # the cross-entropy of an empty cell, which lies in nothing
    score_of_empty = (F.softplus(cells.score.float()) * empty).sum() / empty.sum().clamp(min=1)
    return {
        "cell_bce": F.binary_cross_entropy_with_logits(logits, true),
        "cell_dice": dice_losses(logits.sigmoid(), true).mean(),
        "cell_score": score + score_of_empty,
    }


def owners(masks: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
    """(N,) number of the mask that each cell lies in, -1 where it lies in none.

    A coarse cell belongs to the largest mask that covers it, a fine one to the smallest; a mask that covers half of
    no fine cell owns the cell that it covers most of. Cells of the mask features lie in small masks alone.

    Args:
        masks: (T, h, w) coverage.
        sizes: (h, w) of the coarse and of the fine level, and of the mask features where cells are made of them.
    """
    coarse, *fine = (F.adaptive_avg_pool2d(masks[:, None].float(), size).flatten(1) for size in sizes)
    area = masks.sum((1, 2))
    owner = [_least(coarse, -area)]
    for level, covered in enumerate(fine):
        for_level = area < (SMALL * masks[0].numel() if level else torch.inf)
        smallest = _least(covered * for_level[:, None], area)
        for target in for_level.nonzero()[:, 0].tolist():
            if not (smallest == target).any():
                smallest[covered[target].argmax()] = target
        owner.append(smallest)
    return torch.cat(owner)


def _least(covered: Tensor, rank: Tensor) -> Tensor:
    """(N,) for each of N cells the mask of the least rank (T,) among those that cover it (T, N), -1 where none does."""
    ranks = torch.where(covered > INSIDE, rank[:, None], torch.inf)
    return torch.where(ranks.amin(0) < torch.inf, ranks.argmin(0), -1)


def _draw(own: Tensor, sizes: Sequence[tuple[int, int]], rng: np.random.Generator) -> list[int]:
    """Numbers of some of a mask's cells, given (N,) bool, of every level."""
    chosen, first = list[int](), 0
    for (height, width), most in zip(sizes, DRAWN, strict=False):
        cells = first + np.flatnonzero(own[first : first + height * width].cpu().numpy())
        chosen += rng.permutation(cells)[:most].tolist()
        first += height * width
    return chosen
