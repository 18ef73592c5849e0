"""One training step: a batch of samples through the interface, and all losses at all of its predictions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...interface.find.outputs import Output
from ...interface.published.pair import TrainedNetwork
from ...interface.published.text import Prompter, class_sentence
from .criterion import (
    POINTS,
    choice_loss,
    class_loss,
    contrast,
    fine_contrast,
    gathered,
    mask_losses,
    match,
    mean_over_processes,
)
from .data import Sample, template
from .prompts import class_prompts, prompts_of

WEIGHTS = {
    "mask_ce": 2.0,
    "mask_bce": 5.0,
    "mask_dice": 5.0,
    "retrieval": 8.0,
    "grounding_ce": 0.4,
    "grounding_bce": 1.0,
    "grounding_dice": 1.0,
    "spatial_ce": 0.4,
    "spatial_bce": 1.0,
    "spatial_dice": 1.0,
    "interleave_itc": 8.0,
    "interleave_ce": 0.4,
    "interleave_bce": 1.0,
    "interleave_dice": 1.0,
}
FINE, TEXT_WEIGHT, NAME_WEIGHT = 0.5, 2.0, 0.5
QUERIES_FOR_TOKENS = 0.3  # chance that segment proposals read the spatial queries instead of the tokens


class Step(nn.Module):
    """Network and losses as one module, as several processes want it.

    Args:
        network: what is trained.
        prompter: the language side.
        names: of the classes, without background.
        points: sampled of every mask.
        drawn_classes: names encoded with gradient a step; 0 is all.
        drawn_sentences: draw the sentence that each of them stands in, else take that of the evaluation.
    """

    table: Tensor

    def __init__(
        self,
        network: TrainedNetwork,
        prompter: Prompter,
        names: Sequence[str],
        *,
        points: int = POINTS,
        drawn_classes: int = 1,
        drawn_sentences: bool = True,
    ) -> None:
        super().__init__()
        self.network, self._prompter, self._points = network, prompter, points
        self._names = (*names, "background")
        self._drawn = min(drawn_classes or len(self._names), len(self._names))
        self._drawn_sentences = drawn_sentences
        self.register_buffer("table", torch.zeros(len(self._names), network.predictor.config.width))

    @torch.no_grad()
    def refresh_table(self) -> None:
        """Encode all class names anew, in pieces; the table is what proposals are compared with."""
        sentences = [class_sentence(name) for name in self._names]
        rows = [self._class_vectors(sentences[n : n + 32]) for n in range(0, len(sentences), 32)]
        self.table = torch.cat(rows).detach()

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
        targets = _Targets.of(samples, device)
        total: dict[str, Tensor] = {}
        for output in (*run.earlier, run.final):
            for name, value in self._prediction(output, targets, prompts.caption).items():
                total[name] = total.get(name, value.new_zeros(())) + WEIGHTS[name] * value
        return total

    # --- classes ------------------------------------------------------------------------------

    def _class_vectors(self, sentences: Sequence[str]) -> Tensor:
        out: Tensor = self.network.predictor(None, None, class_prompts(self._prompter, sentences)).final[
            "pred_retrievals_class"
        ][:, 0]
        return out

    def _class_table(self, rng: np.random.Generator) -> Tensor:
        """The table with some rows encoded with gradient; those of all processes stay in it for the steps to come."""
        drawn = rng.permutation(len(self._names))[: self._drawn]
        names = [self._names[n] for n in drawn]
        fresh = self._class_vectors(
            [template(name, rng) if self._drawn_sentences else class_sentence(name) for name in names]
        ).float()
        rows = torch.from_numpy(drawn).to(self.table.device)
        with torch.no_grad():
            numbers, _ = gathered(rows[:, None].float())
            self.table = self.table.index_copy(0, numbers[:, 0].long(), gathered(fresh.detach())[0])
        return self.table.index_copy(0, rows, fresh)

    # --- losses of one prediction -------------------------------------------------------------

    def _prediction(self, output: Output, targets: _Targets, caption: object) -> dict[str, Tensor]:
        logits, scale = output["pred_logits"], self.network.predictor.scale
        chances = logits.detach().float().softmax(-1)
        picked = [chances[n][:, kinds] for n, kinds in enumerate(targets.classes)]
        pairs = match(output["pred_masks"], targets.masks, picked, points=self._points)
        found = {"mask_ce": class_loss(logits, pairs, targets.classes)}
        count = mean_over_processes(sum(map(len, targets.masks)), logits.device)
        found["mask_bce"], found["mask_dice"] = mask_losses(
            output["pred_masks"], targets.masks, pairs, points=self._points, over=count
        )
        found["retrieval"] = self._retrieval(output, targets, caption, scale)
        if "pred_gmasks" in output:
            scores = scale * _unit(output["pred_gtexts"]) @ _unit(output["pred_grounding_query"]).transpose(1, 2)
            loss = self._chosen("grounding", output["pred_gmasks"], scores, targets.expression_masks, targets.answers)
            loss["grounding_ce"] = loss["grounding_ce"] * targets.expression_weight
            found |= loss
        if "pred_smasks" in output:
            scores = output["pred_smaskembs"].float() @ output["pred_pspatials"].float().transpose(1, 2)
            found |= self._chosen("spatial", output["pred_smasks"], scores, targets.prompted, targets.prompt_index)
        if "pred_imasks" in output:
            found |= self._interleaved(output, targets, scale)
        return found

    def _retrieval(self, output: Output, targets: _Targets, caption: object, scale: Tensor) -> Tensor:
        images, texts = output["pred_retrievals"][:, 0], output["pred_retrievals_lang"][:, 0]
        loss = contrast(images[targets.captioned], texts[targets.captioned], scale)
        tokens, pad = caption.tokens, caption.pad  # type: ignore[attr-defined]
        fine = fine_contrast(
            output["pred_captions"][targets.captioned], tokens[targets.captioned], pad[targets.captioned], scale
        )
        return loss + FINE * fine

    def _interleaved(self, output: Output, targets: _Targets, scale: Tensor) -> dict[str, Tensor]:
        pixel = output["pred_imaskembs"].float() @ output["pred_entity_pixel"].float().transpose(1, 2)
        meaning = output["pred_interleave_objects"].float() @ output["pred_entity_class"].float().transpose(1, 2)
        scores = torch.where(targets.visual[:, None, : pixel.shape[2]], pixel, meaning)
        found = self._chosen("interleave", output["pred_imasks"], scores, targets.entity_masks, targets.entities)
        images, legends = output["pred_retrievals"][:, 0], output["pred_interleave_image"][:, 0]
        found["interleave_itc"] = contrast(images[targets.told], legends[targets.told], scale)
        return found

    def _chosen(
        self, name: str, logits: Tensor, scores: Tensor, masks: Sequence[Tensor], queries: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        odds = scores.detach().float().softmax(1)
        pairs = match(logits, masks, [odds[n][:, rows] for n, rows in enumerate(queries)], points=self._points)
        bce, dice = mask_losses(logits, masks, pairs, points=self._points)
        return {f"{name}_ce": choice_loss(scores, pairs, queries), f"{name}_bce": bce, f"{name}_dice": dice}


class _Targets:
    """What the predictions of a batch are compared with, on the device."""

    def __init__(self, samples: Sequence[Sample], device: torch.device) -> None:
        def tensors(rows: Sequence[np.ndarray[tuple[int, ...], np.dtype[np.generic]]]) -> list[Tensor]:
            return [torch.from_numpy(np.ascontiguousarray(one)).to(device) for one in rows]

        self.masks, self.classes = tensors([s.masks for s in samples]), tensors([s.classes for s in samples])
        self.expression_masks = tensors([s.expression_masks for s in samples])
        self.answers = tensors([s.answers for s in samples])
        spoken = [s.by_text for s in samples if s.expressions]
        self.expression_weight = float(np.mean([TEXT_WEIGHT if one else NAME_WEIGHT for one in spoken] or [1.0]))
        self.prompted = tensors([s.masks[s.prompted] for s in samples])
        self.prompt_index = tensors([np.arange(len(s.prompts)) for s in samples])
        there = [np.flatnonzero(s.targets >= 0) for s in samples]
        self.entities = tensors(there)
        self.entity_masks = tensors([s.masks[s.targets[rows]] for s, rows in zip(samples, there, strict=True)])
        most = max(1, max(len(s.targets) for s in samples))
        visual = np.zeros((len(samples), most), bool)
        for row, sample in enumerate(samples):
            if sample.asked is not None:
                visual[row, : len(sample.targets)] = sample.asked.visual
        (self.visual,) = tensors([visual])
        (self.captioned,) = tensors([np.array([s.caption is not None for s in samples])])
        (self.told,) = tensors([np.array([s.asked is not None for s in samples])])

    @classmethod
    def of(cls, samples: Sequence[Sample], device: torch.device) -> _Targets:
        """Everything of a batch."""
        return cls(samples, device)


def _unit(rows: Tensor) -> Tensor:
    return F.normalize(rows.float(), dim=-1)
