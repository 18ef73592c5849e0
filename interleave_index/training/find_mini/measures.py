"""Figures on held-out photos while training goes on: quick ones, not those of the model card."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ...interface.find.prompts import Prompts
from ...interface.find_mini.model import MiniModel
from ...interface.find_mini.texts import encode_texts
from ...models.vision.tower import to_side
from ..losses import mask_ious
from .samples import Samples

PHOTOS, BATCH = 400, 32


def recall_at(k: int, scores: Tensor, own: Tensor) -> float:
    """Share of the rows of (N, K) scores with fewer than k above that of their own column (N,), in percent."""
    better = (scores > scores.gather(1, own[:, None])).sum(1)
    return 100 * float((better < k).float().mean())


def caption_recall(texts: Tensor, photos: Tensor, k: int = 10) -> float:
    """Share of (N, D) captions whose photo, of as many in the same order, is among the best k, in percent."""
    return recall_at(k, texts @ photos.T, torch.arange(len(texts)))


def model_caption_recall(model: MiniModel, samples: Samples) -> float:
    """IR@10 of first captions over at most 400 captioned photos, in percent."""
    rows = samples.where(lambda n: bool(samples.captions[n]))[:PHOTOS]
    images = _predictions(model, samples, rows, "pred_retrievals")[:, 0]
    return caption_recall(
        encode_texts(model, [samples.captions[n][0] for n in rows]), F.normalize(images.float(), dim=-1)
    )


def mask_recall(model: MiniModel, samples: Samples) -> float:
    """Share of masks that some proposal meets at IoU 0.5, over at most 400 photos with masks, in percent."""
    rows = samples.where(lambda n: bool(samples.regions[n]))[:PHOTOS]
    met: list[bool] = []
    for row, logits in zip(rows, _predictions(model, samples, rows, "pred_masks"), strict=True):
        masks = torch.as_tensor(np.stack([region.mask for region in samples.regions[row]])).float() / 255
        true = F.interpolate(masks[None], size=logits.shape[-2:], mode="area")[0]
        met += (mask_ious(logits, true).amax(0) >= 0.5).tolist()
    return 100 * sum(met) / max(1, len(met))


def _predictions(model: MiniModel, samples: Samples, rows: NDArray[np.int64], name: str) -> Tensor:
    """One kind of predictions of some photos, without prompts."""
    outputs = []
    for start in range(0, len(rows), BATCH):
        pixels = to_side(samples.tensor(rows[start : start + BATCH]), model.config.side)
        outputs.append(model.see(model.pyramid(pixels), Prompts()).final[name])
    return torch.cat(outputs)
