"""One training step: a batch of samples through the interface, and all losses at all of its predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ...interface.find.outputs import Output
from ...interface.find.prompts import Prompts, TextTokens
from ...interface.published.pair import TrainedNetwork
from ...interface.published.text import Prompter, class_sentence
from ..distributed import gather_rows, mean_over_processes
from ..losses import answer_losses, class_loss, contrastive_loss, fine_contrastive_loss, mask_losses
from ..matcher import hungarian_match
from .data import Sample, template
from .prompts import prompts_of
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
        prompter: Prompter,
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

    def forward(self, samples: Sequence[Sample], seed: int) -> dict[str, Tensor]:
        """Weighted losses of a batch, by name, each summed over the predictions; `seed` decides what is drawn."""
        network, device = self.network, self.table.device
        rng = np.random.default_rng(seed)
        pixels = torch.from_numpy(np.stack([s.pixels for s in samples])).to(device).permute(0, 3, 1, 2).float()
        real = torch.from_numpy(np.stack([s.real for s in samples])).to(device)
        pyramid = network.pyramid(network.normalise(pixels, real))
        prompts = prompts_of(samples, self._prompter, device)
        run = network.predictor(
            pyramid.levels,
            pyramid.mask_features,
            prompts,
            class_table=self._class_table(rng),
            earlier=True,
            segment_sees_queries=bool(rng.random() < QUERIES_FOR_TOKENS),
            generator=torch.Generator(device).manual_seed(seed),
        )
        targets = _Targets(samples, device)
        total: dict[str, Tensor] = {}
        for output in (*run.earlier, run.final):
            for name, value in self._prediction_losses(output, targets, prompts).items():
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
        drawn_sentences = self.settings.drawn_sentences
        fresh = self._class_vectors([template(n, rng) if drawn_sentences else class_sentence(n) for n in names]).float()
        rows = torch.from_numpy(drawn).to(self.table.device)
        with torch.no_grad():
            numbers, _ = gather_rows(rows[:, None].float())
            self.table = self.table.index_copy(0, numbers[:, 0].long(), gather_rows(fresh.detach())[0])
        return self.table.index_copy(0, rows, fresh)

    # --- losses of one prediction -------------------------------------------------------------

    def _prediction_losses(self, output: Output, targets: _Targets, prompts: Prompts) -> dict[str, Tensor]:
        logits, masks, points = output["pred_logits"], output["pred_masks"], self.settings.points
        probabilities = logits.detach().float().softmax(-1)
        of_targets = [own[:, kinds] for own, kinds in zip(probabilities, targets.classes, strict=True)]
        assignment = hungarian_match(masks, targets.masks, of_targets, points=points)
        count = mean_over_processes(sum(map(len, targets.masks)), logits.device)
        losses = {"class": class_loss(logits, assignment, targets.classes)}
        losses["bce"], losses["dice"] = mask_losses(masks, targets.masks, assignment, points=points, over=count)
        losses |= self._retrieval_losses(output, targets, prompts.caption)
        if "pred_gmasks" in output:
            losses |= self._grounding_losses(output, targets)
        if "pred_smasks" in output:
            scores = output["pred_smaskembs"].float() @ output["pred_pspatials"].float().transpose(1, 2)
            losses |= self._answers("spatial", output["pred_smasks"], scores, targets.prompted, targets.prompt_index)
        if "pred_imasks" in output:
            losses |= self._interleaved_losses(output, targets)
        return losses

    def _retrieval_losses(self, output: Output, targets: _Targets, caption: TextTokens | None) -> dict[str, Tensor]:
        on, scale = targets.captioned, self.network.predictor.scale
        images, texts = output["pred_retrievals"][on, 0], output["pred_retrievals_lang"][on, 0]
        losses = {"retrieval": contrastive_loss(images, texts, scale)}
        if caption is not None:
            objects = output["pred_captions"][on]
            losses["fine"] = fine_contrastive_loss(objects, caption.tokens[on], caption.pad[on], scale)
        return losses

    def _grounding_losses(self, output: Output, targets: _Targets) -> dict[str, Tensor]:
        texts = F.normalize(output["pred_gtexts"].float(), dim=-1)
        queries = F.normalize(output["pred_grounding_query"].float(), dim=-1)
        scores = self.network.predictor.scale * texts @ queries.transpose(1, 2)
        masks, answers = targets.expression_masks, targets.answers
        losses = self._answers("grounding", output["pred_gmasks"], scores, masks, answers)
        settings = self.settings
        weights = [settings.expression_weight if own else settings.class_name_weight for own in targets.by_people]
        losses["grounding_choice"] = losses["grounding_choice"] * float(np.mean(weights or [1.0]))
        return losses

    def _interleaved_losses(self, output: Output, targets: _Targets) -> dict[str, Tensor]:
        pixel = output["pred_imaskembs"].float() @ output["pred_entity_pixel"].float().transpose(1, 2)
        meaning = output["pred_interleave_objects"].float() @ output["pred_entity_class"].float().transpose(1, 2)
        scores = torch.where(targets.visual[:, None, : pixel.shape[2]], pixel, meaning)
        losses = self._answers("interleave", output["pred_imasks"], scores, targets.entity_masks, targets.entities)
        on = targets.with_sentence
        images, legends = output["pred_retrievals"][on, 0], output["pred_interleave_image"][on, 0]
        losses["interleave_retrieval"] = contrastive_loss(images, legends, self.network.predictor.scale)
        return losses

    def _answers(
        self, name: str, logits: Tensor, scores: Tensor, masks: Sequence[Tensor], queries: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        return answer_losses(name, logits, scores, masks, queries, points=self.settings.points)[0]


class _Targets:
    """What the predictions of a batch are compared with, on the device; lists are of one entry a photo.

    Attributes:
        masks: (T, S, S) segments; classes: (T,) their classes.
        expression_masks: (T', S, S) and answers: (T',) the expression of each; by_people: whether people wrote them,
            of the photos that have any.
        prompted: (P, S, S) segments with prompts; prompt_index: (P,) numbers of those.
        entity_masks: (E', S, S) segments of phrases inside the crop; entities: (E',) numbers of the phrases.
        visual: (B, E) bool, phrases that are shown.
        captioned, with_sentence: (B,) bool.
    """

    def __init__(self, samples: Sequence[Sample], device: torch.device) -> None:
        def tensors(arrays: Sequence[NDArray[Any]]) -> list[Tensor]:
            return [torch.from_numpy(np.ascontiguousarray(array)).to(device) for array in arrays]

        self.masks, self.classes = tensors([s.masks for s in samples]), tensors([s.classes for s in samples])
        self.expression_masks = tensors([s.expression_masks for s in samples])
        self.answers = tensors([s.answers for s in samples])
        self.by_people = [s.by_people for s in samples if s.expressions]
        self.prompted = tensors([s.masks[s.prompted] for s in samples])
        self.prompt_index = tensors([np.arange(len(s.prompts)) for s in samples])
        inside = [np.flatnonzero(s.targets >= 0) for s in samples]
        self.entities = tensors(inside)
        self.entity_masks = tensors([s.masks[s.targets[rows]] for s, rows in zip(samples, inside, strict=True)])
        visual = np.zeros((len(samples), max(1, max(len(s.targets) for s in samples))), bool)
        for row, sample in enumerate(samples):
            if sample.sentence is not None:
                visual[row, : len(sample.targets)] = sample.sentence.visual
        captioned = np.array([s.caption is not None for s in samples])
        with_sentence = np.array([s.sentence is not None for s in samples])
        self.visual, self.captioned, self.with_sentence = tensors([visual, captioned, with_sentence])
