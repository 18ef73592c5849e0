"""Figures on held-out photos while training goes on: quick ones, not those of the model card."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ...interface.find.prompts import Prompts
from ...interface.find_mini.model import MiniModel
from ...interface.find_mini.texts import encode_texts
from ..losses import mask_ious
from .samples import Sample, photo_batches, where

PHOTOS = 400


def recall_at(k: int, scores: Tensor, own: Tensor) -> float:
    """Share of the rows of (N, K) scores with fewer than k above that of their own column (N,), in percent."""
    better = (scores > scores.gather(1, own[:, None])).sum(1)
    return 100 * float((better < k).float().mean())


def caption_recall(texts: Tensor, photos: Tensor, k: int = 10) -> float:
    """Share of (N, D) captions whose photo, of as many in the same order, is among the best k, in percent."""
    return recall_at(k, texts @ photos.T, torch.arange(len(texts)))


def model_caption_recall(model: MiniModel, samples: Sequence[Sample]) -> float:
    """IR@10 of first captions over at most 400 captioned photos, in percent."""
    rows = where(samples, lambda sample: sample.captions)[:PHOTOS]
    images = _predictions(model, samples, rows, "pred_retrievals")[:, 0]
    captions = encode_texts(model, [samples[row].captions[0] for row in rows])
    return caption_recall(captions, F.normalize(images.float(), dim=-1))


def mask_recall(model: MiniModel, samples: Sequence[Sample]) -> float:
    """Share of masks that some proposal meets at IoU 0.5, over at most 400 photos with masks, in percent."""
    rows = where(samples, lambda sample: sample.regions)[:PHOTOS]
    met: list[bool] = []
    for row, logits in zip(rows, _predictions(model, samples, rows, "pred_masks"), strict=True):
        true = F.interpolate(samples[row].masks()[None], size=logits.shape[-2:], mode="area")[0]
        met += (mask_ious(logits, true).amax(0) >= 0.5).tolist()
    return 100 * sum(met) / max(1, len(met))


def _predictions(model: MiniModel, samples: Sequence[Sample], rows: NDArray[np.int64], name: str) -> Tensor:
    """One kind of predictions of some photos, without prompts."""
    batches = photo_batches(samples, rows, model.config.side)
    return torch.cat([model.see(model.pyramid(pixels), Prompts()).final[name] for _, pixels in batches])
