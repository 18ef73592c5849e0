"""Stage `align`: the vision tower's photo path finds the positions that the teachers' space gives to photos.

The tower stands still, so its pooled features of every view are computed once and the head is trained on large
batches in minutes. Regions start from the same head.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...interface.find_mini.model import MiniModel
from ...models.vision.tower import to_side
from ..loop import Stage, StageSettings
from ..losses import contrastive_loss
from .augment import view_crop
from .measures import model_caption_recall
from .samples import Samples, Views, whole_views
from .sentences import Sentences, captions_of
from .space_stage import CHUNK, Space

CAPTION_SCALE = 20.0  # of the cosines between photos and captions
MOST_VIEWS = 40_000  # each costs a pass of the tower
NOISE = 0.03  # added to captions' positions, so that none is learned by heart
BATCH = 64


class AlignStage(Stage):
    """The photo path of a `MiniModel`, by positions of views and of captions."""

    name = "align"

    def __init__(
        self,
        settings: StageSettings,
        model: MiniModel,
        train: Samples,
        views: Views,
        sentences: Sentences,
        space: Space,
        held: Samples,
        *,
        seed: int = 0,
    ) -> None:
        super().__init__(settings)
        self.model, self.held = model, held
        self.module, self.head = model.interface.paths, model.interface.paths.photo
        rng = np.random.default_rng(seed)
        crops = len(train) + rng.permutation(len(views) - len(train))[: max(0, MOST_VIEWS - len(train))]
        chosen = np.concatenate([np.arange(len(train)), np.sort(crops)])
        views = Views(views.rows[chosen], views.boxes[chosen], views.pooled[chosen])
        self.features = pooled_features(model, train, views, rng)
        self.places = space.of_photos(views.pooled)
        self.text_places = space.of_texts(sentences.vectors)
        self.captions = captions_of(train, sentences)
        self.captioned = train.drawable(lambda n: len(self.captions[n]) > 0)

    def learned(self) -> list[nn.Parameter]:
        """The photo path alone."""
        return list(self.head.parameters())

    def losses(self, rng: np.random.Generator, share: float = 0.0) -> dict[str, Tensor]:
        """Cosine of views with their positions; contrast of photos and captions."""
        views = torch.as_tensor(rng.integers(0, len(self.features), self.photos_per_step))
        cosine = (self.head(self.features[views].float()) * self.places[views]).sum(1)
        rows = rng.choice(self.captioned, min(self.photos_per_step, len(self.captioned)), replace=False)
        texts = torch.as_tensor(np.array([rng.choice(self.captions[n]) for n in rows], np.int64))
        captions = self.text_places[texts]
        captions = captions + NOISE * torch.randn_like(captions)
        photos = self.head(self.features[torch.as_tensor(rows)].float())
        return {"place": 8 * (1 - cosine.mean()), "captions": contrastive_loss(photos, captions, CAPTION_SCALE)}

    def measure(self) -> dict[str, float]:
        """Caption IR@10 over the held-out captioned photos, in percent."""
        return {"IR@10": model_caption_recall(self.model, self.held)}


@torch.no_grad()
def pooled_features(model: MiniModel, samples: Samples, views: Views, rng: np.random.Generator) -> Tensor:
    """(M, F) float16 pooled features of every view, crops flipped at random; the whole photos come first, in order."""
    model.eval()
    features = []
    for start in range(0, len(views), BATCH):
        part = slice(start, start + BATCH)
        pixels, side = samples.tensor(views.rows[part]), model.config.side
        whole = start + BATCH <= len(samples)
        pixels = to_side(pixels, side) if whole else view_crop(views.boxes[part], rng)(pixels, side)
        with torch.autocast(torch.get_default_device().type, torch.bfloat16):
            maps = model.vision.backbone(model.vision.normalise(pixels))
        features.append(model.vision.deep(maps).float().mean((2, 3)).half())
    return torch.cat(features)


def own_places(model: MiniModel, samples: Samples) -> Tensor:
    """(N, D) unit vectors that a model's photo path gives to whole photos."""
    views = whole_views(len(samples), np.zeros((len(samples), 0), np.float16))
    features = pooled_features(model, samples, views, np.random.default_rng(0))
    with torch.no_grad():
        return torch.cat([model.interface.paths.photo(part.float()) for part in features.split(CHUNK)])


def place_loss(images: Tensor, places: Tensor) -> Tensor:
    """1 - cosine of (N, D) image vectors with the unit positions of their photos."""
    return (1 - (F.normalize(images.float(), dim=-1) * places).sum(1)).mean()


def caption_place_loss(texts: Tensor, places: Tensor, rows: Tensor, scale: Tensor) -> Tensor:
    """Cross-entropy of (M, D) captions over the positions (N, D) of all photos, of which `rows` (M,) are their own."""
    if not len(texts):
        return texts.sum() * 0.0
    return F.cross_entropy(scale * F.normalize(texts.float(), dim=-1) @ places.T, rows)
