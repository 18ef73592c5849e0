"""Similarity as points behind the interface protocol: the second look at a photo is the cascade of `grounding`.

`PointGrounder` is given all that a dual encoder sees of a photo, its patches among it. `PointsInterface` does the same
for any other interface, from its regions alone: their vectors and masks draw the map. Models that find things by
phrase or picture say whether they are there; everything else says where only, see `grounding.cascade`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial

import numpy as np

from ..geometry import box_of
from ..grounding.cascade import GroundingModels, Target, ground_targets
from ..grounding.record import GroundingRecord
from ..grounding.similarity import scene_of
from ..models.segmenters.grounders import Grounders
from ..models.segmenters.sam3 import ConceptSegmenter
from ..records import (
    RGB,
    BoolMask,
    Detected,
    Floats,
    GroundedMask,
    PhotoEncoding,
    QueryEncoding,
    ResolvedPart,
    ResolvedQuery,
    Space,
)
from .calibration import Calibration
from .dual.ground import Look
from .protocol import Capabilities, Interface, TextReading

AROUND = 0.1  # of a marked part's box, shown to detectors around it


class PointGrounder:
    """Grounds the entities of a dual encoder; see `dual.ground.Grounder`.

    Args:
        grounders: gives the models that segment or detect; asked for when the first photo is looked at.
    """

    def __init__(self, grounders: Callable[[], Grounders] = Grounders) -> None:
        self._grounders = cache(grounders)

    def ground(self, look: Look) -> list[GroundedMask]:
        """See `Grounder.ground` and `grounded`."""
        return grounded(
            look.photo, look.parts, look.vectors, look.encoding, self._grounders(), record=look.record, embed=look.embed
        )


class PointsInterface(Interface):
    """An interface whose second look at a photo goes by points; all else is its own.

    Args:
        inner: encodes photos and queries.
        grounders: gives the models that segment or detect; asked for when the first photo is looked at.
    """

    def __init__(self, inner: Interface, grounders: Callable[[], Grounders] = Grounders) -> None:
        self._inner, self._grounders = inner, cache(grounders)

    @property
    def space(self) -> Space:
        """That of the inner interface: its vectors are not touched."""
        return self._inner.space

    @property
    def calibration(self) -> Calibration:
        """See `Interface.calibration`."""
        return self._inner.calibration

    def encode_photos(self, photos: Sequence[RGB]) -> list[PhotoEncoding]:
        """See `Interface.encode_photos`."""
        return self._inner.encode_photos(photos)

    def encode_query(self, query: ResolvedQuery) -> QueryEncoding:
        """See `Interface.encode_query`."""
        return self._inner.encode_query(query)

    @property
    def capabilities(self) -> Capabilities:
        """Those of the inner interface."""
        return self._inner.capabilities

    def reading(self, text: str) -> TextReading:
        """What the inner interface cannot read of a text."""
        return self._inner.reading(text)

    def encode_queries(self, queries: Sequence[ResolvedQuery]) -> list[QueryEncoding]:
        """See `Interface.encode_queries`."""
        return self._inner.encode_queries(queries)

    def ground(self, photo: RGB, query: ResolvedQuery) -> list[GroundedMask]:
        """See `Interface.ground` and `grounded`."""
        parts = tuple(part for part in query if part.role == "entity")
        if not parts:
            return []
        vectors = self._inner.encode_query(parts).entities
        (encoding,) = self._inner.encode_photos([photo])
        return grounded(photo, parts, vectors, encoding, self._grounders())


def grounded(
    photo: RGB,
    parts: Sequence[ResolvedPart],
    vectors: Floats,
    encoding: PhotoEncoding,
    grounders: Grounders,
    *,
    record: GroundingRecord | None = None,
    embed: Callable[[Sequence[BoolMask]], Floats] | None = None,
) -> list[GroundedMask]:
    """Ground every entity in one photo by the cascade.

    Args:
        photo: (H, W, 3) uint8, upright.
        parts: E entities of a query.
        vectors: (E, D) of them.
        encoding: of the photo.
        grounders: models that segment or detect.
        record: of the photo's patch grid, or None to draw one from its regions.
        embed: masks of the photo to vectors like those of its regions, or None.
    Returns:
        See `ground_targets`: an entity that a model judged not to be there has one mask without pixels.
    """
    size = (int(photo.shape[0]), int(photo.shape[1]))
    scene = scene_of(size, encoding.regions, encoding.boxes, encoding.masks, record, encoding.scores)
    targets = [target_of(part, vector) for part, vector in zip(parts, vectors, strict=True)]
    return ground_targets(scene, targets, models_for(photo, grounders, embed))


def target_of(part: ResolvedPart, vector: Floats) -> Target:
    """An entity as the cascade wants it: a phrase as the user wrote it, or the crop of what was shown.

    Args:
        part: of a query.
        vector: (D,) of it.
    """
    return Target(vector, part.label if part.kind == "text" else None, _exemplar(part))


def _exemplar(part: ResolvedPart) -> RGB | None:
    """The marked part of a picture with a little around it; the whole picture where nothing is marked."""
    if part.photo is None or part.mask is None:
        return part.photo
    x0, y0, x1, y1 = box_of(part.mask)
    if x1 <= x0:
        return part.photo
    wide, high = AROUND * (x1 - x0), AROUND * (y1 - y0)
    cut = part.photo[max(0, int(y0 - high)) : int(y1 + high) + 1, max(0, int(x0 - wide)) : int(x1 + wide) + 1]
    return np.ascontiguousarray(cut)


def models_for(
    photo: RGB, grounders: Grounders, embed: Callable[[Sequence[BoolMask]], Floats] | None = None
) -> GroundingModels:
    """The models bound to one photo; nothing is embedded before it is asked for.

    A concept model takes phrases, and boxes in the photo itself. By a phrase it can tell whether the thing is there. A
    thing that was shown in another picture reaches it only as a box that the map has chosen, and something like the
    content of a box is always there: so that answer counts as a place only.

    Args:
        photo: (H, W, 3) uint8, upright.
        grounders: models that segment or detect.
        embed: masks of the photo to vectors like those of its regions, or None.
    """
    segmenter, concept = grounders.segmenter, grounders.concept
    return GroundingModels(
        segment=None if segmenter is None else lambda prompts: segmenter.look(photo)(prompts),
        concept=None if concept is None else partial(_find_phrase, photo, concept),
        detect=partial(_detect, photo, grounders) if grounders.phrases or grounders.pictures else None,
        alike=None if concept is None else partial(concept.find, photo, None),
        embed=embed,
    )


def _find_phrase(photo: RGB, concept: ConceptSegmenter, target: Target) -> Sequence[Detected] | None:
    """What a concept model finds; None for a thing that was shown."""
    return None if target.phrase is None else concept.find(photo, target.phrase)


def _detect(photo: RGB, grounders: Grounders, target: Target) -> Sequence[Detected] | None:
    """What the detector for this kind of target finds; None where there is none."""
    if target.phrase is not None:
        return grounders.phrases.find(photo, target.phrase) if grounders.phrases else None
    if target.exemplar is not None and grounders.pictures:
        return grounders.pictures.find(photo, None, target.exemplar)
    return None
