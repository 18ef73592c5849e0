"""Stage `vision`: the backbone and pixel decoder learn from cached teacher outputs, before there is any interface.

The pooled coarsest map learns the direction of the teachers' pooled features, of whole photos and of the very crops
that the teachers saw; it also learns where the shared space has them and which texts that is near to, so that what
words speak of comes first. The mask features learn what two segmenters paint; the heads that do this are thrown away
afterwards. With them the interface's cells learn which mask they lie in, which costs little here. Small pictures come
first: they teach most of what large ones do in half the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import InputError
from ...interface.find.tower_paths import Head
from ...interface.find_mini.model import MiniModel
from ...models.vision.tower import to_side
from ..loop import Stage, StageSettings, decay_groups
from .augment import Crop, jitter, random_crop, view_crop
from .batches import cropped_masks
from .cell_losses import cell_losses
from .measures import caption_recall
from .samples import COMPLETE, Samples, Views, project_targets, target_directions
from .sentences import KINDS, Sentences
from .space_stage import VISION_DIM, Space

VOC_CLASSES, ADE_CLASSES = 21, 32
SURE = 0.6  # a painted cell counts where the segmenter's probability is above this
SIDES = ((0.3, 96), (0.8, 128), (1.0, 160))  # until which share of the time, side of the pictures
PAINTED_SHARE = 0.25  # of a batch that goes through the pixel decoder, which costs as much as the backbone
WHOLE_SHARE = 0.5  # of the rest that is whole photos
CELL_WEIGHTS = {"cell_bce": 2.0, "cell_dice": 2.0, "cell_score": 1.0}
ANCHORS = 3072  # texts of a kind drawn for every batch
MEASURED_BATCH = 64


class Anchors:
    """Where the shared space has the views, and texts to measure nearness by.

    Args:
        space: of stage `space`.
        places: (N, D) unit vectors of the views in it, which the tower learns.
        sentences: captions and words that places are near to or far from.
        held, held_vectors: captioned held-out photos, and the sentence vectors of their first captions.
    """

    def __init__(
        self, space: Space, places: Tensor, sentences: Sentences, held: Samples, held_vectors: NDArray[np.float16]
    ) -> None:
        self.places = places
        captions = sentences.kinds == KINDS.index("caption")
        words = np.isin(sentences.kinds, [KINDS.index("name"), KINDS.index("lemma")])
        self.banks = [space.of_texts(sentences.vectors[chosen]) for chosen in (captions, words)]
        self.scale = float(space.log_scale.exp())
        self.held_rows = held.where(lambda n: bool(held.captions[n]))
        self.held_texts = space.of_texts(held_vectors)

    def losses(self, predicted: Tensor, views: NDArray[np.int64], rng: np.random.Generator) -> dict[str, Tensor]:
        """Cosine of (B, D) positions with the true ones, and divergence of how near each is to drawn texts."""
        true = self.places[torch.as_tensor(views)]
        divergence = predicted.new_zeros(())
        for bank in self.banks:
            texts = bank[torch.as_tensor(rng.integers(0, len(bank), ANCHORS))].T * self.scale
            true_nearness, nearness = F.log_softmax(true @ texts, 1), F.log_softmax(predicted @ texts, 1)
            divergence = divergence + F.kl_div(nearness, true_nearness, log_target=True, reduction="batchmean")
        return {"place": 4 * (1 - (predicted * true).sum(1)).mean(), "near": divergence}

    def recall(self, held_places: Tensor) -> float:
        """Caption IR@10 of the positions of the held-out photos, in percent."""
        return caption_recall(self.held_texts, held_places[torch.as_tensor(self.held_rows)])


class VisionStage(Stage):
    """Distils cached teacher outputs into the vision tower of a `MiniModel`.

    Args:
        views: of the training photos, what the teachers saw.
        anchors: the shared space.
        basis: (n, P) teacher vectors that their projection is fitted on.
    """

    name = "vision"

    def __init__(
        self,
        settings: StageSettings,
        model: MiniModel,
        train: Samples,
        views: Views,
        held: Samples,
        anchors: Anchors,
        basis: NDArray[np.float32],
    ) -> None:
        if train.painted is None or held.pooled is None:
            raise InputError(
                "stage vision learns from teacher targets, none given; pass --targets a folder written by "
                "tools/cache_teachers.py"
            )
        super().__init__(settings)
        self.side = _side(0.0)
        self.tower, self.interface = model.vision, model.interface
        self.train_set, self.painted, self.views, self.held, self.anchors = train, train.painted, views, held, anchors
        mean, components = project_targets(basis, min(VISION_DIM, basis.shape[1]))
        self.targets = target_directions(views.pooled, mean, components)
        self.held_targets = target_directions(held.pooled, mean, components)
        self.painted_rows = np.flatnonzero(self.painted[:, 1::2].any((1, 2, 3)))
        self.outlined_rows = train.drawable(train.outlined)
        channels, dim = self.tower.widths[-1], anchors.places.shape[1]
        self.pooled_head = nn.Linear(channels, components.shape[1])
        self.place_head = Head(channels, 2 * dim, dim, dropout=0.1)
        self.painted_head = nn.Conv2d(self.tower.width, VOC_CLASSES + ADE_CLASSES, 1)
        heads = {"pooled": self.pooled_head, "place": self.place_head, "painted": self.painted_head}
        self.module = nn.ModuleDict({"tower": self.tower, "heads": nn.ModuleDict(heads), "interface": self.interface})

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Weight decay on matrices and kernels only."""
        return decay_groups(self.module, self.settings.rate, self.settings.decay)

    def losses(self, rng: np.random.Generator, share: float = 0.0) -> dict[str, Tensor]:
        """Cosine to the pooled target, similarities within the batch, the space, what the segmenters paint."""
        self.side = side = _side(share)
        painted_rows, painted_crop, chosen = self._draw(rng)
        photos = self.train_set.tensor(painted_rows)
        views = self.train_set.tensor(self.views.rows[chosen])
        crop = view_crop(self.views.boxes[chosen], rng)
        pixels = torch.cat([painted_crop(photos, side), crop(views, side)])
        maps = self.tower.backbone(self.tower.normalise(jitter(pixels, rng)))
        mean = maps[3].mean((2, 3))
        seen = np.concatenate([painted_rows, chosen])
        pooled, target = self._pooled(mean), self.targets[seen]  # the first views are the whole photos, in order
        losses = {
            "pooled": 4 * (1 - (pooled * target).sum(1)).mean(),
            "similar": 4 * F.mse_loss(pooled @ pooled.T, target @ target.T),
        }
        losses |= self.anchors.losses(self.place_head(mean), seen, rng)
        return losses | self._painted_losses(maps, painted_rows, painted_crop, rng)

    def _draw(self, rng: np.random.Generator) -> tuple[np.ndarray, Crop, np.ndarray]:
        """Whole photos that the segmenters painted, their crop, and further views, a part of them whole photos."""
        count = max(1, int(self.photos_per_step * PAINTED_SHARE))
        painted = rng.choice(self.painted_rows, count, replace=len(self.painted_rows) < count)
        if len(self.outlined_rows):
            painted[: count // 2] = rng.choice(self.outlined_rows, count // 2)
        photos, rest = len(self.train_set), self.photos_per_step - count
        whole_count = int(rest * WHOLE_SHARE) if len(self.views) > photos else rest
        whole = rng.integers(0, photos, whole_count)
        crops = rng.integers(photos, max(len(self.views), photos + 1), rest - whole_count)
        return painted, random_crop(count, rng, smallest=0.75), np.concatenate([whole, crops])

    def _painted_losses(
        self, maps: Sequence[Tensor], rows: NDArray[np.int64], crop: Crop, rng: np.random.Generator
    ) -> dict[str, Tensor]:
        """What the segmenters painted, and the masks that cells lie in."""
        pyramid = self.tower.pixel_decoder([level[: len(rows)] for level in maps])
        logits = self.painted_head(pyramid.mask_features).float()
        target = crop(torch.as_tensor(self.painted[rows]).float(), logits.shape[-1], nearest=True)
        voc, ade = logits.split((VOC_CLASSES, ADE_CLASSES), 1)
        losses = {"voc": _painted_loss(voc, target[:, :2]), "ade": _painted_loss(ade, target[:, 2:])}
        if self.interface.config.seeds:
            masks, _ = cropped_masks(self.train_set, rows, crop, logits.shape[-1], rng)
            cells = self.interface.seeds.cells(self.interface.features(pyramid.levels))
            placed = self.interface.seeds.placed(pyramid.mask_features)
            complete = torch.tensor([len(self.train_set.regions[n]) >= COMPLETE for n in rows])
            of_cells = cell_losses(self.interface, cells, placed, masks, complete, rng)
            losses |= {name: CELL_WEIGHTS[name] * value for name, value in of_cells.items()}
        return losses

    def measure(self) -> dict[str, float]:
        """On held-out photos: mean cosine to the pooled target, caption IR@10 with the teacher's captions."""
        means = []
        for start in range(0, len(self.held), MEASURED_BATCH):
            pixels = to_side(self.held.tensor(slice(start, start + MEASURED_BATCH)), self.side)
            means.append(self.tower.backbone(self.tower.normalise(pixels))[3].mean((2, 3)))
        mean = torch.cat(means)
        cosine = (self._pooled(mean) * self.held_targets).sum(1).mean()
        return {"cosine": float(cosine), "IR@10": self.anchors.recall(self.place_head(mean))}

    def _pooled(self, mean: Tensor) -> Tensor:
        return F.normalize(self.pooled_head(mean).float(), dim=1)


def _side(share: float) -> int:
    """Side of the pictures, which grow with the time that is used."""
    return next((side for until, side in SIDES if share < until), SIDES[-1][1])


def _painted_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of (B, K, h, w) logits with classes, over the cells where the segmenter was sure."""
    loss = F.cross_entropy(logits, target[:, 0].long(), reduction="none")
    sure = (target[:, 1] / 255 > SURE).float()
    return (loss * sure).sum() / sure.sum().clamp(min=1)
