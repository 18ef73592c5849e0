"""Figures on held-out photos while training goes on: quick ones, not those of the model card."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ...interface.find.model import FindModel
from ...interface.find.outputs import Output
from ...interface.find.prompts import Prompts
from ...interface.find.tasks import encode_text
from ...models.vision.tower import to_side
from .samples import Samples

PHOTOS = 400


def encoded(model: FindModel, samples: Samples, rows: NDArray[np.int64]) -> list[Output]:
    """Predictions without prompts, one batch of at most 32 photos after the other."""
    outputs = []
    for start in range(0, len(rows), 32):
        pixels = torch.as_tensor(samples.pixels[rows[start : start + 32]]).permute(0, 3, 1, 2).float()
        pyramid = model.pyramid(to_side(pixels, model.config.side))
        outputs.append(model.see(pyramid, Prompts()).final)
    return outputs


def caption_recall(model: FindModel, samples: Samples, at: int = 10) -> float:
    """Share of first captions whose photo is among the best `at` of at most 400 captioned photos, in percent."""
    rows = samples.where(lambda n: bool(samples.captions[n]))[:PHOTOS]
    images = torch.cat([o["pred_retrievals"][:, 0] for o in encoded(model, samples, rows)])
    scores = encode_text(model, [samples.captions[n][0] for n in rows]) @ F.normalize(images.float(), dim=-1).T
    rank = (scores > scores.diagonal()[:, None]).sum(1)
    return 100 * float((rank < at).float().mean())


def mask_recall(model: FindModel, samples: Samples) -> float:
    """Share of masks that some proposal meets at IoU 0.5, over at most 400 photos with masks, in percent."""
    rows = samples.where(lambda n: bool(samples.regions[n]))[:PHOTOS]
    masks = torch.cat([o["pred_masks"] for o in encoded(model, samples, rows)])
    met = [_best_iou(masks[n], region.mask) >= 0.5 for n, row in enumerate(rows) for region in samples.regions[row]]
    return 100 * sum(met) / max(1, len(met))


def _best_iou(logits: Tensor, mask: NDArray[np.uint8]) -> float:
    coverage = torch.tensor(mask, dtype=torch.float32)[None, None] / 255
    wanted = F.interpolate(coverage, size=logits.shape[-2:], mode="area")[0, 0] > 0.5
    on = logits > 0
    return float(((on & wanted).sum((1, 2)) / (on | wanted).sum((1, 2)).clamp(min=1)).max())
