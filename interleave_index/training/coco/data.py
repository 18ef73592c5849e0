"""Samples of COCO for training: one crop of a photo with everything that FIND learns from it.

Every photo trains all tasks at once: its segments, a caption, expressions, prompts drawn on some segments, and a
sentence whose phrases are said or shown.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import InputError
from ...evaluation.published.coco import PanopticSet, read_captions, read_panoptic
from ...evaluation.published.entity import (
    EntityPhrase,
    EntitySentence,
    Exemplar,
    interleave,
    read_entities,
)
from ...evaluation.published.files import read_json
from ...evaluation.published.prompts import random_prompt
from ...evaluation.published.refer import ReferredPhoto, read_refer
from ...interface.find.prompter import Sentence
from ...interface.published.text import class_sentence
from ...records import BoolMask
from ..examples import Example, name_expressions

Masks = NDArray[np.bool_]
MEASURED = ("val", "test")  # splits of a benchmark file that must not be trained on
MOST_EXPRESSIONS, MOST_PROMPTS, MOST_PHRASES = 4, 9, 6
TEMPLATES = (  # ways to ask for a class, one is drawn
    "Describe the concept of {}.",
    "What does {} look like?",
    "Show me {} in this picture.",
    "Where is {}?",
    "Point at {}.",
    "Find everything that is {}.",
    "Is there {}, and where?",
    "Which part of this picture is {}?",
    "Tell me about {}.",
    "Segment {}.",
    "{}.",
    "A photo with {}.",
)


@dataclass(frozen=True, slots=True)
class Photos:
    """What there is to train on: COCO's maps and captions, and what else was annotated of its photos."""

    panoptic: PanopticSet
    captions: Mapping[int, tuple[str, ...]]
    entities: Mapping[int, tuple[EntitySentence, ...]] = field(default_factory=dict)
    referred: Mapping[int, ReferredPhoto] = field(default_factory=dict)
    left_out: frozenset[int] = frozenset()

    def ids(self) -> list[int]:
        """Photos with a segment that is no group, in the order of the file."""
        return [
            photo
            for photo, segments in self.panoptic.segments.items()
            if photo not in self.left_out and any(not s.crowd for s in segments)
        ]


@dataclass(slots=True, kw_only=True)
class Sample(Example):
    """One training crop, S x S; classes are positions in the categories.

    Attributes:
        pixels: (S, S, 3) uint8; real: (S, S) bool, off where it is padding.
        by_people: whether people wrote the expressions, else they are class names.
        shown: (E, S, S) prompts of the phrases of the sentence, empty for said ones.
    """

    pixels: Tensor
    real: Tensor
    by_people: bool
    shown: Tensor

    def to(self, device: torch.device) -> Sample:
        """The same on a device."""
        moved: dict[str, Any] = {}
        for field_ in fields(self):
            value = getattr(self, field_.name)
            if isinstance(value, Tensor):
                moved[field_.name] = value.to(device)
        return replace(self, **moved)


def read_photos(
    root: Path,
    split: str = "train2017",
    *,
    entity: Path | None = None,
    refs: Path | None = None,
    instances: Path | None = None,
    leave_out: Sequence[Path] = (),
) -> Photos:
    """Read what a COCO folder holds for training.

    Args:
        entity: FIND-Bench's `entity_train2017.json`, or None.
        refs, instances: as `read_refer` takes them, or None.
        leave_out: benchmark files whose photos must not be trained on: JSON with `images`, or a list of ids; of images
            that are dealt out to splits, as Karpathy's are, those of `val` and `test`.
    Raises:
        InputError: a file is missing or of another form, or no photo is left.
    """
    panoptic = read_panoptic(root, split)
    captions = read_captions(root, split)
    entities = read_entities(entity) if entity else {}
    referred = {photo.id: photo for photo in read_refer(refs, instances, root / split, "train")} if refs else {}
    left_out = frozenset(number for file in leave_out for number in _ids(file))
    photos = Photos(panoptic, captions, entities, referred, left_out)
    if not photos.ids():
        raise InputError(f"{panoptic.annotation} has no photo left to train on")
    return photos


