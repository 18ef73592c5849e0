"""Labelled masks out of what two segmenters paint, for photos that nobody outlined.

The indoor-and-outdoor segmenter knows no animals and few vehicles and paints them as something else, so wherever the
other one is sure of a thing, it overrules. Pieces of a thing are instances; stuff is one mask a name.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .samples import MASK_SIDE, SampleRegion

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


def _keep(found: list[SampleRegion], mask: NDArray[np.bool_], name: str) -> None:
    from PIL import Image

    if mask.mean() >= SMALLEST:
        grown = Image.fromarray(mask.astype(np.uint8) * 255).resize((MASK_SIDE, MASK_SIDE), Image.Resampling.BILINEAR)
        found.append(SampleRegion(COMMON_NAMES.get(name, name), "pseudo", np.asarray(grown)))
