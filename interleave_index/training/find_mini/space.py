"""The space that everything is taught in: where teacher vectors of photos and texts lie in it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ...interface.find.tower_paths import Head
from ...records import Floats
from .samples import project_targets

SPACE_DIM, VISION_DIM, SENTENCE_DIM, HIDDEN = 256, 512, 384, 1024
CHUNK = 8192  # vectors that go through a head at a time


class Space(nn.Module):
    """Positions of teacher vectors in the shared space.

    Args:
        mean, components: (P,) and (P, n), the projection of photos.
        own_texts: sentence vectors are positions already, those of a model that is to learn more; then photos alone
            are brought there.
    """

    mean: Tensor
    components: Tensor

    def __init__(self, mean: Floats | Tensor, components: Floats | Tensor, *, own_texts: bool = False) -> None:
        super().__init__()
        self.register_buffer("mean", torch.as_tensor(mean))
        self.register_buffer("components", torch.as_tensor(components))
        self.photos = Head(components.shape[1], HIDDEN, SPACE_DIM, dropout=0.3)
        self.texts: Callable[[Tensor], Tensor] = partial(F.normalize, dim=-1)
        if not own_texts:
            self.texts = Head(SENTENCE_DIM, HIDDEN, SPACE_DIM, dropout=0.3)
        self.log_scale = nn.Parameter(torch.tensor(3.0))

    @classmethod
    def fitted(cls, pooled: NDArray[np.floating], *, own_texts: bool = False) -> Space:
        """A space that has learned nothing yet, with the projection of (N, P) teacher vectors."""
        return cls(*project_targets(pooled, min(VISION_DIM, pooled.shape[1])), own_texts=own_texts)

    @classmethod
    def load(cls, checkpoint: Path) -> Space:
        """The space of a finished stage."""
        state = torch.load(checkpoint, weights_only=True, map_location=torch.get_default_device())["module"]
        space = cls(state["mean"], state["components"], own_texts="texts.straight.weight" not in state)
        space.load_state_dict(state)
        return space.eval().requires_grad_(False)

    def directions(self, pooled: Tensor) -> Tensor:
        """(N, P) teacher vectors to (N, n) unit vectors around the mean photo."""
        return F.normalize((pooled.float() - self.mean) @ self.components, dim=1)

    @torch.no_grad()
    def of_photos(self, pooled: NDArray[np.floating]) -> Tensor:
        """(N, P) teacher vectors to (N, D) positions."""
        self.eval()
        return torch.cat([self.photos(self.directions(part)) for part in torch.as_tensor(pooled).split(CHUNK)])

    @torch.no_grad()
    def of_texts(self, vectors: NDArray[np.floating]) -> Tensor:
        """(N, S) sentence vectors to (N, D) positions."""
        self.eval()
        return torch.cat([self.texts(part.float()) for part in torch.as_tensor(vectors).split(CHUNK)])


class OwnSpace:
    """The space of a model that goes on learning without teachers: texts lie where its own vectors say.

    Attributes:
        log_scale: natural logarithm of the scale of its cosines.
    """

    def __init__(self, log_scale: Tensor) -> None:
        self.log_scale = log_scale

    def of_texts(self, vectors: NDArray[np.floating]) -> Tensor:
        """(N, D) vectors that the model gave to texts, as unit vectors: their positions."""
        return F.normalize(torch.as_tensor(vectors).float(), dim=-1)
