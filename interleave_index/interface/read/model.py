"""READ as released: what the language model answers of a photo, and the mask of every [SEG] in it.

A photo for which the model answers without [SEG], or whose mask is empty, does not show the thing.
Source: READ (Qian et al., Reasoning to Attend, CVPR 2025) and its released code.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from ...grounding.compatible import ReadSettings
from ...records import RGB
from .language import Language, ReadPhoto, Said
from .loading import Parts, load_parts
from .masks import SamPhoto, Segment, embed_photo, points_settings, segment
from .prompts import Question

KEPT_PHOTOS = 2  # that are not read again; a third of a GiB each for the 7B model


@dataclass(frozen=True, slots=True)
class Answer:
    """What READ answered: words, and one segment for every [SEG] in them."""

    text: str
    segments: tuple[Segment, ...]


class EmbeddedPhoto:
    """A photo that was read once, for any number of questions.

    Attributes:
        read: what the language model keeps of it.
        sam: what SAM keeps of it; made when the first mask is asked for, as a photo of absent things needs none.
    """

    def __init__(self, parts: Parts, photo: RGB, read: ReadPhoto) -> None:
        self._parts, self._photo, self.read = parts, photo, read

    @cached_property
    def sam(self) -> SamPhoto:
        """See the class."""
        return embed_photo(self._parts, self._photo)


class Read:
    """READ, ready to be asked.

    Args:
        parts: see `loading.load_parts`.
        settings: of the points; None takes those of the model's size.
    """

    def __init__(self, parts: Parts, settings: ReadSettings | None = None) -> None:
        self.parts = parts
        self.language = Language(parts)
        self.settings = settings or points_settings(parts)
        self._embedded: OrderedDict[bytes, EmbeddedPhoto] = OrderedDict()

    @classmethod
    def load(cls, folder: Path, *, device: str = "cpu", dtype: torch.dtype = torch.bfloat16) -> Read:
        """From a released folder, see `loading.load_parts`."""
        return cls(load_parts(folder, device=device, dtype=dtype))

    def embed(self, photo: RGB) -> EmbeddedPhoto:
        """Read a photo, (H, W, 3) uint8, upright; the photos of the last calls are not read again."""
        key = hashlib.blake2b(np.ascontiguousarray(photo).data, digest_size=16).digest() + repr(photo.shape).encode()
        if key not in self._embedded:
            self._embedded[key] = EmbeddedPhoto(self.parts, photo, self.language.read_photo(photo))
            if len(self._embedded) > KEPT_PHOTOS:
                self._embedded.popitem(last=False)
        self._embedded.move_to_end(key)
        return self._embedded[key]

    def answer(self, photo: RGB, questions: Sequence[Question]) -> list[Answer]:
        """Ask, and let the model answer freely, by its likeliest words; one answer a question, in order."""
        if not questions:
            return []
        embedded = self.embed(photo)
        return self._answers(embedded, self.language.generate(embedded.read, questions))

    def supply(self, photo: RGB, questions: Sequence[Question]) -> list[Answer]:
        """Ask, and give the answer that the published validation gives: each has one segment, wherever it lies."""
        embedded = self.embed(photo)
        return self._answers(embedded, self.language.supply(embedded.read, questions))

    @torch.inference_mode()
    def _answers(self, photo: EmbeddedPhoto, said: Sequence[Said]) -> list[Answer]:
        answers = []
        for one in said:
            segments = tuple(
                segment(self.parts, photo.sam, photo.read.tokens, query, self.settings) for query in one.emitting
            )
            answers.append(Answer(self.language.text(one), segments))
        return answers
