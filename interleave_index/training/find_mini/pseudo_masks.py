"""Labelled masks out of what two segmenters paint, for photos that nobody outlined.

The indoor-and-outdoor segmenter knows no animals and few vehicles and paints them as something else, so wherever the
other one is sure of a thing, it overrules. Pieces of a thing are instances; stuff is one mask a name.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .samples import MASK_SIDE, SampleBox, SampleRegion

SURE = 0.6
SMALLEST = 0.008  # share of the photo
COMMON_NAMES = {
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "motorbike": "motorcycle",
    "pottedplant": "potted plant",
    "sofa": "couch",
    "tvmonitor": "tv",
    "windowpane": "window",
}


def pseudo_regions(painted: NDArray[np.uint8], voc_names: list[str], ade_names: list[str]) -> tuple[SampleRegion, ...]:
    """Masks of one photo.

    Args:
        painted: (4, G, G) uint8: class and probability x 255 of the thing segmenter, then of the stuff segmenter.
        voc_names, ade_names: class names; index 0 of either is everything else.
    Returns:
        kind ``pseudo`` regions, things first.
    """
    from scipy import ndimage

    voc, ade = (np.where(painted[n + 1] / 255 > SURE, painted[n], 0) for n in (0, 2))
    ade = np.where(voc > 0, 0, ade)
    found: list[SampleRegion] = []
    for name in np.unique(voc[voc > 0]):
        pieces, count = ndimage.label(voc == name)
        for number in range(1, count + 1):
            _keep(found, pieces == number, voc_names[name])
    for name in np.unique(ade[ade > 0]):
        _keep(found, ade == name, ade_names[name])
    return tuple(found)


def boxed_regions(
    painted: NDArray[np.uint8], voc_names: list[str], boxes: Sequence[SampleBox]
) -> tuple[SampleRegion, ...]:
    """Masks of boxed things: the cells of a box that the thing segmenter painted with the name of the box.

    A cell in several boxes of one name goes to the smallest. A box with less than a third painted gives no mask.

    Returns:
        kind ``pseudo`` regions, in the order of the boxes.
    """
    side = painted.shape[-1]
    voc = np.where(painted[1] / 255 > SURE, painted[0], 0)
    number = {COMMON_NAMES.get(name, name): n for n, name in enumerate(voc_names) if n}
    taken = np.zeros((side, side), bool)
    masks: dict[int, NDArray[np.bool_]] = {}
    for n in sorted(range(len(boxes)), key=lambda n: _area(boxes[n])):
        x0, y0, x1, y1 = (round(value * side) for value in boxes[n].corners)
        inside = np.zeros((side, side), bool)
        inside[y0:y1, x0:x1] = True
        mask = inside & (voc == number.get(boxes[n].label, -1)) & ~taken
        if mask.sum() * 3 >= inside.sum() > 0:
            masks[n] = mask
            taken |= mask
    found: list[SampleRegion] = []
    for n in sorted(masks):
        _keep(found, masks[n], boxes[n].label)
    return tuple(found)


def _area(box: SampleBox) -> float:
    return (box.corners[2] - box.corners[0]) * (box.corners[3] - box.corners[1])


def _keep(found: list[SampleRegion], mask: NDArray[np.bool_], name: str) -> None:
    from PIL import Image

    if mask.mean() >= SMALLEST:
        grown = Image.fromarray(mask.astype(np.uint8) * 255).resize((MASK_SIDE, MASK_SIDE), Image.Resampling.BILINEAR)
        found.append(SampleRegion(COMMON_NAMES.get(name, name), "pseudo", np.asarray(grown)))
