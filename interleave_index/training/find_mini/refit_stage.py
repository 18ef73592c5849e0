"""Stage `refit`: a backbone that went on learning, and the paths that were made for it as it was.

The paths say where the towers' features lie in the space. While the backbone learns they drift, and lose some of what
they knew of captions and names. So they are taken back as they were, and the path of regions is fitted to the new
features: it is to say of every mask what the earlier model says of it, and to tell the names of masks apart better than
that. Both backbones stand still; means inside of all masks are computed once.
"""

from __future__ import annotations

from collections import Counter
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import InputError
from ...interface.find import tasks
from ...interface.find.model import FindModel
from ...interface.find.tower_paths import TowerPaths, inside
from ...models.vision.tower import to_side
from .samples import Samples, held_out

NAME_SCALE = 20.0  # of the cosines between masks and names
MASKS, BOXES = 3, 2  # of a photo: masks at most, and boxes drawn at random
SMALLEST, LARGEST = 0.2, 0.7  # sides of boxes, in shares of the photo's
BATCH = 32


class RefitStage:
    """The region path of a `FindModel`, by what an earlier model says and by names.

    Args:
        earlier: the model whose paths are taken back.
        train: photos with masks; those held out by their key are measured with.
    """

    name = "refit"

    def __init__(
        self,
        model: FindModel,
        earlier: FindModel,
        train: Samples,
        *,
        batch: int = 1024,
        lr: float = 1e-3,
        seed: int = 0,
    ) -> None:
        self.photos_per_step, self.lr = batch, lr
        self.paths = model.interface.paths
        self.paths.load_state_dict(earlier.interface.paths.state_dict())
        self.module: nn.Module = self.paths
        weights, rows, labels = _coverages(train, np.random.default_rng(seed))
        if not len(rows):
            raise InputError("stage refit learns from photos, the packs hold none; leave the stage out")
        with torch.no_grad():
            side = model.config.side
            wanted = _means(earlier, train, weights, side)
            self.places = torch.cat([_said(earlier.interface.paths, *part) for part in _parts(wanted)])
            self.deep, self.fine = _means(model, train, weights, side)
            names = sorted({label for label in labels if label})
            self.name_places = tasks.encode_phrases(model, names).float() if names else torch.zeros(0, 1)
        number = {name: n for n, name in enumerate(names)}
        kept_back = np.array([held_out(train.keys[row]) for row in rows])
        named = np.array([label is not None for label in labels])
        self.labels = torch.tensor([-1 if label is None else number[label] for label in labels])
        self.free, self.named = np.flatnonzero(~kept_back), np.flatnonzero(named & ~kept_back)
        self.held, self.held_named = np.flatnonzero(kept_back), np.flatnonzero(named & kept_back)
        count = Counter(self.labels[self.named].tolist())
        odds = np.array([count[label] ** -0.5 for label in self.labels[self.named].tolist()])  # rare names more often
        self.odds = odds / max(odds.sum(), 1e-9)

    def at(self, share: float) -> None:
        """Nothing changes with time."""

    def parameter_groups(self) -> list[dict[str, object]]:
        """The region path alone."""
        learning = [*self.paths.region.parameters(), *self.paths.part.parameters()]
        for parameter in learning:
            parameter.requires_grad_(True)
        return [{"params": learning, "lr": self.lr, "weight_decay": 0.1}]

    def losses(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """Cosine with what the earlier model says; cross-entropy of named masks among all names."""
        losses = {"same": 8 * (1 - self._cosines(rng.choice(self.free, self.photos_per_step)).mean())}
        if len(self.named):
            rows = rng.choice(self.named, self.photos_per_step, p=self.odds)
            logits = NAME_SCALE * self._of(rows) @ self.name_places.T
            losses["names"] = F.cross_entropy(logits, self.labels[rows]) / 2
        return losses

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        """Mean cosine with the earlier model on photos held out, and how many of their masks are named right there."""
        measured = {"cosine": float(self._cosines(self.held).mean())} if len(self.held) else {}
        if len(self.held_named):
            scores, labels = self._of(self.held_named) @ self.name_places.T, self.labels[self.held_named]
            rank = (scores > scores.gather(1, labels[:, None])).sum(1)
            measured |= {f"top-{k}": 100 * float((rank < k).float().mean()) for k in (1, 5)}
        return measured

    def _of(self, rows: np.ndarray) -> Tensor:
        return _said(self.paths, self.deep[rows], self.fine[rows])

    def _cosines(self, rows: np.ndarray) -> Tensor:
        return (self._of(rows) * self.places[rows]).sum(1)


def _said(paths: TowerPaths, deep: Tensor, fine: Tensor) -> Tensor:
    """(N, C) unit vectors of masks by the mean features inside of them."""
    return F.normalize((paths.region(deep.float()) + paths.part(fine.float())).float(), dim=-1)


def _parts(means: tuple[Tensor, Tensor]) -> list[tuple[Tensor, Tensor]]:
    return list(zip(*(mean.split(8192) for mean in means), strict=True))


def _coverages(samples: Samples, rng: np.random.Generator) -> tuple[list[Tensor], np.ndarray, list[str | None]]:
    """Some masks and boxes of every photo: (n, h, w) bool a photo; of each its photo, and the name people gave it."""
    weights, rows, labels = list[Tensor](), list[int](), list[str | None]()
    for row, regions in enumerate(samples.regions):
        chosen = [regions[n] for n in rng.permutation(len(regions))[:MASKS]]
        side = chosen[0].mask.shape[0] if chosen else 48
        middle = (np.arange(side) + 0.5) / side
        masks = [region.mask > 127 for region in chosen]
        for _ in range(BOXES):
            size = rng.uniform(SMALLEST, LARGEST, 2)
            low = rng.uniform(0, 1 - size)
            down, across = ((low[n] <= middle) & (middle <= low[n] + size[n]) for n in (0, 1))
            masks.append(down[:, None] & across)
        weights.append(torch.as_tensor(np.stack(masks)))
        rows += [row] * len(masks)
        labels += [region.label if region.kind != "pseudo" else None for region in chosen] + [None] * BOXES
    return weights, np.array(rows, np.int64), labels


def _means(model: FindModel, samples: Samples, weights: list[Tensor], side: int) -> tuple[Tensor, Tensor]:
    """(M, T) deep and (M, F) mask features, float16, in the mean inside of every coverage."""
    model.eval()
    deep, fine = list[Tensor](), list[Tensor]()
    for start in range(0, len(samples), BATCH):
        pixels = torch.as_tensor(samples.pixels[start : start + BATCH]).permute(0, 3, 1, 2).float()
        with torch.autocast(torch.get_default_device().type, torch.bfloat16):
            pyramid = model.pyramid(to_side(pixels, side))
        seen = cast(Tensor, pyramid.deep)  # every tower that photos go through has them
        for n in range(len(pixels)):
            maps, features = seen[n : n + 1].float(), pyramid.mask_features[n : n + 1].float()
            own = F.adaptive_avg_pool2d(weights[start + n].float()[None], (features.shape[-2], features.shape[-1]))
            deep.append(inside(own, maps)[0].half())
            fine.append(inside(own, features)[0].half())
    return torch.cat(deep), torch.cat(fine)
