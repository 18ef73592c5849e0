"""Stage `refit`: a backbone that went on learning, and the paths that were made for it as it was.

The paths tell where the towers' features lie in the space. While the backbone learns they drift, and lose some of what
they knew of captions and names. So they are taken back as they were, and the path of regions is fitted to the new
features: it is to give every mask the vector that the earlier model gives it, and to tell the names of masks apart
better than that. Both backbones stand still; means inside of all masks are computed once.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import InputError
from ...interface.find.tower_paths import TowerPaths
from ...interface.find_mini.model import MiniModel
from ...interface.find_mini.texts import encode_phrases
from ..data import held_out
from ..loop import Stage, StageSettings
from .mask_means import mask_means, name_cross_entropy, naming_figures, rare_first
from .samples import MASK_SIDE, Samples
from .space_stage import CHUNK

MASKS, BOXES = 3, 2  # of a photo: masks at most, and boxes drawn at random
SMALLEST, LARGEST = 0.2, 0.7  # sides of boxes, in shares of the photo's


class RefitStage(Stage):
    """The region path of a `MiniModel`, by the vectors of an earlier model and by names.

    Args:
        earlier: the model whose paths are taken back.
        train: photos with masks; those held out by their key are measured with.
    """

    name = "refit"

    def __init__(
        self, settings: StageSettings, model: MiniModel, earlier: MiniModel, train: Samples, *, seed: int = 0
    ) -> None:
        super().__init__(settings)
        self.paths = self.module = model.interface.paths
        self.paths.load_state_dict(earlier.interface.paths.state_dict())
        self.paths.requires_grad_(True)
        if not len(train):
            raise InputError("stage refit learns from photos, the packs hold none; leave the stage out")
        coverages, rows, labels = _coverages(train, np.random.default_rng(seed))
        photos = np.arange(len(train))
        self.deep, self.fine = mask_means(model, train, photos, coverages, fine=True)
        names = sorted({label for label in labels if label})
        with torch.no_grad():
            deep, fine = mask_means(earlier, train, photos, coverages, fine=True)
            parts = zip(deep.split(CHUNK), fine.split(CHUNK), strict=True)
            self.places = torch.cat([_mask_vectors(earlier.interface.paths, *part) for part in parts])
            self.name_places = encode_phrases(model, names).float() if names else torch.zeros(0, 1)
        number = {name: n for n, name in enumerate(names)}
        self.labels = torch.tensor([-1 if label is None else number[label] for label in labels])
        kept_back = np.array([held_out(train.keys[row]) for row in rows])
        named = self.labels.cpu().numpy() >= 0
        self.free, self.named = np.flatnonzero(~kept_back), np.flatnonzero(named & ~kept_back)
        self.held, self.held_named = np.flatnonzero(kept_back), np.flatnonzero(named & kept_back)
        self.odds = rare_first(self.labels[self.named])

    def learned(self) -> list[nn.Parameter]:
        """The region path alone."""
        return [*self.paths.region.parameters(), *self.paths.part.parameters()]

    def losses(self, rng: np.random.Generator, share: float = 0.0) -> dict[str, Tensor]:
        """Cosine with the vectors of the earlier model; cross-entropy of named masks among all names."""
        rows = rng.choice(self.free, self.photos_per_step)
        losses = {"same": 8 * (1 - self._cosines(rows).mean())}
        if len(self.named):
            rows = rng.choice(self.named, self.photos_per_step, p=self.odds)
            losses["names"] = name_cross_entropy(self._vectors(rows), self.name_places, self.labels[rows]) / 2
        return losses

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        """Mean cosine with the earlier model on photos held out, and how many of their masks are named right there."""
        figures = {"cosine": float(self._cosines(self.held).mean())} if len(self.held) else {}
        if len(self.held_named):
            vectors = self._vectors(self.held_named)
            figures |= naming_figures(vectors, self.name_places, self.labels[self.held_named])
        return figures

    def _vectors(self, rows: np.ndarray) -> Tensor:
        return _mask_vectors(self.paths, self.deep[rows], self.fine[rows])

    def _cosines(self, rows: np.ndarray) -> Tensor:
        return (self._vectors(rows) * self.places[rows]).sum(1)


def _mask_vectors(paths: TowerPaths, deep: Tensor, fine: Tensor) -> Tensor:
    """(N, C) unit vectors of masks by the mean features inside of them."""
    return F.normalize((paths.region(deep.float()) + paths.part(fine.float())).float(), dim=-1)


def _coverages(samples: Samples, rng: np.random.Generator) -> tuple[list[Tensor], list[int], list[str | None]]:
    """Some masks and boxes of every photo: (n, h, w) bool a photo; of each its photo, and the name people gave it."""
    coverages, rows, labels = list[Tensor](), list[int](), list[str | None]()
    middle = (np.arange(MASK_SIDE) + 0.5) / MASK_SIDE
    for row, regions in enumerate(samples.regions):
        chosen = [regions[n] for n in rng.permutation(len(regions))[:MASKS]]
        masks = [region.mask > 127 for region in chosen]
        for _ in range(BOXES):
            size = rng.uniform(SMALLEST, LARGEST, 2)
            low = rng.uniform(0, 1 - size)
            down, across = (low[:, None] <= middle) & (middle <= (low + size)[:, None])
            masks.append(down[:, None] & across)
        coverages.append(torch.as_tensor(np.stack(masks)))
        rows += [row] * len(masks)
        labels += [region.label if region.by_hand else None for region in chosen] + [None] * BOXES
    return coverages, rows, labels
