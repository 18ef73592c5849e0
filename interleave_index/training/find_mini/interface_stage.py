"""Stage `interface`: the interface and the pixel decoder learn all FIND tasks at once.

The losses are those of docs/find-interface.md, section 7, and some of our own (`extra_losses`, `cell_losses`).

The text tower and its path into the space stay as the stages before left them, and so do the backbone and the path of
photos unless they are given a rate; regions have a path of their own that goes on learning. Every image of a batch
takes part in generic masks and retrieval by captions, as far as its annotations allow, and in one drawn task of
three: grounding by names, interactive prompts, interleaved sentences (visual with probability one half, the reference
often in another photo).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...interface.find.outputs import MASKS, QUALITY, Output, Pass
from ...interface.find.prompter import Sentence
from ...interface.find.prompts import PAD_QUERY, MaskPrompt, Prompts, SpatialPrompt, VisualTokens
from ...interface.find.sampler import gather_visual
from ...interface.find_mini.model import MiniModel
from ...models.vision.pixel_decoder import Pyramid
from ...models.vision.tower import COARSEST
from ..loop import Stage
from ..losses import contrastive_loss, fine_contrastive_loss
from ..matcher import Assignment
from ..task_losses import Targets, prediction_losses
from .align_stage import caption_place_loss, place_loss
from .augment import jitter, random_crop
from .batches import Batch, Pools, draw_batch, label_table, numbered
from .cell_losses import cell_losses
from .extra_losses import name_loss, quality_loss, search_score_loss
from .mask_means import NAME_SCALE
from .measures import mask_recall, model_caption_recall
from .samples import Samples
from .settings import InterfaceSettings
from .vision_stage import Anchors

LARGER_IN_USE = 1.2  # a photo in use to a crop here: crops show things larger, and both are to look alike
WHOLE_PHOTOS = 12  # a step, where the backbone learns
NEARLY_WHOLE = 0.9  # least share of their sides that is shown
MORE_CAPTIONS = 24  # captions a step that come without their photo
QUEUE = 512  # earlier vectors kept as further negatives of the retrieval losses
QUERIES_FOR_TOKENS = 0.3  # chance that segment proposals read the spatial queries instead of the tokens


@dataclass(frozen=True, slots=True)
class Tables:
    """Vectors of the names of a batch: classes (K + 1, C), background last, and entities (K, C)."""

    classes: Tensor
    entities: Tensor


class InterfaceStage(Stage):
    """All FIND tasks on one `MiniModel`.

    Args:
        settings: with a rate of the backbone, `WHOLE_PHOTOS` whole photos a step learn their positions.
        model: its backbone is frozen here.
        train: photos; those held out by their key are never drawn.
        anchors: positions of the photos in the space that stage `space` made, and texts, or None to go without.
        names: all names of masks with their positions (K, D), or None likewise.
    """

    name = "interface"

    def __init__(
        self,
        settings: InterfaceSettings,
        model: MiniModel,
        train: Samples,
        held: Samples,
        *,
        anchors: Anchors | None = None,
        names: tuple[Sequence[str], Tensor] | None = None,
    ) -> None:
        super().__init__(settings)
        self.recipe, self.weights = settings, settings.weights
        self.model = self.module = model
        self.train_set, self.held, self.anchors = train, held, anchors
        self.pools, self.drawable = Pools(train), train.drawable()
        self.side = round(model.config.side / LARGER_IN_USE / COARSEST) * COARSEST
        paths = model.interface.paths if anchors is not None and model.interface.config.towers else None
        self.frozen: list[nn.Module] = [model.vision.backbone]
        if paths is not None:
            self.frozen += [model.text, model.interface.lang_encoder, paths.photo, paths.text]
        for part in self.frozen:
            part.requires_grad_(False)
        if settings.backbone_rate:  # its norms stand nevertheless, and so do its first maps, which cost most
            for learning in (*model.vision.backbone.stages[1:], model.interface.paths.photo):
                learning.requires_grad_(True)
        model.interface.lang_encoder.logit_scale.requires_grad_(True)
        self.queues: dict[str, tuple[Tensor, Tensor]] = {}  # images and texts
        self.name_number = {name: n for n, name in enumerate(names[0])} if names is not None else {}
        self.name_places = names[1] if names is not None else None

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The pixel decoder at half the rate; no decay on norms, biases and embeddings."""
        settings = self.recipe
        groups: dict[tuple[float, float], list[nn.Parameter]] = defaultdict(list)
        for name, parameter in self.model.named_parameters():
            if not parameter.requires_grad:
                continue
            rate = settings.rate
            if name.startswith(("vision.backbone.", "interface.paths.photo.")):
                rate *= settings.backbone_rate
            elif name.startswith("vision."):
                rate /= 2
            decayed = parameter.ndim > 1 and "embed" not in name and "query" not in name
            groups[rate, settings.decay if decayed else 0.0].append(parameter)
        return [{"params": own, "lr": rate, "weight_decay": decay} for (rate, decay), own in groups.items()]

    def losses(self, rng: np.random.Generator, share: float = 0.0) -> dict[str, Tensor]:
        """All losses of one fresh batch, weighted."""
        model, settings = self.model, self.recipe
        for part in self.frozen:
            part.eval()
        batch = draw_batch(self.train_set, self.pools, self.photos_per_step, self.side, rng)
        with torch.set_grad_enabled(bool(settings.backbone_rate)):
            maps = model.vision.backbone(model.vision.normalise(batch.pixels))
        pyramid: Pyramid = model.vision.pixel_decoder(maps)._replace(deep=model.vision.deep(maps))
        names, labels = label_table(batch)
        tables = self._name_tables(names)
        task = str(rng.choice(list(settings.tasks), p=list(settings.tasks.values())))
        run: Pass = model.see(
            pyramid,
            self._prompts(batch, pyramid, task),
            class_table=tables.classes,
            earlier=settings.supervised,
            segment_sees_queries=bool(rng.random() < QUERIES_FOR_TOKENS),
        )
        losses: dict[str, Tensor] = {}
        if run.cells is not None and run.mask_features is not None:
            losses |= cell_losses(model.interface, run.cells, run.mask_features, batch.masks, batch.complete, rng)
            losses["quality"] = self._quality_loss(batch, run.final)
        targets, scale = self._targets(batch, labels), model.interface.scale
        factor = scale if model.interface.config.towers else None
        predictions = [*run.earlier, run.final]
        for output in predictions:
            last = output is run.final
            own, assignments = prediction_losses(output, targets, scale, cosine_factor=factor, share_choice=True)
            captions = output["pred_retrievals_lang"][:, 0]
            own["retrieval"] = self._contrast("caption", output, captions, batch.captioned, last)
            if "pred_interleave_image" in output:
                legends = output["pred_interleave_image"][:, 0]
                own["legend"] = self._contrast("legend", output, legends, batch.true_sentence, last)
            if last:
                own |= self._last_losses(batch, run, assignments, labels, tables)
            for name, value in own.items():
                losses[name] = losses.get(name, torch.zeros(())) + value.float() / len(predictions)
        losses["fine"] = self._fine_loss(batch, run.final)
        losses |= self._distilled(batch, run.final, rng)
        losses |= self._name_targets(names, tables)
        losses |= self._whole_photos(rng)
        return {name: self.weights[name] * value for name, value in losses.items()}

    # --- prompts ------------------------------------------------------------------------------

    def _prompts(self, batch: Batch, pyramid: Pyramid, task: str) -> Prompts:
        prompts = Prompts(caption=self.model.prompter.captions(batch.captions))
        if task == "grounding":
            prompts.grounding = self.model.prompter.expressions(batch.expressions)
        elif task == "interleave":
            sentences = [sentence.sentence for sentence in batch.sentences]
            prompts.interleave = self.model.prompter.sentences(sentences, self._references(batch, pyramid))
        else:
            most = max(1, max(len(own) for own in batch.prompts))
            number = torch.arange(most)
            index = torch.stack([torch.where(number < len(own), number, PAD_QUERY) for own in batch.prompts])
            nothing = torch.zeros((1, *batch.prompts[0].shape[1:]), dtype=torch.bool)
            prompts.spatial = SpatialPrompt(MaskPrompt([own if len(own) else nothing for own in batch.prompts]), index)
        return prompts

    def _references(self, batch: Batch, pyramid: Pyramid) -> VisualTokens | None:
        """Visual tokens of the references of all sentences, None where there are none."""
        references = [reference for sentence in batch.sentences for reference in sentence.references]
        visual = [reference for reference in references if reference is not None]
        if not visual:
            return None
        images = [reference.image for reference in visual]
        coarse, middle, fine = (level[images] for level in pyramid.levels)
        own = Pyramid(
            pyramid.mask_features[images],
            pyramid.encoded[images],
            (coarse, middle, fine),
            None if pyramid.deep is None else pyramid.deep[images],
        )
        sampled = self.model.sample(own, MaskPrompt([reference.prompt[None] for reference in visual]))
        numbers = iter(range(len(visual)))
        rows = [
            [-1 if reference is None else next(numbers) for reference in sentence.references]
            for sentence in batch.sentences
        ]
        return gather_visual(sampled, rows)

    def _name_tables(self, names: Sequence[str]) -> Tables:
        """Vectors of names, by the language side alone."""
        model = self.model
        classes = Prompts(class_name=model.prompter.captions([*names, "background"]))
        table = model.read(classes)["pred_retrievals_class"][:, 0]
        if not names:
            return Tables(table, table[:0])
        sentences = [Sentence(name, ((0, len(name)),), (False,)) for name in names]
        entities = Prompts(interleave=model.prompter.sentences(sentences, None))
        return Tables(table, model.read(entities)["pred_entity_class"][:, 0])

    # --- losses of one prediction -------------------------------------------------------------

    def _targets(self, batch: Batch, labels: list[Tensor]) -> Targets:
        asked = [answer >= 0 for answer in batch.answers]
        entity_masks = _picked(batch.masks, [sentence.targets for sentence in batch.sentences])
        return Targets(
            masks=batch.masks,
            labels=labels,
            complete=batch.complete,
            expression_masks=_picked(batch.masks, asked),
            answers=_picked(batch.answers, asked),
            prompted=_picked(batch.masks, batch.prompted),
            entity_masks=entity_masks,
            entities=[torch.arange(len(own)) for own in entity_masks],
            visual=[sentence.sentence.visual for sentence in batch.sentences],
        )

    def _last_losses(
        self, batch: Batch, run: Pass, assignments: dict[str, Assignment], labels: list[Tensor], tables: Tables
    ) -> dict[str, Tensor]:
        """Losses that only the last prediction has: names of proposals, and the score of a search."""
        output, scale = run.final, self.model.interface.scale
        if self.name_places is None:  # then among the names of the batch
            name_labels, names, name_scale = labels, tables.entities, scale
        else:
            name_labels, names = numbered(batch.labels, self.name_number), self.name_places
            name_scale = torch.tensor(NAME_SCALE)
        losses = {"names": name_loss(output["pred_captions"], assignments["object"], name_labels, names, name_scale)}
        if "entity" in assignments:
            targets = [sentence.targets for sentence in batch.sentences]
            objects, entity_labels = output["pred_interleave_objects"], _picked(labels, targets)
            losses["entity_names"] = name_loss(objects, assignments["entity"], entity_labels, tables.classes, scale)
            own = batch.true_sentence.nonzero()[:, 0]
            entities = output["pred_entity_class"][own]
            counts = torch.tensor([len(rows) for rows in targets])[own]
            losses["score"] = search_score_loss(
                output["pred_interleave_image"][own, 0],
                entities,
                torch.arange(entities.shape[1]) < counts[:, None],
                output["pred_retrievals"][:, 0],
                output["pred_captions"],
                own,
                scale,
            )
        return losses

    def _contrast(self, name: str, output: Output, texts: Tensor, valid: Tensor, last: bool) -> Tensor:
        """Contrast of images with texts; of the last prediction also with those of earlier batches."""
        images, texts = output["pred_retrievals"][:, 0][valid], texts[valid]
        if not last:
            return contrastive_loss(images, texts, self.model.interface.scale)
        fresh = [F.normalize(rows.detach().float(), dim=-1) for rows in (images, texts)]
        more_images, more_texts = self.queues.get(name, (fresh[0][:0], fresh[1][:0]))
        self.queues[name] = torch.cat([fresh[0], more_images])[:QUEUE], torch.cat([fresh[1], more_texts])[:QUEUE]
        scale = self.model.interface.scale
        return contrastive_loss(images, texts, scale, more_one=more_images, more_other=more_texts)

    # --- losses of the last prediction, and of what has no predictions -------------------------

    def _quality_loss(self, batch: Batch, output: Output) -> Tensor:
        """Every kind of proposal predicts how good its masks are."""
        kinds = [(quality, MASKS[variable]) for variable, quality in QUALITY.items() if quality in output]
        return torch.stack([quality_loss(output[own], output[masks], batch.masks) for own, masks in kinds]).mean()

    def _fine_loss(self, batch: Batch, output: Output) -> Tensor:
        true = [caption for caption, on in zip(batch.captions, batch.captioned, strict=True) if on]
        tokens = self.model.prompter.captions(true)
        objects = output["pred_captions"][batch.captioned]
        return fine_contrastive_loss(objects, tokens.tokens, tokens.pad, self.model.interface.scale)

    def _distilled(self, batch: Batch, output: Output, rng: np.random.Generator) -> dict[str, Tensor]:
        """Image, caption and legend vectors towards the teachers' space, with captions whose photos are not here."""
        if self.anchors is None:
            return {}
        rows = rng.choice(self.pools.captioned, MORE_CAPTIONS)
        captions = self.model.prompter.captions([str(rng.choice(self.train_set.captions[n])) for n in rows])
        more = self.model.read(Prompts(caption=captions))["pred_retrievals_lang"][:, 0]
        own = torch.as_tensor(batch.rows)
        texts = [more, output["pred_retrievals_lang"][batch.captioned, 0]]
        owners = [torch.as_tensor(rows), own[batch.captioned]]
        if "pred_interleave_image" in output:
            true = batch.true_sentence
            texts.append(output["pred_interleave_image"][true, 0])
            owners.append(own[true])
        places, scale = self.anchors.places, self.model.interface.scale
        return {
            "image_target": place_loss(output["pred_retrievals"][:, 0], places[own]),
            "text_target": caption_place_loss(torch.cat(texts), places, torch.cat(owners), scale),
        }

    def _name_targets(self, names: Sequence[str], tables: Tables) -> dict[str, Tensor]:
        """Class and entity vectors of names stay at the positions of those names."""
        number = torch.tensor([self.name_number.get(name, -1) for name in names], dtype=torch.long)
        known = number >= 0
        if self.name_places is None or not known.any():
            return {}
        places = self.name_places[number[known]]
        classes, entities = tables.classes[: len(names)][known], tables.entities[known]
        return {"name_target": place_loss(classes, places) + place_loss(entities, places)}

    def _whole_photos(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """Whole photos, as large as in use, towards their positions, by the towers alone."""
        if not self.recipe.backbone_rate or self.anchors is None:
            return {}
        vision, rows = self.model.vision, rng.choice(self.drawable, WHOLE_PHOTOS)
        crop = random_crop(WHOLE_PHOTOS, rng, smallest=NEARLY_WHOLE)
        pixels = crop(self.train_set.tensor(rows), self.model.config.side)
        maps = vision.backbone(vision.normalise(jitter(pixels, rng)))
        places = self.model.interface.paths.photos(vision.deep(maps))[:, 0]
        return {f"whole_{name}": loss for name, loss in self.anchors.losses(places, rows, rng).items()}

    def measure(self) -> dict[str, float]:
        """Caption IR@10 and recall of masks on held-out photos, in percent, and the scale of the cosines."""
        return {
            "IR@10": model_caption_recall(self.model, self.held),
            "recall": mask_recall(self.model, self.held),
            "scale": float(self.model.interface.scale),
        }


def _picked(values: Sequence[Tensor], rows: Sequence[Tensor]) -> list[Tensor]:
    """Some rows of every image's tensor."""
    return [own[chosen] for own, chosen in zip(values, rows, strict=True)]
