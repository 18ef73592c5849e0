"""Draws batches for the interface stage: crops, masks, captions, expressions, sentences with entities.

Knows samples and how prompts are drawn; knows no network.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...evaluation.published.prompts import random_prompt
from ...interface.find.prompter import Sentence, compose
from ..examples import NOTHING, Example, name_expressions
from .augment import Crop, jitter, random_crop
from .samples import COMPLETE, Sample, drawable, pixels_of

SMALLEST_CELLS = 6  # a mask with fewer cells left after the crop is dropped
MOST_REGIONS, MOST_EXPRESSIONS, MOST_ENTITIES, MOST_PROMPTS = 10, 4, 3, 3
MOST_COUNTED = 6  # masks of a photo that make it likelier to be drawn
VISUAL_CHANCE = 0.5
ELSEWHERE = 0.9  # chance that a reference is in another photo, where the batch has one of its label
PROMPT_IS_MASK = 0.5  # chance that the prompt of a reference is its whole mask
BRUSH_SIDE = 640  # side of a photo, in pixels, that the published sizes of brushes are right for
OTHER_NAMES = {
    "person": (
        "man", "woman", "boy", "girl", "child", "guy", "lady", "player", "people", "men", "women", "children", "kid"
    ),
    "airplane": ("plane", "jet"),
    "motorcycle": ("motorbike", "bike"),
    "bicycle": ("bike",),
    "couch": ("sofa",),
    "tv": ("television",),
    "dining table": ("table",),
    "potted plant": ("plant",),
    "sea": ("ocean", "water"),
    "sheep": ("lamb",),
    "dog": ("puppy",),
    "cat": ("kitten",),
    "road": ("street",),
    "earth": ("dirt", "ground"),
}  # fmt: skip
TEMPLATES = ("{}", "a {}", "the {}", "a photo of a {}", "this is a {}")


Pieces = list[tuple[str, int | None]]  # texts of a sentence in order, those of entities with the number of their mask


@dataclass(slots=True, kw_only=True)
class MiniExample(Example):
    """An image of find-mini's batch.

    Attributes:
        names: of its masks, None where nobody named one.
        true_sentence: whether its sentence is a caption, and not made up of names.
        references: what is shown for each entity of the sentence, None where it is said in words: the number of an
            image of the batch, and a (h, w) bool prompt on it.
    """

    names: Sequence[str | None]
    true_sentence: bool
    references: Sequence[tuple[int, Tensor] | None]


@dataclass(slots=True)
class Batch:
    """One batch of B images.

    Attributes:
        rows: (B,) positions in the samples.
        pixels: (B, 3, S, S) 0..255.
        names: distinct names of its masks, which the labels of the examples are numbers of.
    """

    rows: NDArray[np.int64]
    pixels: Tensor
    names: list[str]
    examples: list[MiniExample]


class Pools:
    """Positions of samples by what is known of them: outlined by people, captioned, labelled only."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.outlined = drawable(samples, lambda sample: sample.outlined)
        counted = np.array([min(MOST_COUNTED, len(samples[n].regions)) for n in self.outlined], np.float64)
        self._odds = counted / max(counted.sum(), 1)
        self.captioned = drawable(samples, lambda sample: sample.captions)
        self.labelled = drawable(samples, lambda sample: sample.labels and not sample.captions)
        by_label: dict[str, list[int]] = defaultdict(list)
        for n in self.outlined.tolist():
            for label in dict.fromkeys(region.label for region in samples[n].regions if region.label):
                by_label[label].append(n)
        self._pairs = {name: rows for name, rows in by_label.items() if len(rows) > 1}

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Positions for a batch: 3/8 outlined, 1/4 in pairs of a label, 1/16 labelled only, the rest captioned."""
        names = rng.choice(list(self._pairs), count // 8).tolist() if self._pairs else []
        pairs = [rng.choice(self._pairs[name], 2, replace=False) for name in names]
        chosen = [rng.choice(self.outlined, count * 3 // 8, p=self._odds), *pairs]
        if len(self.labelled):
            chosen.append(rng.choice(self.labelled, count // 16))
        rest = count - sum(map(len, chosen))
        chosen.append(rng.choice(self.captioned, rest, replace=len(self.captioned) < rest))
        return np.concatenate(chosen)


def draw_batch(samples: Sequence[Sample], pools: Pools, count: int, side: int, rng: np.random.Generator) -> Batch:
    """A fresh batch with random crops, prompts and sentences."""
    rows = pools.draw(count, rng)
    drawn = [samples[row] for row in rows]
    crop = random_crop(count, rng)
    pixels = crop(pixels_of(samples, rows), side)
    masks, names = cropped_masks(drawn, crop, side // 4, rng)
    captions = [_caption(sample, rng) for sample in drawn]
    pixels = jitter(pixels, rng)
    expressions = [name_expressions(own, TEMPLATES, MOST_EXPRESSIONS, rng) for own in names]
    prompts = [_prompts(own, rng) for own in masks]
    distinct = list(dict.fromkeys(name for own in names for name in own if name))
    labels = numbered(names, {name: n for n, name in enumerate(distinct)})
    examples = []
    for n, (caption, own_names) in enumerate(zip(captions, names, strict=True)):
        spans = _named_spans(own_names, caption, rng) if caption is not None else []
        pieces = _caption_pieces(caption or "", spans) if spans else _name_list(own_names, rng)
        sentence, targets, references = _sentence(pieces, n, masks, names, rng)
        (texts, answers), (prompted, drawn_prompts) = expressions[n], prompts[n]
        answering = torch.as_tensor(answers)
        examples.append(
            MiniExample(
                masks=masks[n],
                labels=labels[n],
                complete=is_complete(drawn[n]),
                caption=caption,
                expressions=texts,
                expression_masks=masks[n][answering >= 0],
                answers=answering[answering >= 0],
                prompts=drawn_prompts,
                prompted=prompted,
                sentence=sentence,
                targets=targets,
                names=own_names,
                true_sentence=bool(spans),
                references=references,
            )
        )
    return Batch(rows, pixels, distinct, examples)


def is_complete(sample: Sample) -> bool:
    """Whether the masks of a photo may be taken for all that is there."""
    return len(sample.regions) >= COMPLETE


def cropped_masks(
    samples: Sequence[Sample], crop: Crop, side: int, rng: np.random.Generator
) -> tuple[list[Tensor], list[list[str | None]]]:
    """Masks of photos after a crop, (T_i, side, side) coverage each, and their names; without what was cut off."""
    masks, names = list[Tensor](), list[list[str | None]]()
    for image, sample in enumerate(samples):
        regions = sample.regions
        if len(regions) > MOST_REGIONS:
            regions = tuple(regions[n] for n in rng.choice(len(regions), MOST_REGIONS, replace=False))
        cut = torch.zeros(0, side, side)
        if regions:
            coverages = torch.as_tensor(np.stack([region.mask for region in regions])).float()[:, None] / 255
            cut = crop(coverages, side, torch.full((len(regions),), image))[:, 0]
        kept = (cut > 0.5).sum((1, 2)) >= SMALLEST_CELLS
        masks.append(cut[kept])
        names.append([region.label for region, stays in zip(regions, kept.tolist(), strict=True) if stays])
    return masks, names


def draw_prompt(mask: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """A random prompt inside of a (h, w) mask; of what is too small for one, the mask itself."""
    drawn = random_prompt(mask, rng, scale=mask.shape[0] / BRUSH_SIDE) & mask
    return drawn if drawn.any() else mask


def name_pattern(label: str) -> re.Pattern[str]:
    """Finds a label, its plural or one of its common other names as a whole word."""
    names = "|".join(re.escape(name) for name in (label, *OTHER_NAMES.get(label, ())))
    return re.compile(rf"\b(?:{names})(?:s|es)?\b")


def numbered(names: Sequence[Sequence[str | None]], number: Mapping[str, int]) -> list[Tensor]:
    """(T_i,) number of every name, -1 for one that has none, image by image."""
    return [torch.tensor([number.get(name or "", -1) for name in own], dtype=torch.long) for own in names]


def _caption(sample: Sample, rng: np.random.Generator) -> str | None:
    if sample.captions:
        return str(rng.choice(sample.captions))
    if sample.labels and not sample.regions:
        return str(rng.choice(TEMPLATES)).format(sample.labels[0])
    return None


def _prompts(masks: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Some masks of an image, and a prompt on each."""
    count = min(len(masks), int(rng.integers(1, MOST_PROMPTS + 1)))
    chosen = np.sort(rng.choice(len(masks), count, replace=False)) if count else np.zeros(0, np.int64)
    whole = (masks[chosen] > 0.5).cpu().numpy()
    drawn = np.array([draw_prompt(mask, rng) for mask in whole], bool).reshape(whole.shape)
    return torch.as_tensor(chosen), torch.as_tensor(drawn)


