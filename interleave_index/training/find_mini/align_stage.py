"""Stage `align`: the vision tower's photo path finds the positions that the teachers' space gives to photos.

The tower stands still, so its pooled features of every view are computed once and the head is trained on large
batches in minutes. Regions start from the same head.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...interface.find.model import FindModel
from .augment import view_crop, whole
from .measures import caption_recall
from .samples import Samples, Views, held_out
from .sentences import Sentences, captions_of
from .space_stage import Space

CAPTION_SCALE = 20.0  # of the cosines between photos and captions
MOST_VIEWS = 40_000  # each costs a look of the tower
NOISE = 0.03  # added to captions' positions, so that none is learned by heart


class Targets:
    """Positions of all training photos, and the two losses towards them.

    Args:
        places: (N, D) unit vectors.
    """

    def __init__(self, places: Tensor) -> None:
        self._places = places

    def image_loss(self, images: Tensor, rows: Tensor) -> Tensor:
        """1 - cosine of (N, D) image vectors with the positions of their photos."""
        return (1 - (F.normalize(images.float(), dim=-1) * self._places[rows]).sum(1)).mean()

    def text_loss(self, texts: Tensor, rows: Tensor, scale: Tensor) -> Tensor:
        """Cross-entropy of (M, D) captions over the positions of all photos."""
        if not len(texts):
            return texts.sum() * 0.0
        logits = scale * F.normalize(texts.float(), dim=-1) @ self._places.T
        return F.cross_entropy(logits, rows)


def random_captions(samples: Samples, rows: np.ndarray, rng: np.random.Generator) -> list[str]:
    """One caption of each photo, drawn at random."""
    return [str(rng.choice(samples.captions[n])) for n in rows]


class AlignStage:
    """The photo path of a `FindModel`, by positions of views and of captions."""

    name = "align"

    def __init__(
        self,
        model: FindModel,
        train: Samples,
        views: Views,
        sentences: Sentences,
        space: Space,
        held: Samples,
        *,
        batch: int = 1024,
        lr: float = 1e-3,
        seed: int = 0,
    ) -> None:
        self.model, self.held = model, held
        self.photos_per_step, self.lr = batch, lr
        self.module: nn.Module = model.interface.paths
        rng = np.random.default_rng(seed)
        views = _fewer(views, len(train), rng)
        self.features = pooled_features(model, train, views, rng)
        self.places = space.of_photos(views.pooled)
        self.text_places = space.of_texts(sentences.vectors)
        self.captions = captions_of(train, sentences)
        self.captioned = np.array(
            [n for n in range(len(train)) if len(self.captions[n]) and not held_out(train.keys[n])], np.int64
        )

    def at(self, share: float) -> None:
        """Nothing changes with time."""

    def parameter_groups(self) -> list[dict[str, object]]:
        """The photo path alone."""
        return [{"params": list(self.model.interface.paths.photo.parameters()), "lr": self.lr, "weight_decay": 0.1}]

    def losses(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """Cosine of views with their positions; cross-entropy of photos and captions both ways."""
        head = self.model.interface.paths.photo
        views = torch.as_tensor(rng.integers(0, len(self.features), self.photos_per_step))
        place = 1 - (head(self.features[views].float()) * self.places[views]).sum(1).mean()
        rows = rng.choice(self.captioned, min(self.photos_per_step, len(self.captioned)), replace=False)
        texts = torch.as_tensor(np.array([rng.choice(self.captions[n]) for n in rows], np.int64))
        wanted = self.text_places[texts]
        wanted = F.normalize(wanted + NOISE * torch.randn_like(wanted), dim=1)
        scores = CAPTION_SCALE * head(self.features[torch.as_tensor(rows)].float()) @ wanted.T
        target = torch.arange(len(scores))
        contrast = (F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)) / 2
        return {"place": 8 * place, "captions": contrast}

    def measure(self) -> dict[str, float]:
        """Caption IR@10 over the held-out captioned photos, in percent."""
        return {"IR@10": caption_recall(self.model, self.held)}


def _fewer(views: Views, photos: int, rng: np.random.Generator) -> Views:
    """All whole photos, which come first, and as many crops as `MOST_VIEWS` leaves room for."""
    crops = photos + rng.permutation(len(views) - photos)[: max(0, MOST_VIEWS - photos)]
    chosen = np.concatenate([np.arange(photos), np.sort(crops)])
    return Views(views.rows[chosen], views.boxes[chosen], views.pooled[chosen])


@torch.no_grad()
def pooled_features(model: FindModel, samples: Samples, views: Views, rng: np.random.Generator) -> Tensor:
    """(M, F) float16 pooled features of every view, some of them flipped; the first are the whole photos in order."""
    model.eval()
    found = []
    for start in range(0, len(views), 64):
        rows = views.rows[start : start + 64]
        pixels = torch.as_tensor(samples.pixels[rows]).permute(0, 3, 1, 2).float()
        crop = whole(len(rows)) if start + 64 <= len(samples) else view_crop(views.boxes[start : start + 64], rng)
        with torch.autocast(torch.get_default_device().type, torch.bfloat16):
            maps = model.vision.backbone(model.vision.normalise(crop(pixels, model.config.side)))
        found.append(model.vision.deep(maps).float().mean((2, 3)).half())
    return torch.cat(found)


def own_places(model: FindModel, samples: Samples) -> Tensor:
    """(N, D) unit vectors that a model's photo path gives to whole photos."""
    count = len(samples)
    boxes = np.tile(np.array([[0, 0, 1, 1]], np.float32), (count, 1))
    nothing = np.zeros((count, 0), np.float16)
    features = pooled_features(model, samples, Views(np.arange(count), boxes, nothing), np.random.default_rng(0))
    with torch.no_grad():
        return torch.cat([model.interface.paths.photo(some.float()) for some in features.split(8192)])
