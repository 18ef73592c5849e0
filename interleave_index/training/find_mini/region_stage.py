"""Stage `regions`: the region path learns what masks and boxes show, the tower standing still.

Mean features inside of every mask that has a name, and of every box that the teachers saw by itself, are computed once
on whole photos; the head is then trained on large batches in minutes. Masks learn their names among all names, boxes
the position that the shared space gives to what the teachers saw there, so that things nobody named have one too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import InputError
from ...interface.find_mini.model import MiniModel
from ..loop import Stage, StageSettings
from .mask_means import mask_means, name_cross_entropy, naming_figures, rare_first
from .samples import Samples, Views
from .space_stage import Space

SIDE = 40  # of the coverages that means are taken under


class RegionStage(Stage):
    """The region path of a `MiniModel`, by names of masks and positions of boxes.

    Args:
        train: photos with masks, the first of `views`.
        names, name_places: all names of masks with their positions, (K, D).
    """

    name = "regions"

    def __init__(
        self,
        settings: StageSettings,
        model: MiniModel,
        train: Samples,
        views: Views,
        space: Space,
        names: Sequence[str],
        name_places: Tensor,
        held: Samples,
        *,
        seed: int = 0,
    ) -> None:
        super().__init__(settings)
        self.module, self.head = model.interface.paths, model.interface.paths.region
        self.name_places = name_places
        number = {name: n for n, name in enumerate(names)}
        rng = np.random.default_rng(seed)
        self.masks, self.labels = named_means(model, train, train.drawable(), number, rng)
        self.held_masks, self.held_labels = named_means(model, held, np.arange(len(held)), number)
        crops = np.arange(len(train), len(views))
        self.boxes = box_means(model, train, views, crops, rng)
        self.box_places = space.of_photos(views.pooled[crops])
        if not len(self.masks) and not len(self.boxes):
            raise InputError(
                "stage regions learns from named masks and from crops that teachers saw, the packs hold neither; leave "
                "the stage out, or cache crops with tools/cache_teachers.py --views"
            )
        self.odds = rare_first(self.labels)

    def learned(self) -> list[nn.Parameter]:
        """The region path alone."""
        return list(self.head.parameters())

    def losses(self, rng: np.random.Generator, share: float = 0.0) -> dict[str, Tensor]:
        """Cross-entropy of masks among all names; cosine of boxes with the positions of what is in them."""
        losses = {}
        if len(self.masks):
            rows = torch.as_tensor(rng.choice(len(self.masks), self.photos_per_step, p=self.odds))
            losses["names"] = name_cross_entropy(
                self.head(self.masks[rows].float()), self.name_places, self.labels[rows]
            )
        if len(self.boxes):
            boxes = torch.as_tensor(rng.integers(0, len(self.boxes), self.photos_per_step))
            cosine = (self.head(self.boxes[boxes].float()) * self.box_places[boxes]).sum(1)
            losses["boxes"] = 2 * (1 - cosine).mean()
        return losses

    def measure(self) -> dict[str, float]:
        """How many of the held-out masks are named right, in percent."""
        if not len(self.held_masks):
            return {}
        return naming_figures(self.head(self.held_masks.float()), self.name_places, self.held_labels)


def named_means(
    model: MiniModel,
    samples: Samples,
    rows: NDArray[np.int64],
    number: dict[str, int],
    rng: np.random.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Mean deep features (M, F) float16 inside of all masks whose name is known, and the number of each name (M,).

    Args:
        number: of every name.
        rng: of the mirror images; None for none.
    """
    photos, coverages, labels = list[int](), list[Tensor](), list[int]()
    for row in rows.tolist():
        named = [region for region in samples.regions[row] if region.label in number]
        if named:
            masks = torch.as_tensor(np.stack([region.mask for region in named])).float() / 255
            photos.append(row)
            coverages.append(F.interpolate(masks[None], (SIDE, SIDE), mode="area")[0])
            labels += [number[str(region.label)] for region in named]
    means, _ = mask_means(model, samples, np.array(photos, np.int64), coverages, rng=rng)
    return means, torch.tensor(labels, dtype=torch.long)


def box_means(
    model: MiniModel, samples: Samples, views: Views, crops: NDArray[np.int64], rng: np.random.Generator
) -> Tensor:
    """Mean deep features (M, F) float16 inside the boxes of some views, in order."""
    sorting = np.argsort(views.rows[crops], kind="stable")  # all boxes of one photo together
    order = crops[sorting]
    photos, first = np.unique(views.rows[order], return_index=True)
    middle = (torch.arange(SIDE) + 0.5) / SIDE
    coverages = []
    for boxes in np.split(views.boxes[order], first[1:]):
        x0, y0, x1, y1 = torch.as_tensor(boxes).T[..., None]
        across, down = (x0 <= middle) & (middle <= x1), (y0 <= middle) & (middle <= y1)
        coverages.append((down[:, :, None] & across[:, None]).float())
    means, _ = mask_means(model, samples, photos, coverages, rng=rng)
    in_order = torch.empty_like(means)
    in_order[torch.as_tensor(sorting)] = means
    return in_order