def _ids(path: Path) -> list[int]:
    content = read_json(path)
    try:
        rows = content["images"] if isinstance(content, dict) else content
        named = [one if isinstance(one, dict) else {"id": one} for one in rows]
        measured = [one for one in named if one.get("split", "test") in MEASURED]
        return [int(one["cocoid" if "cocoid" in one else "id"]) for one in measured]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} names no photos, expected `images` with ids, or a list of ids") from error


@dataclass(frozen=True, slots=True)
class Drawing:
    """How samples are drawn.

    Attributes:
        size: side of the crop, a multiple of 32.
        jitter: range of the scale before cropping; (1, 1) brings the long side to the crop.
        flip: mirror half of the photos.
        visual: chance that a phrase of a sentence is shown.
    """

    size: int = 1024
    jitter: Sequence[float] = (0.1, 2.0)
    flip: bool = True
    visual: float = 0.5


def draw_sample(photos: Photos, photo: int, drawing: Drawing, rng: np.random.Generator) -> Sample:
    """A fresh crop of one photo."""
    panoptic = photos.panoptic
    place = {category.id: number for number, category in enumerate(panoptic.categories)}
    crop = _Crop.draw(panoptic.photos[photo].size, drawing, rng)
    ids = crop(panoptic.ids(photo).astype(np.int32))
    segments = [s for s in panoptic.segments[photo] if not s.crowd and (ids == s.id).any()]
    masks = _stack([ids == s.id for s in segments], drawing.size)
    classes = np.array([place[s.category] for s in segments], np.int64)
    captions = photos.captions.get(photo, ())
    expressions = _referring_expressions(photos.referred.get(photo), crop, rng)
    by_people = expressions is not None
    if expressions is None:
        names = [class_sentence(panoptic.categories[number].name, "{}") for number in classes]
        asked, answers = name_expressions(names, TEMPLATES, MOST_EXPRESSIONS, rng)
        expressions = asked, masks[answers >= 0], answers[answers >= 0]
    texts, expression_masks, answers = expressions
    chosen = rng.permutation(len(segments))[: int(rng.integers(1, MOST_PROMPTS + 1))]
    prompts = _stack([random_prompt(masks[n], rng) for n in chosen], drawing.size)
    there = prompts.any((1, 2))  # a small thing gets none
    sentence, shown, targets = _sentence(photos.entities.get(photo, ()), [s.id for s in segments], masks, drawing, rng)
    caption = captions[int(rng.integers(len(captions)))] if captions else None
    return Sample(
        pixels=torch.from_numpy(crop(panoptic.photos[photo].rgb())),
        real=torch.from_numpy(crop(np.ones(panoptic.photos[photo].size, np.uint8)) > 0),
        masks=torch.from_numpy(masks),
        labels=torch.from_numpy(classes),
        complete=True,
        caption=caption,
        expressions=texts,
        expression_masks=torch.from_numpy(expression_masks),
        answers=torch.from_numpy(answers),
        by_people=by_people,
        prompts=torch.from_numpy(prompts[there]),
        prompted=torch.from_numpy(chosen[there]),
        sentence=sentence,
        shown=torch.from_numpy(shown),
        targets=torch.from_numpy(targets),
    )


