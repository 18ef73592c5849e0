"""Segmenters and detectors by themselves, as rows of the published tables: SAM by its prompts, a detector with SAM, a
universal segmenter by its own classes.

They are no interfaces of an index, for they make no vectors. What one cannot be asked is an error that says so.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np

from ...errors import InputError, ModelError
from ...geometry import box_mask, box_of, box_rle, encode_rle, size_of
from ...grounding.marks import prompt_of_marks
from ...interface.calibration import Calibration
from ...interface.points import exemplar_of
from ...interface.protocol import Capabilities, Interface
from ...interface.published.segmentation import Segmentation, segment
from ...models.hub import local
from ...models.hub.families import family_of
from ...models.segmenters import universal
from ...models.segmenters.grounders import Grounders, load_grounders
from ...models.segmenters.table import grounding_part
from ...models.segmenters.universal import UniversalSegmenter
from ...records import (
    NOWHERE,
    RGB,
    Detected,
    GroundedMask,
    PhotoEncoding,
    Prompt,
    QueryEncoding,
    ResolvedPart,
    ResolvedQuery,
    Space,
)
from .entity import Exemplar
from .subject import Subject, Table


def part_subject(names: Sequence[str], *, device: str = "cpu") -> Subject | None:
    """The subject of models that are no interface of an index; None where the first of them is one.

    Args:
        names: folders or hub names; what stands behind the first helps it.
        device: where they run, as torch names it.
    Raises:
        WeightsMissing, BackendMissing, ConfigError: one of them cannot be built.
    """
    try:
        folder = local.find(names[0])
        config = local.read_config(folder)
    except ModelError:
        return None  # a name that is no folder, such as find-mini, or a model that the registry knows how to miss
    kind = str(config.get("model_type"))
    if kind in universal.KINDS:
        if names[1:]:
            raise InputError(f"{names[0]} segments by itself, expected no --grounders; leave them out")
        return UniversalSubject(folder, device=device)
    if grounding_part(kind) is None or family_of(config) is not None:
        return None
    return Subject(GroundersInterface(names, device=device))


class _PartInterface(Interface):
    """A part that makes no vectors.

    Args:
        names: of its models.
        device: as torch names it.
    """

    def __init__(self, names: Sequence[str], device: str) -> None:
        models = [local.describe(local.find(name)) for name in names]
        sums = "+".join(local.checkpoint_of(model.folder) for model in models)
        self._name = " + ".join(model.name if model.revision else model.folder.name for model in models)
        self._device = device
        self._space = Space(self._name, sums, "by itself", 1)

    @property
    def space(self) -> Space:
        """No vectors are ever of it."""
        return self._space

    @property
    def capabilities(self) -> Capabilities:
        """It only grounds."""
        return Capabilities(encodes=False, photos_at_a_time=1, device=self._device)

    @property
    def calibration(self) -> Calibration:
        """There is none."""
        self._refuse("has no calibration")

    def encode_photos(self, photos: Sequence[RGB]) -> list[PhotoEncoding]:
        """It makes no vectors."""
        self._refuse("makes no vectors of photos")

    def encode_query(self, query: ResolvedQuery) -> QueryEncoding:
        """It makes no vectors."""
        self._refuse("makes no vectors of queries")

    def ground(self, photo: RGB, query: ResolvedQuery) -> list[GroundedMask]:
        """It finds nothing that is asked for."""
        self._refuse("finds nothing but its own classes")

    def interact(self, photo: RGB, parts: Sequence[ResolvedPart]) -> list[GroundedMask]:
        """See `Interface.interact`; what it does not find has a mask without pixels."""
        return self.ground(photo, tuple(parts))

    def _refuse(self, what: str) -> NoReturn:
        raise InputError(f"{self._name} {what}, so this benchmark cannot ask it; take another --model or benchmark")


class GroundersInterface(_PartInterface):
    """Segmenters and detectors by themselves: of each thing the best mask, at the places that the models name.

    * A phrase: the best mask of a concept model, else the best box of a detector with the segmenter's mask of it.
    * Marked pixels of the photo itself (clicks, strokes): the segmenter's mask of points on them.
    * A part of another photo: the best box of a detector that looks for pictures, likewise.

    What a model does not find has a mask without pixels.

    Args:
        names: of the models, see `load_grounders`.
        device: as torch names it.
    """

    def __init__(self, names: Sequence[str], *, device: str = "cpu") -> None:
        super().__init__(names, device)
        self._models: Grounders = load_grounders(names, device=device)

    def ground(self, photo: RGB, query: ResolvedQuery) -> list[GroundedMask]:
        """See `Interface.ground`; one mask an entity, scored by its model."""
        parts = [part for part in query if part.role == "entity"]
        return [_grounded(number, self._found(photo, part), photo) for number, part in enumerate(parts)]

    def _found(self, photo: RGB, part: ResolvedPart) -> Detected | None:
        """The best mask of one thing, or None."""
        models = self._models
        if part.kind == "text":
            if models.concept is not None:
                return _best(models.concept.find(photo, part.label))
            if models.phrases is None:
                self._refuse("reads no phrases")
            return self._masked(photo, _best(models.phrases.find(photo, part.label)))
        marked = part.photo is photo and part.mask is not None
        if marked and models.segmenter is not None:
            return self._at(photo, part)
        if models.pictures is None:
            self._refuse("takes no clicks and strokes" if marked else "reads no pictures of other things")
        return self._masked(photo, _best(models.pictures.find(photo, None, exemplar_of(part))))

    def _at(self, photo: RGB, part: ResolvedPart) -> Detected | None:
        """The segmenter's mask at marks on the photo itself; None without any, of a thing too small for a stroke."""
        if self._models.segmenter is None or part.mask is None or not part.mask.any():
            return None
        (made,) = self._models.segmenter.bind(photo)([prompt_of_marks(part.mask, part.background)])
        return Detected(box_of(made.mask) if made.mask.any() else NOWHERE, made.quality, made.mask)

    def _masked(self, photo: RGB, found: Detected | None) -> Detected | None:
        """A box with the segmenter's mask of it; the box itself where there is no segmenter."""
        if found is None:
            return None
        mask = box_mask(found.box, size_of(photo))
        if self._models.segmenter is not None:
            nothing = Prompt(np.zeros((0, 2), np.float32), np.zeros(0, np.int8), found.box)
            mask = self._models.segmenter.bind(photo)([nothing])[0].mask
        return Detected(found.box, found.score, mask)


