"""Draws batches for the interface stage: crops, masks, captions, expressions, sentences with entities.

Knows samples and how prompts are drawn; knows no network.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...evaluation.published.prompts import random_prompt
from ...interface.find.prompter import Sentence, compose
from .augment import Crop, jitter, random_crop
from .samples import COMPLETE, SampleRegion, Samples

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
NOTHING = "nothing"  # asked where there is nothing to ask for; no loss is taken of it
CAPTION = "a photo"  # in place of a caption that is not there


@dataclass(frozen=True, slots=True)
class Reference:
    """What stands for a visual entity: a prompt (h, w) on an image of the batch."""

    image: int
    prompt: Tensor


@dataclass(frozen=True, slots=True)
class BatchSentence:
    """A sentence about an image whose entities are masks of it.

    Attributes:
        sentence: its text and spans.
        targets: (E,) the mask of each entity.
        references: one an entity, None where it is said in words.
        true: whether it is a caption, and not made up of names.
    """

    sentence: Sentence
    targets: Tensor
    references: list[Reference | None]
    true: bool


@dataclass(slots=True)
class Batch:
    """One batch; lists are of one entry an image.

    Attributes:
        rows: (B,) positions in the samples.
        pixels: (B, 3, S, S) 0..255.
        masks: (T_i, h, w) float coverage at stride 4.
        labels: names of those masks, None where nobody named it.
        complete: (B,) bool, whether the masks may be taken for all that is there.
        captions: a sentence about the image; `captioned` (B,) tells where there is one.
        expressions: names to find, at least one an image; `answers`: (T_i,) the expression each mask answers, -1 none.
        prompted: (n_i,) masks that got an interactive prompt; `prompts`: (n_i, h, w) bool.
        sentences: with entities.
    """

    rows: NDArray[np.int64]
    pixels: Tensor
    masks: list[Tensor]
    labels: list[list[str | None]]
    complete: Tensor
    captions: list[str]
    captioned: Tensor
    expressions: list[list[str]]
    answers: list[Tensor]
    prompted: list[Tensor]
    prompts: list[Tensor]
    sentences: list[BatchSentence]

    @property
    def true_sentence(self) -> Tensor:
        """(B,) bool, images whose sentence with entities is a caption."""
        return torch.tensor([sentence.true for sentence in self.sentences])


class Pools:
    """Positions of samples by what is known of them: outlined by people, captioned, labelled only."""

    def __init__(self, samples: Samples) -> None:
        self.outlined = samples.drawable(samples.outlined)
        counted = np.array([min(MOST_COUNTED, len(samples.regions[n])) for n in self.outlined], np.float64)
        self._odds = counted / max(counted.sum(), 1)
        self.captioned = samples.drawable(lambda n: bool(samples.captions[n]))
        self.labelled = samples.drawable(lambda n: bool(samples.labels[n]) and not samples.captions[n])
        self._by_label: dict[str, list[int]] = defaultdict(list)
        for n in self.outlined.tolist():
            for label in dict.fromkeys(region.label for region in samples.regions[n] if region.label):
                self._by_label[label].append(n)
        self._names = [name for name, rows in self._by_label.items() if len(rows) > 1]

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Positions for a batch: 3/8 outlined, 1/4 in pairs of a label, 1/16 labelled only, the rest captioned."""
        names: Sequence[str] = rng.choice(self._names, count // 8).tolist() if self._names else []
        pairs = [rng.choice(self._by_label[name], 2, replace=False) for name in names]
        chosen = [rng.choice(self.outlined, count * 3 // 8, p=self._odds), *pairs]
        if len(self.labelled):
            chosen.append(rng.choice(self.labelled, count // 16))
        rest = count - sum(map(len, chosen))
        chosen.append(rng.choice(self.captioned, rest, replace=len(self.captioned) < rest))
        return np.concatenate(chosen)


def draw_batch(samples: Samples, pools: Pools, count: int, side: int, rng: np.random.Generator) -> Batch:
    """A fresh batch with random crops, prompts and sentences."""
    rows = pools.draw(count, rng)
    crop = random_crop(count, rng)
    pixels = crop(samples.tensor(rows), side)
    masks, labels = cropped_masks(samples, rows, crop, side // 4, rng)
    captions = [_caption(samples, n, rng) for n in rows]
    pixels = jitter(pixels, rng)
    expressions, answers = zip(*[_expressions(names, rng) for names in labels], strict=True)
    prompted, prompts = zip(*[_prompts(own, rng) for own in masks], strict=True)
    by_label: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for image, own_labels in enumerate(labels):
        for number, name in enumerate(own_labels):
            if name:
                by_label[name].append((image, number))
    sentences = []
    for image, caption in enumerate(captions):
        spans = _named_spans(labels[image], caption, rng) if caption is not None else []
        if caption is None or not spans:
            pieces = _name_list(labels[image], rng)
        else:
            pieces = _caption_pieces(caption, spans)
        sentences.append(_sentence(pieces, bool(spans), image, masks, labels, by_label, rng))
    return Batch(
        rows,
        pixels,
        masks,
        labels,
        complete=torch.tensor([len(samples.regions[n]) >= COMPLETE for n in rows]),
        captions=[caption or CAPTION for caption in captions],
        captioned=torch.tensor([caption is not None for caption in captions]),
        expressions=list(expressions),
        answers=list(answers),
        prompted=list(prompted),
        prompts=list(prompts),
        sentences=sentences,
    )


def cropped_masks(
    samples: Samples, rows: NDArray[np.int64], crop: Crop, side: int, rng: np.random.Generator
) -> tuple[list[Tensor], list[list[str | None]]]:
    """Masks of photos after a crop, (T_i, side, side) coverage each, and their names; without what was cut off."""
    chosen: list[tuple[int, SampleRegion]] = []
    for image, row in enumerate(rows):
        regions = samples.regions[row]
        drawn = rng.choice(len(regions), MOST_REGIONS, replace=False) if len(regions) > MOST_REGIONS else None
        chosen += [(image, regions[n]) for n in (range(len(regions)) if drawn is None else drawn)]
    masks: list[list[Tensor]] = [[] for _ in rows]
    labels: list[list[str | None]] = [[] for _ in rows]
    if chosen:
        owner = torch.tensor([image for image, _ in chosen])
        stack = torch.as_tensor(np.stack([region.mask for _, region in chosen])).float()[:, None] / 255
        for mask, (image, region) in zip(crop(stack, side, owner)[:, 0], chosen, strict=True):
            if (mask > 0.5).sum() >= SMALLEST_CELLS:
                masks[image].append(mask)
                labels[image].append(region.label)
    return [torch.stack(own) if own else torch.zeros(0, side, side) for own in masks], labels


def draw_prompt(mask: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """A random prompt inside of a (h, w) mask; of what is too small for one, the mask itself."""
    drawn = random_prompt(mask, rng, scale=mask.shape[0] / BRUSH_SIDE) & mask
    return drawn if drawn.any() else mask


def name_pattern(label: str) -> re.Pattern[str]:
    """Finds a label, its plural or one of its common other names as a whole word."""
    names = "|".join(re.escape(name) for name in (label, *OTHER_NAMES.get(label, ())))
    return re.compile(rf"\b(?:{names})(?:s|es)?\b")


def _caption(samples: Samples, row: int, rng: np.random.Generator) -> str | None:
    if samples.captions[row]:
        return str(rng.choice(samples.captions[row]))
    if samples.labels[row] and not samples.regions[row]:
        return str(rng.choice(TEMPLATES)).format(samples.labels[row][0])
    return None


def _expressions(names: list[str | None], rng: np.random.Generator) -> tuple[list[str], Tensor]:
    """Some names of an image in sentences, and the one that each mask answers, -1 for none."""
    distinct = [name for name in dict.fromkeys(names) if name]
    rng.shuffle(distinct)
    distinct = distinct[:MOST_EXPRESSIONS]
    answers = torch.tensor([distinct.index(name) if name in distinct else -1 for name in names], dtype=torch.long)
    return [str(rng.choice(TEMPLATES)).format(name) for name in distinct] or [NOTHING], answers


def _prompts(masks: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Some masks of an image, and a prompt on each."""
    count = min(len(masks), int(rng.integers(1, MOST_PROMPTS + 1)))
    chosen = np.sort(rng.choice(len(masks), count, replace=False)) if count else np.zeros(0, np.int64)
    drawn = [torch.as_tensor(draw_prompt((masks[n] > 0.5).cpu().numpy(), rng)) for n in chosen]
    prompts = torch.stack(drawn) if drawn else torch.zeros((0, *masks.shape[1:]), dtype=torch.bool)
    return torch.as_tensor(chosen.astype(np.int64)), prompts


def _named_spans(names: list[str | None], caption: str, rng: np.random.Generator) -> list[tuple[int, int, int]]:
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


def _caption_pieces(caption: str, spans: list[tuple[int, int, int]]) -> list[tuple[str, int | None]]:
    """A caption cut at its spans: texts, those of spans with the number of their mask."""
    pieces: list[tuple[str, int | None]] = []
    end_before = 0
    for start, end, number in spans:
        pieces += [(caption[end_before:start], None), (caption[start:end], number)]
        end_before = end
    return [*pieces, (caption[end_before:], None)]


def _name_list(names: list[str | None], rng: np.random.Generator) -> list[tuple[str, int | None]]:
    """Some names of an image joined by "and", with the number of a mask of each."""
    named = [number for number, name in enumerate(names) if name]
    rng.shuffle(named)
    distinct = list({names[number]: number for number in named}.values())
    pieces: list[tuple[str, int | None]] = []
    for number in distinct[: int(rng.integers(1, MOST_ENTITIES + 1))]:
        pieces += [("and" if pieces else "", None), (f"a {names[number]}", number)]
    return pieces or [(NOTHING, None)]


def _sentence(
    pieces: list[tuple[str, int | None]],
    true: bool,
    image: int,
    masks: list[Tensor],
    labels: list[list[str | None]],
    by_label: dict[str, list[tuple[int, int]]],
    rng: np.random.Generator,
) -> BatchSentence:
    """A sentence of pieces, whose entities are shown by a mask of their label or said, with even chances."""
    composed: list[tuple[str, int | None, bool]] = []
    targets: list[int] = []
    references: list[Reference | None] = []
    for text, number in pieces:
        if number is None:
            composed.append((text, None, False))
            continue
        visual = bool(rng.random() < VISUAL_CHANCE)
        composed.append((text, len(targets), visual))
        targets.append(number)
        reference = None
        if visual:
            others = [place for place in by_label[labels[image][number] or ""] if place[0] != image]
            source = (image, number)
            if others and rng.random() < ELSEWHERE:
                source = others[int(rng.integers(len(others)))]
            mask = masks[source[0]][source[1]] > 0.5
            whole = rng.random() < PROMPT_IS_MASK
            prompt = mask if whole else torch.as_tensor(draw_prompt(mask.cpu().numpy(), rng))
            reference = Reference(source[0], prompt)
        references.append(reference)
    return BatchSentence(compose(composed), torch.tensor(targets, dtype=torch.long), references, true)


def label_table(batch: Batch) -> tuple[list[str], list[Tensor]]:
    """Distinct names of a batch, and for every image the (T_i,) position of each mask's name, -1 for a nameless one."""
    names = list(dict.fromkeys(name for image in batch.labels for name in image if name))
    number = {name: n for n, name in enumerate(names)}
    return names, numbered(batch.labels, number)


def numbered(labels: list[list[str | None]], number: dict[str, int]) -> list[Tensor]:
    """(T_i,) number of every label, -1 for one that has none, image by image."""
    return [torch.tensor([number.get(label or "", -1) for label in own], dtype=torch.long) for own in labels]
