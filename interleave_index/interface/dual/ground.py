"""The seam for a second look at one photo, and the plainest way through it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ...geometry import box_rle, resize_rle
from ...grounding.record import GroundingRecord
from ...records import RGB, BoolMask, Box, Floats, GroundedMask, PhotoEncoding, ResolvedPart
from ..calibration import Calibration


@dataclass(frozen=True, slots=True)
class Look:
    """Everything that is known when one photo is looked at again.

    Attributes:
        photo: (H, W, 3) uint8, upright.
        parts: the entities of the query, in its order.
        vectors: (E, D) float32, of the entities.
        encoding: of the photo, as an ingest would store it.
        record: its patch grid, with patch vectors of full rank.
        calibration: gives the banks of what means nothing in particular.
        embed: (M, D) vectors of M masks of any size in the photo's aspect, by the method of the stored regions.
    """

    photo: RGB
    parts: tuple[ResolvedPart, ...]
    vectors: Floats
    encoding: PhotoEncoding
    record: GroundingRecord
    calibration: Callable[[], Calibration]
    embed: Callable[[Sequence[BoolMask]], Floats]


class Grounder(Protocol):
    """Finds the masks of entities in one photo."""

    def ground(self, look: Look) -> list[GroundedMask]:
        """At least one mask for every entity, numbered by its position, at the size of the photo."""


class BestRegion:
    """The best of the photo's regions for each entity; the photo as a whole where it has none."""

    def ground(self, look: Look) -> list[GroundedMask]:
        """See `Grounder.ground`."""
        size = (int(look.photo.shape[0]), int(look.photo.shape[1]))
        return [self._best(number, vector, look, size) for number, vector in enumerate(look.vectors)]

    def _best(self, number: int, vector: Floats, look: Look, size: tuple[int, int]) -> GroundedMask:
        cosines = look.encoding.regions @ vector
        if not len(cosines):
            whole = (0.0, 0.0, float(size[1]), float(size[0]))
            return GroundedMask(number, box_rle(whole, size), whole, float(look.encoding.image @ vector))
        best = int(np.argmax(cosines))
        mask = resize_rle(look.encoding.masks[best], size)
        return GroundedMask(number, mask, _tight(mask.to_json()), float(cosines[best]))


def _tight(coded: dict[str, object]) -> Box:
    from pycocotools import mask as coco

    x, y, wide, high = coco.toBbox(coded).tolist()
    return x, y, x + wide, y + high
