"""Arrays, masks, and what a model makes of photos and queries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

RGB: TypeAlias = NDArray[np.uint8]  # (H, W, 3), upright, sRGB
BoolMask: TypeAlias = NDArray[np.bool_]  # (H, W)
Floats: TypeAlias = NDArray[np.float32]
Box: TypeAlias = tuple[float, float, float, float]  # x0, y0, x1, y1, half-open
Size: TypeAlias = tuple[int, int]  # (height, width)
NOWHERE: Box = (0.0, 0.0, 0.0, 0.0)  # of a mask without pixels

SHOWN_COUNTS = 40  # characters of run lengths in a console
REGIONS_PER_PHOTO = 256  # region id = photo id * 256 + ordinal


def region_id(photo_id: int, ordinal: int) -> int:
    """Id of a stored region; it names its photo without a look-up.

    >>> region_id(1234, 7), divmod(315911, 256)
    (315911, (1234, 7))
    """
    if not 0 <= ordinal < REGIONS_PER_PHOTO:
        raise InputError(f"region ordinal is {ordinal}, expected 0 to {REGIONS_PER_PHOTO - 1}")
    return photo_id * REGIONS_PER_PHOTO + ordinal


@dataclass(frozen=True, slots=True)
class Rle:
    """One mask as COCO run lengths in their compressed form (column-major, zeros first).

    Attributes:
        size: (height, width) of the mask.
        counts: COCO's compressed run lengths, ASCII.
    """

    size: tuple[int, int]
    counts: str

    def __repr__(self) -> str:
        counts = self.counts if len(self.counts) <= SHOWN_COUNTS else f"{self.counts[: SHOWN_COUNTS - 3]}..."
        return f"Rle(size={self.size}, counts={counts!r})"

    def decode(self) -> BoolMask:
        """The mask, (H, W) bool, freshly made."""
        from pycocotools import mask as coco

        mask: BoolMask = coco.decode({"size": list(self.size), "counts": self.counts.encode("ascii")}).astype(bool)
        return mask

    def to_json(self) -> dict[str, Any]:
        """``{"size": [h, w], "counts": "..."}``, as pycocotools reads it."""
        return {"size": list(self.size), "counts": self.counts}


@dataclass(frozen=True, slots=True)
class Space:
    """One embedding space: vectors of two spaces are never compared.

    Attributes:
        interface: name of the interface and checkpoint, such as ``find-mini``.
        checkpoint: sha256 of the weights, hex.
        preprocessing: how a photo becomes the model's input, in one line.
        dim: D, length of every embedding.
    """

    interface: str
    checkpoint: str
    preprocessing: str
    dim: int


@dataclass(frozen=True, slots=True)
class PhotoEncoding:
    """Everything the store keeps of one photo in one space.

    Attributes:
        image: (D,) float32, unit length.
        regions: (R, D) float32, unit length, first what is well drawn and not yet shown; R may be 0.
        boxes: (R, 4) float32, x0 y0 x1 y1 in pixels of the upright photo.
        areas: (R,) float32, share of the photo that the mask covers, 0 to 1.
        scores: (R,) float32, predicted quality, less where a better region shows the same; 0 to 1, never rising.
        masks: R masks in the photo's aspect, long side at most 512.
        grounding: what the interface wants kept to ground this photo again without its pixels, or None.
    """

    image: Floats
    regions: Floats
    boxes: Floats
    areas: Floats
    scores: Floats
    masks: tuple[Rle, ...]
    grounding: bytes | None = None


@dataclass(frozen=True, slots=True)
class QueryEncoding:
    """Vectors of a query in one space, unit length, in the order of its entities and negatives.

    Attributes:
        legend: (D,) float32, the whole sentence.
        entities: (E, D) float32.
        negatives: (N, D) float32.
    """

    legend: Floats
    entities: Floats
    negatives: Floats


@dataclass(frozen=True, slots=True)
class GroundedMask:
    """One mask that an interface found for one entity by looking at the photo.

    Attributes:
        entity: position of the entity among the query's entities (negatives not counted), 0-based.
        mask: (H, W) of the upright photo.
        box: of the mask.
        score: cosine of the entity with the masked region, -1 to 1.
        rung: which method of several gave it, as `grounding.cascade` names them; empty where there is only one.
        present: whether the interface judges the entity to be there; None leaves that to the query's judgement.
        confidence: how sure a grounder that judges presence is of this mask, 0 to 1, by its own measure; else None.
    """

    entity: int
    mask: Rle
    box: Box
    score: float
    rung: str = ""
    present: bool | None = None
    confidence: float | None = None
