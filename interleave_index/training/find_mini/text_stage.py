"""Stage `text`: the text tower learns from a sentence encoder what captions, phrases, names and glosses mean.

Two heads read the mean of its token states: one, thrown away afterwards, gives the encoder's own vector; the other is
the interface's text path and gives the position in the shared space.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...interface.find.tower_paths import Head
from ...interface.find_mini.model import MiniModel
from ..loop import Stage, StageSettings, decay_groups
from .sentences import KINDS, Sentences
from .space_stage import SENTENCE_DIM, Space

SHORT = {"chunk": 0.35, "name": 0.35, "lemma": 0.3}  # shares of the short half of a batch
LONG = {"caption": 0.8, "gloss": 0.2}
SCALE = 20.0  # of the cosines in the cross-entropy
HELD_OUT, MEASURED = 50, 512  # one caption in so many is only measured, and so many of them


class TextStage(Stage):
    """Distils a sentence encoder into the text tower of a `MiniModel`."""

    name = "text"
    module: nn.ModuleDict

    def __init__(self, settings: StageSettings, model: MiniModel, sentences: Sentences, space: Space) -> None:
        super().__init__(settings)
        self.model, self.sentences = model, sentences
        self.places = space.of_texts(sentences.vectors).half()
        self.rows = {}
        for kind, name in enumerate(KINDS):
            rows = np.flatnonzero(sentences.kinds == kind)
            learned = np.arange(len(rows)) % HELD_OUT != 0
            self.rows[name] = rows[learned] if len(rows) > HELD_OUT else rows
        self.held = np.flatnonzero(sentences.kinds == KINDS.index("caption"))[::HELD_OUT][:MEASURED]
        self.module = nn.ModuleDict(
            {
                "tower": model.text,
                "path": model.interface.paths.text,
                "sentence": Head(model.text.width, 4 * model.text.width, SENTENCE_DIM),
            }
        )
        model.text.dropout = 0.0  # far more texts than the tower can learn by heart

    def parameter_groups(self) -> list[dict[str, Any]]:
        """No decay on norms, biases and embeddings."""
        return decay_groups(self.module, self.settings.rate, self.settings.decay, spared=("embed",))

    def losses(self, rng: np.random.Generator, share: float = 0.0) -> dict[str, Tensor]:
        """Cosine to the encoder's vector and to the position in the space, and cross-entropy within the batch."""
        drawn, means = [], []
        for shares in (SHORT, LONG):  # apart, so that short texts are not padded to the length of long ones
            rows = np.concatenate(
                [
                    rng.choice(self.rows[kind], int(part * self.photos_per_step / 2))
                    for kind, part in shares.items()
                    if len(self.rows[kind])
                ]
            )
            drawn.append(rows)
            means.append(self._mean(rows))
        mean = torch.cat(means)
        place, sentence = self.module["path"](mean), self.module["sentence"](mean)
        true_place, true_sentence = self._targets(np.concatenate(drawn))
        own = torch.arange(len(mean))
        which_sentence = F.cross_entropy(SCALE * sentence @ true_sentence.T, own)
        which_place = F.cross_entropy(SCALE * place @ true_place.T, own)
        return {
            "sentence": 2 * (1 - (sentence * true_sentence).sum(1)).mean(),
            "place": 4 * (1 - (place * true_place).sum(1)).mean(),
            "which": (which_sentence + which_place) / 2,
        }

    def measure(self) -> dict[str, float]:
        """Mean cosines on captions that are never drawn."""
        mean = self._mean(self.held)
        true_place, true_sentence = self._targets(self.held)
        return {
            "sentence": float((self.module["sentence"](mean) * true_sentence).sum(1).mean()),
            "place": float((self.module["path"](mean) * true_place).sum(1).mean()),
        }

    def _targets(self, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        """Positions in the space, and the encoder's vectors."""
        return self.places[torch.as_tensor(rows)].float(), torch.as_tensor(self.sentences.vectors[rows]).float()

    def _mean(self, rows: np.ndarray) -> Tensor:
        """(n, C) mean token states of some texts."""
        batch = self.model.text.tokenise([self.sentences.texts[n] for n in rows])
        states = self.model.interface.project_text(self.model.text(batch))
        keep = (~batch.pad)[..., None].to(states.dtype)
        return (states * keep).sum(1) / keep.sum(1)
