"""Stage `space`: the space that everything later is taught in, learned between teachers alone.

Two small heads bring pooled vision features and sentence vectors of the teachers together, by captions and by names.
They are fast to train and as good as the teachers are; the towers and the interface then learn the positions that
these heads give to every photo, crop, caption and name.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ..loop import Stage, StageSettings
from .material import Material
from .measures import caption_recall
from .samples import drawable, pooled_of
from .sentences import teacher_names
from .space import CHUNK, Space

TEMPLATES = ("{}", "a {}", "a photo of a {}")
CAPTION_SHARE, LABEL_SHARE = 0.62, 0.19  # of a batch; the rest are names that the teachers gave
NOISE = 0.02  # added to sentence vectors, so that none is learned by heart
LARGEST_SCALE = 100.0  # of cosines


class SpaceStage(Stage):
    """Contrast of photos with their captions, labels and teachers' names, between the teachers' vectors."""

    name = "space"
    module: Space

    def __init__(self, settings: StageSettings, material: Material) -> None:
        super().__init__(settings)
        targets, self.sentences = material.teachers()
        train, views = material.views(more=False)
        self.module = space = Space.fitted(pooled_of(train), own_texts=self.sentences.own)
        parts = torch.as_tensor(views.pooled).split(CHUNK)
        self.directions = torch.cat([space.directions(part).half() for part in parts])  # whole photos come first
        self.labels, self.names = [s.labels for s in train], teacher_names(views, targets / "classifiers.npz")
        self.captions = self.sentences.captions_of(train)
        self.captioned = drawable(train, self.sentences.know_caption)
        self.labelled = drawable(train, lambda s: s.labels and not self.sentences.know_caption(s))
        self.named = np.array([n for n, names in enumerate(self.names) if names], np.int64)
        captioned = [s for s in material.held if s.captions]
        self.held_directions = space.directions(torch.as_tensor(pooled_of(captioned)))
        self.held_texts = torch.as_tensor(material.held_vectors()).float()

    def losses(self, rng: np.random.Generator, share: float = 0.0) -> dict[str, Tensor]:
        """Symmetric cross-entropy within a batch; pairs that share a photo or a text are no negatives."""
        directions, photos, texts = self._draw(rng)
        vectors = torch.as_tensor(self.sentences.vectors[texts]).float()
        vectors = vectors + torch.randn_like(vectors) * NOISE
        scale = self.module.log_scale.exp().clamp(max=LARGEST_SCALE)
        scores = scale * self.module.photos(directions) @ self.module.texts(vectors).T
        same = (photos[:, None] == photos[None]) | (texts[:, None] == texts[None])
        np.fill_diagonal(same, False)
        scores = scores.masked_fill(torch.as_tensor(same), -1e4)
        own = torch.arange(len(scores))
        return {"contrast": (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own)) / 2}

    def _draw(self, rng: np.random.Generator) -> tuple[Tensor, NDArray[np.int64], NDArray[np.int64]]:
        """Directions of a batch, the view of each, and the positions of the texts."""
        count = self.photos_per_step
        captioned = rng.choice(self.captioned, int(count * CAPTION_SHARE))
        labelled = rng.choice(self.labelled, int(count * LABEL_SHARE)) if len(self.labelled) else captioned[:0]
        named = rng.choice(self.named, count - len(captioned) - len(labelled)) if len(self.named) else captioned[:0]
        texts = [int(rng.choice(self.captions[n])) for n in captioned]
        for names in [*(self.labels[n] for n in labelled), *(self.names[n] for n in named)]:
            text = str(rng.choice(TEMPLATES)).format(str(rng.choice(names)))
            texts.append(self.sentences.place.get(text, -1))
        known = np.array(texts) >= 0
        views = np.concatenate([captioned, labelled, named])[known]
        return self.directions[torch.as_tensor(views)].float(), views, np.array(texts, np.int64)[known]

    def measure(self) -> dict[str, float]:
        """Caption IR@1/10 of the held-out photos with the teachers' own vectors: what the student may reach."""
        texts, photos = self.module.texts(self.held_texts), self.module.photos(self.held_directions)
        return {f"IR@{k}": caption_recall(texts, photos, k) for k in (1, 10)}
