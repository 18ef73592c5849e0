"""Stage `vision`: the backbone and pixel decoder learn from cached teacher outputs, before there is any interface.

The pooled coarsest map learns the direction of the teachers' pooled features; the mask features learn what two
segmenters paint. The heads that do this are thrown away afterwards.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import InputError
from ..models.vision import VisionTower
from .augment import jitter, random_crop, whole
from .samples import Samples, project_targets, target_directions

VOC_CLASSES, ADE_CLASSES = 21, 32
SURE = 0.6  # a painted cell counts where the segmenter's probability is above this


class VisionStage:
    """Distils cached teacher outputs into a `VisionTower`."""

    name = "vision"

    def __init__(
        self,
        tower: VisionTower,
        train: Samples,
        held_out: Samples,
        *,
        side: int = 128,
        batch: int = 64,
        lr: float = 1.5e-3,
        target_dim: int = 256,
    ) -> None:
        if train.pooled is None or train.painted is None or held_out.pooled is None:
            raise InputError(
                "stage vision learns from teacher targets, none given; pass --targets a folder written by "
                "tools/cache_teachers.py"
            )
        self.tower, self.train_set, self.held_out = tower, train, held_out
        self.side, self.photos_per_step, self.lr = side, batch, lr
        mean, components = project_targets(train.pooled, target_dim)
        self.targets = target_directions(train.pooled, mean, components)
        self.held_out_targets = target_directions(held_out.pooled, mean, components)
        heads = nn.ModuleDict(
            {
                "pooled": nn.Linear(tower.widths[-1], target_dim),
                "painted": nn.Conv2d(tower.width, VOC_CLASSES + ADE_CLASSES, 1),
            }
        )
        self.module = nn.ModuleDict({"tower": tower, "heads": heads})

    def parameter_groups(self) -> list[dict[str, object]]:
        """Weight decay on matrices and kernels only."""
        weights = [p for p in self.module.parameters() if p.ndim > 1]
        rest = [p for p in self.module.parameters() if p.ndim <= 1]
        return [
            {"params": weights, "lr": self.lr, "weight_decay": 0.05},
            {"params": rest, "lr": self.lr, "weight_decay": 0.0},
        ]

    def losses(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """Cosine to the pooled target, similarities within the batch, cross-entropy to what the segmenters paint."""
        few = len(self.train_set) < self.photos_per_step
        rows = rng.choice(len(self.train_set), self.photos_per_step, replace=few)
        crop = random_crop(len(rows), rng)
        pixels = crop(_pixels(self.train_set, rows), self.side)
        pooled, painted = self._forward(self.tower.normalise(jitter(pixels, rng)))
        target = self.targets[rows]
        painted_target = crop(torch.from_numpy(self.train_set.painted[rows]).float(), painted.shape[-1], nearest=True)  # type: ignore[index]
        voc, ade = painted.split((VOC_CLASSES, ADE_CLASSES), 1)
        similar = F.mse_loss(pooled @ pooled.T, target @ target.T)
        return {
            "pooled": 4 * (1 - (pooled * target).sum(1)).mean(),
            "similar": 4 * similar,
            "voc": _painted_loss(voc, painted_target[:, :2]),
            "ade": _painted_loss(ade, painted_target[:, 2:]),
        }

    def measure(self) -> dict[str, float]:
        """Mean cosine to the pooled target on held-out photos."""
        total = 0.0
        for start in range(0, len(self.held_out), 64):
            rows = np.arange(start, min(start + 64, len(self.held_out)))
            pixels = whole(len(rows))(_pixels(self.held_out, rows), self.side)
            pooled, _ = self._forward(self.tower.normalise(pixels))
            total += float((pooled * self.held_out_targets[rows]).sum())
        return {"cosine": total / max(1, len(self.held_out))}

    def _forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.tower.backbone(pixels)
        pyramid = self.tower.pixel_decoder(maps)
        pooled = self.module["heads"]["pooled"](maps[3].mean((2, 3)))  # type: ignore[index]
        return F.normalize(pooled.float(), dim=1), self.module["heads"]["painted"](pyramid.mask_features).float()  # type: ignore[index]


def _pixels(samples: Samples, rows: np.ndarray) -> Tensor:
    return torch.from_numpy(samples.pixels[rows]).permute(0, 3, 1, 2).float()


def _painted_loss(logits: Tensor, target: Tensor) -> Tensor:
    loss = F.cross_entropy(logits, target[:, 0].long(), reduction="none")
    sure = (target[:, 1] / 255 > SURE).float()
    return (loss * sure).sum() / sure.sum().clamp(min=1)
