"""Labelled masks out of what two segmenters paint, for photos that nobody outlined.

The indoor-and-outdoor segmenter knows no animals and few vehicles and paints them as something else, so wherever the
other one is sure of a thing, it overrules. Pieces of a thing are instances; stuff is one mask a name.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .samples import MASK_SIDE, Sample, SampleBox, SampleRegion

SURE = 0.6
SMALLEST = 0.008  # share of the photo
PAINTED = 1 / 3  # share of a box that must be painted for it to give a mask
COMMON_NAMES = {
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "motorbike": "motorcycle",
    "pottedplant": "potted plant",
    "sofa": "couch",
    "tvmonitor": "tv",
    "windowpane": "window",
}


def outline(samples: Sequence[Sample], targets: Path) -> None:
    """Give masks to boxed things, and to captioned photos that nobody outlined.

    Args:
        samples: of which some were shown to the segmenters; their regions grow.
        targets: one of the target files, for the class names of both segmenters.
    """
    with np.load(targets) as content:
        voc_names, ade_names = content["voc_names"].tolist(), content["ade_names"].tolist()
    for sample in samples:
        if sample.painted is not None:
            sample.regions += boxed_regions(sample.painted, voc_names, sample.boxes)
            if sample.captions and not sample.regions:
                sample.regions = pseudo_regions(sample.painted, voc_names, ade_names)


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
    named: list[tuple[str, NDArray[np.bool_]]] = []
    for number in np.unique(voc[voc > 0]):
        pieces, count = ndimage.label(voc == number)
        named += [(voc_names[number], pieces == piece) for piece in range(1, count + 1)]
    named += [(ade_names[number], ade == number) for number in np.unique(ade[ade > 0])]
    return _regions(named)


def boxed_regions(
    painted: NDArray[np.uint8], voc_names: list[str], boxes: Sequence[SampleBox]
) -> tuple[SampleRegion, ...]:
    """Masks of boxed things: the cells of a box that the thing segmenter painted with the name of the box.

    A cell in several boxes of one name goes to the smallest. A box with less than a third painted gives no mask.

    Returns:
        kind ``pseudo`` regions, in the order of the boxes.
    """
    voc = np.where(painted[1] / 255 > SURE, painted[0], 0)
    number = {COMMON_NAMES.get(name, name): n for n, name in enumerate(voc_names) if n}
    free = np.ones(voc.shape, bool)
    named: dict[int, tuple[str, NDArray[np.bool_]]] = {}
    areas = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (box.corners for box in boxes)]
    for n in np.argsort(areas, kind="stable").tolist():
        x0, y0, x1, y1 = (round(value * len(voc)) for value in boxes[n].corners)
        inside = np.zeros(voc.shape, bool)
        inside[y0:y1, x0:x1] = True
        mask = inside & (voc == number.get(boxes[n].label, -1)) & free
        if mask.any() and mask.sum() >= PAINTED * inside.sum():
            named[n] = boxes[n].label, mask
            free &= ~mask
    return _regions([named[n] for n in sorted(named)])


def _regions(named: Sequence[tuple[str, NDArray[np.bool_]]]) -> tuple[SampleRegion, ...]:
    """Regions of all masks that are large enough."""
    from PIL import Image

    regions = []
    for name, mask in named:
        if mask.mean() >= SMALLEST:
            coverage = Image.fromarray(mask.astype(np.uint8) * 255)
            resized = np.asarray(coverage.resize((MASK_SIDE, MASK_SIDE), Image.Resampling.BILINEAR))
            regions.append(SampleRegion(COMMON_NAMES.get(name, name), "pseudo", resized))
    return tuple(regions)
