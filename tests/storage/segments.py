"""Segments of a few thousand vectors, flat and with inverted lists."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from interleave_index.geometry import unit
from interleave_index.storage import calibrate as calibration
from interleave_index.storage.calibrate import calibrate
from interleave_index.storage.recipes import Recipe, new_index
from interleave_index.storage.segment import Segment

DIM = 32
Ids = NDArray[np.int64]


def clustered(n: int, seed: int = 3) -> NDArray[np.float16]:
    """(n, 32) unit vectors around 40 centres."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(40, DIM))
    return unit(centres[rng.integers(0, 40, n)] + 0.7 * rng.normal(size=(n, DIM))).astype(np.float16)


def region_ids(photos: int, seed: int = 4) -> Ids:
    """Ids of 0 to 5 regions a photo; photo ids have gaps."""
    rng = np.random.default_rng(seed)
    kept = np.sort(rng.choice(np.arange(1, 2 * photos), photos, replace=False))
    return np.concatenate([photo * 256 + np.arange(rng.integers(0, 6)) for photo in kept])


@cache
def both_kinds() -> dict[str, tuple[Segment, NDArray[np.float32]]]:
    """One segment of 6,000 and more region rows for every kind of recipe."""
    ids = region_ids(2500)
    vectors = clustered(len(ids))
    rows = vectors.astype(np.float32)
    return {
        "flat": (Segment.of(ids, vectors, regions=True), rows),
        "inverted lists": (with_lists(ids, rows), rows),
    }


def with_lists(ids: Ids, rows: NDArray[np.float32]) -> Segment:
    """A segment of regions with inverted lists, calibrated."""
    coarse = Recipe(f"IVF32,PQ{DIM // 2}x4fs,Refine(SQfp16)", 32)
    index = new_index(coarse, DIM, rows)
    index.add(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibration, "WORTH", np.inf)
        calibrated = calibrate(Segment(ids, index, coarse, regions=True), rows[::2])
    assert calibrated is not None
    return Segment(ids, index, calibrated, regions=True)
