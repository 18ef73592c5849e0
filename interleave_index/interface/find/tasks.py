"""What the interface can be asked, as thin batched functions over a `FindModel` (find.md §10.5).

Vectors that leave here are unit length; masks are logits at stride 4 of the square that photos are squashed to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ...models.vision.pixel_decoder import Pyramid
from ..find_mini.blend import best_cut, blend
from ..find_mini.candidates import Candidates, Drawn, candidates
from ..find_mini.caption_expansion import READ, Vocabulary, said
from ..find_mini.region_scorer import Rating, Witnesses
from .model import FindModel, Sentence, compose, gather_visual
from .outputs import Output
from .prompts import MaskPrompt, Prompts, SpatialPrompt, VisualTokens
from .proposal_selector import Cells
from .tower_paths import loudness

READINGS = ("{}", "this is a {}", "a photo of a {}")
LONGEST_NAME = 3  # words; more are a sentence of their own
ARTICLES = {"a", "an", "the"}
PROMPT_SEED = 0  # of the point draws for large prompts: the same prompt always gives the same tokens


@dataclass(frozen=True, slots=True)
class Segments:
    """Everything the index keeps of a batch, before filtering.

    Attributes:
        image: (B, D) unit vectors.
        vectors: (B, Q, D) unit vectors of the proposals.
        masks: (B, Q, h, w) logits.
        quality: (B, Q), 0 to 1: the IoU that the network expects, or where it does not say so the chance of being any
            named thing times the mean certainty inside the mask.
        lengths: (B, Q) of the proposals' vectors before they were made unit length.
        cells, mask_features: those of the `Pass`, where proposals start from cells.
    """

    image: Tensor
    vectors: Tensor
    masks: Tensor
    quality: Tensor
    lengths: Tensor
    cells: Cells | None = None
    mask_features: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """The mask of one entity or expression, and how sure it is.

    Attributes:
        mask: (h, w), above 0 inside.
        score: cosine of the best proposal with what was asked.
    """

    mask: Tensor
    score: float


@dataclass(frozen=True, slots=True)
class Reference:
    """The photo and mask behind a visual entity.

    Attributes:
        pyramid: of that one photo.
        mask: (h, w) bool, in squashed coordinates, any size.
        background: (h, w) bool or None.
        closeup: (1, T, h, w) deep maps of the part alone, as a photo of its own, or None. Where the towers speak for
            themselves they say as much of it as of the part within its photo.
    """

    pyramid: Pyramid
    mask: Tensor
    background: Tensor | None = None
    closeup: Tensor | None = None


def segment(model: FindModel, pyramid: Pyramid, class_table: Tensor) -> Segments:
    """Image vectors and proposals, in one pass without prompts.

    Args:
        class_table: (K + 1, C) name vectors with background last; not looked at where proposals judge themselves.
    """
    run = model.see(pyramid, Prompts(), class_table=None if model.interface.config.seeds else class_table)
    output = run.final
    masks, image, vectors = output["pred_masks"].float(), output["pred_retrievals"][:, 0], output["pred_captions"]
    lengths = vectors.float().norm(dim=-1)
    if "pred_quality" in output:
        quality = output["pred_quality"].float().sigmoid()
        return Segments(_unit(image), _unit(vectors), masks, quality, lengths, run.cells, run.mask_features)
    inside = (masks > 0).float()
    certainty = (masks.sigmoid() * inside).sum((2, 3)) / inside.sum((2, 3)).clamp(min=1)
    named = 1 - output["pred_logits"].float().softmax(-1)[..., -1]
    return Segments(_unit(image), _unit(vectors), masks, named * certainty, lengths)


def drawn_by_cells(model: FindModel, segments: Segments, row: int) -> Drawn | None:
    """What the cells of one photo draw, or None where proposals do not start from cells."""
    cells, features = segments.cells, segments.mask_features
    if cells is None or cells.looked is None or features is None:
        return None
    looked, interface = cells.looked, model.interface
    chosen, rows = looked.chosen[row], looked.rows[row]
    masks = torch.einsum("nc,chw->nhw", looked.pixel[row, chosen].float(), features[row].float())
    quality = interface.quality(interface.decoder_norm(cells.content[row, rows[chosen]].float()))[:, 0].sigmoid()
    return Drawn(masks, quality, Witnesses(rows, looked.on[row], looked.score[row], cells.sizes))


def regions(model: FindModel, segments: Segments, row: int, rating: Rating | None) -> Candidates:
    """All that may become regions of one photo, and what it is worth; with a rating also what further cells draw."""
    drawn = None if rating is None else drawn_by_cells(model, segments, row)
    return candidates(segments.masks[row], segments.quality[row], drawn, rating)


def vectors_of(
    model: FindModel, pyramid: Pyramid, segments: Segments, row: int, found: Candidates, kept: Sequence[int]
) -> Tensor:
    """(n, D) unit vectors of some candidates of one photo.

    One that is no proposal says what its parent says by itself, as far as they are akin, and what the towers say, where
    they speak, of its own mask.
    """
    parents = found.parents[kept]
    vectors = segments.vectors[row, parents]
    other = np.flatnonzero(np.asarray(kept) >= segments.masks.shape[1])
    if len(other) and model.interface.config.towers and pyramid.deep is not None:
        wholes, place = np.unique(parents[other], return_inverse=True)
        both = torch.cat([segments.masks[row, wholes], found.masks[np.asarray(kept)[other]]]).sigmoid()[None]
        deep, fine = pyramid.deep[row : row + 1], pyramid.mask_features[row : row + 1]
        said = loudness("proposals_vision_object") * model.interface.paths.masks(both, deep, fine)[0]
        whole = segments.lengths[row, parents[other], None] * vectors[other]
        kin = found.kin[np.asarray(kept)[other], None]
        vectors[other] = _unit(kin * (whole - said[: len(wholes)][place]) + said[len(wholes) :])
    return vectors


def encode_text(model: FindModel, sentences: Sequence[str]) -> Tensor:
    """(N, D) unit vectors of captions; they do not depend on any image.

    Where the towers speak for themselves, bare names are read in several ways (`READINGS`) and the mean is taken.
    """
    towers = bool(model.interface.config.towers)
    readings = [_readings(sentence) if towers else (sentence,) for sentence in sentences]
    prompts = Prompts(caption=model.text_tokens([text for each in readings for text in each]))
    vectors = _unit(model.read(prompts)["pred_retrievals_lang"][:, 0])
    if len(vectors) == len(sentences):
        return vectors
    return torch.stack([_unit(each.mean(0)) for each in vectors.split([len(each) for each in readings])])


def encode_names(model: FindModel, names: Sequence[str]) -> Tensor:
    """(N, C) class vectors of names, for the class table; not of unit length."""
    prompts = Prompts(class_name=model.text_tokens(names))
    out: Tensor = model.read(prompts)["pred_retrievals_class"][:, 0]
    return out


def encode_phrases(model: FindModel, phrases: Sequence[str]) -> Tensor:
    """(N, D) unit vectors of text entities, each by itself."""
    sentences = [Sentence(phrase, ((0, len(phrase)),), (False,)) for phrase in phrases]
    prompts = Prompts(interleave=model.interleave_prompt(sentences, None))
    return _unit(model.read(prompts)["pred_entity_class"][:, 0])


def ground(model: FindModel, pyramid: Pyramid, expressions: Sequence[Sequence[str]]) -> list[list[Found]]:
    """The mask of each expression, image by image; all expressions of an image share the pass."""
    output = model.see(pyramid, Prompts(grounding=model.grounding_prompt(expressions))).final
    cosines = _unit(output["pred_gtexts"]) @ _unit(output["pred_grounding_query"]).transpose(1, 2)
    scores = cosines * model.interface.scale
    quality = output.get("pred_gquality")
    return [
        [
            _found(
                output["pred_gmasks"][row],
                scores[row, :, n],
                cosines[row, :, n],
                None if quality is None else quality[row],
            )
            for n in range(len(image))
        ]
        for row, image in enumerate(expressions)
    ]


def interact(
    model: FindModel,
    pyramid: Pyramid,
    masks: Sequence[Tensor],
    background: Sequence[Tensor] | None = None,
    previous: Tensor | None = None,
) -> list[Tensor]:
    """The mask behind each user prompt.

    Args:
        masks: one (n, h, w) bool tensor an image, squashed coordinates; background likewise.
        previous: (B, 1, h, w) logits of an earlier round, or None.
    Returns:
        one (n, h', w') logits tensor an image.
    """
    most = max(len(m) for m in masks)
    index = torch.stack([torch.tensor([n if n < len(m) else -3 for n in range(most)]) for m in masks])
    prompts = Prompts(spatial=SpatialPrompt(MaskPrompt(masks, background), index, previous))
    output = model.see(pyramid, prompts, generator=_generator()).final
    scores = output["pred_smaskembs"] @ output["pred_pspatials"].transpose(1, 2)
    return [
        torch.stack([output["pred_smasks"][row, scores[row, :, n].argmax()] for n in range(len(m))])
        if len(m)
        else output["pred_smasks"][row, :0]
        for row, m in enumerate(masks)
    ]


def sample_references(model: FindModel, references: Sequence[Reference | None]) -> VisualTokens | None:
    """Visual tokens of the references of one sentence, indexed by entity; None where no entity is visual."""
    tokens = []
    for reference in references:
        if reference is not None:
            prompt = MaskPrompt(
                [reference.mask[None]], None if reference.background is None else [reference.background[None]]
            )
            tokens.append(model.sample(reference.pyramid, prompt, _generator()))
            if reference.closeup is not None and tokens[-1].vectors is not None:
                tokens[-1].vectors = _unit(tokens[-1].vectors + model.interface.paths.photos(reference.closeup))
    if not tokens:
        return None
    width = max(t.pad.shape[1] for t in tokens)
    levels = [torch.cat([F.pad(t.levels[n], (0, 0, 0, width - t.pad.shape[1])) for t in tokens]) for n in range(3)]
    pad = torch.cat([F.pad(t.pad, (0, width - t.pad.shape[1]), value=True) for t in tokens])
    vectors = None if tokens[0].vectors is None else torch.cat([t.vectors for t in tokens if t.vectors is not None])
    index = torch.zeros_like(pad, dtype=torch.long)
    stacked = VisualTokens((levels[0], levels[1], levels[2]), pad, index, vectors)
    numbers = iter(range(len(tokens)))
    return gather_visual(stacked, [[-1 if r is None else next(numbers) for r in references]])


def encode_interleaved(
    model: FindModel,
    sentence: Sentence,
    references: Sequence[Reference | None],
    vocabulary: Vocabulary | None = None,
) -> Tensor:
    """(D,) unit vector of a whole sentence with visual entities; it does not depend on any photo searched.

    With a vocabulary, where the towers speak for themselves, a quarter of it is what the sentence says without its
    pictures, the rest what it says with likely names in their place (`readings.READ`).
    """
    tokens = sample_references(model, references)
    if vocabulary is not None and tokens is not None and tokens.vectors is not None:
        texts, weights = vocabulary.readings(sentence, tokens.vectors[0])
        *read, silent = encode_text(model, [*texts, said(sentence, [""] * sum(sentence.visual))])
        return _unit(silent + READ * _unit(weights @ torch.stack(read)))
    prompts = Prompts(interleave=model.interleave_prompt([sentence], tokens))
    return _unit(model.read(prompts)["pred_interleave_image"][0, 0])


def encode_region(model: FindModel, reference: Reference, vocabulary: Vocabulary | None = None) -> Tensor:
    """(D,) unit vector of a part of a photo.

    As published, the semantic vector of the proposal that its prompt selects; where the towers speak for themselves,
    the entity's own vector, which needs no proposals, and with a vocabulary what its likely names mean.
    """
    tokens = sample_references(model, [reference])
    prompts = Prompts(interleave=model.interleave_prompt([compose([("", 0, True)])], tokens))
    if model.interface.config.towers:
        entities = model.read(prompts)["pred_entity_class"][0]
        return _entities(entities, (True,), tokens, vocabulary)[0]
    output = model.see(reference.pyramid, prompts).final
    best = (output["pred_imaskembs"][0] @ output["pred_entity_pixel"][0, 0]).argmax()
    return _unit(output["pred_interleave_objects"][0, best])


def ground_interleaved(
    model: FindModel,
    pyramid: Pyramid,
    sentence: Sentence,
    references: Sequence[Reference | None],
    vocabulary: Vocabulary | None = None,
    *,
    texts: Mapping[int, Tensor] | None = None,
    mean: Tensor | None = None,
) -> list[Found]:
    """Masks of every entity of a sentence in one photo, from its entity proposals (find.md §6).

    As published, that of the best proposal; where proposals say how good they are, the mask to be expected of all.

    Args:
        texts: by entity, (D,) unit vectors that stand in for what the pass itself makes of text entities, or None.
        mean: (D,) what is taken off an entity's vector before it is compared, for the scores only; None is nothing.
    """
    tokens = sample_references(model, references)
    output = model.see(pyramid, Prompts(interleave=model.interleave_prompt([sentence], tokens))).final
    if vocabulary is not None:
        entities = _entities(output["pred_entity_class"][0], sentence.visual, tokens, vocabulary)
        output.values["pred_entity_class"] = entities[None]
    for entity, vector in (texts or {}).items():
        output["pred_entity_class"][0, entity] = vector
    scores = mixed_entity_scores(output, [sentence.visual], _cosine_factor(model))[0]
    own_vectors = _unit(output["pred_entity_class"][0])
    objects = _unit(output["pred_interleave_objects"][0])
    cosines = objects @ (own_vectors if mean is None else own_vectors - mean).T
    quality, masks = output.get("pred_iquality"), output["pred_imasks"][0]
    own = None if quality is None else quality[0]
    return [_found(masks, scores[:, n], cosines[:, n], own) for n in range(len(sentence.spans))]


def score_interleaved(
    legend: Tensor, entities: Tensor, images: Tensor, objects: Tensor, *, weight: float = 0.5
) -> Tensor:
    """Published interleaved score of one query against images (find.md §6); all vectors of unit length.

    Args:
        legend: (D,); entities: (E, D); images: (N, D); objects: (N, Q, D).
    Returns:
        (N,).
    """
    score = images @ legend
    return score + weight * (objects @ entities.T).amax(1).mean(1) if len(entities) else score


def mixed_entity_scores(
    output: Output, visual: Sequence[Sequence[bool]], cosine_factor: Tensor | None = None
) -> Tensor:
    """(B, Q, E) scores of proposals for entities: pixel vectors for visual entities, semantic ones for text.

    Args:
        cosine_factor: None for the published raw dots. Where the towers speak for themselves a visual entity has a
            meaning too: then semantic scores are cosines times this factor, and are added to the pixel dots.
    """
    by_pixel = output["pred_imaskembs"].float() @ output["pred_entity_pixel"].float().transpose(1, 2)
    objects, entities = output["pred_interleave_objects"].float(), output["pred_entity_class"].float()
    if cosine_factor is None:
        by_meaning = objects @ entities.transpose(1, 2)
    else:
        by_meaning = cosine_factor * _unit(objects) @ _unit(entities).transpose(1, 2)
        by_pixel = by_pixel + by_meaning
    seen = torch.zeros((len(visual), by_pixel.shape[2]), dtype=torch.bool, device=by_pixel.device)
    for row, flags in enumerate(visual):
        seen[row, : len(flags)] = torch.tensor(flags, dtype=torch.bool)
    return torch.where(seen[:, None], by_pixel, by_meaning)


def _cosine_factor(model: FindModel) -> Tensor | None:
    return model.interface.scale if model.interface.config.towers else None


def _entities(
    vectors: Tensor, visual: Sequence[bool], tokens: VisualTokens | None, vocabulary: Vocabulary | None
) -> Tensor:
    """(E, D) unit vectors of entities; with a vocabulary those of pictures are drawn towards their likely names."""
    found = _unit(vectors)
    seen = None if tokens is None else tokens.vectors
    if vocabulary is None or seen is None:
        return found
    rows = [n for n, picture in enumerate(visual) if picture]
    found[rows] = vocabulary.named(found[rows], seen[0, rows])
    return found


def _readings(sentence: str) -> tuple[str, ...]:
    """A sentence, or the ways in which captions would say a bare name."""
    words = sentence.split()
    bare = 0 < len(words) <= LONGEST_NAME and words[0].lower() not in ARTICLES
    return tuple(reading.format(sentence) for reading in READINGS) if bare else (sentence,)


def _found(masks: Tensor, scores: Tensor, cosines: Tensor, quality: Tensor | None) -> Found:
    best = int(scores.argmax())
    if quality is None:
        return Found(masks[best].float(), float(cosines[best]))
    chance = blend(masks[None], scores[None, :, None], quality[None])[0, 0]
    return Found(chance - best_cut(chance), float(cosines[best]))


def _unit(rows: Tensor) -> Tensor:
    return F.normalize(rows.float(), dim=-1)


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(PROMPT_SEED)
