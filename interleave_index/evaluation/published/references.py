"""Makes `interleave_val2017.json` and its like out of FIND-Bench's sentences: the references of their phrases.

A phrase gets as its `reference` the segment of the same class, in another photo, whose vector is most like that of its
own segment. FIND's released script takes the vectors of a SEEM that was not released (DaViT-d5); here they are those of
whatever model is named. The files that FIND's authors measured with are not among the released ones either, so that
figures of interleaved retrieval on files made here are those of another set of references.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ...geometry import unit
from ...records import Floats
from ..progress import Progress, tracked
from .coco import PanopticSet
from .entity import read_entities
from .files import Row, read_json
from .journal import Journal
from .subject import Subject

TOGETHER = 1024  # rows of a table of cosines
Place: TypeAlias = tuple[int, int]  # photo, segment


@dataclass(frozen=True, slots=True)
class Linked:
    """A file with references.

    Attributes:
        content: as it is to be written.
        phrases: how many there are; linked: how many of them have a reference.
    """

    content: Row
    phrases: int
    linked: int


def link_references(
    path: Path,
    panoptic: PanopticSet,
    subject: Subject,
    work: Path,
    progress: Progress = lambda what, done, total: None,
) -> Linked:
    """The content of an entity file with a reference for every phrase whose class is in another photo too.

    Args:
        path: `entity_val2017.json` or `entity_val2017_long.json`.
        panoptic: the photos that it is about; all of them may be referred to.
        subject: whose vectors say what is alike.
        work: folder that keeps the vectors, so that a stopped run goes on.
        progress: called with photos and classes done.
    Raises:
        InputError: the file is missing or of another form, or `work` holds something else.
    """
    read_entities(path)  # says what is wrong with it
    content: Row = read_json(path)
    vectors = _segment_vectors(panoptic, subject, work, progress)
    classes = {(photo, one.id): one.category for photo, rows in panoptic.segments.items() for one in rows}
    phrases = [(int(row["image_id"]), phrase) for row in content["annotations"] for phrase in row["phrase"]]
    asked: dict[int, set[Place]] = defaultdict(set)
    for photo, phrase in phrases:
        place = photo, int(phrase["annotation_id"])
        if place in vectors:
            asked[classes[place]].add(place)
    by_class: dict[int, list[Place]] = defaultdict(list)
    for place in vectors:
        by_class[classes[place]].append(place)
    nearest: dict[Place, tuple[Place, float]] = {}
    for _, category in tracked(sorted(asked), "classes linked", progress):
        nearest |= most_alike(sorted(asked[category]), by_class[category], vectors)
    linked = 0
    for photo, phrase in phrases:
        phrase.pop("reference", None)
        found = nearest.get((photo, int(phrase["annotation_id"])))
        if found is not None:
            (other, segment), cosine = found
            phrase["reference"] = {"image_id": other, "annotation_id": segment, "prob": round(cosine, 6)}
            linked += 1
    return Linked(content, len(phrases), linked)


def most_alike(
    asked: Sequence[Place], places: Sequence[Place], vectors: Mapping[Place, Floats]
) -> dict[Place, tuple[Place, float]]:
    """The nearest place in another photo for each that is asked for, and their cosine; none where there is no other.

    Args:
        asked: among `places`, those of one class.
        vectors: of unit length.
    """
    table, photos = np.stack([vectors[place] for place in places]), np.array([photo for photo, _ in places])
    found: dict[Place, tuple[Place, float]] = {}
    for start in range(0, len(asked), TOGETHER):
        part = asked[start : start + TOGETHER]
        cosines = np.stack([vectors[place] for place in part]) @ table.T
        cosines[np.array([photo for photo, _ in part])[:, None] == photos[None]] = -np.inf
        for place, best, cosine in zip(part, cosines.argmax(1), cosines.max(1), strict=True):
            if np.isfinite(cosine):
                found[place] = places[int(best)], float(cosine)
    return found


def _segment_vectors(panoptic: PanopticSet, subject: Subject, work: Path, progress: Progress) -> dict[Place, Floats]:
    """A vector of unit length of every segment that is no group."""
    head: dict[str, Any] = {"made": "vectors of segments", "of": panoptic.annotation.name, "model": subject.facts}
    journal = Journal(work / "segments", head)
    for _, photo in tracked(list(panoptic.photos), "photos", progress):
        if str(photo) in journal.records:
            continue
        ids = panoptic.ids(photo)
        segments = [one.id for one in panoptic.segments[photo] if not one.crowd and (ids == one.id).any()]
        found: dict[str, Any] = {"segments": segments}
        if segments:
            masks = np.stack([ids == number for number in segments])
            found["vectors"] = unit(subject.segment_vectors(panoptic.photos[photo].rgb(), masks))
        journal.add(str(photo), found)
    vectors: dict[Place, Floats] = {}
    for key in map(str, panoptic.photos):
        numbers = journal.records[key]["segments"]
        if not numbers:
            continue
        rows = unit(journal.arrays_of([key], "vectors")[0])  # half precision leaves them of nearly unit length
        vectors |= {(int(key), number): row for number, row in zip(numbers, rows, strict=True)}
    return vectors
