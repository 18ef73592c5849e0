"""Stage `interface`: the interface and the pixel decoder learn all FIND tasks at once (find.md §7).

The text tower and its path into the space stay as the stages before left them, and so do the backbone and the path of
photos unless they are given a rate; regions have a path of their own that goes on learning. Every image of a batch
takes part in generic masks and retrieval by captions, as far as its annotations allow, and in one drawn task of
three: grounding by names, interactive prompts, interleaved sentences (visual with probability one half, the reference
often in another photo). The variables of tasks never see each other, so one at a time teaches the same as all at once
and costs half.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...interface.find.model import FindModel, Sentence, gather_visual
from ...interface.find.outputs import MASKS, QUALITY, Output
from ...interface.find.prompts import MaskPrompt, Prompts, SpatialPrompt, VisualTokens
from ...interface.find.tasks import mixed_entity_scores
from ...models.vision.pixel_decoder import Pyramid
from ...models.vision.tower import COARSEST
from ..losses import Matches, class_loss, contrast, fine_contrast, mask_losses, match
from .align_stage import Targets, random_captions
from .augment import jitter, random_crop
from .batches import Batch, Pools, draw_batch, label_table, picked
from .cell_losses import quality_loss, seed_losses
from .measures import caption_recall, mask_recall
from .samples import Samples, held_out
from .task_losses import choice_and_masks, name_loss, score_loss
from .vision_stage import Anchors

# As in find.md §7 but for: names and choices among proposals (2 and 0.4 there; a short training needs more), contrasts
# within a batch (8 there; batches are small, and `align` holds the captions), and the alignments of names and regions,
# which are ours, so that an entity finds stored regions.
WEIGHTS = {
    "class": 4.0,
    "bce": 5.0,
    "dice": 5.0,
    "retrieval": 1.0,
    "fine": 0.5,
    "ground_choice": 3.0,
    "ground_bce": 1.0,
    "ground_dice": 1.0,
    "ground_blend": 3.0,
    "spatial_choice": 2.0,
    "spatial_bce": 1.0,
    "spatial_dice": 1.0,
    "legend": 1.0,
    "score": 1.0,
    "entity_choice": 1.5,
    "entity_bce": 1.0,
    "entity_dice": 1.0,
    "entity_blend": 3.0,
    "names": 3.0,
    "entity_names": 2.0,
    "image_target": 4.0,
    "text_target": 2.0,
    "name_target": 2.0,
    "seed_bce": 5.0,
    "seed_dice": 5.0,
    "seed_score": 2.0,
    "quality": 2.0,
    "whole_place": 1.0,
    "whole_near": 1.0,
}
LARGER_IN_USE = 1.2  # a photo in use to a crop here: crops show things larger, and both are to look alike
WHOLE_PHOTOS = 12  # a step, where the backbone learns
NEARLY_WHOLE = 0.9  # least share of their sides that is shown
NAME_SCALE = 20.0  # of the cosines between regions and the positions of all names
MORE_CAPTIONS = 24  # captions a step that come without their photo
QUEUE = 512  # earlier vectors kept as further negatives of the retrieval losses
TASKS = {"grounding": 0.3, "spatial": 0.25, "interleave": 0.45}  # a batch trains one of these beside the rest
QUERIES_FOR_TOKENS = 0.3  # chance that segment proposals read the spatial queries instead of the tokens


class InterfaceStage:
    """All FIND tasks on one `FindModel`.

    Args:
        model: its backbone is frozen here.
        train: photos; those held out by their key are never drawn.
        anchors: positions of the photos in the space that stage `space` made, and texts, or None to go without.
        names: all names of masks with their positions (K, D), or None likewise.
        backbone_rate: of the backbone's later half and the photo path, as a share of `lr`; 0 lets them stand. With it
            `WHOLE_PHOTOS` whole photos a step learn their positions.
        supervised: predictions that are trained beside the last, counted from the one before the first layer.
    """

    name = "interface"

    def __init__(
        self,
        model: FindModel,
        train: Samples,
        held: Samples,
        *,
        anchors: Anchors | None = None,
        names: tuple[Sequence[str], Tensor] | None = None,
        batch: int = 16,
        lr: float = 5e-4,
        backbone_rate: float = 0.0,
        supervised: Sequence[int] = (2,),
    ) -> None:
        self.model, self.train_set, self.held = model, train, held
        self.photos_per_step, self.lr, self.supervised = batch, lr, tuple(supervised)
        self.pools = Pools(train, train.where(lambda n: not held_out(train.keys[n])))
        self._side = round(model.config.side / LARGER_IN_USE / COARSEST) * COARSEST
        self._backbone_rate = backbone_rate
        self._frozen: list[nn.Module] = [model.vision.backbone]
        if anchors is not None and model.interface.config.towers:
            paths = model.interface.paths
            self._frozen += [model.text, model.interface.lang_encoder, paths.photo, paths.text]
        for part in self._frozen:
            part.requires_grad_(False)
        if backbone_rate:  # its norms stand nevertheless, and so do its first maps, which cost most
            for learning in (*model.vision.backbone.stages[1:], model.interface.paths.photo):
                learning.requires_grad_(True)
        model.interface.lang_encoder.logit_scale.requires_grad_(True)
        self._queues: dict[str, Tensor] = {}
        self._anchors = anchors
        self._targets = None if anchors is None else Targets(anchors.places)
        self._usable = train.where(lambda n: not held_out(train.keys[n]))
        self._names = {} if names is None else {name: n for n, name in enumerate(names[0])}
        self._name_places = None if names is None else names[1]

    @property
    def module(self) -> nn.Module:
        """The whole model."""
        return self.model

    def at(self, share: float) -> None:
        """Nothing changes with time."""

    def parameter_groups(self) -> list[dict[str, object]]:
        """The pixel decoder at half the rate; no decay on norms, biases and embeddings."""
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                rate = self.lr / 2 if name.startswith("vision.") else self.lr
                if name.startswith(("vision.backbone.", "interface.paths.photo.")):
                    rate = self.lr * self._backbone_rate
                decay = 0.05 if parameter.ndim > 1 and "embed" not in name and "query" not in name else 0.0
                groups.setdefault((rate, decay), []).append(parameter)
        return [
            {"params": parameters, "lr": rate, "weight_decay": decay} for (rate, decay), parameters in groups.items()
        ]

    def losses(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """All losses of one fresh batch, weighted."""
        model = self.model
        for part in self._frozen:
            part.eval()
        batch = draw_batch(self.train_set, self.pools, self.photos_per_step, self._side, rng)
        with torch.set_grad_enabled(bool(self._backbone_rate)):
            maps = model.vision.backbone(model.vision.normalise(batch.pixels))
        pyramid: Pyramid = model.vision.pixel_decoder(maps)._replace(deep=model.vision.deep(maps))
        names, labels = label_table(batch)
        table, entity_table = self._name_tables(names)
        task = str(rng.choice(list(TASKS), p=list(TASKS.values())))
        run = model.see(
            pyramid,
            self._prompts(batch, pyramid, task),
            class_table=table,
            earlier=self.supervised,
            segment_sees_queries=bool(rng.random() < QUERIES_FOR_TOKENS),
        )
        losses: dict[str, Tensor] = {}
        if run.cells is not None and run.mask_features is not None:
            seeds = seed_losses(model.interface, run.cells, run.mask_features, batch.masks, batch.annotated, rng)
            losses |= {name: WEIGHTS[name] * value for name, value in seeds.items()}
            losses["quality"] = WEIGHTS["quality"] * self._quality(batch, run.final)
        predictions = [*run.earlier, run.final]
        for number, output in enumerate(predictions):
            final = number == len(predictions) - 1
            for name, value in self._prediction(batch, output, labels, table, entity_table, final).items():
                losses[name] = losses.get(name, torch.zeros(())) + WEIGHTS[name] * value.float() / len(predictions)
        caption = Prompts()
        caption.caption = model.text_tokens([c for c, on in zip(batch.captions, batch.captioned, strict=True) if on])
        losses["fine"] = WEIGHTS["fine"] * fine_contrast(
            run.final["pred_captions"][batch.captioned],
            caption.caption.tokens,
            caption.caption.pad,
            model.interface.scale,
        )
        losses |= self._distilled(batch, run.final, rng) | self._named(names, table, entity_table)
        return losses | self._whole_photos(rng)

    def _whole_photos(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """Whole photos, as large as in use, towards their positions, by the towers alone."""
        if not self._backbone_rate or self._anchors is None:
            return {}
        vision, rows = self.model.vision, rng.choice(self._usable, WHOLE_PHOTOS)
        pixels = torch.as_tensor(self.train_set.pixels[rows]).permute(0, 3, 1, 2).float()
        pixels = random_crop(WHOLE_PHOTOS, rng, smallest=NEARLY_WHOLE)(pixels, self.model.config.side)
        maps = vision.backbone(vision.normalise(jitter(pixels, rng)))
        found = self.model.interface.paths.photos(vision.deep(maps))[:, 0]
        losses = self._anchors.losses(found, rows, rng)
        return {f"whole_{name}": WEIGHTS[f"whole_{name}"] * loss for name, loss in losses.items()}

    def _named(self, names: Sequence[str], table: Tensor, entity_table: Tensor) -> dict[str, Tensor]:
        """Class and entity vectors of names stay at the positions of those names."""
        known = torch.tensor([self._names.get(name, -1) for name in names], dtype=torch.long)
        if self._name_places is None or not (known >= 0).any():
            return {}
        wanted = self._name_places[known[known >= 0]]
        both = [F.normalize(rows[: len(names)][known >= 0].float(), dim=-1) for rows in (table, entity_table)]
        apart = torch.stack([(1 - (rows * wanted).sum(1)).mean() for rows in both])
        return {"name_target": WEIGHTS["name_target"] * apart.sum()}

    def _distilled(self, batch: Batch, output: Output, rng: np.random.Generator) -> dict[str, Tensor]:
        """Image, caption and legend vectors towards the teachers' space, with captions whose photos are not here."""
        if self._targets is None:
            return {}
        own = torch.as_tensor(batch.rows)
        rows = rng.choice(self.pools.captioned, MORE_CAPTIONS)
        captions = self.model.text_tokens(random_captions(self.train_set, rows, rng))
        more = self.model.interface(None, None, Prompts(caption=captions)).final["pred_retrievals_lang"][:, 0]
        texts = [more, output["pred_retrievals_lang"][batch.captioned, 0]]
        owners = [torch.as_tensor(rows), own[batch.captioned]]
        if "pred_interleave_image" in output:
            texts.append(output["pred_interleave_image"][batch.true_sentence, 0])
            owners.append(own[batch.true_sentence])
        captions_loss = self._targets.text_loss(torch.cat(texts), torch.cat(owners), self.model.interface.scale)
        return {
            "image_target": WEIGHTS["image_target"] * self._targets.image_loss(output["pred_retrievals"][:, 0], own),
            "text_target": WEIGHTS["text_target"] * captions_loss,
        }

    def _quality(self, batch: Batch, output: Output) -> Tensor:
        """Every kind of proposal says how good its masks are."""
        kinds = [(QUALITY[name], MASKS[name]) for name in QUALITY]
        there = [(said, masks) for said, masks in kinds if said in output]
        losses = [quality_loss(output[said], output[masks], batch.masks) for said, masks in there]
        return torch.stack(losses).mean()

    # --- prompts ------------------------------------------------------------------------------

    def _prompts(self, batch: Batch, pyramid: Pyramid, task: str) -> Prompts:
        prompts = Prompts(caption=self.model.text_tokens(batch.captions))
        if task == "grounding":
            prompts.grounding = self.model.grounding_prompt(batch.expressions)
        elif task == "interleave":
            prompts.interleave = self.model.interleave_prompt(batch.sentences, self._references(batch, pyramid))
        else:
            most = max(1, max(len(s) for s in batch.strokes))
            index = torch.stack([torch.tensor([n if n < len(s) else -3 for n in range(most)]) for s in batch.strokes])
            nothing = torch.zeros((1, *batch.strokes[0].shape[1:]), dtype=torch.bool)
            prompts.spatial = SpatialPrompt(MaskPrompt([s if len(s) else nothing for s in batch.strokes]), index)
        return prompts

    def _references(self, batch: Batch, pyramid: Pyramid) -> VisualTokens | None:
        rows: list[list[int]] = []
        sources: list[int] = []
        masks: list[Tensor] = []
        for references in batch.references:
            rows.append([])
            for reference in references:
                rows[-1].append(-1 if reference is None else len(sources))
                if reference is not None:
                    sources.append(reference[0])
                    masks.append(reference[1][None])
        if not sources:
            return None
        seen = Pyramid(
            pyramid.mask_features[sources],
            pyramid.encoded[sources],
            (pyramid.levels[0][sources], pyramid.levels[1][sources], pyramid.levels[2][sources]),
            None if pyramid.deep is None else pyramid.deep[sources],
        )
        sampled = self.model.sample(seen, MaskPrompt(masks))
        return gather_visual(sampled, rows)

    def _name_tables(self, names: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Class vectors (K + 1, C), background last, and entity vectors (K, C) of names, by the language side alone."""
        model = self.model
        classes = Prompts(class_name=model.text_tokens([*names, "background"]))
        table = model.interface(None, None, classes).final["pred_retrievals_class"][:, 0]
        if not names:
            return table, table[:0]
        sentences = [Sentence(name, ((0, len(name)),), (False,)) for name in names]
        entities = Prompts(interleave=model.interleave_prompt(sentences, None))
        return table, model.interface(None, None, entities).final["pred_entity_class"][:, 0]

    # --- losses of one prediction -------------------------------------------------------------

    def _prediction(
        self, batch: Batch, output: Output, labels: list[Tensor], table: Tensor, entity_table: Tensor, final: bool
    ) -> dict[str, Tensor]:
        scale = self.model.interface.scale
        logits = output["pred_logits"]
        chances = logits.detach().float().softmax(-1)
        named = [torch.where(label < 0, 0, label) for label in labels]
        pairs = match(
            output["pred_masks"],
            batch.masks,
            [
                torch.where(label[None] < 0, 1 - chances[n, :, -1:], chances[n][:, pick])
                for n, (label, pick) in enumerate(zip(labels, named, strict=True))
            ],
        )
        losses = {"class": class_loss(logits, pairs, labels, batch.annotated)}
        losses["bce"], losses["dice"] = mask_losses(output["pred_masks"], batch.masks, pairs)
        losses["retrieval"] = self._contrast(
            "caption", output["pred_retrievals"][:, 0], output["pred_retrievals_lang"][:, 0], batch.captioned, final
        )
        if "pred_gmasks" in output:
            losses |= self._grounding(batch, output, scale)
        if "pred_smasks" in output:
            losses |= self._spatial(batch, output)
        if "pred_imasks" in output:
            losses |= self._interleaved(batch, output, labels, table, final)
        if final:
            losses["names"] = self._region_names(batch, output["pred_captions"], pairs, labels, entity_table)
        return losses

    def _region_names(
        self, batch: Batch, vectors: Tensor, pairs: Matches, labels: list[Tensor], table: Tensor
    ) -> Tensor:
        """Regions among the positions of all names, or among those of the batch where no positions are known."""
        if self._name_places is None:
            return name_loss(vectors, pairs, labels, table, self.model.interface.scale)
        known = [
            torch.tensor([self._names.get(name or "", -1) for name in names], dtype=torch.long)
            for names in batch.labels
        ]
        return name_loss(vectors, pairs, known, self._name_places, torch.tensor(NAME_SCALE))

    def _grounding(self, batch: Batch, output: Output, scale: Tensor) -> dict[str, Tensor]:
        scores = (
            scale
            * F.normalize(output["pred_gtexts"].float(), dim=-1)
            @ F.normalize(output["pred_grounding_query"].float(), dim=-1).transpose(1, 2)
        )
        asked = [(answer >= 0).nonzero()[:, 0] for answer in batch.answers]
        masks, answers = picked(batch.masks, asked), picked(batch.answers, asked)
        return choice_and_masks("ground", output["pred_gmasks"], scores, masks, answers, output.get("pred_gquality"))[0]

    def _spatial(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        scores = output["pred_smaskembs"].float() @ output["pred_pspatials"].float().transpose(1, 2)
        queries = [torch.arange(len(rows)) for rows in batch.stroke_of]
        masks = picked(batch.masks, batch.stroke_of)
        return choice_and_masks("spatial", output["pred_smasks"], scores, masks, queries)[0]

    def _interleaved(
        self, batch: Batch, output: Output, labels: list[Tensor], table: Tensor, final: bool
    ) -> dict[str, Tensor]:
        factor = self.model.interface.scale if self.model.interface.config.towers else None
        scores = mixed_entity_scores(output, [sentence.visual for sentence in batch.sentences], factor)
        masks = picked(batch.masks, batch.entity_targets)
        queries = [torch.arange(len(rows)) for rows in batch.entity_targets]
        losses, pairs = choice_and_masks(
            "entity", output["pred_imasks"], scores, masks, queries, output.get("pred_iquality")
        )
        losses["legend"] = self._contrast(
            "legend", output["pred_retrievals"][:, 0], output["pred_interleave_image"][:, 0], batch.true_sentence, final
        )
        if final:
            losses["score"] = score_loss(batch, output, self.model.interface.scale)
            losses["entity_names"] = name_loss(
                output["pred_interleave_objects"],
                pairs,
                picked(labels, batch.entity_targets),
                table,
                self.model.interface.scale,
            )
        return losses

    def _contrast(self, name: str, images: Tensor, texts: Tensor, valid: Tensor, final: bool) -> Tensor:
        images, texts = images[valid], texts[valid]
        kept = [self._queues.get(f"{name} {side}") if final else None for side in ("images", "texts")]
        loss = contrast(images, texts, self.model.interface.scale, more_one=kept[0], more_other=kept[1])
        if final and len(images):
            for side, rows in (("images", images), ("texts", texts)):
                fresh = F.normalize(rows.detach().float(), dim=-1)
                old = self._queues.get(f"{name} {side}", fresh[:0])
                self._queues[f"{name} {side}"] = torch.cat([fresh, old])[:QUEUE]
        return loss

    # --- figures on held-out photos -----------------------------------------------------------

    def measure(self) -> dict[str, float]:
        """Caption IR@10 and recall of masks on held-out photos, in percent, and the scale of the cosines."""
        return {
            "IR@10": caption_recall(self.model, self.held),
            "recall": mask_recall(self.model, self.held),
            "scale": float(self.model.interface.scale),
        }
