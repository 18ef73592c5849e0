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
from .samples import Samples, Views, held_out, project_targets
from .sentences import Sentences, captions_of

VISION_DIM, SENTENCE_DIM = 512, 384
TEMPLATES = ("{}", "a {}", "a photo of a {}")
CAPTION_SHARE, LABEL_SHARE = 0.62, 0.19  # of a batch; the rest are names that the teachers gave


class _Positions(nn.Module):
    """Vectors that lie in the space already, made unit length."""

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=-1)


class Space(nn.Module):
    """Positions of teacher vectors in the shared space.

    Args:
        dim: D of the space.
        pooled: teacher vectors that the projection of photos is fitted on, or None where weights are loaded.
        own_texts: sentence vectors are positions already, those of a model that is to learn more; then photos alone
            are brought there.
    """

    mean: Tensor
    components: Tensor

    def __init__(
        self, dim: int, pooled: np.ndarray | None = None, *, features: int = 2304, own_texts: bool = False
    ) -> None:
        super().__init__()
        vision = VISION_DIM
        if pooled is not None:
            features, vision = pooled.shape[1], min(VISION_DIM, pooled.shape[1])
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("components", torch.zeros(features, vision))
        if pooled is not None:
            mean, components = project_targets(pooled, vision)
            self.mean, self.components = torch.as_tensor(mean), torch.as_tensor(components)
        self.photos = Head(vision, 1024, dim, dropout=0.3)
        self.texts: nn.Module = _Positions() if own_texts else Head(SENTENCE_DIM, 1024, dim, dropout=0.3)
        self.log_scale = nn.Parameter(torch.tensor(3.0))

    def directions(self, pooled: Tensor) -> Tensor:
        """(N, P) teacher vectors to (N, 512) unit vectors around the mean photo."""
        return F.normalize((pooled.float() - self.mean) @ self.components, dim=1)

    @torch.no_grad()
    def of_photos(self, pooled: np.ndarray) -> Tensor:
        """(N, P) teacher vectors to (N, D) positions."""
        self.eval()
        parts = [self.photos(self.directions(torch.as_tensor(p))) for p in _split(pooled)]
        return torch.cat(parts)

    @torch.no_grad()
    def of_texts(self, vectors: np.ndarray) -> Tensor:
        """(N, 384) sentence vectors to (N, D) positions."""
        self.eval()
        return torch.cat([self.texts(torch.as_tensor(v).float()) for v in _split(vectors)])


class SpaceStage:
    """Contrast of photos with their captions, labels and teachers' names, between the teachers' vectors."""

    name = "space"

    def __init__(
        self,
        train: Samples,
        views: Views,
        names: list[tuple[str, ...]],
        sentences: Sentences,
        held: Samples,
        held_vectors: np.ndarray,
        *,
        dim: int = 256,
        batch: int = 1024,
        lr: float = 1e-3,
    ) -> None:
        if train.pooled is None or held.pooled is None:
            raise InputError("stage space learns between teachers, no teacher targets given; pass --targets")
        self.module = Space(dim, train.pooled, own_texts=sentences.own)
        self.photos_per_step, self.lr = batch, lr
        self.directions = self.module.directions(torch.as_tensor(train.pooled))
        self.view_directions = torch.cat(
            [self.module.directions(torch.as_tensor(p)).half() for p in _split(views.pooled)]
        )
        self.sentences, self.names, self.labels = sentences, names, train.labels
        self.captions = captions_of(train, sentences)
        free = [n for n in range(len(train)) if not held_out(train.keys[n])]
        self.captioned = np.array([n for n in free if len(self.captions[n])], np.int64)
        self.labelled = np.array([n for n in free if train.labels[n] and not len(self.captions[n])], np.int64)
        self.named = np.array([n for n, found in enumerate(names) if found], np.int64)
        self.held_rows = held.where(lambda n: bool(held.captions[n]))
        self.held_directions = self.module.directions(torch.as_tensor(held.pooled[self.held_rows]))
        self.held_texts = torch.as_tensor(held_vectors).float()

    def at(self, share: float) -> None:
        """Nothing changes with time."""

    def parameter_groups(self) -> list[dict[str, object]]:
        """One group."""
        return [{"params": list(self.module.parameters()), "lr": self.lr, "weight_decay": 0.1}]

    def losses(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """Symmetric cross-entropy within a batch; pairs that share a photo or a text are no negatives."""
        directions, photos, texts = self._draw(rng)
        vectors = torch.as_tensor(self.sentences.vectors[texts]).float()
        vectors = vectors + torch.randn_like(vectors) * 0.02
        scores = (
            self.module.log_scale.exp().clamp(max=100) * self.module.photos(directions) @ self.module.texts(vectors).T
        )
        same = (photos[:, None] == photos[None]) | (texts[:, None] == texts[None])
        np.fill_diagonal(same, False)
        scores = scores.masked_fill(torch.as_tensor(same), -1e4)
        target = torch.arange(len(scores))
        return {"contrast": (F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)) / 2}

    def _draw(self, rng: np.random.Generator) -> tuple[Tensor, np.ndarray, np.ndarray]:
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
        keep = np.array(texts) >= 0
        return directions[torch.as_tensor(keep)], photos[keep], np.array(texts, np.int64)[keep]

    def _name(self, names: tuple[str, ...], rng: np.random.Generator) -> int:
        text = str(rng.choice(TEMPLATES)).format(str(rng.choice(names)))
        return self.sentences.place.get(text, -1)

    def measure(self) -> dict[str, float]:
        """Caption IR@1/10 of the held-out photos with the teachers' own vectors: what the student may reach."""
        scores = self.module.texts(self.held_texts) @ self.module.photos(self.held_directions).T
        rank = (scores > scores.diagonal()[:, None]).sum(1)
        return {f"IR@{k}": 100 * float((rank < k).float().mean()) for k in (1, 10)}


def load_space(checkpoint: Path) -> Space:
    """The space of a finished stage."""
    state = torch.load(checkpoint, weights_only=True, map_location=torch.get_default_device())["module"]
    dim, features = state["photos.straight.weight"].shape[0], len(state["mean"])
    space = Space(dim, features=features, own_texts="texts.straight.weight" not in state)
    space.components = torch.zeros(state["components"].shape)
    space.load_state_dict(state)
    return space.eval().requires_grad_(False)


def _split(rows: np.ndarray, size: int = 8192) -> list[np.ndarray]:
    return [rows[start : start + size] for start in range(0, max(len(rows), 1), size)]
