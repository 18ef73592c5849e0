"""A weightless interface for tests and for trying things out: it knows eight colours and nothing else.

Regions are the connected patches of one colour, a phrase means the colours that it names, and the
image vector is the sum of its patches. Everything it answers can be checked by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import as_box, box_of, encode_rle, resize_mask, unit
from ..records import (
    RGB,
    BoolMask,
    Floats,
    GroundedMask,
    PhotoEncoding,
    QueryEncoding,
    ResolvedPart,
    ResolvedQuery,
    Space,
)
from .calibration import Calibration, Curve, QueryKind
from .protocol import Interface, encode_parts, pixels_of

COLOURS = {
    "red": (220, 40, 40),
    "green": (40, 160, 60),
    "blue": (40, 70, 210),
    "yellow": (240, 220, 50),
    "purple": (150, 50, 170),
    "orange": (245, 140, 30),
    "white": (255, 255, 255),
    "black": (10, 10, 10),
}
DIM = 16
SMALLEST = 0.002  # share of the photo under which a patch is not a region
MOST_REGIONS = 32
_PALETTE = np.array(list(COLOURS.values()), np.float32)
# By kind the score at which a photo is as likely meant as not. A photo without the colour scores below 0 but for whole
# pictures, one with a patch of it little more by its image vector and about 1 by its best region.
_MIDDLES: dict[QueryKind, float] = {"caption": 0.0, "mixed": 0.3, "entity": 0.6, "picture": 1.2, "region": 0.6}
_CURVES = {
    kind: Curve(
        slope=20.0,
        offset=-20.0 * middle,
        bar=0.5,
        anything_slope=30.0,
        anything_size=0.0,
        anything_offset=-30.0 * middle,
        anything_bar=0.5,
    )
    for kind, middle in _MIDDLES.items()
}


class ToyInterface(Interface):
    """Eight colours, D = 16: dimension i is colour i, the other eight a faint constant so that nothing is zero."""

    space = Space(interface="toy", checkpoint="0" * 64, preprocessing="nearest of eight colours", dim=DIM)

    @property
    def calibration(self) -> Calibration:
        """Banks of single colours; curves by which what shows the colour is meant and nothing else is."""
        bank = np.stack([self._text(name) for name in COLOURS])
        return Calibration(captions=bank, phrases=bank, pictures=bank, regions=bank, curves=_CURVES)

    def encode_photos(self, photos: Sequence[RGB]) -> list[PhotoEncoding]:
        """Regions are patches of one colour, largest first; the score of a patch is the root of its share."""
        return [self._encode(photo) for photo in photos]

    def encode_query(self, query: ResolvedQuery) -> QueryEncoding:
        """The legend is the normalised weighted sum of all captions and entities."""
        legend = np.zeros(DIM, np.float32)
        for part in query:
            if part.role != "negative":
                legend += np.float32(part.weight) * self._part(part)
        return encode_parts(query, unit(legend), self._part)

    def ground(self, photo: RGB, query: ResolvedQuery) -> list[GroundedMask]:
        """The patch whose colour answers each entity best; the whole photo when it has no patch."""
        encoded = self._encode(photo, full_size=True)
        grounded = []
        for number, part in enumerate(part for part in query if part.role == "entity"):
            scores = encoded.regions @ self._part(part)
            if len(scores):
                best = int(scores.argmax())
                box = as_box(encoded.boxes[best])
                grounded.append(GroundedMask(number, encoded.masks[best], box, float(scores[best])))
            else:
                mask = np.ones(photo.shape[:2], bool)
                grounded.append(GroundedMask(number, encode_rle(mask), box_of(mask), 0.0))
        return grounded

    def _part(self, part: ResolvedPart) -> Floats:
        if part.kind == "text":
            return self._text(part.label)
        if part.photo is None and part.vector is not None:
            return part.vector
        labels = _nearest(pixels_of(part))
        return self._colours(labels if part.mask is None else labels[part.mask])

    def _text(self, text: str) -> Floats:
        words = text.lower().split()
        return self._vector(np.array([words.count(name) for name in COLOURS]))

    def _colours(self, labels: NDArray[np.int64]) -> Floats:
        return self._vector(np.bincount(labels.ravel(), minlength=len(COLOURS)) / max(labels.size, 1))

    def _vector(self, amounts: NDArray[Any]) -> Floats:
        return unit(np.concatenate([amounts, np.full(DIM - len(COLOURS), 0.02)]).astype(np.float32))

    def _encode(self, photo: RGB, full_size: bool = False) -> PhotoEncoding:
        from scipy import ndimage

        labels = _nearest(photo)
        masks: list[BoolMask] = []
        for colour in np.unique(labels):
            patches, _ = ndimage.label(labels == colour)
            sizes = np.bincount(patches.ravel())  # by patch; 0 is what has another colour
            masks += [patches == n for n in range(1, len(sizes)) if sizes[n] >= SMALLEST * patches.size]
        masks = sorted(masks, key=np.count_nonzero, reverse=True)[:MOST_REGIONS]
        areas = np.array([mask.mean() for mask in masks], np.float32)
        kept = masks if full_size else [resize_mask(mask, long_side=512) for mask in masks]
        return PhotoEncoding(
            image=self._colours(labels),
            regions=np.array([self._colours(labels[mask]) for mask in masks], np.float32).reshape(-1, DIM),
            boxes=np.array([box_of(mask) for mask in masks], np.float32).reshape(-1, 4),
            areas=areas,
            scores=np.sqrt(areas),
            masks=tuple(encode_rle(mask) for mask in kept),
        )


def _nearest(photo: RGB) -> NDArray[np.int64]:
    # |pixel - colour|^2 without |pixel|^2, which is the same for all; whole numbers, exact in float32
    distances = (_PALETTE**2).sum(1) - 2 * (photo.astype(np.float32) @ _PALETTE.T)
    nearest: NDArray[np.int64] = distances.argmin(-1)
    return nearest
