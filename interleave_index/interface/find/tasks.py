"""What the interface can be asked, once for all models (docs/find-interface.md, section 6).

Semantic vectors leave as the heads give them, float32 and of any length; masks are logits at stride 4 of the network's
input. Photos and their pixels are the affair of `find.adapter`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from ...models.vision.pixel_decoder import Pyramid
from .model import FindModel
from .outputs import Output
from .prompter import EXAMPLE, Sentence
from .prompts import InterleavePrompt, MaskPrompt, Prompts, SpatialPrompt, Visual, VisualTokens
from .proposal_selector import Cells
from .state import cosines

PROMPT_SEED = 0  # of the point draws for large prompts: the same prompt always gives the same tokens


@dataclass(frozen=True, slots=True)
class Proposals:
    """What one pass without prompts gives for B photos, before anything is filtered out.

    Attributes:
        image: (B, D); vectors: (B, Q, D).
        masks: (B, Q, h, w) logits.
        class_logits: (B, Q, K + 1), background last, or None without a class table.
        quality_logits: (B, Q) of the IoU of each mask with a thing, or None where the network does not predict it.
        cells: those of the `Pass`.
    """

    image: Tensor
    vectors: Tensor
    masks: Tensor
    class_logits: Tensor | None
    quality_logits: Tensor | None
    cells: Cells | None

    def quality(self) -> Tensor:
        """(B, Q), 0 to 1: the predicted IoU, else the chance of any named class times the certainty inside the mask."""
        if self.quality_logits is not None:
            return self.quality_logits.sigmoid()
        if self.class_logits is None:
            raise TypeError("the quality of these proposals needs a class table")
        return quality_of(self.class_logits, self.masks)


def certainty_of(masks: Tensor) -> Tensor:
    """(...,) mean chance inside each mask of (..., h, w) logits; 0 where it is empty."""
    inside = (masks > 0).float()
    return (masks.sigmoid() * inside).sum((-2, -1)) / inside.sum((-2, -1)).clamp(min=1)


def quality_of(class_logits: Tensor, masks: Tensor) -> Tensor:
    """(..., Q), 0 to 1: the chance of any named class times the certainty inside the mask.

    Args:
        class_logits: (..., Q, K + 1), background last; masks: (..., Q, h, w) logits.
    """
    return (1 - class_logits.softmax(-1)[..., -1]) * certainty_of(masks)


@dataclass(frozen=True, slots=True)
class Grounding:
    """All proposals of one photo, scored for E things that were asked.

    Attributes:
        masks: (Q, h, w) logits.
        scores: (Q, E), by which the best proposal is chosen.
        cosines: (Q, E), -1 to 1, in the space where it is chosen.
    """

    masks: Tensor
    scores: Tensor
    cosines: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """The photo and mask behind a visual entity.

    Attributes:
        pyramid: of that one photo.
        mask: (h, w) bool over the network's input, any size.
        background: (h, w) bool of what is not meant, or None.
    """

    pyramid: Pyramid
    mask: Tensor
    background: Tensor | None = None


References: TypeAlias = Sequence[Reference | None]  # of the entities of one sentence, None for those of text


def ask(model: FindModel, pyramid: Pyramid, prompts: Prompts) -> Output:
    """The last predictions of a pass over photos, float32; points of large prompts are drawn with `PROMPT_SEED`."""
    generator = _generator(pyramid.mask_features)
    return _float32(model.see(pyramid, prompts, generator=generator).final)


def propose(model: FindModel, pyramid: Pyramid, class_table: Tensor | None = None) -> Proposals:
    """Image vectors and proposals, in one pass without prompts.

    Args:
        class_table: (K + 1, D) class vectors with background last, or None.
    """
    made = model.see(pyramid, Prompts(), class_table=class_table)
    output = _float32(made.final)
    return Proposals(
        image=output["pred_retrievals"][:, 0],
        vectors=output["pred_captions"],
        masks=output["pred_masks"],
        class_logits=output.get("pred_logits"),
        quality_logits=output.get("pred_quality"),
        cells=made.cells,
    )


# --- vectors ----------------------------------------------------------------------------------


def encode_captions(model: FindModel, texts: Sequence[str]) -> Tensor:
    """(N, D) of captions by the caption query; they depend on no photo."""
    return _read(model, Prompts(caption=model.prompter.captions(texts)))["pred_retrievals_lang"][:, 0]


def encode_legend(model: FindModel, sentence: Sentence, visual: Visual = None) -> Tensor:
    """(D,) of a whole sentence with visual entities; it depends on no photo but those of the entities."""
    prompts = Prompts(interleave=model.prompter.sentences([sentence], visual))
    return _read(model, prompts)["pred_interleave_image"][0, 0]


def encode_entities(model: FindModel, sentences: Sequence[Sentence], visual: Visual = None) -> Tensor:
    """(N, E, D) of the entities of N sentences, without looking for them in any photo."""
    return _read(model, Prompts(interleave=model.prompter.sentences(sentences, visual)))["pred_entity_class"]


def encode_example(model: FindModel, reference: Reference, entity: InterleavePrompt | None = None) -> Tensor:
    """(D,) of a visual entity: the semantic vector of the proposal that its mask selects on its own photo.

    Args:
        entity: its tokens within a sentence; None where it is the whole sentence.
    """
    prompt = model.prompter.sentences([EXAMPLE]) if entity is None else entity
    prompt.masks = mask_prompt([reference])
    output = ask(model, reference.pyramid, Prompts(interleave=prompt))
    best = (output["pred_imaskembs"][0] @ output["pred_entity_pixel"][0, 0]).argmax()
    return output["pred_interleave_objects"][0, best]


def encode_shown(model: FindModel, reference: Reference) -> Tensor:
    """(D,) of a class that is shown: the semantic vector of the segment proposal that a drawn prompt selects."""
    index = torch.zeros((1, 1), dtype=torch.long, device=reference.mask.device)
    output = ask(model, reference.pyramid, Prompts(spatial=SpatialPrompt(mask_prompt([reference]), index)))
    best = (output["pred_smaskembs"][0] @ output["pred_pspatials"][0, 0]).argmax()
    return output["pred_spatials"][0, best]


# --- visual prompts ---------------------------------------------------------------------------


def mask_prompt(references: References) -> MaskPrompt:
    """The masks of references on one photo, one an entity, empty for entities of text."""
    nothing = next(torch.zeros_like(reference.mask) for reference in references if reference is not None)
    masks = [nothing if reference is None else reference.mask for reference in references]
    others = [nothing if reference is None else reference.background for reference in references]
    return MaskPrompt([torch.stack(masks)], [torch.stack([nothing if mask is None else mask for mask in others])])


def sample_references(model: FindModel, references: References) -> VisualTokens | None:
    """Visual tokens of the references of one sentence, numbered by entity; None where no entity is visual."""
    sampled, index = [], []
    for number, reference in enumerate(references):
        if reference is not None:
            tokens = model.sample(reference.pyramid, mask_prompt([reference]), _generator(reference.mask))
            sampled.append(tokens)
            index.append(torch.full_like(tokens.index, number))
    if not sampled:
        return None
    levels = tuple(torch.cat(rows, 1) for rows in zip(*(tokens.levels for tokens in sampled), strict=True))
    numbers = torch.cat(index, 1)
    table = None
    if sampled[0].vectors is not None:
        shown = [number for number, reference in enumerate(references) if reference is not None]
        rows = torch.cat([tokens.vectors for tokens in sampled if tokens.vectors is not None], 1)
        table = rows.new_zeros((1, len(references), rows.shape[-1]))
        table[:, shown] = rows
    return VisualTokens(levels, torch.zeros_like(numbers, dtype=torch.bool), numbers, table)


# --- one mask for each thing asked --------------------------------------------------------------


def ground_expressions(model: FindModel, pyramid: Pyramid, expressions: Sequence[str]) -> Grounding:
    """Expressions in one photo; all share the pass and meet each other in it. The score is the scaled cosine."""
    output = ask(model, pyramid, Prompts(grounding=model.prompter.expressions([expressions])))
    similarity = cosines(output["pred_gtexts"][0], output["pred_grounding_query"][0])
    return Grounding(output["pred_gmasks"][0], model.interface.scale * similarity, similarity)


def ground_interleaved(model: FindModel, pyramid: Pyramid, sentence: Sentence, visual: Visual) -> Grounding:
    """Every entity of a sentence in one photo, by the raw dots of the published evaluation."""
    output = ask(model, pyramid, Prompts(interleave=model.prompter.sentences([sentence], visual)))
    by_pixel = cosines(output["pred_imaskembs"][0], output["pred_entity_pixel"][0])
    by_meaning = cosines(output["pred_interleave_objects"][0], output["pred_entity_class"][0])
    is_visual = torch.tensor(sentence.visual, device=by_pixel.device)
    scores = entity_scores(output, [sentence.visual])[0]
    return Grounding(output["pred_imasks"][0], scores, torch.where(is_visual, by_pixel, by_meaning))


def entity_scores(output: Output, visual: Sequence[Sequence[bool]], cosine_factor: Tensor | None = None) -> Tensor:
    """(B, Q, E) scores of proposals for entities: pixel vectors for visual entities, semantic ones for text.

    Args:
        visual: whether each entity of each row is visual.
        cosine_factor: None for the published raw dots. With towers a visual entity has a meaning too: then semantic
            scores are cosines times this factor, and are added to the pixel dots.
    """
    by_pixel = output["pred_imaskembs"].float() @ output["pred_entity_pixel"].float().transpose(1, 2)
    objects, entities = output["pred_interleave_objects"].float(), output["pred_entity_class"].float()
    if cosine_factor is None:
        by_meaning = objects @ entities.transpose(1, 2)
    else:
        by_meaning = cosine_factor * F.normalize(objects, dim=-1) @ F.normalize(entities, dim=-1).transpose(1, 2)
        by_pixel = by_pixel + by_meaning
    is_visual = torch.zeros((len(visual), by_pixel.shape[2]), dtype=torch.bool, device=by_pixel.device)
    for row, flags in enumerate(visual):
        is_visual[row, : len(flags)] = torch.tensor(flags, dtype=torch.bool)
    return torch.where(is_visual[:, None], by_pixel, by_meaning)


def interact(model: FindModel, pyramid: Pyramid, masks: MaskPrompt, previous: Tensor | None = None) -> Tensor:
    """(1, n, h, w) logits of the mask behind each of n user masks on one photo.

    Args:
        previous: such logits of an earlier round. With several prompts the memory gets their union (the published code
            fails there).
    """
    index = torch.arange(len(masks.positive[0]), device=masks.positive[0].device)[None]
    memory = None if previous is None else previous.amax(1, keepdim=True)
    output = ask(model, pyramid, Prompts(spatial=SpatialPrompt(masks, index, memory)))
    chosen = (output["pred_smaskembs"][0] @ output["pred_pspatials"][0].T).argmax(0)
    return output["pred_smasks"][:, chosen]


def _read(model: FindModel, prompts: Prompts) -> Output:
    return _float32(model.read(prompts))


def _float32(output: Output) -> Output:
    return {name: value.float() for name, value in output.items()}


def _generator(near: Tensor) -> torch.Generator:
    return torch.Generator(near.device).manual_seed(PROMPT_SEED)
