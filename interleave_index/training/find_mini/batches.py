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
from torch.nn import functional as F

from ...evaluation.published.prompts import random_prompt
from ...interface.find.prompter import Sentence, compose
from ..examples import NOTHING, Example, name_expressions
from .augment import Crop, jitter, random_crop
from .samples import COMPLETE, ELLIPSE, Sample, drawable, pixels_of

MOST_REGIONS, MOST_EXPRESSIONS, MOST_ENTITIES, MOST_PROMPTS = 10, 4, 3, 3
MOST_IN_MOSAIC = 20  # masks of four photos in one picture
MOSAIC = -1  # in place of the position of a photo
MOST_COUNTED = 6  # masks of a photo that make it likelier to be drawn
SMALLEST_CELLS = 6  # that a mask must have left after a crop; smaller ones are dropped
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
        outlined: whether its masks are outlines all of them, not ellipses.
        true_sentence: whether its sentence is a caption, and not made up of names.
        references: what is shown for each entity of the sentence, None where it is said in words: the number of an
            image of the batch, and a (h, w) bool prompt on it.
    """

    names: Sequence[str | None]
    outlined: bool
    true_sentence: bool
    references: Sequence[tuple[int, Tensor] | None]


@dataclass(slots=True)
class Batch:
    """One batch of B images.

    Attributes:
        rows: (B,) positions in the samples, `MOSAIC` for a picture of four photos.
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

    def draw_outlined(self, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Positions of photos with masks that people drew, those with more of them more often."""
        return rng.choice(self.outlined, count, p=self._odds)

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Positions for a batch: 3/8 outlined, 1/4 in pairs of a label, 1/16 labelled only, the rest captioned."""
        names = rng.choice(list(self._pairs), count // 8).tolist() if self._pairs else []
        pairs = [rng.choice(self._pairs[name], 2, replace=False) for name in names]
        chosen = [self.draw_outlined(count * 3 // 8, rng), *pairs]
        if len(self.labelled):
            chosen.append(rng.choice(self.labelled, count // 16))
        rest = count - sum(map(len, chosen))
        chosen.append(rng.choice(self.captioned, rest, replace=len(self.captioned) < rest))
        return np.concatenate(chosen)


@dataclass(slots=True)
class _Pictures:
    """What the images of a batch show: rows, pixels as of `Batch`, and of each image its masks and what is known."""

    rows: NDArray[np.int64]
    pixels: Tensor
    masks: list[Tensor]
    names: list[list[str | None]]
    captions: list[str | None]
    complete: list[bool]
    outlined: list[bool]


def draw_batch(
    samples: Sequence[Sample],
    pools: Pools,
    count: int,
    side: int,
    rng: np.random.Generator,
    *,
    smallest: int,
    mosaics: float = 0.0,
) -> Batch:
    """A fresh batch with random crops, prompts and sentences.

    Args:
        smallest: cells of the mask features that a mask must have left; smaller ones are dropped.
        mosaics: share of the images that are four photos each, so that things are small.
    """
    put_together = round(mosaics * count)
    pictures = _photos(samples, pools.draw(count - put_together, rng), side, rng, smallest)
    if put_together:
        more = _mosaics(samples, pools.draw_outlined(4 * put_together, rng), side, rng, smallest)
        pictures = _Pictures(
            np.concatenate([pictures.rows, more.rows]),
            torch.cat([pictures.pixels, more.pixels]),
            *(
                getattr(pictures, part) + getattr(more, part)
                for part in ("masks", "names", "captions", "complete", "outlined")
            ),
        )
    masks, names, captions = pictures.masks, pictures.names, pictures.captions
    pixels = jitter(pictures.pixels, rng)
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
                complete=pictures.complete[n],
                caption=caption,
                expressions=texts,
                expression_masks=masks[n][answering >= 0],
                answers=answering[answering >= 0],
                prompts=drawn_prompts,
                prompted=prompted,
                sentence=sentence,
                targets=targets,
                names=own_names,
                outlined=pictures.outlined[n],
                true_sentence=bool(spans),
                references=references,
            )
        )
    return Batch(pictures.rows, pixels, distinct, examples)


def _photos(
    samples: Sequence[Sample], rows: NDArray[np.int64], side: int, rng: np.random.Generator, smallest: int
) -> _Pictures:
    """Random crops of photos."""
    drawn, crop = [samples[row] for row in rows], random_crop(len(rows), rng)
    masks, names = cropped_masks(drawn, crop, side // 4, rng, smallest)
    return _Pictures(
        rows,
        crop(pixels_of(samples, rows), side),
        masks,
        names,
        [_caption(sample, rng) for sample in drawn],
        [is_complete(sample) for sample in drawn],
        [is_outlined(sample) for sample in drawn],
    )


def _mosaics(
    samples: Sequence[Sample], rows: NDArray[np.int64], side: int, rng: np.random.Generator, smallest: int
) -> _Pictures:
    """Random crops of photos, four to a picture, each a quarter of it. They have no captions."""
    tiles, count, grid = _photos(samples, rows, side // 2, rng, smallest), len(rows) // 4, side // 4
    masks, names = list[Tensor](), list[list[str | None]]()
    for first in range(0, len(rows), 4):
        placed, own_names = list[Tensor](), list[str | None]()
        for place in range(4):
            own = tiles.masks[first + place]
            across, down = place % 2 * grid // 2, place // 2 * grid // 2
            placed.append(F.pad(own, (across, grid // 2 - across, down, grid // 2 - down)))
            own_names += tiles.names[first + place]
        kept = np.sort(rng.permutation(len(own_names))[:MOST_IN_MOSAIC])
        masks.append(torch.cat(placed)[kept])
        names.append([own_names[n] for n in kept])
    by_four = [range(first, first + 4) for first in range(0, len(rows), 4)]
    squares = tiles.pixels.view(count, 2, 2, 3, side // 2, side // 2).permute(0, 3, 1, 4, 2, 5)
    return _Pictures(
        np.full(count, MOSAIC),
        squares.reshape(count, 3, side, side),
        masks,
        names,
        [None] * count,
        [all(tiles.complete[n] for n in own) and len(masks[k]) < MOST_IN_MOSAIC for k, own in enumerate(by_four)],
        [all(tiles.outlined[n] for n in own) for own in by_four],
    )


def is_complete(sample: Sample) -> bool:
    """Whether the masks of a photo may be taken for all that is there."""
    return sum(region.kind != ELLIPSE for region in sample.regions) >= COMPLETE and is_outlined(sample)


def is_outlined(sample: Sample) -> bool:
    """Whether its masks are outlines all of them, not ellipses."""
    return all(region.kind != ELLIPSE for region in sample.regions)


def cropped_masks(
    samples: Sequence[Sample],
    crop: Crop,
    side: int,
    rng: np.random.Generator,
    smallest: int = SMALLEST_CELLS,
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
        kept = (cut > 0.5).sum((1, 2)) >= smallest
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
