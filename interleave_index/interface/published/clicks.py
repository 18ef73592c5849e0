"""The next click of interactive segmentation, placed where the prediction errs most (find.md §6). Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...records import BoolMask

GOOD_ENOUGH = 0.925  # IoU from which nothing is clicked


@dataclass(frozen=True, slots=True)
class Click:
    """A click of 3 x 3 pixels: (H, W) bool, and whether it says yes."""

    mask: BoolMask
    positive: bool


def next_click(truth: BoolMask, predicted: BoolMask, clicked: BoolMask) -> Click | None:
    """The centre of the larger kind of error: missed pixels if there are more of them, else wrong ones.

    Args:
        truth, predicted: (H, W) bool.
        clicked: (H, W) bool, pixels of all clicks so far; never clicked again.
    Returns:
        None when the IoU is good enough, or no wrong pixel is left.
    """
    from scipy.ndimage import binary_dilation, distance_transform_edt

    union = int((truth | predicted).sum())
    if int((truth & predicted).sum()) / (union + 1e-8) >= GOOD_ENOUGH:
        return None
    missed, wrong = truth & ~predicted & ~clicked, predicted & ~truth & ~clicked
    positive = int(missed.sum()) > int(wrong.sum())
    errors = missed if positive else wrong
    if not errors.any():
        return None
    depth = distance_transform_edt(np.pad(errors, 1))[1:-1, 1:-1]
    spot = np.zeros_like(truth)
    spot[np.unravel_index(int(depth.argmax()), depth.shape)] = True
    grown: BoolMask = binary_dilation(spot, np.ones((3, 3), bool))
    return Click(grown, positive)
