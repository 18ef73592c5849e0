"""Draws batches for the interface stage: crops, masks, captions, expressions, sentences with entities.

Knows samples and strokes; knows no network.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...interface.find.model import Sentence, compose
from .augment import Crop, jitter, random_crop
from .samples import SampleRegion, Samples
from .strokes import draw_prompt

SMALLEST_CELLS = 6  # a mask with fewer cells left after the crop is dropped
MOST_REGIONS, MOST_EXPRESSIONS, MOST_ENTITIES, MOST_STROKES = 10, 4, 3, 3
COMPLETE = 2  # masks from which on they may be all that is there; one alone is often the only thing that was drawn
MOST_COUNTED = 6  # masks of a photo that make it likelier to be drawn
VISUAL_CHANCE = 0.5
ELSEWHERE = 0.9  # chance that a reference is in another photo, where the batch has one of its label
OTHER_NAMES = {
    "person": (
        "man",
        "woman",
        "boy",
        "girl",
        "child",
        "guy",
        "lady",
        "player",
        "people",
        "men",
        "women",
        "children",
        "kid",
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
}
TEMPLATES = ("{}", "a {}", "the {}", "a photo of a {}", "this is a {}")


@dataclass(slots=True)
class Batch:
    """One batch; lists are of one entry an image.

    Attributes:
        rows: (B,) positions in the samples.
        pixels: (B, 3, S, S) 0..255.
        masks: (T_i, h, w) float coverage at stride 4.
        labels: names of those masks, None where nobody named it.
        annotated: (B,) bool, whether the masks may be taken for all that is there.
        captions: a sentence about the image; `captioned` (B,) tells where there is one.
        expressions: names to find, at least one an image; `answers`: (T_i,) the expression each mask answers, -1 none.
        stroke_of: which masks got an interactive prompt; strokes: (n_i, h, w) bool.
        sentences: with entities; `entity_targets`: mask of each entity; `true_sentence` (B,) where it is a caption.
        references: per entity (image, prompt (h, w)) for visual ones, else None.
    """

    rows: NDArray[np.int64]
    pixels: Tensor
    masks: list[Tensor]
    labels: list[list[str | None]]
    annotated: Tensor
    captions: list[str]
    captioned: Tensor
    expressions: list[list[str]] = field(default_factory=list)
    answers: list[Tensor] = field(default_factory=list)
    stroke_of: list[Tensor] = field(default_factory=list)
    strokes: list[Tensor] = field(default_factory=list)
    sentences: list[Sentence] = field(default_factory=list)
    entity_targets: list[Tensor] = field(default_factory=list)
    true_sentence: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.bool))
    references: list[list[tuple[int, Tensor] | None]] = field(default_factory=list)


class Pools:
    """Positions of samples by what is known of them: outlined by people, captioned, labelled only."""

    def __init__(self, samples: Samples, usable: NDArray[np.int64]) -> None:
        by_hand = [n for n in usable if any(r.kind != "pseudo" for r in samples.regions[n])]
        self.outlined = np.array(by_hand, np.int64)
        counted = np.array([min(MOST_COUNTED, len(samples.regions[n])) for n in by_hand], np.float64)
        self._odds = counted / counted.sum() if by_hand else counted
        self.captioned = np.array([n for n in usable if samples.captions[n]], np.int64)
        self.labelled = np.array([n for n in usable if samples.labels[n] and not samples.captions[n]], np.int64)
        self.by_label: dict[str, list[int]] = {}
        for n in by_hand:
            for label in {r.label for r in samples.regions[n] if r.label}:
                self.by_label.setdefault(label, []).append(int(n))
        self.names = [name for name, rows in self.by_label.items() if len(rows) > 1]

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Positions for a batch: 3/8 outlined, 1/4 in pairs of a label, 1/16 labelled only, the rest captioned."""
        pairs = (
            [rng.choice(self.by_label[name], 2, replace=False) for name in rng.choice(self.names, count // 8)]
            if self.names
            else []
        )
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
    pixels = crop(torch.as_tensor(samples.pixels[rows]).permute(0, 3, 1, 2).float(), side)
    masks, labels = cropped_masks(samples, rows, crop, side // 4, rng)
    captions = [_caption(samples, n, rng) for n in rows]
    batch = Batch(
        rows,
        jitter(pixels, rng),
        masks,
        labels,
        torch.tensor([len(samples.regions[n]) >= COMPLETE for n in rows]),
        [c or "a photo" for c in captions],
        torch.tensor([c is not None for c in captions]),
    )
    _add_expressions(batch, rng)
    _add_strokes(batch, rng)
    _add_sentences(batch, rng)
    return batch


def cropped_masks(
    samples: Samples, rows: NDArray[np.int64], crop: Crop, side: int, rng: np.random.Generator
) -> tuple[list[Tensor], list[list[str | None]]]:
    """Masks of photos after a crop, (T_i, side, side) coverage each, and their names; without what was cut off."""
    chosen = [_chosen(samples, n, rng) for n in rows]
    owner = torch.tensor([i for i, regions in enumerate(chosen) for _ in regions], dtype=torch.long)
    masks: list[list[Tensor]] = [[] for _ in rows]
    labels: list[list[str | None]] = [[] for _ in rows]
    if len(owner):
        flat = [region for regions in chosen for region in regions]
        stack = torch.as_tensor(np.stack([r.mask for r in flat])).float()[:, None] / 255
        cut = crop(stack, side, owner)[:, 0]
        for mask, region, image in zip(cut, flat, owner.tolist(), strict=True):
            if (mask > 0.5).sum() >= SMALLEST_CELLS:
                masks[image].append(mask)
                labels[image].append(region.label)
    return [torch.stack(m) if m else torch.zeros(0, side, side) for m in masks], labels


def _chosen(samples: Samples, row: int, rng: np.random.Generator) -> list[SampleRegion]:
    regions = samples.regions[row]
    if len(regions) <= MOST_REGIONS:
        return list(regions)
    return [regions[n] for n in rng.choice(len(regions), MOST_REGIONS, replace=False)]


def _caption(samples: Samples, row: int, rng: np.random.Generator) -> str | None:
    if samples.captions[row]:
        return str(rng.choice(samples.captions[row]))
    if samples.labels[row] and not samples.regions[row]:
        return str(rng.choice(TEMPLATES)).format(samples.labels[row][0])
    return None


def _add_expressions(batch: Batch, rng: np.random.Generator) -> None:
    for names in batch.labels:
        distinct = [n for n in dict.fromkeys(names) if n]
        rng.shuffle(distinct)
        distinct = distinct[:MOST_EXPRESSIONS]
        batch.answers.append(
            torch.tensor([distinct.index(n) if n in distinct else -1 for n in names], dtype=torch.long)
        )
        batch.expressions.append([str(rng.choice(TEMPLATES)).format(n) for n in distinct] or ["nothing"])


def _add_strokes(batch: Batch, rng: np.random.Generator) -> None:
    for masks in batch.masks:
        count = min(len(masks), int(rng.integers(1, MOST_STROKES + 1)))
        chosen = np.sort(rng.choice(len(masks), count, replace=False)) if count else np.zeros(0, int)
        drawn = [torch.as_tensor(draw_prompt((masks[n] > 0.5).cpu().numpy(), rng)) for n in chosen]
        batch.stroke_of.append(torch.as_tensor(chosen.astype(np.int64)))
        batch.strokes.append(torch.stack(drawn) if drawn else torch.zeros((0, *masks.shape[1:]), dtype=torch.bool))


def name_pattern(label: str) -> re.Pattern[str]:
    """Finds a label, its plural or one of its common other names as a whole word."""
    names = "|".join(re.escape(name) for name in (label, *OTHER_NAMES.get(label, ())))
    return re.compile(rf"\b(?:{names})(?:s|es)?\b")


def _add_sentences(batch: Batch, rng: np.random.Generator) -> None:
    by_label: dict[str, list[tuple[int, int]]] = {}
    for image, names in enumerate(batch.labels):
        for number, name in enumerate(names):
            if name:
                by_label.setdefault(name, []).append((image, number))
    true = []
    for image in range(len(batch.labels)):
        spans = _named_spans(batch, image, rng) if batch.captioned[image] else []
        true.append(bool(spans))
        pieces: list[tuple[str, int | None, bool]] = []
        targets: list[int] = []
        references: list[tuple[int, Tensor] | None] = []
        if spans:
            text, at = batch.captions[image], 0
            for start, end, number in spans:
                pieces.append((text[at:start], None, False))
                pieces.append(_entity(batch, image, number, text[start:end], by_label, targets, references, rng))
                at = end
            pieces.append((text[at:], None, False))
        else:
            named = [n for n, name in enumerate(batch.labels[image]) if name]
            rng.shuffle(named)
            distinct = list({batch.labels[image][n]: n for n in named}.values())[
                : int(rng.integers(1, MOST_ENTITIES + 1))
            ]
            for place, number in enumerate(distinct):
                pieces.append(("and" if place else "", None, False))
                pieces.append(
                    _entity(
                        batch, image, number, f"a {batch.labels[image][number]}", by_label, targets, references, rng
                    )
                )
            pieces = pieces or [("nothing", None, False)]
        batch.sentences.append(compose(pieces))
        batch.entity_targets.append(torch.tensor(targets, dtype=torch.long))
        batch.references.append(references)
    batch.true_sentence = torch.tensor(true)


def _named_spans(batch: Batch, image: int, rng: np.random.Generator) -> list[tuple[int, int, int]]:
    """(start, end, mask number) of labels in the caption, in order, not overlapping."""
    found: list[tuple[int, int, int]] = []
    order = list(range(len(batch.labels[image])))
    rng.shuffle(order)
    used: set[str] = set()
    for number in order:
        label = batch.labels[image][number]
        if label is None or label in used or len(found) == MOST_ENTITIES:
            continue
        hit = name_pattern(label).search(batch.captions[image])
        if hit and not any(hit.start() < end and start < hit.end() for start, end, _ in found):
            found.append((hit.start(), hit.end(), number))
            used.add(label)
    return sorted(found)


def _entity(
    batch: Batch,
    image: int,
    number: int,
    text: str,
    by_label: dict[str, list[tuple[int, int]]],
    targets: list[int],
    references: list[tuple[int, Tensor] | None],
    rng: np.random.Generator,
) -> tuple[str, int | None, bool]:
    visual = bool(rng.random() < VISUAL_CHANCE)
    targets.append(number)
    reference = None
    if visual:
        label = batch.labels[image][number]
        others = [place for place in by_label.get(label or "", []) if place[0] != image]
        source = others[int(rng.integers(len(others)))] if others and rng.random() < ELSEWHERE else (image, number)
        mask = batch.masks[source[0]][source[1]] > 0.5
        prompt = mask if rng.random() < 0.5 else torch.as_tensor(draw_prompt(mask.cpu().numpy(), rng))
        reference = (source[0], prompt)
    references.append(reference)
    return text, len(targets) - 1, visual


def label_table(batch: Batch) -> tuple[list[str], list[Tensor]]:
    """Distinct names of a batch, and for every image the (T_i,) position of each mask's name, -1 for a nameless one."""
    names = list(dict.fromkeys(name for image in batch.labels for name in image if name))
    place = {name: n for n, name in enumerate(names)}
    return names, [torch.tensor([place[n] if n else -1 for n in image], dtype=torch.long) for image in batch.labels]


def picked(values: Sequence[Tensor], rows: Sequence[Tensor]) -> list[Tensor]:
    """Rows of every image's tensor."""
    return [value[row] for value, row in zip(values, rows, strict=True)]
