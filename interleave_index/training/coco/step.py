"""One training step: a batch of samples through the interface, and all losses at all of its predictions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ...interface.find.outputs import Output
from ...interface.find.prompts import MaskPrompt, Prompts, TextTokens
from ...interface.published.pair import TrainedNetwork
from ...interface.published.text import TEMPLATE, PublishedPrompter, class_sentence
from ..distributed import gather_rows
from ..examples import at_least_one, prompts_of
from ..losses import contrastive_loss, fine_contrastive_loss
from ..task_losses import prediction_losses
from .data import TEMPLATES, Sample
from .settings import CocoSettings

QUERIES_FOR_TOKENS = 0.3  # chance that segment proposals read the spatial queries instead of the tokens
TABLE_BATCH = 32  # class names that are encoded at a time


class Step(nn.Module):
    """Network and losses as one module, as several processes want it.

    Args:
        settings: of the recipe.
        network: what is trained.
        prompter: the language side.
        names: of the classes, without background.
        processes: that train together.
    """

    table: Tensor

    def __init__(
        self,
        settings: CocoSettings,
        network: TrainedNetwork,
        prompter: PublishedPrompter,
        names: Sequence[str],
        *,
        processes: int = 1,
    ) -> None:
        super().__init__()
        self.settings, self.network, self._prompter = settings, network, prompter
        self._names = (*names, "background")
        drawn = settings.batch // processes if settings.drawn_classes is None else settings.drawn_classes
        self._drawn = min(drawn or len(self._names), len(self._names))
        self.register_buffer("table", torch.zeros(len(self._names), network.predictor.config.width))

    @torch.no_grad()
    def refresh_table(self) -> None:
        """Encode all class names anew, in pieces; the table is what proposals are compared with."""
        sentences = [class_sentence(name) for name in self._names]
        pieces = [sentences[n : n + TABLE_BATCH] for n in range(0, len(sentences), TABLE_BATCH)]
        self.table = torch.cat([self._class_vectors(piece) for piece in pieces]).detach()

    def forward(self, drawn: Sequence[Sample], seed: int) -> dict[str, Tensor]:
        """Weighted losses of a batch, by name, each summed over the predictions; `seed` decides what is drawn."""
        network, device = self.network, self.table.device
        rng = np.random.default_rng(seed)
        samples = [sample.to(device) for sample in drawn]
        pixels = torch.stack([sample.pixels for sample in samples]).permute(0, 3, 1, 2).float()
        pyramid = network.pyramid(network.normalise(pixels, torch.stack([sample.real for sample in samples])))
        shown = MaskPrompt([at_least_one(sample.shown) for sample in samples])
        prompts = prompts_of(samples, self._prompter, shown)
        run = network.predictor(
            pyramid.levels,
            pyramid.mask_features,
            prompts,
            class_table=self._class_table(rng),
            earlier=True,
            segment_sees_queries=bool(rng.random() < QUERIES_FOR_TOKENS),
            generator=torch.Generator(device).manual_seed(seed),
        )
        total: dict[str, Tensor] = {}
        for output in (*run.earlier, run.final):
            for name, value in self._prediction_losses(output, samples, prompts.caption).items():
                total[name] = total.get(name, value.new_zeros(())) + self.settings.weights[name] * value
        return total

    # --- classes ------------------------------------------------------------------------------

    def _class_vectors(self, sentences: Sequence[str]) -> Tensor:
        """(n, C) class vectors of names in their sentences, by the language side alone."""
        prompts = Prompts(class_name=self._prompter.descriptions(sentences))
        vectors: Tensor = self.network.predictor(None, None, prompts).final["pred_retrievals_class"][:, 0]
        return vectors

    def _class_table(self, rng: np.random.Generator) -> Tensor:
        """The table with some rows encoded with gradient; those of all processes stay in it for the steps to come."""
        drawn = rng.permutation(len(self._names))[: self._drawn]
        names = [self._names[n] for n in drawn]
        templates = TEMPLATES if self.settings.drawn_sentences else (TEMPLATE,)
        fresh = self._class_vectors([class_sentence(name, str(rng.choice(templates))) for name in names]).float()
        rows = torch.from_numpy(drawn).to(self.table.device)
        with torch.no_grad():
            numbers, _ = gather_rows(rows[:, None].float())
            self.table = self.table.index_copy(0, numbers[:, 0].long(), gather_rows(fresh.detach())[0])
        return self.table.index_copy(0, rows, fresh)

    # --- losses of one prediction -------------------------------------------------------------

    def _prediction_losses(
        self, output: Output, samples: Sequence[Sample], caption: TextTokens | None
    ) -> dict[str, Tensor]:
        settings, scale = self.settings, self.network.predictor.scale
        losses, _ = prediction_losses(output, samples, scale, points=settings.points)
        if "ground_choice" in losses:
            by_people = [sample.by_people for sample in samples if sample.expressions]
            weights = [settings.expression_weight if own else settings.class_name_weight for own in by_people]
            losses["ground_choice"] = losses["ground_choice"] * float(np.mean(weights))
        images = output["pred_retrievals"][:, 0]
        captioned = torch.tensor([sample.caption is not None for sample in samples], device=images.device)
        losses["retrieval"] = contrastive_loss(images[captioned], output["pred_retrievals_lang"][captioned, 0], scale)
        if caption is not None:
            objects = output["pred_captions"][captioned]
            losses["fine"] = fine_contrastive_loss(objects, caption.tokens[captioned], caption.pad[captioned], scale)
        if "pred_interleave_image" in output:
            on = torch.tensor([sample.sentence is not None for sample in samples], device=images.device)
            losses["legend"] = contrastive_loss(images[on], output["pred_interleave_image"][on, 0], scale)
        return losses
