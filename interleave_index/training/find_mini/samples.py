"""Training photos in memory: pixels squashed to one square, soft masks, captions, labels, teacher targets.

Knows packs and target files. It knows nothing of losses or networks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ...errors import InputError
from ...evaluation.packs import PackPhoto
from ...models.vision.tower import SQUARE, squashed
from ...records import Floats
from ..data import held_out, training_photos

PAINTED_GRID = 48  # side of the maps that the segmenters painted
MASK_SIDE = 72  # side that masks are kept at
SMALLEST_MASK = 0.001  # share of the photo
COMPLETE = 2  # masks from which on they may be all that is there; one alone is often the only thing that was drawn
WHOLE_BOX = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class SampleRegion:
    """A masked part: label or None, kind of the pack, and coverage 0..255 (MASK_SIDE, MASK_SIDE) uint8."""

    label: str | None
    kind: str
    mask: NDArray[np.uint8]

    @property
    def by_hand(self) -> bool:
        """Whether people drew it."""
        return self.kind != "pseudo"


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
        captions, labels, regions: as in the packs; any may be empty for a photo.
        boxes: things that have a box but no mask.
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

    def drawable(self, wanted: Callable[[int], bool] = lambda position: True) -> NDArray[np.int64]:
        """The same, without the photos that are kept back from training."""
        return self.where(lambda n: not held_out(self.keys[n]) and wanted(n))

    def outlined(self, position: int) -> bool:
        """Whether people drew a mask in the photo."""
        return any(region.by_hand for region in self.regions[position])

    def tensor(self, rows: NDArray[np.int64] | slice) -> Tensor:
        """(n, 3, SQUARE, SQUARE) float32 pixels of some photos, 0..255."""
        return torch.as_tensor(self.pixels[rows]).permute(0, 3, 1, 2).float()


@dataclass(frozen=True, slots=True)
class Views:
    """What teachers saw of photos: whole ones, in order, and then crops; all arrays of one length M.

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
    cached: dict[Path, _Cached] = {}
    for pack, photo in training_photos(packs):
        if limit is not None and len(samples.keys) >= limit:
            break
        if targets is not None:
            if pack not in cached:
                cached = {pack: _cached_targets(targets, pack)}
            row = cached[pack].rows.get(photo.key)
            if row is None:
                continue
            pooled.append(cached[pack].pooled[row])
            painted.append(cached[pack].painted[row])
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
    if targets is not None:
        samples.pooled, samples.painted = np.stack(pooled).astype(np.float32), np.stack(painted)
    return samples


def project_targets(pooled: NDArray[np.floating], dim: int) -> tuple[Floats, Floats]:
    """Mean (P,) and the `dim` first principal directions (P, dim) of (N, P) teacher vectors, N above `dim`."""
    mean = pooled.mean(0, dtype=np.float64)
    centred = pooled.astype(np.float32) - mean.astype(np.float32)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    return mean.astype(np.float32), np.ascontiguousarray(vectors[:, ::-1][:, :dim], dtype=np.float32)


def target_directions(pooled: NDArray[np.floating], mean: Floats, components: Floats) -> Tensor:
    """(N, dim) float32 unit vectors: teacher vectors in the space of `project_targets`."""
    return F.normalize(torch.as_tensor((pooled.astype(np.float32) - mean) @ components), dim=1)


def joined(first: Samples, second: Samples) -> Samples:
    """Photos of two sets, those of the first in front; both with teacher targets."""
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
    views = [whole_views(len(samples), samples.pooled.astype(np.float16))]
    place = {key: n for n, key in enumerate(samples.keys)}
    for pack in packs:
        file = targets / f"{pack.stem}.views.npz"
        if file.exists():
            with np.load(file) as content:
                rows = np.array([place.get(str(key), -1) for key in content["keys"]], np.int64)
                crops = (rows >= 0) & ~_is_whole(content["boxes"])
                boxes = content["boxes"][crops].astype(np.float32)
                views.append(Views(rows[crops], boxes, content["pooled"][crops]))
    return Views(
        np.concatenate([part.rows for part in views]),
        np.concatenate([part.boxes for part in views]),
        np.concatenate([part.pooled for part in views]),
    )


def whole_views(count: int, pooled: NDArray[np.float16]) -> Views:
    """Views of `count` whole photos, in order."""
    return Views(np.arange(count), np.tile(np.array([WHOLE_BOX], np.float32), (count, 1)), pooled)


def _is_whole(boxes: NDArray[np.floating]) -> NDArray[np.bool_]:
    whole: NDArray[np.bool_] = np.isclose(boxes, WHOLE_BOX).all(1)
    return whole


@dataclass(frozen=True, slots=True)
class _Cached:
    """Teacher targets of one pack: the row of every key, pooled vectors, painted maps."""

    rows: dict[str, int]
    pooled: NDArray[np.float16]
    painted: NDArray[np.uint8]


def _cached_targets(folder: Path, pack: Path) -> _Cached:
    """Targets of a pack; one of which only views are cached has nothing painted."""
    file, views = folder / f"{pack.stem}.npz", folder / f"{pack.stem}.views.npz"
    if file.exists():
        with np.load(file) as content:
            keys, pooled, painted = content["keys"], content["pooled"], content["painted"]
    elif views.exists():
        with np.load(views) as content:
            whole = _is_whole(content["boxes"])
            keys, pooled = content["keys"][whole], content["pooled"][whole]
        painted = np.zeros((len(keys), 4, PAINTED_GRID, PAINTED_GRID), np.uint8)
    else:
        raise InputError(f"no teacher targets at {file}; write them with tools/cache_teachers.py")
    return _Cached({str(key): n for n, key in enumerate(keys)}, pooled, painted)


def _regions(photo: PackPhoto) -> tuple[SampleRegion, ...]:
    from PIL import Image

    regions = []
    for region in photo.regions:
        if region.rle is None or region.crowd or region.area < SMALLEST_MASK * photo.width * photo.height:
            continue
        coverage = Image.fromarray(region.rle.decode().astype(np.uint8) * 255)
        mask = np.asarray(coverage.resize((MASK_SIDE, MASK_SIDE), Image.Resampling.BOX))
        if mask.max() >= 128:
            regions.append(SampleRegion(region.label.lower() if region.label else None, region.kind, mask))
    return tuple(regions)


def _boxes(photo: PackPhoto) -> tuple[SampleBox, ...]:
    boxes = []
    for region in photo.regions:
        if region.rle is None and region.label and not region.crowd:
            x0, y0, x1, y1 = region.box
            corners = x0 / photo.width, y0 / photo.height, x1 / photo.width, y1 / photo.height
            boxes.append(SampleBox(region.label.lower(), corners))
    return tuple(boxes)
