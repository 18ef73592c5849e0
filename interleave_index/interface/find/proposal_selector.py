"""Where object proposals start: cells of the pyramid whose own mask is likely a thing (only with `FindConfig.seeds`).

The published proposals all start from learned vectors and find their things by many layers and long training. Here
every cell of the finest and of the coarsest level predicts the mask that it lies in, and how good that mask is; the
best cells whose masks differ become the first proposals. Masks know where they are: sinusoids of a few octaves over the
photo are added to the mask features, so that a proposal can prefer what is near its cell.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...records import Size
from .prompts import Level

COMPARED = 320  # cells whose masks are compared with each other
OCTAVES = 4  # of the sinusoids: from two picture sides down to a quarter of one
LEVELS_READ = (0, 2)  # of the pyramid: the coarsest and the finest


@dataclass(slots=True)
class Cells:
    """What every cell predicts.

    Attributes:
        content: (B, N, C), where a proposal would start, cells of the coarse level first, row by row.
        position: (B, N, C).
        score: (B, N) logits of the IoU that the cell's mask has with the thing it lies in.
        sizes: (h, w) of the levels that were read, in order.
        top: the best of them with their masks, once they were selected.
    """

    content: Tensor
    position: Tensor
    score: Tensor
    sizes: tuple[Size, ...]
    top: TopCells | None = None


@dataclass(frozen=True, slots=True)
class TopCells:
    """The best L cells of every photo in the order of their scores, with their masks.

    Attributes:
        rows: (B, L) numbers of the cells.
        on: (B, L, P) float, 1 where a mask is, at half the size of the mask features.
        score: (B, L), 0 to 1.
        selected: (B, K) positions among the L of the best whose masks differ, best first.
    """

    rows: Tensor
    on: Tensor
    score: Tensor
    selected: Tensor


class ProposalSelector(nn.Module):
    """Reads the pyramid and selects cells.

    Args:
        width: C of the stream; features: channels of the mask features.
    """

    def __init__(self, width: int, features: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.start = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.where = nn.Linear(4 * OCTAVES, width, bias=False)
        self.score = nn.Linear(width, 1)
        self.waves = nn.Linear(4 * OCTAVES, features, bias=False)
        nn.init.constant_(self.score.bias, -2.0)
        nn.init.normal_(self.waves.weight, std=0.02)

    def placed(self, mask_features: Tensor) -> Tensor:
        """(B, F, h, w) mask features with their positions added."""
        height, width = mask_features.shape[-2:]
        place: Tensor = self.waves(waves(height, width, mask_features.device)).T.unflatten(1, (height, width))
        return mask_features + place

    def cells(self, features: Sequence[Level]) -> Cells:
        """What every cell of a pyramid predicts."""
        read = [features[n] for n in LEVELS_READ]
        keys = torch.cat([level.key for level in read], 1)
        place = keys - torch.cat([level.source for level in read], 1)
        where = torch.cat([waves(*level.size, keys.device) for level in read])
        content = self.start(self.norm(keys)) + self.where(where)
        return Cells(content, place, self.score(content)[..., 0], tuple(level.size for level in read))

    @torch.no_grad()
    def select(self, cells: Cells, count: int, pixel: Callable[[Tensor], Tensor], mask_features: Tensor) -> TopCells:
        """The best cells with their masks, and which `count` of them come first; fewer where there are not so many.

        Args:
            pixel: (B, n, C) contents to (B, n, F) vectors.
            mask_features: (B, F, h, w).
        Source: the matrix NMS of SOLOv2 (arXiv 2003.10152), linear decay.
        """
        total = cells.score.shape[1]
        count = min(count, total)
        score, rows = cells.score.float().sigmoid().topk(max(count, min(COMPARED, total)))
        vectors = pixel(cells.content.gather(1, rows[..., None].expand(-1, -1, cells.content.shape[-1])))
        on = (vectors @ F.avg_pool2d(mask_features, 2).flatten(2) > 0).float()
        area = on.sum(-1)
        shared = on @ on.transpose(1, 2)
        iou = (shared / (area[:, :, None] + area[:, None] - shared).clamp(min=1)).triu(1)
        most = iou.amax(1)  # with any better cell
        decay = ((1 - iou) / (1 - most[:, :, None]).clamp(min=1e-3)).amin(1)
        selected = (score * decay * (area > 0)).topk(count).indices
        return TopCells(rows, on, score, selected)


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def waves(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """(h w, 4 x OCTAVES) sines and cosines of the middle of every cell, row by row; not to be written into."""
    axes = []
    for length in (height, width):
        middle = (torch.arange(length, device=device) + 0.5) / length
        angle = middle[:, None] * math.pi * 2 ** torch.arange(OCTAVES, device=device)
        axes.append(torch.cat([angle.sin(), angle.cos()], 1))
    y, x = axes
    both = torch.cat([y[:, None].expand(-1, width, -1), x[None].expand(height, -1, -1)], -1)
    return both.flatten(0, 1)
