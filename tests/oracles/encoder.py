"""An encoder that knows the annotations: its vectors mean what photos, regions and texts are annotated as.

It enters the program as any other interface does, and brings no fitted curves, as a model from a hub brings none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from interleave_index.geometry import encode_rle, unit
from interleave_index.interface.calibration import Calibration
from interleave_index.interface.generic import drawn_pictures, generic_captions
from interleave_index.interface.protocol import Interface, encode_parts
from interleave_index.records import (
    RGB,
    Floats,
    GroundedMask,
    PhotoEncoding,
    QueryEncoding,
    ResolvedPart,
    ResolvedQuery,
    Space,
)
from tests.oracles.masks import degraded
from tests.oracles.world import Quality, World, random_of

PICTURES = 64  # drawn ones of the bank


class OracleEncoder(Interface):
    """Photos, regions and queries as what they are annotated as.

    Args:
        world: what is known.
        quality: its `iou` is that of the stored masks.
    """

    def __init__(self, world: World, quality: Quality | None = None) -> None:
        self._world, self._quality = world, quality or Quality()

    @property
    def space(self) -> Space:
        """One for every world and quality."""
        known = f"{self._quality} {[photo.key for photo in self._world.photos]}"
        checkpoint = hashlib.sha256(known.encode()).hexdigest()
        return Space("oracle", checkpoint, "upright RGB as it is", self._world.dim + 2)

    @cached_property
    def calibration(self) -> Calibration:
        """Banks of generic captions and drawn pictures, as of a model whose curves were never fitted."""
        captions = np.stack([self._text(text) for text in generic_captions()])
        pictures = np.stack([self._picture(picture) for picture in drawn_pictures(PICTURES)])
        return Calibration(captions, captions, pictures, pictures, stand_in=True)

    def encode_photos(self, photos: Sequence[RGB]) -> list[PhotoEncoding]:
        """The annotated masks as regions, largest first; a stranger has none."""
        return [self._encode(photo) for photo in photos]

    def encode_query(self, query: ResolvedQuery) -> QueryEncoding:
        """A caption around one part is the caption with the part's word in the gap; else the mean of all parts."""
        return encode_parts(query, self._legend(query), self._part)

    def ground(self, photo: RGB, query: ResolvedQuery) -> list[GroundedMask]:
        """The nearest stored region of each entity."""
        (encoding,) = self.encode_photos([photo])
        found = []
        for number, part in enumerate(part for part in query if part.role == "entity"):
            cosines = encoding.regions @ self._part(part)
            if len(cosines):
                best = int(cosines.argmax())
                x0, y0, x1, y1 = encoding.boxes[best].tolist()
                found.append(GroundedMask(number, encoding.masks[best], (x0, y0, x1, y1), float(cosines[best])))
        return found

    # --- pictures -----------------------------------------------------------------------------

    def _encode(self, photo: RGB) -> PhotoEncoding:
        position, dim = self._world.position(photo), self.space.dim
        if position is None:
            none = np.zeros(0, np.float32)
            no_regions = np.zeros((0, dim), np.float32)
            return PhotoEncoding(self._picture(photo), no_regions, np.zeros((0, 4), np.float32), none, none, ())
        record = self._world.photos[position]
        numbers = [number for number, _ in sorted(self._world.regions(position), key=lambda found: -found[1].area)]
        regions = [record.regions[number] for number in numbers]
        masks = [
            degraded(region.rle.decode(), self._quality.iou, f"stored {record.key} {number}")
            for number, region in zip(numbers, regions, strict=True)
            if region.rle is not None
        ]
        vectors = [self._region(position, number) for number in numbers]
        return PhotoEncoding(
            image=self._picture(photo),
            regions=np.array(vectors, np.float32).reshape(-1, dim),
            boxes=np.array([region.box for region in regions], np.float32).reshape(-1, 4),
            areas=np.array([mask.mean() for mask in masks], np.float32),
            scores=np.ones(len(masks), np.float32),
            masks=tuple(map(encode_rle, masks)),
        )

    def _picture(self, photo: RGB) -> Floats:
        position = self._world.position(photo)
        if position is None:
            key = hashlib.sha1(photo.tobytes()).hexdigest()
            return self._made(self._world.stray(key), f"photo {key}", 1)
        return self._made(self._world.of_photo(position), f"photo {self._world.photos[position].key}", 1)

    def _region(self, position: int, number: int) -> Floats:
        key = f"region {self._world.photos[position].key} {number}"
        return self._made(self._world.of_region(position, number), key, 1)

    # --- queries ------------------------------------------------------------------------------

    def _legend(self, query: ResolvedQuery) -> Floats:
        parts = [part for part in query if part.role != "negative"]
        places = [number for number, part in enumerate(parts) if part.role == "entity"]
        if len(places) == 1 and len(parts) > 1:
            before = " ".join(part.label for part in parts[: places[0]])
            after = " ".join(part.label for part in parts[places[0] + 1 :])
            caption = self._world.with_gap(before, after)
            if caption is not None:
                return self._made(caption, f"text {before} _ {after}", 0)
        return unit(np.sum([part.weight * self._part(part) for part in parts], axis=0))

    def _part(self, part: ResolvedPart) -> Floats:
        if part.photo is None:
            return self._text(part.label) if part.vector is None else part.vector
        position = self._world.position(part.photo)
        if part.mask is None or position is None:
            return self._picture(part.photo)
        number = self._world.region_at(position, part.mask)
        return self._picture(part.photo) if number is None else self._region(position, number)

    def _text(self, text: str) -> Floats:
        return self._made(self._world.of_text(text), f"text {text}", 0)

    def _made(self, meaning: Floats, key: str, side: int) -> Floats:
        """The unit vector with noise and with the gap of its side: 0 of texts, 1 of pictures."""
        noise = random_of(f"{self._quality.draw} {key}").normal(size=self._world.dim) / np.sqrt(self._world.dim)
        made = np.zeros(self._world.dim + 2, np.float32)
        made[: self._world.dim] = unit(meaning + np.float32(self._quality.noise) * noise.astype(np.float32))
        made[self._world.dim + side] = self._quality.gap
        return unit(made)
