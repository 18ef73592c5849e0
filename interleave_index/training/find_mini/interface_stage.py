"""Stage `interface`: the interface and the pixel decoder learn all FIND tasks at once.

The losses are those of docs/find-interface.md, section 7, and some of our own (`extra_losses`, `cell_losses`).

The text tower and its path into the space stay as the stages before left them, and so do the backbone and the path of
photos unless they are given a rate; regions have a path of their own that goes on learning. Every image of a batch
takes part in generic masks and retrieval by captions, as far as its annotations allow, and in one drawn task of
three: grounding by names, interactive prompts, interleaved sentences (visual with probability one half, the reference
often in another photo).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...interface.find.outputs import MASKS, QUALITY, Output, Pass
from ...interface.find.prompter import Sentence
from ...interface.find.prompts import MaskPrompt, Prompts, VisualTokens
from ...interface.find.sampler import gather_visual
from ...models.vision.pixel_decoder import Pyramid
from ...models.vision.tower import COARSEST
from ..examples import prompts_of
from ..loop import Stage
from ..losses import contrastive_loss, fine_contrastive_loss
from ..matcher import Assignment
from ..task_losses import prediction_losses
from .augment import jitter, random_crop
from .batches import MOSAIC, Batch, MiniExample, Pools, draw_batch, numbered
from .cell_losses import cell_losses
from .extra_losses import caption_place_loss, name_loss, place_loss, quality_loss, search_score_loss
from .material import Anchors, Material
from .measures import mask_recall, model_caption_recall
from .region_stage import NAME_SCALE
from .samples import drawable, pixels_of, with_ellipses
from .settings import InterfaceSettings

LARGER_IN_USE = 1.2  # a photo in use to a crop here: crops show things larger, and both are to look alike
WHOLE_PHOTOS = 12  # a step, where the backbone learns
NEARLY_WHOLE = 0.9  # least share of their sides that is shown
MORE_CAPTIONS = 24  # captions a step that come without their photo
QUEUE = 512  # earlier vectors kept as further negatives of the retrieval losses
QUERIES_FOR_TOKENS = 0.3  # chance that segment proposals read the spatial queries instead of the tokens


class InterfaceStage(Stage):
    """All FIND tasks on one `MiniModel`.

    The backbone stands still, unless the settings give it a rate; then `WHOLE_PHOTOS` whole photos a step learn their
    positions. Photos that are held out by their key are never drawn. Without a space nothing learns positions.
    """

    name = "interface"
    bare = ("embed", "query")
    settings: InterfaceSettings

    def __init__(self, settings: InterfaceSettings, material: Material) -> None:
        super().__init__(settings)
        self.model = self.module = model = material.model
        self.train_set, self.held = with_ellipses(material.train, settings.ellipses), material.held
        model.start_from(settings.cells)
        self.pools, self.drawable = Pools(self.train_set), drawable(self.train_set, lambda sample: True)
        self.side = round(model.config.side / LARGER_IN_USE / COARSEST) * COARSEST
        paths = model.interface.paths
        self.frozen: list[nn.Module] = [model.vision.backbone]
        self.anchors: Anchors | None = None
        self.name_number, self.name_places = dict[str, int](), torch.zeros(0, model.interface.config.width)
        if material.taught:
            self.anchors = Anchors(material, material.photo_places())
            self.name_number, self.name_places = material.mask_names()
            self.frozen += [model.text, model.interface.lang_encoder, paths.photo, paths.text]
        for part in self.frozen:
            part.requires_grad_(False)
        if settings.backbone_rate:  # its norms stand nevertheless, and so do its first maps, which cost most
            for learning in (*model.vision.backbone.stages[1:], paths.photo):
                learning.requires_grad_(True)
        model.interface.lang_encoder.logit_scale.requires_grad_(True)
        self.queues: dict[str, tuple[Tensor, Tensor]] = {}  # images and texts

    def rate(self, name: str) -> float:
        """The pixel decoder learns at half the rate."""
        if name.startswith(("vision.backbone.", "interface.paths.photo.")):
            return self.settings.rate * self.settings.backbone_rate
        return self.settings.rate / 2 if name.startswith("vision.") else self.settings.rate

    def losses(self, rng: np.random.Generator, share: float = 0.0) -> dict[str, Tensor]:
        """All losses of one fresh batch, weighted."""
        model, settings = self.model, self.settings
        for part in self.frozen:
            part.eval()
        batch = draw_batch(
            self.train_set,
            self.pools,
            self.photos_per_step,
            self.side,
            rng,
            smallest=settings.smallest,
            mosaics=settings.mosaics,
        )
        examples = batch.examples
        classes, entities = self._name_vectors(batch.names)
        run = self._see(batch, classes, rng)
        captioned = torch.tensor([example.caption is not None for example in examples])
        true_sentence = torch.tensor([example.true_sentence for example in examples])
        losses = dict[str, Tensor]()
        if run.cells is not None and run.mask_features is not None:
            masks = [example.masks for example in examples]
            complete = torch.tensor([example.complete for example in examples])
            losses = cell_losses(model.interface, run.cells, run.mask_features, masks, complete, rng)
        losses["quality"] = self._quality_loss(run.final, examples)
        predictions = [*run.earlier, run.final]
        for output in predictions:
            last = output is run.final
            own, assignments = self._prediction_losses(batch, output, captioned, true_sentence, last=last)
            if last:
                own |= self._last_losses(batch, output, assignments, classes, entities, true_sentence)
            for name, value in own.items():
                losses[name] = losses.get(name, torch.zeros(())) + value.float() / len(predictions)
        captions = model.prompter.captions([example.caption for example in examples if example.caption is not None])
        objects = run.final["pred_captions"][captioned]
        losses["fine"] = fine_contrastive_loss(objects, captions.tokens, captions.pad, model.interface.scale)
        if self.anchors is not None:
            losses |= self._place_losses(self.anchors, batch, run.final, captioned, true_sentence, rng)
            losses |= self._name_losses(batch.names, classes, entities)
            if settings.backbone_rate:
                losses |= self._whole_photo_losses(self.anchors, rng)
        return {name: settings.weights[name] * value for name, value in losses.items()}

    def _see(self, batch: Batch, classes: Tensor, rng: np.random.Generator) -> Pass:
        """One pass over the photos with the prompts of one task, which is drawn."""
        model, settings = self.model, self.settings
        with torch.set_grad_enabled(bool(settings.backbone_rate)):
            maps = model.vision.backbone(model.vision.normalise(batch.pixels))
        pyramid: Pyramid = model.vision.pixel_decoder(maps)._replace(deep=model.vision.deep(maps))
        task = str(rng.choice(list(settings.tasks), p=list(settings.tasks.values())))
        visual = self._visual(batch, pyramid) if task == "interleave" else None
        return model.see(
            pyramid,
            prompts_of(batch.examples, model.prompter, visual, tasks=(task,)),
            class_table=classes,
            earlier=settings.supervised,
            segment_sees_queries=bool(rng.random() < QUERIES_FOR_TOKENS),
        )

    def _prediction_losses(
        self, batch: Batch, output: Output, captioned: Tensor, true_sentence: Tensor, *, last: bool
    ) -> tuple[dict[str, Tensor], dict[str, Assignment]]:
        """Losses of one prediction of a pass, and which proposals were matched with which masks."""
        own, assignments = prediction_losses(
            output,
            batch.examples,
            self.model.interface.scale,
            cosine_factor=self.model.interface.scale,
            points=self.settings.points or None,
            share_choice=True,
        )
        own["retrieval"] = self._contrast("caption", output, output["pred_retrievals_lang"], captioned, last)
        if "pred_interleave_image" in output:
            own["legend"] = self._contrast("legend", output, output["pred_interleave_image"], true_sentence, last)
        return own, assignments

    # --- prompts ------------------------------------------------------------------------------

    def _visual(self, batch: Batch, pyramid: Pyramid) -> VisualTokens | None:
        """Visual tokens of the references of all sentences, None where there are none."""
        shown = [shown for example in batch.examples for shown in example.references if shown is not None]
        if not shown:
            return None
        images = [image for image, _ in shown]
        coarse, middle, fine = (level[images] for level in pyramid.levels)
        deep = None if pyramid.deep is None else pyramid.deep[images]
        own = Pyramid(pyramid.mask_features[images], pyramid.encoded[images], (coarse, middle, fine), deep)
        sampled = self.model.sample(own, MaskPrompt([prompt[None] for _, prompt in shown]))
        numbers = iter(range(len(shown)))
        rows = [[-1 if one is None else next(numbers) for one in example.references] for example in batch.examples]
        return gather_visual(sampled, rows)

    def _name_vectors(self, names: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Vectors of names by the language side alone: classes (K + 1, C), background last, and entities (K, C)."""
        model = self.model
        prompts = Prompts(class_name=model.prompter.captions([*names, "background"]))
        classes = model.read(prompts)["pred_retrievals_class"][:, 0]
        if not names:
            return classes, classes[:0]
        sentences = [Sentence(name, ((0, len(name)),), (False,)) for name in names]
        prompts = Prompts(interleave=model.prompter.sentences(sentences, None))
        return classes, model.read(prompts)["pred_entity_class"][:, 0]

    # --- losses -------------------------------------------------------------------------------

    def _last_losses(
        self,
        batch: Batch,
        output: Output,
        assignments: dict[str, Assignment],
        classes: Tensor,
        entities: Tensor,
        true_sentence: Tensor,
    ) -> dict[str, Tensor]:
        """Losses that only the last prediction has: names of proposals, and the score of a search."""
        examples, scale = batch.examples, self.model.interface.scale
        if len(self.name_places):
            labels = numbered([example.names for example in examples], self.name_number)
            names, name_scale = self.name_places, torch.tensor(NAME_SCALE)
        else:  # then among the names of the batch
            labels, names, name_scale = [example.labels for example in examples], entities, scale
        losses = {"names": name_loss(output["pred_captions"], assignments["object"], labels, names, name_scale)}
        if "entity" in assignments:
            objects, entity_labels = output["pred_interleave_objects"], [e.labels[e.targets] for e in examples]
            losses["entity_names"] = name_loss(objects, assignments["entity"], entity_labels, classes, scale)
            own = true_sentence.nonzero()[:, 0]
            counts = torch.tensor([len(example.targets) for example in examples])[own]
            asked = output["pred_entity_class"][own]
            there = torch.arange(asked.shape[1]) < counts[:, None]
            legends, images = output["pred_interleave_image"][own, 0], output["pred_retrievals"][:, 0]
            losses["score"] = search_score_loss(legends, asked, there, images, output["pred_captions"], own, scale)
        return losses

    def _contrast(self, name: str, output: Output, texts: Tensor, valid: Tensor, last: bool) -> Tensor:
        """Contrast of images with texts; of the last prediction also with those of earlier batches."""
        images, texts = output["pred_retrievals"][valid, 0], texts[valid, 0]
        more_images, more_texts = None, None
        if last:
            fresh = [F.normalize(rows.detach().float(), dim=-1) for rows in (images, texts)]
            more_images, more_texts = self.queues.get(name, (fresh[0][:0], fresh[1][:0]))
            self.queues[name] = torch.cat([fresh[0], more_images])[:QUEUE], torch.cat([fresh[1], more_texts])[:QUEUE]
        return contrastive_loss(images, texts, self.model.interface.scale, more_one=more_images, more_other=more_texts)

    def _quality_loss(self, output: Output, examples: Sequence[MiniExample]) -> Tensor:
        """Every kind of proposal predicts how good its masks are, where that can be told."""
        masks = [example.masks if example.outlined else example.masks[:0] for example in examples]
        kinds = [(quality, MASKS[variable]) for variable, quality in QUALITY.items() if quality in output]
        return torch.stack([quality_loss(output[own], output[logits], masks) for own, logits in kinds]).mean()

    def _place_losses(
        self,
        anchors: Anchors,
        batch: Batch,
        output: Output,
        captioned: Tensor,
        true_sentence: Tensor,
        rng: np.random.Generator,
    ) -> dict[str, Tensor]:
        """Image, caption and legend vectors towards the teachers' space, with captions whose photos are not here."""
        rows = rng.choice(self.pools.captioned, MORE_CAPTIONS)
        captions = self.model.prompter.captions([str(rng.choice(self.train_set[n].captions)) for n in rows])
        more = self.model.read(Prompts(caption=captions))["pred_retrievals_lang"][:, 0]
        own = torch.as_tensor(batch.rows)
        texts = [more, output["pred_retrievals_lang"][captioned, 0]]
        owners = [torch.as_tensor(rows), own[captioned]]
        if "pred_interleave_image" in output:
            texts.append(output["pred_interleave_image"][true_sentence, 0])
            owners.append(own[true_sentence])
        places, scale = anchors.places, self.model.interface.scale
        return {
            "image_target": place_loss(output["pred_retrievals"][own != MOSAIC, 0], places[own[own != MOSAIC]]),
            "text_target": caption_place_loss(torch.cat(texts), places, torch.cat(owners), scale),
        }

    def _name_losses(self, names: Sequence[str], classes: Tensor, entities: Tensor) -> dict[str, Tensor]:
        """Class and entity vectors of names stay at the positions of those names."""
        (number,) = numbered([names], self.name_number)
        known = number >= 0
        if not known.any():
            return {}
        places = self.name_places[number[known]]
        return {"name_target": place_loss(classes[: len(names)][known], places) + place_loss(entities[known], places)}

    def _whole_photo_losses(self, anchors: Anchors, rng: np.random.Generator) -> dict[str, Tensor]:
        """Whole photos, as large as in use, towards their positions, by the towers alone."""
        vision, rows = self.model.vision, rng.choice(self.drawable, WHOLE_PHOTOS)
        crop = random_crop(WHOLE_PHOTOS, rng, smallest=NEARLY_WHOLE)
        pixels = crop(pixels_of(self.train_set, rows), self.model.config.side)
        maps = vision.backbone(vision.normalise(jitter(pixels, rng)))
        places = self.model.interface.paths.photos(vision.deep(maps))[:, 0]
        return {f"whole_{name}": loss for name, loss in anchors.losses(places, rows, rng).items()}

    def measure(self) -> dict[str, float]:
        """Caption IR@10 and recall of masks on held-out photos, in percent, and the scale of the cosines."""
        return {
            "IR@10": model_caption_recall(self.model, self.held),
            "recall": mask_recall(self.model, self.held),
            "scale": float(self.model.interface.scale),
        }
