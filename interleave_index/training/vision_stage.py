"""Stage `vision`: the backbone and pixel decoder learn from cached teacher outputs, before there is any interface.

The pooled coarsest map learns the direction of the teachers' pooled features, of whole photos and of the very crops
that the teachers saw; the mask features learn what two segmenters paint. The heads that do this are thrown away
afterwards. Small pictures come first: they teach most of what large ones do in half the time.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import InputError
from ..models.vision import VisionTower
from .augment import Crop, jitter, random_crop, view_crop, whole
from .samples import Samples, Views, project_targets, target_directions

VOC_CLASSES, ADE_CLASSES = 21, 32
SURE = 0.6  # a painted cell counts where the segmenter's probability is above this
SIDES = ((0.3, 96), (0.8, 128), (1.0, 160))  # until which share of the time, side of the pictures
PAINTED_SHARE = 0.25  # of a batch that goes through the pixel decoder, which costs as much as the backbone
WHOLE_SHARE = 0.5  # of the rest that is whole photos


class VisionStage:
    """Distils cached teacher outputs into a `VisionTower`.

    Args:
        views: of the training photos, what the teachers saw.
        basis: photos that the projection of teacher vectors to `target_dim` is fitted on; the training photos if None.
    """

    name = "vision"

    def __init__(
        self,
        tower: VisionTower,
        train: Samples,
        views: Views,
        held_out: Samples,
        *,
        basis: Samples | None = None,
        batch: int = 64,
        lr: float = 1.5e-3,
        target_dim: int = 512,
    ) -> None:
        fitted = (basis or train).pooled
        if fitted is None or train.painted is None or held_out.pooled is None:
            raise InputError(
                "stage vision learns from teacher targets, none given; pass --targets a folder written by "
                "tools/cache_teachers.py"
            )
        self.tower, self.train_set, self.views, self.held_out = tower, train, views, held_out
        self.side, self.photos_per_step, self.lr = SIDES[0][1], batch, lr
        mean, components = project_targets(fitted, min(target_dim, fitted.shape[1]))
        self.targets = target_directions(views.pooled, mean, components)
        self.held_out_targets = target_directions(held_out.pooled, mean, components)
        self.painted_rows = np.flatnonzero(train.painted[:, 1::2].reshape(len(train), -1).max(1) > 0)
        heads = nn.ModuleDict(
            {
                "pooled": nn.Linear(tower.widths[-1], components.shape[1]),
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

    def at(self, share: float) -> None:
        """Pictures grow with the time that is used."""
        self.side = next((side for until, side in SIDES if share < until), SIDES[-1][1])

    def losses(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """Cosine to the pooled target, similarities within the batch, cross-entropy to what the segmenters paint."""
        painted_rows, painted_crop, chosen = self._draw(rng)
        boxes = self.views.boxes[chosen]
        pixels = torch.cat(
            [
                painted_crop(_pixels(self.train_set, painted_rows), self.side),
                view_crop(boxes, rng)(_pixels(self.train_set, self.views.rows[chosen]), self.side),
            ]
        )
        maps = self.tower.backbone(self.tower.normalise(jitter(pixels, rng)))
        pooled = self._pooled(maps[3])
        target = self.targets[np.concatenate([painted_rows, chosen])]  # the first views are the whole photos, in order
        losses = {
            "pooled": 4 * (1 - (pooled * target).sum(1)).mean(),
            "similar": 4 * F.mse_loss(pooled @ pooled.T, target @ target.T),
        }
        return losses | self._painted(maps, painted_rows, painted_crop)

    def _draw(self, rng: np.random.Generator) -> tuple[np.ndarray, Crop, np.ndarray]:
        """Whole photos that the segmenters painted, their crop, and further views, a part of them whole photos."""
        count = max(1, int(self.photos_per_step * PAINTED_SHARE))
        painted = rng.choice(self.painted_rows, count, replace=len(self.painted_rows) < count)
        rest = self.photos_per_step - count
        crops = len(self.views) - len(self.train_set)
        whole_ones = rest if not crops else int(rest * WHOLE_SHARE)
        views = np.concatenate(
            [
                rng.integers(0, len(self.train_set), whole_ones),
                rng.integers(len(self.train_set), max(len(self.views), len(self.train_set) + 1), rest - whole_ones),
            ]
        )
        return painted, random_crop(count, rng, smallest=0.75), views

    def _painted(self, maps: tuple[Tensor, ...], rows: np.ndarray, crop: Crop) -> dict[str, Tensor]:
        pyramid = self.tower.pixel_decoder([level[: len(rows)] for level in maps])
        logits = self.module["heads"]["painted"](pyramid.mask_features).float()  # type: ignore[index]
        target = crop(torch.as_tensor(self.train_set.painted[rows]).float(), logits.shape[-1], nearest=True)  # type: ignore[index]
        voc, ade = logits.split((VOC_CLASSES, ADE_CLASSES), 1)
        return {"voc": _painted_loss(voc, target[:, :2]), "ade": _painted_loss(ade, target[:, 2:])}

    def measure(self) -> dict[str, float]:
        """Mean cosine to the pooled target on held-out photos."""
        total = 0.0
        for start in range(0, len(self.held_out), 64):
            rows = np.arange(start, min(start + 64, len(self.held_out)))
            pixels = whole(len(rows))(_pixels(self.held_out, rows), self.side)
            pooled = self._pooled(self.tower.backbone(self.tower.normalise(pixels))[3])
            total += float((pooled * self.held_out_targets[rows]).sum())
        return {"cosine": total / max(1, len(self.held_out))}

    def _pooled(self, coarsest: Tensor) -> Tensor:
        return F.normalize(self.module["heads"]["pooled"](coarsest.mean((2, 3))).float(), dim=1)  # type: ignore[index]


def _pixels(samples: Samples, rows: np.ndarray) -> Tensor:
    return torch.as_tensor(samples.pixels[rows]).permute(0, 3, 1, 2).float()


def _painted_loss(logits: Tensor, target: Tensor) -> Tensor:
    loss = F.cross_entropy(logits, target[:, 0].long(), reduction="none")
    sure = (target[:, 1] / 255 > SURE).float()
    return (loss * sure).sum() / sure.sum().clamp(min=1)
