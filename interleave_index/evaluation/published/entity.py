"""FIND-Bench: sentences about COCO photos whose phrases are tied to panoptic segments.

`entity_val2017.json`, `entity_val2017_long.json`, and the `interleave_val2017*.json` made from them, in which a
phrase also has a `reference`: a segment of the same class in another photo.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from ...errors import InputError
from ...records import RGB, BoolMask
from .files import Row, by_photo, read_form

PLACEHOLDER = "[INTERACTIVE]"  # stands in a sentence where a picture is meant


@dataclass(frozen=True, slots=True)
class Reference:
    """A segment of another photo that may stand for a phrase."""

    photo: int
    segment: int


@dataclass(frozen=True, slots=True)
class EntityPhrase:
    """One phrase of a sentence.

    Attributes:
        text: as it stands in the sentence, without blanks around it.
        start, end: its characters there, half-open.
        segment: id of its panoptic segment in the same photo.
        reference: what may stand for it in interleaved retrieval, or None.
        lead: blanks before `start` that the file counts to the phrase; the published replacement needs them.
    """

    text: str
    start: int
    end: int
    segment: int
    reference: Reference | None = None
    lead: int = 0


@dataclass(frozen=True, slots=True)
class EntitySentence:
    """A sentence and its phrases in the order of their beginnings."""

    photo: int
    text: str
    phrases: tuple[EntityPhrase, ...]


Sentences: TypeAlias = Mapping[int, Sequence[EntitySentence]]  # by photo


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A part of a photo that stands for a phrase; an empty mask shows nothing."""

    photo: RGB
    mask: BoolMask


@dataclass(frozen=True, slots=True)
class InterleavedSentence:
    """A sentence with pictures in the place of some of its phrases, as a model is asked it.

    Attributes:
        text: with the placeholder where a picture stands.
        spans: half-open characters of every phrase.
        exemplars: per phrase the picture that stands for it, or None where its words do.
    """

    text: str
    spans: tuple[tuple[int, int], ...] = ()
    exemplars: tuple[Exemplar | None, ...] = ()

    @property
    def visual(self) -> tuple[bool, ...]:
        """Per phrase, whether a picture stands for it."""
        return tuple(exemplar is not None for exemplar in self.exemplars)


def read_entities(path: Path) -> dict[int, tuple[EntitySentence, ...]]:
    """Sentences by photo id, in the order of an entity or interleave file.

    Raises:
        InputError: it is missing or of another form, or a phrase does not stand where it says.
    """
    with read_form(path, "FIND-Bench") as content:
        listed = {int(image["id"]) for image in content["images"]}
        annotations = by_photo(content["annotations"])
        unlisted = annotations.keys() - listed
        if unlisted:
            raise InputError(
                f"{path} has sentences of photo {min(unlisted)}, which it does not list; download it again"
            )
        return {photo: tuple(_sentence(photo, row, path) for row in rows) for photo, rows in annotations.items()}


def interleave(
    sentence: EntitySentence, exemplars: Sequence[Exemplar | None], *, published: bool = False
) -> InterleavedSentence:
    """Replace the phrases that have an exemplar by the placeholder.

    Args:
        exemplars: one a phrase, None where the words stay.
        published: replace *every* occurrence of a phrase's words and count the characters as the published
            evaluation does, so that spans may point beside their words; else each phrase where it stands.

    >>> two = EntitySentence(1, "a dog by a dog", (EntityPhrase("a dog", 0, 5, 1), EntityPhrase("a dog", 9, 14, 2)))
    >>> import numpy as np
    >>> picture = Exemplar(np.zeros((1, 1, 3), np.uint8), np.ones((1, 1), bool))
    >>> interleave(two, [None, picture]).text, interleave(two, [None, picture], published=True).text
    ('a dog by [INTERACTIVE]', '[INTERACTIVE] by [INTERACTIVE]')
    """
    text, spans = sentence.text, []
    shift = 0  # characters by which what follows has moved
    for phrase, exemplar in zip(sentence.phrases, exemplars, strict=True):
        start, end = phrase.start + shift, phrase.end + shift
        if exemplar is not None:
            text = text.replace(phrase.text, PLACEHOLDER) if published else text[:start] + PLACEHOLDER + text[end:]
            shift += len(PLACEHOLDER) - (end - start)
        if published:
            start = max(0, start - phrase.lead)
        spans.append((start, phrase.end + shift))
    return InterleavedSentence(text, tuple(spans), tuple(exemplars))


def _sentence(photo: int, row: Row, path: Path) -> EntitySentence:
    text = str(row["sentence"])
    phrases = [_phrase(text, phrase, path) for phrase in row["phrase"]]
    phrases.sort(key=lambda phrase: phrase.start)
    return EntitySentence(photo, text, tuple(phrases))


def _phrase(sentence: str, row: Row, path: Path) -> EntityPhrase:
    """A phrase of a file: `start_idx` counts the blank before it, `_start_idx` does not; either may be a little off."""
    words, marked = str(row["phrase"]).strip(), int(row["start_idx"])
    start = int(row.get("_start_idx", marked))
    inside = sentence[start : int(row["end_idx"])]
    if inside.strip() == words:
        start += len(inside) - len(inside.lstrip())
    else:
        start = sentence.find(words, max(0, min(marked, start) - 1))
    if start < 0:
        raise InputError(f"{path}: phrase {words!r} does not stand in {sentence!r} from character {marked} on")
    other = row.get("reference")
    reference = None if other is None else Reference(int(other["image_id"]), int(other["annotation_id"]))
    lead = max(0, start - marked)
    return EntityPhrase(words, start, start + len(words), int(row["annotation_id"]), reference, lead)
