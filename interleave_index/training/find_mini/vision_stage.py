"""Stage `vision`: the backbone and pixel decoder learn from cached teacher outputs, before there is any interface.

The pooled coarsest map learns the direction of the teachers' pooled features, of whole photos and of the very crops
that the teachers saw; it also learns where the shared space has them and which texts that is near to, so that what
words speak of comes first. The mask features learn what two segmenters paint; the heads that do this are thrown away
afterwards. With them the interface's cells learn which mask they lie in, which costs little here. Small pictures come
first: they teach most of what large ones do in half the time.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import InputError
from ...interface.find.network import FindInterface
from ...interface.find.tower_paths import Head
from ...models.vision.tower import VisionTower
from .augment import Crop, jitter, random_crop, view_crop, whole
from .batches import COMPLETE, cropped_masks
from .cell_losses import seed_losses
from .samples import Samples, Views, project_targets, target_directions
from .samples import held_out as kept_back
from .sentences import KINDS, Sentences
from .space_stage import Space

VOC_CLASSES, ADE_CLASSES = 21, 32
SURE = 0.6  # a painted cell counts where the segmenter's probability is above this
SIDES = ((0.3, 96), (0.8, 128), (1.0, 160))  # until which share of the time, side of the pictures
PAINTED_SHARE = 0.25  # of a batch that goes through the pixel decoder, which costs as much as the backbone
WHOLE_SHARE = 0.5  # of the rest that is whole photos
SEED_WEIGHTS = {"seed_bce": 2.0, "seed_dice": 2.0, "seed_score": 1.0}
ANCHORS = 3072  # texts of a kind drawn for every batch


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
        self.banks = tuple(space.of_texts(sentences.vectors[chosen]) for chosen in (captions, words))
        self.scale = float(space.log_scale.exp())
        self.held_rows = held.where(lambda n: bool(held.captions[n]))
        self.held_texts = space.of_texts(held_vectors)

    def losses(self, found: Tensor, views: NDArray[np.int64], rng: np.random.Generator) -> dict[str, Tensor]:
        """Cosine of (B, D) found places with the true ones, and divergence of how near each is to drawn texts."""
        true = self.places[torch.as_tensor(views)]
        divergence = found.new_zeros(())
        for bank in self.banks:
            drawn = bank[torch.as_tensor(rng.integers(0, len(bank), ANCHORS))].T * self.scale
            wanted, said = F.log_softmax(true @ drawn, 1), F.log_softmax(found @ drawn, 1)
            divergence = divergence + F.kl_div(said, wanted, log_target=True, reduction="batchmean")
        return {"place": 4 * (1 - (found * true).sum(1)).mean(), "near": divergence}

    def recall(self, held_places: Tensor, at: int = 10) -> float:
        """Share of first captions whose photo is among the best `at` of all captioned held-out photos, in percent."""
        scores = self.held_texts @ held_places[torch.as_tensor(self.held_rows)].T
        rank = (scores > scores.diagonal()[:, None]).sum(1)
        return 100 * float((rank < at).float().mean())


class VisionStage:
    """Distils cached teacher outputs into a `VisionTower`.

    Args:
        interface: its cells learn masks, where it has them.
        views: of the training photos, what the teachers saw.
        anchors: the shared space.
        basis: photos that the projection of teacher vectors to `target_dim` is fitted on; the training photos if None.
    """

    name = "vision"

    def __init__(
        self,
        tower: VisionTower,
        interface: FindInterface,
        train: Samples,
        views: Views,
        held_out: Samples,
        anchors: Anchors,
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
        self.tower, self.train_set, self.views, self.held_out, self.anchors = tower, train, views, held_out, anchors
        self.side, self.photos_per_step, self.lr = SIDES[0][1], batch, lr
        mean, components = project_targets(fitted, min(target_dim, fitted.shape[1]))
        self.targets = target_directions(views.pooled, mean, components)
        self.held_out_targets = target_directions(held_out.pooled, mean, components)
        self.painted_rows = np.flatnonzero(train.painted[:, 1::2].reshape(len(train), -1).max(1) > 0)
        heads = nn.ModuleDict(
            {
                "pooled": nn.Linear(tower.widths[-1], components.shape[1]),
                "place": Head(tower.widths[-1], 2 * anchors.places.shape[1], anchors.places.shape[1], dropout=0.1),
                "painted": nn.Conv2d(tower.width, VOC_CLASSES + ADE_CLASSES, 1),
            }
        )
        by_hand = [n for n in range(len(train)) if any(r.kind != "pseudo" for r in train.regions[n])]
        self.outlined_rows = np.array([n for n in by_hand if not kept_back(train.keys[n])], np.int64)
        self.interface = interface
        self.module = nn.ModuleDict({"tower": tower, "heads": heads, "interface": interface})

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
        """Cosine to the pooled target, similarities within the batch, the space, what the segmenters paint."""
        painted_rows, painted_crop, chosen = self._draw(rng)
        boxes = self.views.boxes[chosen]
        pixels = torch.cat(
            [
                painted_crop(_pixels(self.train_set, painted_rows), self.side),
                view_crop(boxes, rng)(_pixels(self.train_set, self.views.rows[chosen]), self.side),
            ]
        )
        maps = self.tower.backbone(self.tower.normalise(jitter(pixels, rng)))
        mean = maps[3].mean((2, 3))
        pooled, seen = self._pooled(mean), np.concatenate([painted_rows, chosen])
        target = self.targets[seen]  # the first views are the whole photos, in order
        losses = {
            "pooled": 4 * (1 - (pooled * target).sum(1)).mean(),
            "similar": 4 * F.mse_loss(pooled @ pooled.T, target @ target.T),
        }
        losses |= self.anchors.losses(self.module["heads"]["place"](mean), seen, rng)  # type: ignore[index]
        return losses | self._painted(maps, painted_rows, painted_crop, rng)

    def _draw(self, rng: np.random.Generator) -> tuple[np.ndarray, Crop, np.ndarray]:
        """Whole photos that the segmenters painted, their crop, and further views, a part of them whole photos."""
        count = max(1, int(self.photos_per_step * PAINTED_SHARE))
        painted = rng.choice(self.painted_rows, count, replace=len(self.painted_rows) < count)
        if len(self.outlined_rows):
            painted[: count // 2] = rng.choice(self.outlined_rows, count // 2)
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

    def _painted(
        self, maps: tuple[Tensor, ...], rows: NDArray[np.int64], crop: Crop, rng: np.random.Generator
    ) -> dict[str, Tensor]:
        pyramid = self.tower.pixel_decoder([level[: len(rows)] for level in maps])
        logits = self.module["heads"]["painted"](pyramid.mask_features).float()  # type: ignore[index]
        target = crop(torch.as_tensor(self.train_set.painted[rows]).float(), logits.shape[-1], nearest=True)  # type: ignore[index]
        voc, ade = logits.split((VOC_CLASSES, ADE_CLASSES), 1)
        losses = {"voc": _painted_loss(voc, target[:, :2]), "ade": _painted_loss(ade, target[:, 2:])}
        if self.interface.config.seeds:
            masks, _ = cropped_masks(self.train_set, rows, crop, logits.shape[-1], rng)
            cells = self.interface.seeds.cells(self.interface.features(pyramid.levels))
            placed = self.interface.seeds.placed(pyramid.mask_features)
            outlined = torch.tensor([len(self.train_set.regions[n]) >= COMPLETE for n in rows])
            seeds = seed_losses(self.interface, cells, placed, masks, outlined, rng)
            losses |= {name: SEED_WEIGHTS[name] * value for name, value in seeds.items()}
        return losses

    def measure(self) -> dict[str, float]:
        """On held-out photos: mean cosine to the pooled target, caption IR@10 with the teacher's captions."""
        means = []
        for start in range(0, len(self.held_out), 64):
            rows = np.arange(start, min(start + 64, len(self.held_out)))
            pixels = whole(len(rows))(_pixels(self.held_out, rows), self.side)
            means.append(self.tower.backbone(self.tower.normalise(pixels))[3].mean((2, 3)))
        mean = torch.cat(means)
        cosine = (self._pooled(mean) * self.held_out_targets).sum(1).mean()
        return {"cosine": float(cosine), "IR@10": self.anchors.recall(self.module["heads"]["place"](mean))}  # type: ignore[index]

    def _pooled(self, mean: Tensor) -> Tensor:
        return F.normalize(self.module["heads"]["pooled"](mean).float(), dim=1)  # type: ignore[index]


def _pixels(samples: Samples, rows: np.ndarray) -> Tensor:
    return torch.as_tensor(samples.pixels[rows]).permute(0, 3, 1, 2).float()


def _painted_loss(logits: Tensor, target: Tensor) -> Tensor:
    loss = F.cross_entropy(logits, target[:, 0].long(), reduction="none")
    sure = (target[:, 1] / 255 > SURE).float()
    return (loss * sure).sum() / sure.sum().clamp(min=1)
