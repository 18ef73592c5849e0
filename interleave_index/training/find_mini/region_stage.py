"""Stages `regions` and `refit`: the region path learns what masks and boxes show, the towers standing still.

Mean features inside of masks and boxes are computed once; the path is then trained on large batches in minutes. Both
stages learn the names of masks among all names, and positions: `regions` those that the shared space gives to the crops
that teachers saw, so that things nobody named have one too. `refit` is for a backbone that went on learning. The paths
tell where the towers' features lie in the space; while the backbone learns they drift, and lose some of what they knew
of captions and names. So they are taken back as the earlier model had them, and that of regions is fitted to the new
features: masks, and boxes drawn at random, are to have the vectors that the earlier model gives them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ...errors import InputError
from ...interface.find.tower_paths import TowerPaths
from ...interface.find_mini.texts import encode_phrases
from ..loop import Stage, StageSettings
from .features import box_coverages, mask_means
from .material import Material
from .measures import recall_at
from .samples import SampleRegion
from .space import CHUNK

NAME_SCALE = 20.0  # of the cosines between masks and names
MASKS, BOXES = 3, 2  # of a photo in `refit`: masks at most, and boxes
SMALLEST, LARGEST = 0.2, 0.7  # sides of those boxes, in shares of the photo's


@dataclass(frozen=True)
class Examples:
    """M masks and boxes, and what is known of each.

    Attributes:
        deep: (M, T) float16 means of the deep maps inside; fine: (M, F) float16 of the mask features.
        labels: (M,) int64 numbers of names, -1 for none.
        places: (M, D) unit vectors that they should have, zero where nothing is known.
    """

    deep: Tensor
    fine: Tensor
    labels: Tensor
    places: Tensor

    @cached_property
    def named(self) -> NDArray[np.int64]:
        """Positions of those that have a name."""
        return np.flatnonzero(self.labels.cpu().numpy() >= 0)

    @cached_property
    def placed(self) -> NDArray[np.int64]:
        """Positions of those whose vector is known."""
        return np.flatnonzero(self.places.any(1).cpu().numpy())

    @cached_property
    def odds(self) -> NDArray[np.float64]:
        """Chance of each named one to be drawn; rare names are drawn more often than they occur."""
        labels = self.labels[self.named].cpu().numpy()
        _, name, counts = np.unique(labels, return_inverse=True, return_counts=True)
        odds = 1 / np.sqrt(counts[name])
        shares: NDArray[np.float64] = odds / odds.sum()
        return shares

    def vectors(self, paths: TowerPaths, rows: NDArray[np.int64]) -> Tensor:
        """(n, D) unit vectors that the paths give to some of them."""
        deep, fine = self.deep[rows].float(), self.fine[rows].float()
        return F.normalize((paths.region(deep) + paths.part(fine)).float(), dim=-1)

    def cosines(self, paths: TowerPaths, rows: NDArray[np.int64]) -> Tensor:
        """(n,) of those vectors with the ones that they should be."""
        return (self.vectors(paths, rows) * self.places[rows]).sum(1)


class PathStage(Stage):
    """The region path, by examples. What is derived says which, and how much names and positions weigh."""

    module: TowerPaths
    examples: Examples  # to learn from
    held: Examples  # to measure with
    names: Tensor  # (K, D) unit vectors of all names
    name_weight: ClassVar[float]
    place_weight: ClassVar[float]

    def losses(self, rng: np.random.Generator, share: float = 0.0) -> dict[str, Tensor]:
        """Cross-entropy of named examples among all names; cosines with the vectors that they should have."""
        losses, examples = {}, self.examples
        if len(examples.named):
            rows = rng.choice(examples.named, self.photos_per_step, p=examples.odds)
            scores = NAME_SCALE * examples.vectors(self.module, rows) @ self.names.T
            losses["names"] = self.name_weight * F.cross_entropy(scores, examples.labels[rows])
        if len(examples.placed):
            rows = rng.choice(examples.placed, self.photos_per_step)
            losses["place"] = self.place_weight * (1 - examples.cosines(self.module, rows).mean())
        return losses

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        """Of examples held out: the mean cosine, and the share named right, at first or among five, in percent."""
        figures, named, placed = dict[str, float](), self.held.named, self.held.placed
        if len(placed):
            figures["cosine"] = float(self.held.cosines(self.module, placed).mean())
        if len(named):
            scores = self.held.vectors(self.module, named) @ self.names.T
            figures |= {f"top-{k}": recall_at(k, scores, self.held.labels[named]) for k in (1, 5)}
        return figures


class RegionStage(PathStage):
    """By the names of masks, and the positions of the crops that teachers saw."""

    name = "regions"
    learning = ("region.",)
    name_weight, place_weight = 1.0, 2.0

    def __init__(self, settings: StageSettings, material: Material) -> None:
        super().__init__(settings)
        model, held, (samples, views) = material.model, material.held, material.views(more=True)
        self.module = model.interface.paths
        number, self.names = material.mask_names()
        masks = [() if s.held_out else _named(s.regions, number) for s in samples]
        crops = len(samples) + np.argsort(views.rows[len(samples) :], kind="stable")  # in the order of the photos
        boxes = np.split(views.boxes[crops], np.searchsorted(views.rows[crops], np.arange(1, len(samples))))
        coverages, labels = _coverages(masks, boxes, number)
        if not len(labels):
            raise InputError(
                "stage regions learns from named masks and from crops that teachers saw, the packs hold neither; leave "
                "the stage out, or cache crops with tools/cache_teachers.py --views"
            )
        means = mask_means(model, samples, coverages, np.random.default_rng(material.seed))
        places = torch.zeros(len(labels), self.names.shape[1])
        places[labels < 0] = material.lessons()[1].of_photos(views.pooled[crops])
        self.examples = Examples(*means, labels, places)
        masks = [_named(sample.regions, number) for sample in held]
        coverages, labels = _coverages(masks, [views.boxes[:0]] * len(held), number)
        self.held = Examples(*mask_means(model, held, coverages), labels, torch.zeros(len(labels), 1))


class RefitStage(PathStage):
    """By the vectors of the model that the run started from, and the names that people gave to masks."""

    name = "refit"
    learning = ("region.", "part.")
    name_weight, place_weight = 0.5, 8.0

    def __init__(self, settings: StageSettings, material: Material) -> None:
        super().__init__(settings)
        model, earlier, samples = material.model, material.earlier, material.train
        if earlier is None:
            raise InputError("stage refit needs the paths of an earlier bundle; pass --start")
        self.module = model.interface.paths
        self.module.load_state_dict(earlier.interface.paths.state_dict())
        self.module.requires_grad_(True)
        rng = np.random.default_rng(material.seed)
        masks = []
        for sample in samples:
            chosen = [sample.regions[n] for n in rng.permutation(len(sample.regions))[:MASKS]]
            masks.append([region if region.by_hand else replace(region, label=None) for region in chosen])
        sides = rng.uniform(SMALLEST, LARGEST, (len(samples), BOXES, 2))
        corners = rng.uniform(0, 1 - sides)
        boxes = list(np.concatenate([corners, corners + sides], 2))
        names = sorted({region.label for own in masks for region in own if region.label})
        coverages, labels = _coverages(masks, boxes, {name: n for n, name in enumerate(names)})
        with torch.no_grad():
            no_places = torch.zeros(len(labels), 0)  # yet
            before = Examples(*mask_means(earlier, samples, coverages), labels, no_places)
            rows = np.arange(len(labels))
            parts = [rows[n : n + CHUNK] for n in range(0, len(rows), CHUNK)]
            places = torch.cat([before.vectors(earlier.interface.paths, part) for part in parts])
            self.names = encode_phrases(model, names).float() if names else places[:0]
        deep, fine = mask_means(model, samples, coverages)
        counts = [len(own) for own in coverages]
        held_out = torch.as_tensor(np.repeat([s.held_out for s in samples], counts))
        self.examples, self.held = (
            Examples(deep[on], fine[on], labels[on], places[on]) for on in (~held_out, held_out)
        )


def _named(regions: Sequence[SampleRegion], number: Mapping[str, int]) -> list[SampleRegion]:
    return [region for region in regions if region.label in number]


def _coverages(
    masks: Sequence[Sequence[SampleRegion]], boxes: Sequence[NDArray[np.floating]], number: Mapping[str, int]
) -> tuple[list[Tensor], Tensor]:
    """(n, MASK_SIDE, MASK_SIDE) a photo: its masks, and behind them its (m, 4) boxes; and the number of each one's
    name in one row, -1 where it has none.
    """
    coverages, labels = list[Tensor](), list[int]()
    for own_masks, own_boxes in zip(masks, boxes, strict=True):
        parts = [torch.tensor(region.mask)[None] for region in own_masks]
        coverages.append(torch.cat([*parts, box_coverages(own_boxes)]))
        labels += [number.get(region.label or "", -1) for region in own_masks] + [-1] * len(own_boxes)
    return coverages, torch.tensor(labels, dtype=torch.long)
