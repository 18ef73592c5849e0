"""Where object proposals start: cells of the pyramid whose own mask is likely a thing (only with `FindConfig.seeds`).

The published proposals all start from learned vectors and find their things by many layers and long training. Here
every cell of the finest and of the coarsest level predicts the mask that it lies in, and how good that mask is; the
best cells whose masks differ become the first proposals. With `fine` the cells of the mask features do so too, for the
sake of small things. Masks know where they are: sinusoids of a few octaves over the photo are added to the mask
features, so that a proposal can prefer what is near its cell.
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
LEVELS_READ = (0, 2)  # of the pyramid: the coarsest and the finest


@dataclass(slots=True)
class Cells:
    """What every cell predicts.

    Attributes:
        content: (B, N, C), where a proposal would start, cells of the coarse level first, row by row, fine ones last.
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
        on: (B, L, P) float, 1 where a mask is, at half the size of the mask features; with fine cells at their size.
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
        octaves: of the sinusoids, the first of two picture sides; four go down to a quarter of one.
        fine: cells of the mask features are read too.
    """

    def __init__(self, width: int, features: int, octaves: int = 4, *, fine: bool = False) -> None:
        super().__init__()
        self.octaves = octaves
        self.norm = nn.LayerNorm(width)
        self.start = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.where = nn.Linear(4 * octaves, width, bias=False)
        self.score = nn.Linear(width, 1)
        self.waves = nn.Linear(4 * octaves, features, bias=False)
        self.fine = nn.Linear(features, width) if fine else None
        nn.init.constant_(self.score.bias, -2.0)
        nn.init.normal_(self.waves.weight, std=0.02)

    def placed(self, mask_features: Tensor) -> Tensor:
        """(B, F, h, w) mask features with their positions added."""
        height, width = mask_features.shape[-2:]
        place: Tensor = self.waves(waves(height, width, self.octaves, mask_features.device)).T.unflatten(
            1, (height, width)
        )
        return mask_features + place

    def cells(self, features: Sequence[Level], finest: Level | None = None) -> Cells:
        """What every cell of a pyramid predicts, and of the mask features as tokens, where those are given."""
        read = [*(features[n] for n in LEVELS_READ), *([] if finest is None else [finest])]
        keys = torch.cat([level.key for level in read], 1)
        place = keys - torch.cat([level.source for level in read], 1)
        where = torch.cat([waves(*level.size, self.octaves, keys.device) for level in read])
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
        compared = F.avg_pool2d(mask_features, 2) if self.fine is None else mask_features
        on = (vectors @ compared.flatten(2) > 0).float()
        area = on.sum(-1)
        shared = on @ on.transpose(1, 2)
        iou = (shared / (area[:, :, None] + area[:, None] - shared).clamp(min=1)).triu(1)
        most = iou.amax(1)  # with any better cell
        decay = ((1 - iou) / (1 - most[:, :, None]).clamp(min=1e-3)).amin(1)
        selected = (score * decay * (area > 0)).topk(count).indices
        return TopCells(rows, on, score, selected)


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def waves(height: int, width: int, octaves: int, device: torch.device | None = None) -> Tensor:
    """(h w, 4 x octaves) sines and cosines of the middle of every cell, row by row; not to be written into."""
    axes = []
    for length in (height, width):
        middle = (torch.arange(length, device=device) + 0.5) / length
        angle = middle[:, None] * math.pi * 2 ** torch.arange(octaves, device=device)
        axes.append(torch.cat([angle.sin(), angle.cos()], 1))
    y, x = axes
    both = torch.cat([y[:, None].expand(-1, width, -1), x[None].expand(height, -1, -1)], -1)
    return both.flatten(0, 1)