def _named_spans(names: Sequence[str | None], caption: str, rng: np.random.Generator) -> list[tuple[int, int, int]]:
    """(start, end, mask number) of labels in the caption, in order, not overlapping."""
    spans: list[tuple[int, int, int]] = []
    order = list(range(len(names)))
    rng.shuffle(order)
    used: set[str] = set()
    for number in order:
        label = names[number]
        if label is None or label in used or len(spans) == MOST_ENTITIES:
            continue
        match = name_pattern(label).search(caption)
        if match and not any(match.start() < end and start < match.end() for start, end, _ in spans):
            spans.append((match.start(), match.end(), number))
            used.add(label)
    return sorted(spans)


def _caption_pieces(caption: str, spans: Sequence[tuple[int, int, int]]) -> Pieces:
    """A caption cut at its spans."""
    pieces: Pieces = []
    end_before = 0
    for start, end, number in spans:
        pieces += [(caption[end_before:start], None), (caption[start:end], number)]
        end_before = end
    return [*pieces, (caption[end_before:], None)]


def _name_list(names: Sequence[str | None], rng: np.random.Generator) -> Pieces:
    """Some names of an image joined by "and"."""
    named = [number for number, name in enumerate(names) if name]
    rng.shuffle(named)
    distinct = list({names[number]: number for number in named}.values())
    pieces: Pieces = []
    for number in distinct[: int(rng.integers(1, MOST_ENTITIES + 1))]:
        pieces += [("and" if pieces else "", None), (f"a {names[number]}", number)]
    return pieces or [(NOTHING, None)]


