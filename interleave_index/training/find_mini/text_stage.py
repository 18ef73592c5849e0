"""Stage `text`: the text tower learns from a sentence encoder what captions, phrases, names and glosses mean.

Two heads read the mean of its token states: one, thrown away afterwards, gives the encoder's own vector; the other is
the interface's text path and gives the position in the shared space.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ...interface.find.tower_paths import Head
from ..loop import Stage, StageSettings
from .material import Material
from .space import SENTENCE_DIM

SHORT = {"chunk": 0.35, "name": 0.35, "lemma": 0.3}  # shares of the short half of a batch
LONG = {"caption": 0.8, "gloss": 0.2}
SCALE = 20.0  # of the cosines in the cross-entropy
HELD_OUT, MEASURED = 50, 512  # one caption in so many is only measured, and so many of them


class TextStage(Stage):
    """Distils a sentence encoder into the text tower of a `MiniModel`."""

    name = "text"
    bare = ("embed",)
    module: nn.ModuleDict

    def __init__(self, settings: StageSettings, material: Material) -> None:
        super().__init__(settings)
        self.model = model = material.model
        self.sentences, space = material.lessons()
        self.places = space.of_texts(self.sentences.vectors).half()
        self.rows = {}
        for kind in (*SHORT, *LONG):
            rows = self.sentences.of_kind(kind)
            self.rows[kind] = rows[np.arange(len(rows)) % HELD_OUT != 0] if len(rows) > HELD_OUT else rows
        self.held = self.sentences.of_kind("caption")[::HELD_OUT][:MEASURED]
        sentence = Head(model.text.width, 4 * model.text.width, SENTENCE_DIM)
        self.module = nn.ModuleDict({"tower": model.text, "path": model.interface.paths.text, "sentence": sentence})
        model.text.dropout = 0.0  # far more texts than the tower can learn by heart

    def losses(self, rng: np.random.Generator, share: float = 0.0) -> dict[str, Tensor]:
        """Cosine to the encoder's vector and to the position in the space, and cross-entropy within the batch."""
        halves = []
        for shares in (SHORT, LONG):  # apart, so that short texts are not padded to the length of long ones
            counts = {kind: int(part * self.photos_per_step / 2) for kind, part in shares.items()}
            drawn = [rng.choice(self.rows[kind], count) for kind, count in counts.items() if len(self.rows[kind])]
            halves.append(self._outputs_and_targets(np.concatenate(drawn)))
        place, sentence, true_place, true_sentence = map(torch.cat, zip(*halves, strict=True))
        own = torch.arange(len(place))
        which_sentence = F.cross_entropy(SCALE * sentence @ true_sentence.T, own)
        which_place = F.cross_entropy(SCALE * place @ true_place.T, own)
        return {
            "sentence": 2 * (1 - (sentence * true_sentence).sum(1)).mean(),
            "place": 4 * (1 - (place * true_place).sum(1)).mean(),
            "which": (which_sentence + which_place) / 2,
        }

    def measure(self) -> dict[str, float]:
        """Mean cosines on captions that are never drawn."""
        place, sentence, true_place, true_sentence = self._outputs_and_targets(self.held)
        return {
            "sentence": float((sentence * true_sentence).sum(1).mean()),
            "place": float((place * true_place).sum(1).mean()),
        }

    def _outputs_and_targets(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Positions in the space and vectors of the encoder of some texts, as the heads give them and as they are."""
        batch = self.model.text.tokenise([self.sentences.texts[n] for n in rows])
        states = self.model.interface.project_text(self.model.text(batch))
        keep = (~batch.pad)[..., None].to(states.dtype)
        mean = (states * keep).sum(1) / keep.sum(1)
        places, vectors = self.places[torch.as_tensor(rows)], torch.as_tensor(self.sentences.vectors[rows])
        return self.module["path"](mean), self.module["sentence"](mean), places.float(), vectors.float()
