"""Pascal VOC 2012 for interactive segmentation: the objects of its segmentation split, at most five an item."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from .files import read_bytes, read_indexed

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

    def truth(self) -> NDArray[np.int16]:
        """(n, H, W): 1 inside an object, 0 outside, -1 on the outlines that are ignored."""
        ids = read_indexed(self.mask)
        truth: NDArray[np.int16] = (ids == np.array(self.objects)[:, None, None]).astype(np.int16)
        truth[:, ids == BORDER] = -1
        return truth


def read_voc(root: Path, split: str = "val") -> list[VocItem]:
    """Read a split of `ImageSets/Segmentation/` below `VOC2012/`, photo by photo in its order.

    Raises:
        InputError: a file is missing or the split is empty.
    """
    path = root / "ImageSets" / "Segmentation" / f"{split}.txt"
    items = []
    for name in read_bytes(path).decode("utf-8", "replace").split():
        photo, mask = root / "JPEGImages" / f"{name}.jpg", root / "SegmentationObject" / f"{name}.png"
        objects = [int(n) for n in np.unique(read_indexed(mask)) if n not in (0, BORDER)]
        for start in range(0, len(objects), MOST_OBJECTS):
            items.append(VocItem(name, photo, mask, tuple(objects[start : start + MOST_OBJECTS])))
    if not items:
        raise InputError(f"{path} names no photo with an object, expected a split of VOC 2012")
    return items
