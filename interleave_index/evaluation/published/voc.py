"""Pascal VOC 2012 for interactive segmentation: the objects of its segmentation split, at most five an item."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...records import RGB
from .files import read_bytes, read_indexed, read_photo

BORDER = 255  # palette position of the outlines that belong to no object
MOST_OBJECTS = 5  # of one item; a photo with more becomes several items


@dataclass(frozen=True, slots=True)
class VocItem:
    """Some objects of one photo.

    Attributes:
        name: of the photo.
        objects: their palette positions in the file of objects.
    """

    name: str
    file: Path
    mask: Path
    objects: tuple[int, ...]

    def rgb(self) -> RGB:
        """The photo's pixels, (H, W, 3) uint8."""
        return read_photo(self.file)

    def truth(self) -> NDArray[np.int16]:
        """(n, H, W): 1 inside an object, 0 outside, -1 on the outlines that are ignored."""
        ids = read_indexed(self.mask)
        masks = np.stack([(ids == number).astype(np.int16) for number in self.objects])
        masks[:, ids == BORDER] = -1
        return masks


def read_voc(root: Path, split: str = "val") -> list[VocItem]:
    """Read a split of `ImageSets/Segmentation/` below `VOC2012/`, photo by photo in its order.

    Raises:
        InputError: a file is missing or the split is empty.
    """
    path = root / "ImageSets" / "Segmentation" / f"{split}.txt"
    items = []
    for name in read_bytes(path).decode("utf-8", "replace").split():
        mask = root / "SegmentationObject" / f"{name}.png"
        numbers = [int(n) for n in np.unique(read_indexed(mask)) if n not in (0, BORDER)]
        for start in range(0, len(numbers), MOST_OBJECTS):
            items.append(
                VocItem(name, root / "JPEGImages" / f"{name}.jpg", mask, tuple(numbers[start : start + MOST_OBJECTS]))
            )
    if not items:
        raise InputError(f"{path} names no photo with an object, expected a split of VOC 2012")
    return items
