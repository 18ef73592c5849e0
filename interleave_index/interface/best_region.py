"""Grounding by the regions that a photo is stored with, for models that take no second look of their own at it."""

from __future__ import annotations

from collections.abc import Iterable

from ..geometry import box_of_rle, box_rle, resize_rle
from ..records import Floats, GroundedMask, PhotoEncoding, Size


def best_regions(encoding: PhotoEncoding, vectors: Iterable[Floats], size: Size) -> list[GroundedMask]:
    """The region that is most like each thing asked for; the photo as a whole where it has none.

    Args:
        encoding: of the photo.
        vectors: (D,) of each thing.
        size: (height, width) of the photo.
    """
    grounded = []
    for number, vector in enumerate(vectors):
        cosines = encoding.regions @ vector
        if len(cosines):
            best = int(cosines.argmax())
            mask = resize_rle(encoding.masks[best], size)
            grounded.append(GroundedMask(number, mask, box_of_rle(mask), float(cosines[best])))
        else:
            whole = (0.0, 0.0, float(size[1]), float(size[0]))
            grounded.append(GroundedMask(number, box_rle(whole, size), whole, float(encoding.image @ vector)))
    return grounded
