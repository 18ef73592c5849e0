"""What an oracle knows: the annotated photos of a pack, found again by their pixels, and a meaning for every word.

Meanings are exact: photos and names have axes of their own, at right angles to each other, so that what an oracle
without noise says is right by construction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from interleave_index.evaluation.packs import PackPhoto, PackRegion
from interleave_index.evaluation.words import mentions
from interleave_index.geometry import mask_iou, resize_mask, unit
from interleave_index.query.reading import only_frames
from interleave_index.records import RGB, BoolMask, Floats

OWN, TEXTS = 0.3, 256  # share of a region that is its own; dimensions for what has no axis
ROUGHLY = 0.5  # IoU from which on a mask means a region


@dataclass(frozen=True, slots=True)
class Quality:
    """How good an oracle is; as it stands, perfect.

    Attributes:
        iou: of its masks with the true ones.
        presence_error: share of questions of presence that it answers wrongly.
        noise: length of what is added to every vector of length 1, at random.
        gap: length of what all texts have in common, and all pictures, apart from each other.
        draw: number of the draw of the noise.
    """

    iou: float = 1.0
    presence_error: float = 0.0
    noise: float = 0.0
    gap: float = 0.0
    draw: int = 0


class World:
    """The photos of a pack and what is in them.

    Args:
        photos: with annotations.
    """

    def __init__(self, photos: Sequence[PackPhoto]) -> None:
        self.photos = tuple(photos)
        self.labels = sorted({name for photo in photos for name in names_of(photo)})
        self._of_pixels = {_digest(photo.rgb()): position for position, photo in enumerate(photos)}
        self._pixels = [photo.rgb() for photo in photos]
        self._cuts: dict[bytes, tuple[int, BoolMask] | None] = {}
        self._axis_of = {label: len(photos) + number for number, label in enumerate(self.labels)}
        self.axes = len(photos) + len(self.labels)
        self.dim = self.axes + TEXTS
        self._captions = {_plain(text): n for n, photo in enumerate(photos) for text in photo.captions}
        self._gaps: dict[tuple[str, str], int] = {}
        for number, photo in enumerate(photos):
            for text in photo.captions:
                for label in self.labels:
                    for start, end in mentions(text, label):
                        self._gaps[_plain(text[:start]), _plain(text[end:])] = number

    # --- photos and their parts ---------------------------------------------------------------

    def position(self, pixels: RGB) -> int | None:
        """Of the photo with these pixels; None where it is a stranger."""
        return self._of_pixels.get(_digest(pixels))

    def cut_from(self, crop: RGB) -> tuple[int, BoolMask] | None:
        """The photo that a crop was cut from and where, as (H, W) bool; the photo itself counts as a crop.

        All photos are searched for it once: every grounder is asked the same questions.
        """
        key = _digest(crop)
        if key not in self._cuts:
            self._cuts[key] = self._searched_for(crop)
        return self._cuts[key]

    def _searched_for(self, crop: RGB) -> tuple[int, BoolMask] | None:
        for position, pixels in enumerate(self._pixels):
            height, width = crop.shape[:2]
            if pixels.shape[0] < height or pixels.shape[1] < width:
                continue
            windows = np.lib.stride_tricks.sliding_window_view(pixels, (1, width, 3))[: len(pixels) - height + 1, :, 0]
            for y, x in np.argwhere((windows[:, :, 0] == crop[0]).all((2, 3))):
                if np.array_equal(pixels[y : y + height, x : x + width], crop):
                    where = np.zeros(pixels.shape[:2], bool)
                    where[y : y + height, x : x + width] = True
                    return position, where
        return None

    def regions(self, position: int) -> list[tuple[int, PackRegion]]:
        """Number and record of the masked regions of a photo, in the order of the pack."""
        return [(n, region) for n, region in enumerate(self.photos[position].regions) if region.rle is not None]

    def region_at(self, position: int, mask: BoolMask) -> int | None:
        """Number of the region that a mask means: the one with the greatest IoU, if that is enough."""
        best, found = ROUGHLY, None
        for number, region in self.regions(position):
            assert region.rle is not None
            iou = mask_iou(resize_mask(mask, region.rle.size), region.rle.decode())
            if iou > best:
                best, found = iou, number
        return found

    def shows(self, position: int, phrase: str) -> list[int]:
        """Numbers of the masked regions of a photo that a phrase names."""
        label = self.label_in(phrase)
        return [number for number, region in self.regions(position) if label is not None and region.label == label]

    def label_in(self, phrase: str) -> str | None:
        """The label that a phrase is, but for its article and words that only frame it."""
        plain = _plain(phrase)
        if plain in self._axis_of:
            return plain
        for label in self.labels:
            for start, end in mentions(plain, label):
                if only_frames(f"{plain[:start]} {plain[end:]}"):
                    return label
        return None

    # --- meanings -----------------------------------------------------------------------------

    def of_label(self, label: str | None, otherwise: str) -> Floats:
        """(D,) axis of a label; that of a text where it is none."""
        return self._axis(self._axis_of[label]) if label in self._axis_of else self.stray(otherwise)

    def of_photo(self, position: int) -> Floats:
        """(D,) unit vector of a photo: as much itself as all that it shows together."""
        shown = [self.of_label(name, name) for name in names_of(self.photos[position])]
        meaning = self._axis(position)
        return unit(meaning + unit(np.sum(shown, axis=0))) if shown else meaning

    def of_region(self, position: int, number: int) -> Floats:
        """(D,) unit vector of a region: its label, and a little of its own."""
        key = f"{self.photos[position].key} {number}"
        return unit(self.of_label(self.photos[position].regions[number].label, key) + OWN * self.stray(key))

    def of_text(self, text: str) -> Floats:
        """(D,) unit vector of a text: its photo's where it is a caption, its label's, else what it mentions."""
        if _plain(text) in self._captions:
            return self.of_photo(self._captions[_plain(text)])
        label = self.label_in(text)
        if label is not None:
            return self.of_label(label, label)
        mentioned = [self.of_label(label, label) for label in self.labels if mentions(text, label)]
        return unit(self.stray(_plain(text)) + np.sum(mentioned, axis=0)) if mentioned else self.stray(_plain(text))

    def with_gap(self, before: str, after: str) -> Floats | None:
        """(D,) unit vector of the photo whose caption stands around a gap; None where there is no such caption."""
        number = self._gaps.get((_plain(before), _plain(after)))
        return None if number is None else self.of_photo(number)

    def _axis(self, number: int) -> Floats:
        made = np.zeros(self.dim, np.float32)
        made[number] = 1
        return made

    def stray(self, key: str) -> Floats:
        """(D,) unit vector that a key alone decides, at right angles to all axes."""
        made = np.zeros(self.dim, np.float32)
        made[self.axes :] = random_of(key).normal(size=TEXTS)
        return unit(made)


def names_of(photo: PackPhoto) -> list[str]:
    """What a photo shows, by name, sorted."""
    return sorted({*photo.labels, *(region.label for region in photo.regions if region.label is not None)})


def random_of(key: str) -> np.random.Generator:
    """A generator that a key alone seeds."""
    return np.random.default_rng(int.from_bytes(hashlib.sha1(key.encode()).digest()[:8], "big"))


def _digest(pixels: RGB) -> bytes:
    return hashlib.sha1(str(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()).digest()


def _plain(text: str) -> str:
    return " ".join(text.lower().split())
