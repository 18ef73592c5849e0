"""Stage `names`: the text tower learns the names of labelled photos, which no caption says.

Text alone: names and captions towards their photos among all photos in the teachers' space, while phrases and class
names keep the vectors that regions have learned to answer. The interface and the vision side stand still.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..interface.find.model import FindModel
from ..interface.find.tasks import encode_names, encode_phrases
from ..interface.find.variables import Prompts
from .align_stage import Targets, random_captions
from .batches import TEMPLATES
from .measures import caption_recall
from .samples import Samples, held_out

KEEP_WEIGHT = 20.0


class NamesStage:
    """Names of labelled photos beside captions, text tower only.

    Args:
        batch: labelled photos a step; as many captions come along.
        kept: phrases a step whose vectors shall stay.
    """

    name = "names"

    def __init__(
        self, model: FindModel, train: Samples, held: Samples, *, batch: int = 64, kept: int = 24, lr: float = 3e-4
    ) -> None:
        self.model, self.train_set, self.held = model, train, held
        self.photos_per_step, self.kept, self.lr = batch, kept, lr
        self.targets = Targets(train, model.interface.config.width)
        usable = train.where(lambda n: not held_out(train.keys[n]))
        self.captioned = np.array([n for n in usable if train.captions[n]], np.int64)
        self.labelled = np.array([n for n in usable if train.labels[n] and not train.captions[n]], np.int64)
        self.phrases = sorted({r.label for n in usable for r in train.regions[n] if r.label})
        self._before = copy.deepcopy(model).eval().requires_grad_(False)
        model.requires_grad_(False)
        model.text.requires_grad_(True)

    @property
    def module(self) -> nn.Module:
        """The whole model, of which only the text tower learns."""
        return self.model

    def parameter_groups(self) -> list[dict[str, object]]:
        """The text tower."""
        return [{"params": list(self.model.text.parameters()), "lr": self.lr, "weight_decay": 0.0}]

    def losses(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """Names and captions towards their photos; phrases stay where they are."""
        named, told = (rng.choice(rows, self.photos_per_step) for rows in (self.labelled, self.captioned))
        names = [str(rng.choice(TEMPLATES)).format(rng.choice(self.train_set.labels[n])) for n in named]
        texts = self._captions([*names, *random_captions(self.train_set, told, rng)])
        rows = torch.from_numpy(np.concatenate([named, told]))
        phrases = [str(phrase) for phrase in rng.choice(self.phrases, self.kept)]
        moved = torch.stack([
            1 - F.cosine_similarity(now.float(), then.float()).mean()
            for now, then in (
                (encode_phrases(self.model, phrases), encode_phrases(self._before, phrases)),
                (encode_names(self.model, phrases), encode_names(self._before, phrases)),
            )
        ])
        return {
            "text_target": self.targets.text_loss(texts, rows, self.model.interface.scale),
            "moved": KEEP_WEIGHT * moved.mean(),
        }

    def measure(self) -> dict[str, float]:
        """Caption IR@10 over the held-out captioned photos, in percent."""
        return {"IR@10": caption_recall(self.model, self.held)}

    def _captions(self, sentences: list[str]) -> Tensor:
        prompts = Prompts(caption=self.model.text_tokens(sentences))
        out: Tensor = self.model.interface(None, None, prompts).final["pred_retrievals_lang"][:, 0]
        return out
