"""Features of towers that stand still, computed once: pooled ones of views, and means inside of masks and boxes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ...interface.find.tower_paths import inside
from ...interface.find_mini.model import MiniModel
from ...models.vision.tower import to_side
from .augment import view_crop
from .samples import MASK_SIDE, Sample, Views, photo_batches, pixels_of, whole_views
from .space import CHUNK

VIEW_BATCH = 64


def _bfloat16() -> torch.autocast:
    return torch.autocast(torch.get_default_device().type, torch.bfloat16)


@torch.no_grad()
def pooled_features(model: MiniModel, samples: Sequence[Sample], views: Views, rng: np.random.Generator) -> Tensor:
    """(M, F) float16 pooled features of every view, crops flipped at random; the whole photos come first, in order."""
    model.eval()
    features, side = [], model.config.side
    for start in range(0, len(views), VIEW_BATCH):
        part = slice(start, start + VIEW_BATCH)
        pixels = pixels_of(samples, views.rows[part])
        whole = start + VIEW_BATCH <= len(samples)
        pixels = to_side(pixels, side) if whole else view_crop(views.boxes[part], rng)(pixels, side)
        with _bfloat16():
            maps = model.vision.backbone(model.vision.normalise(pixels))
        features.append(model.vision.deep(maps).float().mean((2, 3)).half())
    return torch.cat(features)


@torch.no_grad()
def own_places(model: MiniModel, samples: Sequence[Sample]) -> Tensor:
    """(N, D) unit vectors that a model's photo path gives to whole photos."""
    views = whole_views(len(samples), np.zeros((len(samples), 0), np.float16))
    features = pooled_features(model, samples, views, np.random.default_rng(0))
    return torch.cat([model.interface.paths.photo(part.float()) for part in features.split(CHUNK)])


@torch.no_grad()
def mask_means(
    model: MiniModel, samples: Sequence[Sample], coverages: Sequence[Tensor], rng: np.random.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Means inside of every coverage of every photo, one photo after the other.

    Args:
        coverages: one (n, h, w) a photo, of any scale.
        rng: of the mirror images, half of the photos; None for none.
    Returns:
        (M, T) float16 means of the deep maps, and (M, F) of the mask features.
    """
    model.eval()
    deep, fine = list[Tensor](), list[Tensor]()
    for rows, pixels in photo_batches(samples, np.arange(len(samples)), model.config.side):
        flips = torch.as_tensor(np.zeros(len(rows)) if rng is None else rng.random(len(rows))) > 0.5
        with _bfloat16():
            seen = torch.where(flips[:, None, None, None], pixels.flip(3), pixels)
            maps = model.vision.backbone(model.vision.normalise(seen))
            features = model.vision.pixel_decoder(maps).mask_features.float()
        deep_maps = model.vision.deep(maps).float()
        for n, row in enumerate(rows):
            own = coverages[row].float()[None]
            own = F.adaptive_avg_pool2d(own.flip(3) if flips[n] else own, features.shape[-2:])
            deep.append(inside(own, deep_maps[n : n + 1])[0].half())
            fine.append(inside(own, features[n : n + 1])[0].half())
    return torch.cat(deep), torch.cat(fine)


def box_coverages(boxes: NDArray[np.floating]) -> Tensor:
    """(n, MASK_SIDE, MASK_SIDE) bool, on inside of (n, 4) boxes x0, y0, x1, y1 in shares of the sides."""
    middle = (torch.arange(MASK_SIDE) + 0.5) / MASK_SIDE
    x0, y0, x1, y1 = torch.as_tensor(boxes).T[..., None]
    across, down = (x0 <= middle) & (middle <= x1), (y0 <= middle) & (middle <= y1)
    boxes_on: Tensor = down[:, :, None] & across[:, None]
    return boxes_on
