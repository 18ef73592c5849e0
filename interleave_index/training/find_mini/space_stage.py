"""Stage `space`: the space that everything later is taught in, learned between teachers alone.

Two small heads bring pooled vision features and sentence vectors of the teachers together, by captions and by names.
They are fast to train and as good as the teachers are; the towers and the interface then learn the positions that
these heads give to every photo, crop, caption and name.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import InputError
from ...interface.find.tower_paths import Head
from ..loop import Stage, StageSettings
from .measures import caption_recall
from .samples import Samples, Views, project_targets
from .sentences import Sentences, captions_of

SPACE_DIM, VISION_DIM, SENTENCE_DIM = 256, 512, 384
TEMPLATES = ("{}", "a {}", "a photo of a {}")
CAPTION_SHARE, LABEL_SHARE = 0.62, 0.19  # of a batch; the rest are names that the teachers gave
NOISE = 0.02  # added to sentence vectors, so that none is learned by heart
LARGEST_SCALE = 100.0  # of cosines
CHUNK = 8192  # vectors that go through a head at a time


class _Positions(nn.Module):
    """Vectors that lie in the space already, made unit length."""

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=-1)


class Space(nn.Module):
    """Positions of teacher vectors in the shared space.

    Args:
        dim: D of the space.
        pooled: teacher vectors that the projection of photos is fitted on, or None where weights are loaded.
        features, vision: their length, and that of their projection, where weights are loaded.
        own_texts: sentence vectors are positions already, those of a model that is to learn more; then photos alone
            are brought there.
    """

    mean: Tensor
    components: Tensor

    def __init__(
        self,
        dim: int,
        pooled: np.ndarray | None = None,
        *,
        features: int = 2304,
        vision: int = VISION_DIM,
        own_texts: bool = False,
    ) -> None:
        super().__init__()
        mean, components = np.zeros(features, np.float32), np.zeros((features, vision), np.float32)
        if pooled is not None:
            mean, components = project_targets(pooled, min(vision, pooled.shape[1]))
        self.register_buffer("mean", torch.as_tensor(mean))
        self.register_buffer("components", torch.as_tensor(components))
        self.photos = Head(components.shape[1], 1024, dim, dropout=0.3)
        self.texts: nn.Module = _Positions() if own_texts else Head(SENTENCE_DIM, 1024, dim, dropout=0.3)
        self.log_scale = nn.Parameter(torch.tensor(3.0))

    def directions(self, pooled: Tensor) -> Tensor:
        """(N, P) teacher vectors to (N, 512) unit vectors around the mean photo."""
        return F.normalize((pooled.float() - self.mean) @ self.components, dim=1)

    @torch.no_grad()
    def of_photos(self, pooled: np.ndarray) -> Tensor:
        """(N, P) teacher vectors to (N, D) positions."""
        self.eval()
        return torch.cat([self.photos(self.directions(part)) for part in torch.as_tensor(pooled).split(CHUNK)])

    @torch.no_grad()
    def of_texts(self, vectors: np.ndarray) -> Tensor:
        """(N, 384) sentence vectors to (N, D) positions."""
        self.eval()
        return torch.cat([self.texts(part.float()) for part in torch.as_tensor(vectors).split(CHUNK)])


class SpaceStage(Stage):
    """Contrast of photos with their captions, labels and teachers' names, between the teachers' vectors.

    Args:
        names: what the teachers call every view.
        held_vectors: sentence vectors of the first caption of every captioned photo of `held`.
    """

    name = "space"
    module: Space

    def __init__(
        self,
        settings: StageSettings,
        train: Samples,
        views: Views,
        names: list[tuple[str, ...]],
        sentences: Sentences,
        held: Samples,
        held_vectors: np.ndarray,
    ) -> None:
        if train.pooled is None or held.pooled is None:
            raise InputError("stage space learns between teachers, no teacher targets given; pass --targets")
        super().__init__(settings)
        self.module = Space(SPACE_DIM, train.pooled, own_texts=sentences.own)
        self.directions = self.module.directions(torch.as_tensor(train.pooled))
        pooled = torch.as_tensor(views.pooled)
        self.view_directions = torch.cat([self.module.directions(part).half() for part in pooled.split(CHUNK)])
        self.sentences, self.names, self.labels = sentences, names, train.labels
        self.captions = captions_of(train, sentences)
        self.captioned = train.drawable(lambda n: len(self.captions[n]) > 0)
        self.labelled = train.drawable(lambda n: bool(train.labels[n]) and not len(self.captions[n]))
        self.named = np.array([n for n, names_of_view in enumerate(names) if names_of_view], np.int64)
        captioned = held.where(lambda n: bool(held.captions[n]))
        self.held_directions = self.module.directions(torch.as_tensor(held.pooled[captioned]))
        self.held_texts = torch.as_tensor(held_vectors).float()

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

    def _draw(self, rng: np.random.Generator) -> tuple[Tensor, np.ndarray, np.ndarray]:
        """Directions of a batch, a number for every distinct photo, and the positions of the texts."""
        count = self.photos_per_step
        captioned = rng.choice(self.captioned, int(count * CAPTION_SHARE))
        labelled = rng.choice(self.labelled, int(count * LABEL_SHARE)) if len(self.labelled) else captioned[:0]
        named = rng.choice(self.named, count - len(captioned) - len(labelled)) if len(self.named) else captioned[:0]
        texts = [int(rng.choice(self.captions[n])) for n in captioned]
        texts += [self._name(self.labels[n], rng) for n in labelled]
        texts += [self._name(self.names[n], rng) for n in named]
        whole = torch.as_tensor(np.concatenate([captioned, labelled]))
        directions = torch.cat([self.directions[whole], self.view_directions[torch.as_tensor(named)].float()])
        photos = np.concatenate([captioned, labelled, -1 - named])
        known = np.array(texts) >= 0
        return directions[torch.as_tensor(known)], photos[known], np.array(texts, np.int64)[known]

    def _name(self, names: tuple[str, ...], rng: np.random.Generator) -> int:
        """Position of one of the names in one of the templates, -1 where there is no vector of it."""
        text = str(rng.choice(TEMPLATES)).format(str(rng.choice(names)))
        return self.sentences.place.get(text, -1)

    def measure(self) -> dict[str, float]:
        """Caption IR@1/10 of the held-out photos with the teachers' own vectors: what the student may reach."""
        texts, photos = self.module.texts(self.held_texts), self.module.photos(self.held_directions)
        return {f"IR@{k}": caption_recall(texts, photos, k) for k in (1, 10)}


def load_space(checkpoint: Path) -> Space:
    """The space of a finished stage."""
    state = torch.load(checkpoint, weights_only=True, map_location=torch.get_default_device())["module"]
    features, vision = state["components"].shape
    own_texts = "texts.straight.weight" not in state
    space = Space(len(state["photos.straight.weight"]), features=features, vision=vision, own_texts=own_texts)
    space.load_state_dict(state)
    return space.eval().requires_grad_(False)
