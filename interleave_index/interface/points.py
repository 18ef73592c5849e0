"""Similarity as points behind the interface protocol: a photo is looked at exactly by the cascade of `grounding`.

It works with any interface: a dual encoder draws the map from its patches, all others from the vectors and masks of
their regions. Models that find things by phrase or picture judge whether they are there; everything else gives a place
only, see `grounding.cascade`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial

import numpy as np

from ..geometry import box_of
from ..grounding.cascade import Embed, GroundingModels, Target, ground_targets
from ..models.segmenters.dense import DenseMapper
from ..models.segmenters.grounders import Grounders
from ..models.segmenters.sam3 import ConceptSegmenter
from ..records import (
    RGB,
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
from .latest import OfLatestQuery
from .protocol import Capabilities, InspectedPhoto, Interface, TextReading
from .segmenter import by_segmenter

AROUND = 0.1  # of a marked part's box, shown to detectors around it


class PointsInterface(Interface):
    """An interface that grounds by points; all else is its own.

    Args:
        inner: encodes photos and queries.
        grounders: gives the models that segment or detect; asked for when the first photo is grounded.
    """

    def __init__(self, inner: Interface, grounders: Callable[[], Grounders] = Grounders) -> None:
        self._inner, self._grounders = inner, cache(grounders)
        self._targets_of = OfLatestQuery(self._targets)

    @property
    def inner(self) -> Interface:
        """What encodes photos and queries."""
        return self._inner

    @property
    def space(self) -> Space:
        """That of the inner interface: its vectors are not touched."""
        return self._inner.space

    @property
    def calibration(self) -> Calibration:
        """See `Interface.calibration`."""
        return self._inner.calibration

    @property
    def capabilities(self) -> Capabilities:
        """Those of the inner interface."""
        return self._inner.capabilities

    def reading(self, text: str) -> TextReading:
        """What the inner interface cannot read of a text."""
        return self._inner.reading(text)

    def encode_photos(self, photos: Sequence[RGB]) -> list[PhotoEncoding]:
        """See `Interface.encode_photos`."""
        return self._inner.encode_photos(photos)

    def encode_query(self, query: ResolvedQuery) -> QueryEncoding:
        """See `Interface.encode_query`."""
        return self._inner.encode_query(query)

    def encode_queries(self, queries: Sequence[ResolvedQuery]) -> list[QueryEncoding]:
        """See `Interface.encode_queries`."""
        return self._inner.encode_queries(queries)

    def inspect(self, photo: RGB) -> InspectedPhoto:
        """See `Interface.inspect`."""
        return self._inner.inspect(photo)

    def interact(self, photo: RGB, parts: Sequence[ResolvedPart]) -> list[GroundedMask]:
        """See `Interface.interact`: the segmenter is shown the marks as they are; without one, the inner interface."""
        segmenter = self._grounders().segmenter
        return self._inner.interact(photo, parts) if segmenter is None else by_segmenter(segmenter, photo, parts)

    def ground(self, photo: RGB, query: ResolvedQuery) -> list[GroundedMask]:
        """See `Interface.ground` and `ground_targets`: a thing that a model judged absent has a mask without pixels.

        What no grounder can be asked for is left to the inner interface's own look where it keeps no patches: a map
        that is drawn from its regions says no more than these.
        """
        parts = tuple(part for part in query if part.role == "entity")
        if not parts:
            return []
        inspected = self._inner.inspect(photo)
        models = models_for(photo, self._grounders(), inspected.embed)
        if inspected.scene.patches is None:
            own = cache(lambda: self._inner.ground(photo, parts))
            models = replace(models, look=lambda number: [mask for mask in own() if mask.entity == number])
        return ground_targets(inspected.scene, self._targets_of(parts), models)

    def _targets(self, parts: ResolvedQuery) -> list[Target]:
        vectors = self._inner.encode_query(parts).entities
        return [target_of(part, vector) for part, vector in zip(parts, vectors, strict=True)]


def target_of(part: ResolvedPart, vector: Floats) -> Target:
    """An entity as the cascade wants it: a phrase as the user wrote it, or the crop of what was shown.

    Args:
        part: of a query.
        vector: (D,) of it.
    """
    return Target(vector, part.label if part.kind == "text" else None, exemplar_of(part))


def exemplar_of(part: ResolvedPart) -> RGB | None:
    """The marked part of a picture with a little around it; the whole picture where nothing is marked."""
    if part.photo is None or part.mask is None or not part.mask.any():
        return part.photo
    x0, y0, x1, y1 = box_of(part.mask)
    wide, high = AROUND * (x1 - x0), AROUND * (y1 - y0)
    cut = part.photo[max(0, int(y0 - high)) : int(y1 + high) + 1, max(0, int(x0 - wide)) : int(x1 + wide) + 1]
    return np.ascontiguousarray(cut)


def models_for(photo: RGB, grounders: Grounders, embed: Embed | None = None) -> GroundingModels:
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
        segment=None if segmenter is None else lambda prompts: segmenter.bind(photo)(prompts),
        concept=None if concept is None else partial(_find_phrase, photo, concept),
        detect=partial(_detect, photo, grounders) if grounders.phrases or grounders.pictures else None,
        alike=None if concept is None else partial(concept.find, photo, None),
        draw=None if grounders.maps is None else partial(_draw, photo, grounders.maps),
        embed=embed,
    )


def _find_phrase(photo: RGB, concept: ConceptSegmenter, target: Target) -> Sequence[Detected] | None:
    """What a concept model finds; None for a thing that was shown."""
    return None if target.phrase is None else concept.find(photo, target.phrase)


def _draw(photo: RGB, maps: DenseMapper, target: Target) -> Floats | None:
    """The map that a model draws of a phrase, or of a thing that was shown."""
    return maps.draw(photo, target.phrase, target.exemplar)


def _detect(photo: RGB, grounders: Grounders, target: Target) -> Sequence[Detected] | None:
    """What the detector for this kind of target finds; None where there is none."""
    if target.phrase is not None:
        return grounders.phrases.find(photo, target.phrase) if grounders.phrases else None
    if target.exemplar is not None and grounders.pictures:
        return grounders.pictures.find(photo, None, target.exemplar)
    return None
