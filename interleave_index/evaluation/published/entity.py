"""FIND-Bench: sentences about COCO photos whose phrases are tied to panoptic segments.

`entity_val2017.json`, `entity_val2017_long.json`, and the `interleave_val2017*.json` made from them, in which a
phrase also has a `reference`: a segment of the same class in another photo.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...records import RGB, BoolMask
from .files import read_json

PLACEHOLDER = "[INTERACTIVE]"  # stands in a sentence where a picture is meant
MOST_PHRASES = 6  # of a sentence while training


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


@dataclass(frozen=True, slots=True)
class EntityBench:
    """What an entity file holds: file names and sentences by photo id, in the order of the file."""

    files: dict[int, str]
    sentences: dict[int, tuple[EntitySentence, ...]]


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A part of a photo that stands for a phrase; an empty mask shows nothing."""

    photo: RGB
    mask: BoolMask


@dataclass(frozen=True, slots=True)
class Asked:
    """A sentence as a model is asked it.

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


def read_entities(path: Path) -> EntityBench:
    """Read an entity or interleave file.

    Raises:
        InputError: it is missing or of another form, or a phrase does not stand where it says.
    """
    content = read_json(path)
    sentences: dict[int, list[EntitySentence]] = defaultdict(list)
    try:
        files = {int(one["id"]): str(one["file_name"]) for one in content["images"]}
        for one in content["annotations"]:
            text = str(one["sentence"])
            phrases = sorted((_phrase(text, phrase, path) for phrase in one["phrase"]), key=lambda p: p.start)
            sentences[int(one["image_id"])].append(EntitySentence(int(one["image_id"]), text, tuple(phrases)))
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not of the form of FIND-Bench: {error!r}") from error
    lost = sentences.keys() - files.keys()
    if lost:
        raise InputError(f"{path} has sentences of photo {min(lost)}, which it does not list; download it again")
    return EntityBench(files, {photo: tuple(rows) for photo, rows in sentences.items()})


def ask(sentence: EntitySentence, exemplars: Sequence[Exemplar | None], *, published: bool = False) -> Asked:
    """Replace the phrases that have an exemplar by the placeholder.

    Args:
        exemplars: one a phrase, None where the words stay.
        published: replace *every* occurrence of a phrase's words and count the characters as the published
            evaluation does, so that spans may point beside their words; else each phrase where it stands.

    >>> two = EntitySentence(1, "a dog by a dog", (EntityPhrase("a dog", 0, 5, 1), EntityPhrase("a dog", 9, 14, 2)))
    >>> import numpy as np
    >>> picture = Exemplar(np.zeros((1, 1, 3), np.uint8), np.ones((1, 1), bool))
    >>> ask(two, [None, picture]).text, ask(two, [None, picture], published=True).text
    ('a dog by [INTERACTIVE]', '[INTERACTIVE] by [INTERACTIVE]')
    """
    text, shift, spans = sentence.text, 0, []
    for phrase, exemplar in zip(sentence.phrases, exemplars, strict=True):
        start = phrase.start + shift
        if exemplar is not None and published:
            text = text.replace(phrase.text, PLACEHOLDER)
        elif exemplar is not None:
            text = text[:start] + PLACEHOLDER + text[phrase.end + shift :]
        if exemplar is not None:
            shift += len(PLACEHOLDER) - (phrase.end - phrase.start)
        spans.append((max(0, start - phrase.lead) if published else start, phrase.end + shift))
    return Asked(text, tuple(spans), tuple(exemplars))


def _phrase(sentence: str, row: dict[str, Any], path: Path) -> EntityPhrase:
    words, end = str(row["phrase"]), int(row["end_idx"])
    marked = int(row["start_idx"])
    start = int(row.get("_start_idx", marked))
    if sentence[start:end].strip() != words.strip():
        start = sentence.find(words.strip(), max(0, min(marked, start) - 1))
        if start < 0:
            raise InputError(f"{path}: phrase {words!r} does not stand in {sentence!r} from character {marked} on")
        end = start + len(words.strip())
    start += len(sentence[start:end]) - len(sentence[start:end].lstrip())
    reference = row.get("reference")
    linked = None if reference is None else Reference(int(reference["image_id"]), int(reference["annotation_id"]))
    return EntityPhrase(
        words.strip(), start, start + len(words.strip()), int(row["annotation_id"]), linked, max(0, start - marked)
    )
