"""What a user marks in a photo, clicks and strokes, as points that a promptable segmenter takes."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..records import BoolMask, Floats, Prompt
from .points import farthest_points

DOT = 9  # pixels of a mark that is one point; a stroke has more
STROKE_POINTS = 5  # that stand for a stroke
STROKE_PIXELS = 2000  # that are looked at for them


def prompt_of_marks(marked: BoolMask, background: BoolMask | None = None) -> Prompt:
    """Points that stand for what a user marked: one a click, up to five a stroke, as far from each other as can be.

    Args:
        marked: (H, W) pixels on the thing; clicks and strokes are told apart by their connection, at least one pixel.
        background: (H, W) pixels beside it, or None.

    >>> marked = np.zeros((20, 30), bool); marked[4:7, 9:12] = True
    >>> prompt_of_marks(marked).points.tolist()
    [[10.5, 5.5]]
    """
    on, off = _points(marked), _points(np.zeros_like(marked) if background is None else background)
    labels = np.repeat(np.array([1, 0], np.int8), [len(on), len(off)])
    return Prompt(np.concatenate([on, off])[:, ::-1] + np.float32(0.5), labels)


def centre_of(mask: BoolMask) -> tuple[int, int]:
    """(row, column) of the pixel farthest from everything outside, the border of the photo included.

    >>> mask = np.zeros((7, 9), bool); mask[1:6, 2:7] = True
    >>> centre_of(mask)
    (3, 4)
    """
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), mask.shape)
    return int(row), int(column)


def _points(marks: BoolMask) -> Floats:
    """(n, 2) float32 rows and columns of pixels that stand for marks."""
    areas, count = ndimage.label(marks, np.ones((3, 3)))
    points = [np.zeros((0, 2), int)]
    for number in range(1, count + 1):
        area = areas == number
        middle, pixels = np.array([centre_of(area)]), np.argwhere(area)
        pixels = pixels[:: 1 + len(pixels) // STROKE_PIXELS]
        points.append(middle if area.sum() <= DOT else farthest_points(pixels, middle, STROKE_POINTS))
    return np.concatenate(points).astype(np.float32)
