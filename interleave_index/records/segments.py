"""What generic segmentation finds in a photo: every pixel belongs to one segment at most."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class PanopticSegment:
    """One segment of a panoptic picture.

    Attributes:
        id: in the id map, from 1.
        category: position of its class in the table.
        thing: whether the class is countable.
        score: how sure the model is of it, 0 to 1; of several masks of one stuff, of the first.
    """

    id: int
    category: int
    thing: bool
    score: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class Panoptic:
    """A panoptic picture.

    Attributes:
        ids: (H, W) int32, 0 where nothing was found.
        segments: what the ids mean.
    """

    ids: NDArray[np.int32]
    segments: tuple[PanopticSegment, ...]