def _sentence(
    pieces: Pieces,
    image: int,
    masks: Sequence[Tensor],
    names: Sequence[Sequence[str | None]],
    rng: np.random.Generator,
) -> tuple[Sentence, Tensor, list[tuple[int, Tensor] | None]]:
    """A sentence, the mask of each entity, and what is shown for it: entities are shown or said, with even chances.

    What is shown is a mask of the same name, mostly in another image of the batch.
    """
    composed, targets, references = list[tuple[str, int | None, bool]](), list[int](), list[tuple[int, Tensor] | None]()
    for text, number in pieces:
        if number is None:
            composed.append((text, None, False))
            continue
        visual = bool(rng.random() < VISUAL_CHANCE)
        composed.append((text, len(targets), visual))
        targets.append(number)
        references.append(None)
        if visual:
            name, source = names[image][number], (image, number)
            others = [
                (other, n)
                for other, own in enumerate(names)
                for n, same in enumerate(own)
                if other != image and same == name
            ]
            if others and rng.random() < ELSEWHERE:
                source = others[int(rng.integers(len(others)))]
            mask = masks[source[0]][source[1]] > 0.5
            if rng.random() >= PROMPT_IS_MASK:
                mask = torch.as_tensor(draw_prompt(mask.cpu().numpy(), rng))
            references[-1] = source[0], mask
    return compose(composed), torch.tensor(targets, dtype=torch.long), references
