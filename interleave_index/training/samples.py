"""Training photos in memory: pixels squashed to one square, soft masks, captions, labels, teacher targets.

Knows packs and target files. It knows nothing of losses or networks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ..errors import InputError
from ..evaluation.packs import PackPhoto, read_pack
from ..records import Floats

SQUARE = 144  # side that photos are kept at; crops are taken from it
MASK_SIDE = 72  # side that masks are kept at
EXCLUDED_SOURCES = frozenset({"human-seg", "camvid"})  # terms too weak to train on
HELD_OUT_SHARE = 20  # one photo in so many is kept back from training, for calibration
SMALLEST_MASK = 0.001  # share of the photo


@dataclass(frozen=True, slots=True)
class SampleRegion:
    """A masked part: label or None, kind of the pack, and coverage 0..255 (MASK_SIDE, MASK_SIDE) uint8."""

    label: str | None
    kind: str
    mask: NDArray[np.uint8]


@dataclass
class Samples:
    """Photos of some packs, all lists of one length N.

    Attributes:
        keys: of the packs.
        pixels: (N, SQUARE, SQUARE, 3) uint8, the whole photo squashed.
        captions, labels, regions: what the packs say; any may be empty for a photo.
        pooled: (N, P) float32 teacher vectors of unit length, or None.
        painted: (N, 4, G, G) uint8: class and probability x 255 of two segmenters, or None.
    """

    keys: list[str] = field(default_factory=list)
    pixels: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, SQUARE, SQUARE, 3), np.uint8))
    captions: list[tuple[str, ...]] = field(default_factory=list)
    labels: list[tuple[str, ...]] = field(default_factory=list)
    regions: list[tuple[SampleRegion, ...]] = field(default_factory=list)
    pooled: NDArray[np.float32] | None = None
    painted: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self.keys)

    def where(self, wanted: Callable[[int], bool]) -> NDArray[np.int64]:
        """Positions of the photos for which `wanted(position)` holds."""
        return np.array([n for n in range(len(self)) if wanted(n)], np.int64)


def held_out(key: str) -> bool:
    """Whether a training photo is kept back for calibration, decided by its key alone."""
    return int(hashlib.sha1(key.encode()).hexdigest(), 16) % HELD_OUT_SHARE == 0


def load_samples(packs: Sequence[Path], *, targets: Path | None = None, limit: int | None = None) -> Samples:
    """Read packs into memory, without the excluded sources.

    Args:
        packs: tar files, see docs/evaluate.md for the form.
        targets: folder of `PACK.npz` files written by tools/cache_teachers.py; photos without a target are left out.
        limit: at most so many photos, for trials.
    Raises:
        InputError: no photo was found.
    """
    samples, pixels, pooled, painted = Samples(), [], [], []
    for pack in packs:
        cached = _cached_targets(targets, pack) if targets else None
        for photo in read_pack(pack):
            if photo.source in EXCLUDED_SOURCES or (limit is not None and len(samples.keys) >= limit):
                continue
            if cached is not None:
                row = cached[0].get(photo.key)
                if row is None:
                    continue
                pooled.append(cached[1][row])
                painted.append(cached[2][row])
            samples.keys.append(photo.key)
            samples.captions.append(tuple(caption.strip().lower() for caption in photo.captions))
            samples.labels.append(tuple(dict.fromkeys(label.lower() for label in photo.labels)))
            samples.regions.append(_regions(photo))
            pixels.append(_squashed(photo.rgb()))
    if not samples.keys:
        raise InputError(
            f"no training photo in {', '.join(map(str, packs)) or 'no packs'}; give --data a folder of packs"
        )
    samples.pixels = np.stack(pixels)
    if pooled:
        samples.pooled, samples.painted = np.stack(pooled), np.stack(painted)
    return samples


def project_targets(pooled: NDArray[np.floating], dim: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Centre teacher vectors and fit a PCA.

    Args:
        pooled: (N, P) vectors, N above `dim`.
        dim: components to keep.
    Returns:
        mean (P,) and components (P, dim): `normalise((x - mean) @ components)` is the target.
    """
    mean = pooled.mean(0, dtype=np.float64)
    centred = pooled.astype(np.float32) - mean.astype(np.float32)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    return mean.astype(np.float32), np.ascontiguousarray(vectors[:, ::-1][:, :dim], dtype=np.float32)


def target_directions(pooled: NDArray[np.floating], mean: Floats, components: Floats) -> Tensor:
    """(N, dim) float32 unit vectors: teacher vectors in the space of `project_targets`."""
    return F.normalize(torch.from_numpy((pooled.astype(np.float32) - mean) @ components), dim=1)


def _cached_targets(folder: Path, pack: Path) -> tuple[dict[str, int], NDArray[np.float16], NDArray[np.uint8]]:
    file = folder / f"{pack.stem}.npz"
    if not file.exists():
        raise InputError(f"no teacher targets at {file}; write them with tools/cache_teachers.py")
    with np.load(file) as content:
        return {key: n for n, key in enumerate(content["keys"])}, content["pooled"], content["painted"]


def _squashed(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    from PIL import Image

    return np.asarray(
        Image.fromarray(rgb).resize(
            (SQUARE, SQUARE), Image.Resampling.BOX if min(rgb.shape[:2]) >= SQUARE * 2 else Image.Resampling.BILINEAR
        )
    )


def _regions(photo: PackPhoto) -> tuple[SampleRegion, ...]:
    from PIL import Image

    kept = []
    for region in photo.regions:
        if region.rle is None or region.crowd or region.area < SMALLEST_MASK * photo.width * photo.height:
            continue
        coverage = Image.fromarray(region.rle.decode().astype(np.uint8) * 255)
        mask = np.asarray(coverage.resize((MASK_SIDE, MASK_SIDE), Image.Resampling.BOX))
        if mask.max() >= 128:
            kept.append(SampleRegion(region.label.lower() if region.label else None, region.kind, mask))
    return tuple(kept)
