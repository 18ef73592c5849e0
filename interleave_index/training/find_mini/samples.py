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

from ...errors import InputError
from ...evaluation.packs import PackPhoto, read_pack
from ...models.vision.tower import SQUARE, squashed
from ...records import Floats

PAINTED_GRID = 48  # side of the maps that the segmenters painted
MASK_SIDE = 72  # side that masks are kept at
EXCLUDED_SOURCES = frozenset({"human-seg", "camvid"})  # terms too weak to train on
# Training photos within 8 bits of a held-out one, found by tools/manifest.py.
NEAR_HELD_OUT = frozenset({"f8k_2664102751", "cal_motorbikes_0775", "cal_inline_skate_0016"})
HELD_OUT_SHARE = 20  # one photo in so many is kept back from training, for calibration
SMALLEST_MASK = 0.001  # share of the photo


@dataclass(frozen=True, slots=True)
class SampleRegion:
    """A masked part: label or None, kind of the pack, and coverage 0..255 (MASK_SIDE, MASK_SIDE) uint8."""

    label: str | None
    kind: str
    mask: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class SampleBox:
    """A thing with a box but no mask: x0, y0, x1, y1 in shares of the photo's sides."""

    label: str
    corners: tuple[float, float, float, float]


@dataclass
class Samples:
    """Photos of some packs, all lists of one length N.

    Attributes:
        keys: of the packs.
        pixels: (N, SQUARE, SQUARE, 3) uint8, the whole photo squashed.
        captions, labels, regions: what the packs say; any may be empty for a photo.
        boxes: things that have a box but no mask, by label, corners in shares of the photo's sides.
        pooled: (N, P) float32 teacher vectors of unit length, or None.
        painted: (N, 4, G, G) uint8: class and probability x 255 of two segmenters, or None; probability 0 throughout
            where a photo was not shown to them.
    """

    keys: list[str] = field(default_factory=list)
    pixels: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, SQUARE, SQUARE, 3), np.uint8))
    captions: list[tuple[str, ...]] = field(default_factory=list)
    labels: list[tuple[str, ...]] = field(default_factory=list)
    regions: list[tuple[SampleRegion, ...]] = field(default_factory=list)
    boxes: list[tuple[SampleBox, ...]] = field(default_factory=list)
    pooled: NDArray[np.float32] | None = None
    painted: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self.keys)

    def where(self, wanted: Callable[[int], bool]) -> NDArray[np.int64]:
        """Positions of the photos for which `wanted(position)` holds."""
        return np.array([n for n in range(len(self)) if wanted(n)], np.int64)


@dataclass(frozen=True, slots=True)
class Views:
    """What teachers saw of photos: whole ones and crops, all arrays of one length M.

    Attributes:
        rows: (M,) int64 positions in the samples.
        boxes: (M, 4) float32 x0, y0, x1, y1 in shares of the photo's sides.
        pooled: (M, P) float16 teacher vectors.
    """

    rows: NDArray[np.int64]
    boxes: NDArray[np.float32]
    pooled: NDArray[np.float16]

    def __len__(self) -> int:
        return len(self.rows)


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
            if photo.source in EXCLUDED_SOURCES or photo.key in NEAR_HELD_OUT:
                continue
            if limit is not None and len(samples.keys) >= limit:
                break
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
            samples.boxes.append(_boxes(photo))
            pixels.append(squashed(photo.rgb()))
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
    return F.normalize(torch.as_tensor((pooled.astype(np.float32) - mean) @ components), dim=1)


def joined(first: Samples, second: Samples) -> Samples:
    """Photos of two sets, those of the first in front; both with teacher targets or both without."""
    both = Samples(
        first.keys + second.keys,
        np.concatenate([first.pixels, second.pixels]),
        first.captions + second.captions,
        first.labels + second.labels,
        first.regions + second.regions,
        first.boxes + second.boxes,
    )
    if first.pooled is not None and second.pooled is not None:
        both.pooled = np.concatenate([first.pooled, second.pooled])
    if first.painted is not None and second.painted is not None:
        both.painted = np.concatenate([first.painted, second.painted])
    return both


def load_views(samples: Samples, packs: Sequence[Path], targets: Path) -> Views:
    """Every view that teachers have seen of some samples: the whole photos, then the crops of `PACK.views.npz` files.

    Args:
        samples: with teacher vectors; packs: where they come from.
        targets: folder of the target files; packs without a views file add their whole photos only.
    """
    if samples.pooled is None:
        raise InputError("views are what teachers saw, no teacher targets given; pass --targets")
    place = {key: n for n, key in enumerate(samples.keys)}
    rows, boxes = [np.arange(len(samples))], [np.tile(np.array([[0, 0, 1, 1]], np.float32), (len(samples), 1))]
    pooled = [samples.pooled.astype(np.float16)]
    for file in (targets / f"{pack.stem}.views.npz" for pack in packs):
        if not file.exists():
            continue
        with np.load(file) as content:
            row = np.array([place.get(str(key), -1) for key in content["keys"]], np.int64)
            kept = (row >= 0) & ~_whole(content["boxes"])
            rows.append(row[kept])
            boxes.append(content["boxes"][kept].astype(np.float32))
            pooled.append(content["pooled"][kept])
    return Views(np.concatenate(rows), np.concatenate(boxes), np.concatenate(pooled))


def _whole(boxes: NDArray[np.floating]) -> NDArray[np.bool_]:
    whole: NDArray[np.bool_] = np.isclose(boxes, [0, 0, 1, 1]).all(1)
    return whole


def _cached_targets(folder: Path, pack: Path) -> tuple[dict[str, int], NDArray[np.float16], NDArray[np.uint8]]:
    """Rows by key, pooled vectors and painted maps; a pack of which only views are cached has nothing painted."""
    file, views = folder / f"{pack.stem}.npz", folder / f"{pack.stem}.views.npz"
    if file.exists():
        with np.load(file) as content:
            return {key: n for n, key in enumerate(content["keys"])}, content["pooled"], content["painted"]
    if not views.exists():
        raise InputError(f"no teacher targets at {file}; write them with tools/cache_teachers.py")
    with np.load(views) as content:
        whole = _whole(content["boxes"])
        keys = content["keys"][whole]
        return (
            {key: n for n, key in enumerate(keys)},
            content["pooled"][whole],
            np.zeros((len(keys), 4, PAINTED_GRID, PAINTED_GRID), np.uint8),
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


def _boxes(photo: PackPhoto) -> tuple[SampleBox, ...]:
    scale = photo.width, photo.height, photo.width, photo.height
    return tuple(
        SampleBox(r.label.lower(), (r.box[0] / scale[0], r.box[1] / scale[1], r.box[2] / scale[2], r.box[3] / scale[3]))
        for r in photo.regions
        if r.rle is None and r.label and not r.crowd
    )