def _referring_expressions(
    referred: ReferredPhoto | None, crop: _Crop, rng: np.random.Generator
) -> tuple[list[str], Masks, NDArray[np.int64]] | None:
    """Expressions of people, masks that answer them, the expression of each mask; None where no thing is inside."""
    if referred is None:
        return None
    by_thing: dict[int, list[int]] = defaultdict(list)
    for number, expression in enumerate(referred.expressions):
        if expression.exists:
            by_thing[expression.reference].append(number)
    things = rng.permutation(list(by_thing))[: int(rng.integers(1, MOST_EXPRESSIONS + 1))]
    drawn = [by_thing[thing][int(rng.integers(len(by_thing[thing])))] for thing in things]
    whole = referred.masks()
    texts, masks = list[str](), list[BoolMask]()
    for number in drawn:
        mask = crop(whole[number].astype(np.uint8)) > 0
        if mask.any():
            texts.append(referred.expressions[number].text.lower())
            masks.append(mask)
    if not texts:
        return None
    distinct = list(dict.fromkeys(texts))
    return distinct, _stack(masks, crop.size), np.array([distinct.index(text) for text in texts], np.int64)


def _sentence(
    sentences: Sequence[EntitySentence],
    segments: Sequence[int],
    masks: Masks,
    drawing: Drawing,
    rng: np.random.Generator,
) -> tuple[Sentence | None, Masks, NDArray[np.int64]]:
    """A sentence, the prompts of its phrases, empty for those that are said, and the segment of each, -1 for none."""
    usable = [sentence for sentence in sentences if sentence.phrases]
    if not usable:
        return None, _stack([], drawing.size), np.zeros(0, np.int64)
    drawn = usable[int(rng.integers(len(usable)))]
    sentence = EntitySentence(drawn.photo, drawn.text, _apart(drawn.phrases)[:MOST_PHRASES])
    shown = np.zeros((len(sentence.phrases), drawing.size, drawing.size), bool)
    targets = np.full(len(sentence.phrases), -1)
    blank = np.zeros((drawing.size, drawing.size, 3), np.uint8)
    exemplars: list[Exemplar | None] = []
    for number, phrase in enumerate(sentence.phrases):
        exemplars.append(None)
        if phrase.segment not in segments:
            continue
        targets[number] = segments.index(phrase.segment)
        prompt = random_prompt(masks[targets[number]], rng)
        if prompt.any() and rng.random() < drawing.visual:
            shown[number], exemplars[number] = prompt, Exemplar(blank, prompt)
    asked = interleave(sentence, exemplars)
    return Sentence(asked.text, asked.spans, asked.visual), shown, targets


def _apart(phrases: Sequence[EntityPhrase]) -> tuple[EntityPhrase, ...]:
    """Phrases in order, without those that overlap an earlier one."""
    kept: list[EntityPhrase] = []
    for phrase in phrases:
        if not kept or phrase.start >= kept[-1].end:
            kept.append(phrase)
    return tuple(kept)


@dataclass(frozen=True, slots=True)
class _Crop:
    """Resize, mirror, and cut out or pad to a square."""

    size: int
    resized: tuple[int, int]
    corner: tuple[int, int]
    mirrored: bool

    @classmethod
    def draw(cls, photo: tuple[int, int], drawing: Drawing, rng: np.random.Generator) -> _Crop:
        smallest, largest = drawing.jitter
        scale = drawing.size * rng.uniform(smallest, largest) / max(photo)
        resized = max(1, round(photo[0] * scale)), max(1, round(photo[1] * scale))
        beyond = [max(0, side - drawing.size) for side in resized]
        corner = int(rng.integers(beyond[0] + 1)), int(rng.integers(beyond[1] + 1))
        return cls(drawing.size, resized, corner, bool(drawing.flip and rng.random() < 0.5))

    def __call__(self, array: NDArray[Any]) -> NDArray[Any]:
        """(H, W, 3) uint8 pixels, bilinear, or (H, W) labels, the nearest; zeros outside of the photo."""
        from PIL import Image

        how = Image.Resampling.BILINEAR if array.ndim == 3 else Image.Resampling.NEAREST
        picture = Image.fromarray(array).resize(self.resized[::-1], how)
        if self.mirrored:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        row, column = self.corner
        return np.array(picture.crop((column, row, column + self.size, row + self.size)))


def _stack(masks: Sequence[BoolMask], size: int) -> Masks:
    return np.array(masks, bool).reshape(len(masks), size, size)
