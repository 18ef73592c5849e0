"""Blocks of vectors: what the score runs over, made from fresh encodings, cut, joined. numpy only, pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..interface.calibration import Calibration
from ..records import PhotoEncoding
from ..storage.rows import StoredVectors


def block_of(encodings: Sequence[PhotoEncoding]) -> StoredVectors:
    """Fresh encodings of one space, at least one, as a block in their order; the photos are numbered from 0."""
    counts = [len(encoding.regions) for encoding in encodings]
    dim = len(encodings[0].image)
    return StoredVectors(
        photo_ids=np.arange(len(counts)),
        image=np.stack([encoding.image for encoding in encodings]),
        regions=np.concatenate([encoding.regions.reshape(-1, dim) for encoding in encodings]),
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        boxes=np.concatenate([encoding.boxes.reshape(-1, 4) for encoding in encodings]),
        areas=np.concatenate([encoding.areas for encoding in encodings]),
        scores=np.concatenate([encoding.scores for encoding in encodings]),
    )


def take(block: StoredVectors, rows: NDArray[np.int64]) -> StoredVectors:
    """The photos at these positions, in that order."""
    counts = np.diff(block.offsets)[rows]
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    regions = np.repeat(block.offsets[rows] - offsets[:-1], counts) + np.arange(offsets[-1])
    return StoredVectors(
        block.photo_ids[rows],
        block.image[rows],
        block.regions[regions],
        offsets,
        block.boxes[regions],
        block.areas[regions],
        block.scores[regions],
    )


def bank_of(calibration: Calibration) -> StoredVectors:
    """The interface's bank of pictures as photos with one region each; without areas and boxes."""
    count = min(len(calibration.pictures), len(calibration.regions))
    nothing = np.zeros(count, np.float32)
    return StoredVectors(
        np.arange(count),
        calibration.pictures[:count],
        calibration.regions[:count],
        np.arange(count + 1),
        np.zeros((count, 4), np.float32),
        nothing,
        nothing,
    )
