"""What is shown to a promptable segmenter or a detector, and what it gives back. All in pixels of the upright photo."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .encodings import BoolMask, Box, Floats


@dataclass(frozen=True, slots=True)
class Prompt:
    """Points, and perhaps a box, that mean one thing in a photo.

    Attributes:
        points: (N, 2) float32, x and y; N may be 0 when there is a box.
        labels: (N,) int8, 1 on the thing, 0 beside it.
        box: around the thing, or None.
    """

    points: Floats
    labels: NDArray[np.int8]
    box: Box | None = None


@dataclass(frozen=True, slots=True)
class Segmented:
    """The mask that a segmenter made of one prompt.

    Attributes:
        mask: (H, W) bool at the size of the photo.
        quality: predicted IoU of the mask, about 0 to 1.
        object_score: logit that there is a thing at all; None where the segmenter does not judge it.
    """

    mask: BoolMask
    quality: float
    object_score: float | None = None


@dataclass(frozen=True, slots=True)
class Detected:
    """One thing that a model found by a phrase or by a picture of it.

    Attributes:
        box: around the thing.
        score: 0 to 1.
        mask: (H, W) bool at the size of the photo; None from a model that gives boxes only.
    """

    box: Box
    score: float
    mask: BoolMask | None = None
