"""Mean features of the towers inside of masks and boxes, computed once, and what names are learned from them."""

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
from .measures import recall_at
from .samples import Samples

NAME_SCALE = 20.0  # of the cosines between masks and names
BATCH = 32


@torch.no_grad()
def mask_means(
    model: MiniModel,
    samples: Samples,
    photos: NDArray[np.int64],
    coverages: Sequence[Tensor],
    *,
    rng: np.random.Generator | None = None,
    fine: bool = False,
) -> tuple[Tensor, Tensor]:
    """Means inside of every coverage of every photo, one photo after the other.

    Args:
        photos: (P,) positions in the samples.
        coverages: one (n, h, w) in 0..1 a photo.
        rng: of the mirror images, half of the photos; None for none.
        fine: the means of the mask features too, at whose size coverages are then taken.
    Returns:
        (M, T) float16 means of the deep maps, and (M, F) of the mask features, without rows where not asked for.
    """
    model.eval()
    deep, features = [torch.zeros(0, 0)], [torch.zeros(0, 0)]
    for start in range(0, len(photos), BATCH):
        rows = photos[start : start + BATCH]
        flips = torch.as_tensor(rng.random(len(rows)) < 0.5 if rng is not None else np.zeros(len(rows), bool))
        pixels = samples.tensor(rows)
        pixels[flips] = pixels[flips].flip(3)
        pixels = to_side(pixels, model.config.side)
        with torch.autocast(torch.get_default_device().type, torch.bfloat16):
            maps = model.vision.backbone(model.vision.normalise(pixels))
            mask_features = model.vision.pixel_decoder(maps).mask_features if fine else None
        deep_maps = model.vision.deep(maps).float()
        for n, flipped in enumerate(flips):
            own = coverages[start + n].float()[None]
            if flipped:
                own = own.flip(3)
            if mask_features is not None:
                own = F.adaptive_avg_pool2d(own, mask_features.shape[-2:])
                features.append(inside(own, mask_features[n : n + 1].float())[0].half())
            deep.append(inside(own, deep_maps[n : n + 1])[0].half())
    return torch.cat(deep[1:] or deep), torch.cat(features[1:] or features)


def rare_first(labels: Tensor) -> NDArray[np.float64]:
    """(N,) odds of examples to be drawn: by one over the root of how often their label occurs, so rare ones more."""
    _, place, counts = np.unique(labels.cpu().numpy(), return_inverse=True, return_counts=True)
    odds = 1 / np.sqrt(counts[place])
    return odds / max(float(odds.sum()), 1e-9)


def name_cross_entropy(vectors: Tensor, names: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of (N, D) unit vectors over (K, D) unit vectors of names; labels (N,)."""
    return F.cross_entropy(NAME_SCALE * vectors @ names.T, labels)


def naming_figures(vectors: Tensor, names: Tensor, labels: Tensor) -> dict[str, float]:
    """Share of vectors whose name is among the best 1 and 5 of all names, in percent."""
    return {f"top-{k}": recall_at(k, vectors @ names.T, labels) for k in (1, 5)}
