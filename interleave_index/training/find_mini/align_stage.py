"""Stage `align`: the vision tower's photo path finds the positions that the teachers' space gives to photos.

The tower stands still, so its pooled features of every view are computed once and the head is trained on large
batches in minutes. Regions start from the same head.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..loop import Stage, StageSettings
from ..losses import contrastive_loss
from .features import pooled_features
from .material import Material
from .measures import model_caption_recall
from .samples import Views, drawable

CAPTION_SCALE = 20.0  # of the cosines between photos and captions
MOST_VIEWS = 40_000  # each costs a pass of the tower
NOISE = 0.03  # added to captions' positions, so that none is learned by heart


class AlignStage(Stage):
    """The photo path of a `MiniModel`, by positions of views and of captions."""

    name = "align"
    learning = ("photo.",)

    def __init__(self, settings: StageSettings, material: Material) -> None:
        super().__init__(settings)
        self.model, self.held, (samples, views) = material.model, material.held, material.views(more=True)
        self.module, self.head = self.model.interface.paths, self.model.interface.paths.photo
        sentences, space = material.lessons()
        rng, photos = np.random.default_rng(material.seed), len(samples)
        crops = photos + rng.permutation(len(views) - photos)[: max(0, MOST_VIEWS - photos)]
        chosen = np.concatenate([np.arange(photos), np.sort(crops)])
        views = Views(views.rows[chosen], views.boxes[chosen], views.pooled[chosen])
        self.features = pooled_features(self.model, samples, views, rng)
        self.places = space.of_photos(views.pooled)
        self.text_places = space.of_texts(sentences.vectors)
        self.captions = sentences.captions_of(samples)
        self.captioned = drawable(samples, sentences.know_caption)

    def losses(self, rng: np.random.Generator, share: float = 0.0) -> dict[str, Tensor]:
        """Cosine of views with their positions; contrast of photos and captions."""
        views = torch.as_tensor(rng.integers(0, len(self.features), self.photos_per_step))
        cosine = (self.head(self.features[views].float()) * self.places[views]).sum(1)
        rows = rng.choice(self.captioned, min(self.photos_per_step, len(self.captioned)), replace=False)
        captions = self.text_places[torch.as_tensor([rng.choice(self.captions[n]) for n in rows])]
        captions = captions + NOISE * torch.randn_like(captions)
        photos = self.head(self.features[torch.as_tensor(rows)].float())
        return {"place": 8 * (1 - cosine.mean()), "captions": contrastive_loss(photos, captions, CAPTION_SCALE)}

    def measure(self) -> dict[str, float]:
        """Caption IR@10 over the held-out captioned photos, in percent."""
        return {"IR@10": model_caption_recall(self.model, self.held)}
