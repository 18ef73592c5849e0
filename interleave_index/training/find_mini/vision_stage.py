"""Stage `vision`: the backbone and pixel decoder learn from cached teacher outputs, before there is any interface.

The pooled coarsest map learns the direction of the teachers' pooled features, of whole photos and of the very crops
that the teachers saw; it also learns where the shared space has them and which texts that is near to, so that what
words speak of comes first. The mask features learn what two segmenters paint; the heads that do this are thrown away
afterwards. With them the interface's cells learn which mask they lie in, which costs little here. Small pictures come
first: they teach most of what large ones do in half the time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ...interface.find.tower_paths import Head
from ..loop import Stage, StageSettings
from .augment import Crop, jitter, random_crop, view_crop
from .batches import cropped_masks, is_complete
from .cell_losses import cell_losses
from .material import Anchors, Material
from .samples import drawable, photo_batches, pixels_of, pooled_of, project_targets, target_directions, where
from .space import VISION_DIM

VOC_CLASSES, ADE_CLASSES = 21, 32
SURE = 0.6  # a painted cell counts where the segmenter's probability is above this
SIDES = ((0.3, 96), (0.8, 128), (1.0, 160))  # until which share of the time, side of the pictures
PAINTED_SHARE = 0.25  # of a batch that goes through the pixel decoder, which costs as much as the backbone
WHOLE_SHARE = 0.5  # of the rest that is whole photos
CELL_WEIGHTS = {"cell_bce": 2.0, "cell_dice": 2.0, "cell_score": 1.0}


class VisionStage(Stage):
    """Distils cached teacher outputs into the vision tower of a `MiniModel`."""

    name = "vision"
    bare = ()

    def __init__(self, settings: StageSettings, material: Material) -> None:
        super().__init__(settings)
        self.samples, self.views = material.views(more=True)
        self.held, self.model, self.side = material.held, material.model, SIDES[0][1]
        self.anchors = Anchors(material, material.lessons()[1].of_photos(self.views.pooled))
        basis = pooled_of(material.train)
        mean, components = project_targets(basis, min(VISION_DIM, basis.shape[1]))
        self.targets = target_directions(self.views.pooled, mean, components)
        self.held_targets = target_directions(pooled_of(self.held), mean, components)
        self.painted_rows = where(self.samples, lambda s: s.painted is not None and s.painted[1::2].any())
        self.outlined_rows = drawable(self.samples, lambda s: s.outlined)
        tower, dim = self.model.vision, self.anchors.places.shape[1]
        self.pooled_head = nn.Linear(tower.widths[-1], components.shape[1])
        self.place_head = Head(tower.widths[-1], 2 * dim, dim, dropout=0.1)
        self.painted_head = nn.Conv2d(tower.width, VOC_CLASSES + ADE_CLASSES, 1)
        heads = {"pooled": self.pooled_head, "place": self.place_head, "painted": self.painted_head}
        parts = {"tower": tower, "heads": nn.ModuleDict(heads), "interface": self.model.interface}
        self.module = nn.ModuleDict(parts)

    def losses(self, rng: np.random.Generator, share: float = 0.0) -> dict[str, Tensor]:
        """Cosine to the pooled target, similarities within the batch, the space, what the segmenters paint."""
        self.side = side = next(side for until, side in SIDES if share <= until)
        painted_rows, painted_crop, chosen = self._draw(rng)
        photos = pixels_of(self.samples, painted_rows)
        views = pixels_of(self.samples, self.views.rows[chosen])
        crop = view_crop(self.views.boxes[chosen], rng)
        pixels = torch.cat([painted_crop(photos, side), crop(views, side)])
        maps = self._backbone(jitter(pixels, rng))
        mean = maps[3].mean((2, 3))
        seen = np.concatenate([painted_rows, chosen])
        pooled, target = self._pooled(mean), self.targets[seen]  # the first views are the whole photos, in order
        losses = {
            "pooled": 4 * (1 - (pooled * target).sum(1)).mean(),
            "similar": 4 * F.mse_loss(pooled @ pooled.T, target @ target.T),
        }
        losses |= self.anchors.losses(self.place_head(mean), seen, rng)
        return losses | self._painted_losses(maps, painted_rows, painted_crop, rng)

    def _draw(self, rng: np.random.Generator) -> tuple[NDArray[np.int64], Crop, NDArray[np.int64]]:
        """Whole photos that the segmenters painted, their crop, and further views, a part of them whole photos."""
        count = max(1, int(self.photos_per_step * PAINTED_SHARE))
        painted = rng.choice(self.painted_rows, count, replace=len(self.painted_rows) < count)
        if len(self.outlined_rows):
            painted[: count // 2] = rng.choice(self.outlined_rows, count // 2)
        photos, rest = len(self.samples), self.photos_per_step - count
        whole_count = int(rest * WHOLE_SHARE) if len(self.views) > photos else rest
        whole = rng.integers(0, photos, whole_count)
        crops = rng.integers(photos, max(len(self.views), photos + 1), rest - whole_count)
        return painted, random_crop(count, rng, smallest=0.75), np.concatenate([whole, crops])

    def _painted_losses(
        self, maps: Sequence[Tensor], rows: NDArray[np.int64], crop: Crop, rng: np.random.Generator
    ) -> dict[str, Tensor]:
        """What the segmenters painted, and the masks that cells lie in."""
        interface, samples = self.model.interface, [self.samples[row] for row in rows]
        pyramid = self.model.vision.pixel_decoder([level[: len(rows)] for level in maps])
        logits = self.painted_head(pyramid.mask_features).float()
        painted = torch.as_tensor(np.stack([np.asarray(sample.painted) for sample in samples])).float()
        target = crop(painted, logits.shape[-1], nearest=True)
        voc, ade = logits.split((VOC_CLASSES, ADE_CLASSES), 1)
        masks, _ = cropped_masks(samples, crop, logits.shape[-1], rng)
        cells = interface.seeds.cells(interface.features(pyramid.levels))
        placed = interface.seeds.placed(pyramid.mask_features)
        of_cells = cell_losses(
            interface, cells, placed, masks, torch.tensor([is_complete(sample) for sample in samples]), rng
        )
        return {
            "voc": _painted_loss(voc, target[:, :2]),
            "ade": _painted_loss(ade, target[:, 2:]),
            **{name: CELL_WEIGHTS[name] * value for name, value in of_cells.items()},
        }

    def measure(self) -> dict[str, float]:
        """On held-out photos: mean cosine to the pooled target, caption IR@10 with the teacher's captions."""
        batches = photo_batches(self.held, np.arange(len(self.held)), self.side)
        mean = torch.cat([self._backbone(pixels)[3].mean((2, 3)) for _, pixels in batches])
        cosine = (self._pooled(mean) * self.held_targets).sum(1).mean()
        return {"cosine": float(cosine), "IR@10": self.anchors.recall(self.place_head(mean))}

    def _backbone(self, pixels: Tensor) -> Sequence[Tensor]:
        maps: Sequence[Tensor] = self.model.vision.backbone(self.model.vision.normalise(pixels))
        return maps

    def _pooled(self, mean: Tensor) -> Tensor:
        return F.normalize(self.pooled_head(mean).float(), dim=1)


def _painted_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of (B, K, h, w) logits with classes, over the cells where the segmenter was sure."""
    loss = F.cross_entropy(logits, target[:, 0].long(), reduction="none")
    sure = (target[:, 1] / 255 > SURE).float()
    return (loss * sure).sum() / sure.sum().clamp(min=1)
