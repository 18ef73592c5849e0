"""Stage `text`: the text tower learns from a sentence encoder what captions, phrases, names and glosses mean.

Two heads read the mean of its token states: one, thrown away afterwards, gives the encoder's own vector; the other is
the interface's text path and gives the position in the shared space.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...interface.find.model import FindModel
from ...interface.find.tower_paths import Head
from .sentences import KINDS, Sentences
from .space_stage import SENTENCE_DIM, Space

SHORT = {"chunk": 0.35, "name": 0.35, "lemma": 0.3}  # shares of the short half of a batch
LONG = {"caption": 0.8, "gloss": 0.2}
SCALE = 20.0  # of the cosines in the cross-entropy
HELD_OUT = 50  # one caption in so many is only measured


class TextStage:
    """Distils a sentence encoder into the text tower of a `FindModel`."""

    name = "text"

    def __init__(
        self, model: FindModel, sentences: Sentences, space: Space, *, batch: int = 384, lr: float = 1.5e-3
    ) -> None:
        self.model, self.sentences = model, sentences
        self.photos_per_step, self.lr = batch, lr
        self.places = space.of_texts(sentences.vectors).half()
        number = np.arange(len(sentences.texts))
        self.rows = {}
        for kind, name in enumerate(KINDS):
            rows = number[sentences.kinds == kind]
            self.rows[name] = rows[number[: len(rows)] % HELD_OUT != 0] if len(rows) > HELD_OUT else rows
        self.held = number[sentences.kinds == 0][::HELD_OUT]
        self.module = nn.ModuleDict(
            {
                "tower": model.text,
                "path": model.interface.paths.text,
                "sentence": Head(model.text.width, 4 * model.text.width, SENTENCE_DIM),
            }
        )
        model.text.dropout = 0.0  # far more texts than the tower can learn by heart

    def at(self, share: float) -> None:
        """Nothing changes with time."""

    def parameter_groups(self) -> list[dict[str, object]]:
        """No decay on norms, biases and embeddings."""
        decayed = [p for name, p in self.module.named_parameters() if p.ndim > 1 and "embed" not in name]
        rest = [p for name, p in self.module.named_parameters() if p.ndim <= 1 or "embed" in name]
        return [
            {"params": decayed, "lr": self.lr, "weight_decay": 0.05},
            {"params": rest, "lr": self.lr, "weight_decay": 0.0},
        ]

    def losses(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """Cosine to the encoder's vector and to the position in the space, and cross-entropy within the batch."""
        rows, mean = [], []
        for shares in (SHORT, LONG):
            drawn = np.concatenate(
                [
                    rng.choice(self.rows[kind], int(share * self.photos_per_step / 2))
                    for kind, share in shares.items()
                    if len(self.rows[kind])
                ]
            )
            rows.append(drawn)
            mean.append(self._mean(drawn))
        chosen = np.concatenate(rows)
        place, sentence = self._heads(torch.cat(mean))
        wanted_place = self.places[torch.as_tensor(chosen)].float()
        wanted = torch.as_tensor(self.sentences.vectors[chosen]).float()
        return {
            "sentence": 2 * (1 - (sentence * wanted).sum(1)).mean(),
            "place": 4 * (1 - (place * wanted_place).sum(1)).mean(),
            "which": 0.5 * _which(sentence, wanted) + 0.5 * _which(place, wanted_place),
        }

    def measure(self) -> dict[str, float]:
        """Mean cosines on captions that are never drawn."""
        place, sentence = self._heads(self._mean(self.held[:512]))
        held = self.held[:512]
        wanted = torch.as_tensor(self.sentences.vectors[held]).float()
        return {
            "sentence": float((sentence * wanted).sum(1).mean()),
            "place": float((place * self.places[torch.as_tensor(held)].float()).sum(1).mean()),
        }

    def _mean(self, rows: np.ndarray) -> Tensor:
        batch = self.model.text.tokenise([self.sentences.texts[n] for n in rows])
        states = self.model.interface.project_text(self.model.text(batch))
        keep = (~batch.pad)[..., None].to(states.dtype)
        return (states * keep).sum(1) / keep.sum(1)

    def _heads(self, mean: Tensor) -> tuple[Tensor, Tensor]:
        return self.module["path"](mean), self.module["sentence"](mean)


def _which(vectors: Tensor, wanted: Tensor) -> Tensor:
    scores = SCALE * vectors @ wanted.T
    return F.cross_entropy(scores, torch.arange(len(scores)))
