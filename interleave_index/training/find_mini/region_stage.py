"""Stage `regions`: the region path learns what masks and boxes show, the tower standing still.

Mean features inside of every mask that has a name, and of every box that the teachers saw by itself, are computed once
on whole photos; the head is then trained on large batches in minutes. Masks learn their names among all names, boxes
the position that the shared space gives to what the teachers saw there, so that things nobody named have one too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import InputError
from ...interface.find.model import FindModel
from ...interface.find.tower_paths import inside
from .augment import whole
from .samples import Samples, Views, held_out
from .space_stage import Space

NAME_SCALE = 20.0  # of the cosines between masks and names
SIDE = 40  # of the coverages that means are taken under
BATCH = 64


class RegionStage:
    """The region path of a `FindModel`, by names of masks and positions of boxes.

    Args:
        train: photos with masks, the first of `views`.
        names, name_places: all names of masks with their positions, (K, D).
    """

    name = "regions"

    def __init__(
        self,
        model: FindModel,
        train: Samples,
        views: Views,
        space: Space,
        names: Sequence[str],
        name_places: Tensor,
        held: Samples,
        *,
        batch: int = 1024,
        lr: float = 1e-3,
        seed: int = 0,
    ) -> None:
        self.photos_per_step, self.lr = batch, lr
        self.module: nn.Module = model.interface.paths
        self.head, self.name_places = model.interface.paths.region, name_places
        place = {name: n for n, name in enumerate(names)}
        rng = np.random.default_rng(seed)
        free = [n for n in range(len(train)) if not held_out(train.keys[n])]
        self.masks, self.labels = named_means(model, train, free, place, rng)
        self.held_masks, self.held_labels = named_means(model, held, range(len(held)), place, None)
        crops = np.flatnonzero(np.arange(len(views)) >= len(train))
        self.boxes = box_means(model, train, views, crops, rng)
        self.box_places = space.of_photos(views.pooled[crops])
        if not len(self.masks) and not len(self.boxes):
            raise InputError(
                "stage regions learns from named masks and from crops that teachers saw, the packs hold neither; leave "
                "the stage out, or cache crops with tools/cache_teachers.py --views"
            )
        count = Counter(self.labels.tolist())
        odds = np.array([count[label] ** -0.5 for label in self.labels.tolist()])  # rare names more often
        self.odds = odds / max(odds.sum(), 1e-9)

    def at(self, share: float) -> None:
        """Nothing changes with time."""

    def parameter_groups(self) -> list[dict[str, object]]:
        """The region path alone."""
        return [{"params": list(self.head.parameters()), "lr": self.lr, "weight_decay": 0.1}]

    def losses(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """Cross-entropy of masks among all names; cosine of boxes with the positions of what is in them."""
        losses = {}
        if len(self.masks):
            rows = torch.as_tensor(rng.choice(len(self.masks), self.photos_per_step, p=self.odds))
            logits = NAME_SCALE * self.head(self.masks[rows].float()) @ self.name_places.T
            losses["names"] = F.cross_entropy(logits, self.labels[rows])
        if len(self.boxes):
            boxes = torch.as_tensor(rng.integers(0, len(self.boxes), self.photos_per_step))
            cosine = (self.head(self.boxes[boxes].float()) * self.box_places[boxes]).sum(1)
            losses["boxes"] = 2 * (1 - cosine).mean()
        return losses

    def measure(self) -> dict[str, float]:
        """Share of held-out masks whose name is among the best 1 and 5 of all names, in percent."""
        if not len(self.held_masks):
            return {}
        scores = self.head(self.held_masks.float()) @ self.name_places.T
        rank = (scores > scores.gather(1, self.held_labels[:, None])).sum(1)
        return {f"top-{k}": 100 * float((rank < k).float().mean()) for k in (1, 5)}


def named_means(
    model: FindModel, samples: Samples, rows: Sequence[int], place: dict[str, int], rng: np.random.Generator | None
) -> tuple[Tensor, Tensor]:
    """Mean deep features (M, F) float16 inside of all masks whose name is known, and the number of each name (M,).

    Args:
        rng: of the flips; None for none.
    """
    wanted = {n: [r for r in samples.regions[n] if r.label in place] for n in rows}
    photos = np.array([n for n in rows if wanted[n]], np.int64)
    weights = [torch.as_tensor(np.stack([r.mask for r in wanted[n]])).float()[None] / 255 for n in photos]
    coverage = [F.interpolate(w, (SIDE, SIDE), mode="area")[0] for w in weights]
    labels = [place[str(r.label)] for n in photos for r in wanted[n]]
    return _means(model, samples, photos, coverage, rng), torch.tensor(labels, dtype=torch.long)


def box_means(
    model: FindModel, samples: Samples, views: Views, crops: NDArray[np.int64], rng: np.random.Generator
) -> Tensor:
    """Mean deep features (M, F) float16 inside the boxes of some views, in order."""
    if not len(crops):
        return torch.zeros(0, 0)
    sorting = np.argsort(views.rows[crops], kind="stable")
    order = crops[sorting]
    photos, counts = np.unique(views.rows[order], return_counts=True)
    middle = (torch.arange(SIDE) + 0.5) / SIDE
    coverage = []
    for boxes in np.split(views.boxes[order], np.cumsum(counts)[:-1]):
        x0, y0, x1, y1 = torch.as_tensor(boxes).T[..., None]
        within_x, within_y = (x0 <= middle) & (middle <= x1), (y0 <= middle) & (middle <= y1)
        coverage.append((within_y[:, :, None] & within_x[:, None]).float())
    means = _means(model, samples, photos, coverage, rng)
    found = torch.empty_like(means)
    found[torch.as_tensor(sorting)] = means
    return found


@torch.no_grad()
def _means(
    model: FindModel,
    samples: Samples,
    photos: NDArray[np.int64],
    coverage: Sequence[Tensor],
    rng: np.random.Generator | None,
) -> Tensor:
    """Means under every coverage of every photo, one photo after the other; photos are flipped at random."""
    model.eval()
    found = []
    for start in range(0, len(photos), BATCH):
        rows, some = photos[start : start + BATCH], coverage[start : start + BATCH]
        flipped = torch.as_tensor(rng.random(len(rows)) < 0.5) if rng is not None else torch.zeros(len(rows)).bool()
        pixels = torch.as_tensor(samples.pixels[rows]).permute(0, 3, 1, 2).float()
        pixels = whole(len(rows))(torch.where(flipped[:, None, None, None], pixels.flip(3), pixels), model.config.side)
        with torch.autocast(torch.get_default_device().type, torch.bfloat16):
            deep = model.vision.deep(model.vision.backbone(model.vision.normalise(pixels))).float()
        for n, own in enumerate(some):
            under = own.flip(2) if flipped[n] else own
            found.append(inside(under[None], deep[n : n + 1])[0].half())
    return torch.cat(found) if found else torch.zeros(0, 0)
