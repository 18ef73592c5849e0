"""What READ is trained on: expressions of the RefCOCO family and questions of ReasonSeg, from their official files.

A data folder is laid out as LISA and SESAME have it::

    refer_seg/NAME/refs(...).p and instances.json   NAME: refcoco, fprefcoco, R-refcoco and so on
    refer_seg/images/mscoco/images/train2014/       photos of all but refclef
    reason_seg/ReasonSeg/train/                     NAME.jpg with NAME.json
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import InputError
from ...evaluation.published.files import read_photo
from ...evaluation.published.reasonseg import ReasonPhoto, read_reasonseg
from ...evaluation.published.refer import Expression, ReferredPhoto, read_refer
from ...geometry import size_of
from ...records import RGB, BoolMask
from . import wordings

REFER, REASON = Path("refer_seg"), Path("reason_seg", "ReasonSeg", "train")
COCO_PHOTOS, REFCLEF_PHOTOS = Path("images/mscoco/images/train2014"), Path("images/saiapr_tc-12")
SETS = {  # by the name of the source: the folders of its sets
    "refer": ("refclef", "refcoco", "refcoco+", "refcocog"),
    "fp_refer": ("fprefcoco", "fprefcoco+", "fprefcocog"),
    "r_refer": ("R-refcoco", "R-refcoco+", "R-refcocog"),
}
FALSE_PREMISE = 0.15  # chance that a photo of ReasonSeg is asked for what is not there, where its file has that


@dataclass(frozen=True, slots=True)
class Turn:
    """One question with its answer.

    Attributes:
        question: the whole turn of the user.
        answer: of the assistant; with [SEG] exactly where there is a mask.
        mask: (H, W) bool, or None for a thing that is not there.
    """

    question: str
    answer: str
    mask: BoolMask | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """A photo, (H, W, 3) uint8, and some turns about it, each a conversation of its own."""

    photo: RGB
    turns: tuple[Turn, ...]


class Source(ABC):
    """A set of photos with questions.

    Attributes:
        count: of photos.
    """

    count: int

    @abstractmethod
    def draw(self, rng: np.random.Generator, most: int) -> Sample:
        """A photo at random with at most so many questions of it."""


class ReferSource(Source):
    """Sets of the RefCOCO family: one set at random, then one of its photos, then some of its expressions."""

    def __init__(self, sets: Sequence[Sequence[ReferredPhoto]]) -> None:
        self._sets = sets
        self.count = sum(map(len, sets))

    def draw(self, rng: np.random.Generator, most: int) -> Sample:
        """See `Source`."""
        photos = self._sets[int(rng.integers(len(self._sets)))]
        photo = photos[int(rng.integers(len(photos)))]
        chosen = rng.permutation(len(photo.expressions))[:most]
        masks = photo.masks()
        turns = [_turn_of_expression(photo.expressions[n], masks[n], rng) for n in chosen]
        return Sample(photo.rgb(), tuple(turns))


class ReasonSource(Source):
    """ReasonSeg: a photo at random, and all for what is there, or all for what is not."""

    def __init__(self, photos: Sequence[ReasonPhoto]) -> None:
        self._photos = photos
        self.count = len(photos)

    def draw(self, rng: np.random.Generator, most: int) -> Sample:
        """See `Source`."""
        photo = self._photos[int(rng.integers(self.count))]
        pixels = read_photo(photo.file)
        if photo.false_premises and rng.random() < FALSE_PREMISE:
            chosen = rng.permutation(len(photo.false_premises))[:most]
            turns = []
            for text, is_sentence, answer in (photo.false_premises[n] for n in chosen):
                turns.append(Turn(_asked(text, is_sentence, rng), answer))
        else:
            texts = [photo.text, *photo.further]
            mask = photo.truth(size_of(pixels)) == 1  # ignored pixels count as beside it, as published
            turns = [
                Turn(_asked(texts[n], photo.long, rng), _one(wordings.FOUND, rng), mask)
                for n in rng.permutation(len(texts))[:most]
            ]
        return Sample(pixels, tuple(turns))


def open_sources(data: Path, weights: dict[str, float]) -> dict[str, Source]:
    """The sources that are there and have a weight above 0, by name.

    Raises:
        InputError: there is none, or a file is of another form.
    """
    sources: dict[str, Source] = {}
    for name, folders in SETS.items():
        there = [data / REFER / folder for folder in folders if (data / REFER / folder).is_dir()]
        if weights.get(name, 0) > 0 and there:
            sources[name] = ReferSource([_read_set(folder, data / REFER) for folder in there])
    if weights.get("reason", 0) > 0 and (data / REASON).is_dir():
        sources["reason"] = ReasonSource(read_reasonseg(data / REASON))
    if not sources:
        raise InputError(
            f"{data} has nothing to train READ on, expected refer_seg/refcoco/ and its like, or {REASON}/; "
            "docs/training.md says how the folder is laid out"
        )
    return sources


def _read_set(folder: Path, refer: Path) -> list[ReferredPhoto]:
    """The training photos of one set; of several files that which leaves out photos of the other sets is taken."""
    files = sorted(folder.glob("refs(*).p")) + sorted(folder.glob("refs(*).json"))
    if not files:
        raise InputError(f"{folder} has no refs(...).p, expected the references of {folder.name}")
    chosen = next((file for file in files if "exclude_unified" in file.name), files[0])
    photos = refer / (REFCLEF_PHOTOS if folder.name == "refclef" else COCO_PHOTOS)
    return read_refer(chosen, folder / "instances.json", photos, "train")


def _turn_of_expression(expression: Expression, mask: BoolMask, rng: np.random.Generator) -> Turn:
    phrase = expression.text.lower()
    question = _one(wordings.PHRASES, rng).format(phrase)
    if expression.exists and mask.any():
        return Turn(question, _one(wordings.FOUND, rng), mask)
    if expression.instead:
        return Turn(question, _one(wordings.CORRECTED, rng).format(phrase, expression.instead.lower()))
    return Turn(question, _one(wordings.DENIED, rng).format(phrase))


def _asked(text: str, is_sentence: bool, rng: np.random.Generator) -> str:
    if is_sentence:
        return _one(wordings.SENTENCES, rng).format(text)
    return _one(wordings.PHRASES, rng).format(text.lower())


def _one(texts: Sequence[str], rng: np.random.Generator) -> str:
    return texts[int(rng.integers(len(texts)))]