def _best(found: Sequence[Detected]) -> Detected | None:
    return max(found, key=lambda one: one.score, default=None)


def _grounded(number: int, found: Detected | None, photo: RGB) -> GroundedMask:
    if found is None or found.mask is None or not found.mask.any():
        return GroundedMask(number, box_rle(NOWHERE, size_of(photo)), NOWHERE, 0.0, "absent", False)
    mask = found.mask
    return GroundedMask(number, encode_rle(mask), box_of(mask), found.score, "alone", True, found.score)


class UniversalSubject(Subject):
    """Generic segmentation by the classes that a universal segmenter was trained on; it answers nothing else.

    Args:
        folder: of the model.
        device: as torch names it.
    """

    def __init__(self, folder: Path, *, device: str = "cpu") -> None:
        super().__init__(_PartInterface([str(folder)], device))
        self._model = UniversalSegmenter(folder, device=device)
        self.facts |= {"asked": "by the names of its own classes"}

    def classes(self, names: Sequence[str], *, descriptions: bool = False) -> Table:
        """See `Subject`: (K + 1,) positions of the classes among its own, no class last.

        Raises:
            InputError: a class is described, or is none of its own.
        """
        if descriptions:
            self._by_name_alone()
        labels = self._model.labels
        missing = [name for name in names if name not in labels]
        if missing:
            raise InputError(
                f"{self.interface.space.interface} lacks {len(missing)} of {len(names)} classes, the first is "
                f"{missing[0]!r}; take a checkpoint that was trained on this data set"
            )
        return np.array([*(labels.index(name) for name in names), len(labels)])

    def shown_classes(self, classes: Iterable[Iterable[Exemplar]]) -> Table:
        """See `Subject`.

        Raises:
            InputError: it cannot be shown any.
        """
        self._by_name_alone()

    def _by_name_alone(self) -> NoReturn:
        raise InputError(f"{self.interface.space.interface} knows its classes by name alone; leave --classes out")

    def segment(self, photo: RGB, table: Table, things: Collection[int]) -> Segmentation:
        """See `Subject`."""
        logits, masks = self._model.logits(photo)
        return segment(logits[:, table], masks, things)
