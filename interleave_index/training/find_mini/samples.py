"""Training photos in memory: pixels squashed to one square, soft masks, captions, labels, teacher targets.

Knows packs and target files. It knows nothing of losses or networks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import eigh
from torch import Tensor
from torch.nn import functional as F

from ...errors import InputError
from ...evaluation.packs import PackPhoto
from ...models.vision.tower import squashed, to_side
from ...records import Floats
from ..data import held_out, training_photos

PAINTED_GRID = 48  # side of the maps that the segmenters painted
MASK_SIDE = 72  # side that masks are kept at
SMALLEST_MASK = 0.001  # share of the photo
FINER = 4  # times as many places a side tell how much of a cell an ellipse covers
COMPLETE = 2  # masks from which on they may be all that is there; one alone is often the only thing that was drawn
ELLIPSE = "ellipse"  # the kind of a region that is made of a box
WHOLE_BOX = np.array([[0, 0, 1, 1]], np.float32)
BATCH = 32  # photos of one pass of a network that stands still


@dataclass(frozen=True, slots=True)
class SampleRegion:
    """A masked part: label or None, kind of the pack, and coverage 0..255 (MASK_SIDE, MASK_SIDE) uint8."""

    label: str | None
    kind: str
    mask: NDArray[np.uint8]

    @property
    def by_hand(self) -> bool:
        """Whether people drew it."""
        return self.kind not in ("pseudo", ELLIPSE)


@dataclass(frozen=True, slots=True)
class SampleBox:
    """A thing with a box but no mask: x0, y0, x1, y1 in shares of the photo's sides."""

    label: str
    corners: tuple[float, float, float, float]

    @property
    def share(self) -> float:
        """Of the photo."""
        x0, y0, x1, y1 = self.corners
        return (x1 - x0) * (y1 - y0)


@dataclass(slots=True)
class Sample:
    """One photo of a pack.

    Attributes:
        key: of the pack.
        pixels: (SQUARE, SQUARE, 3) uint8, the whole photo squashed.
        captions, labels, regions: as in the pack, in lower case; any may be empty.
        boxes: things that have a box but no mask.
        pooled: (P,) float16 teacher vector of unit length, or None.
        painted: (4, G, G) uint8: class and probability x 255 of two segmenters, or None; probability 0 throughout where
            the photo was not shown to them.
    """

    key: str
    pixels: NDArray[np.uint8]
    captions: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    regions: tuple[SampleRegion, ...] = ()
    boxes: tuple[SampleBox, ...] = ()
    pooled: NDArray[np.float16] | None = None
    painted: NDArray[np.uint8] | None = None

    @property
    def held_out(self) -> bool:
        """Whether it is kept back from training."""
        return held_out(self.key)

    @property
    def outlined(self) -> bool:
        """Whether people drew a mask in it."""
        return any(region.by_hand for region in self.regions)

    def masks(self) -> Tensor:
        """(T, MASK_SIDE, MASK_SIDE) coverages 0..1 of its regions, of which there is one at least."""
        return torch.as_tensor(np.stack([region.mask for region in self.regions])).float() / 255


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


def where(samples: Sequence[Sample], wanted: Callable[[Sample], object]) -> NDArray[np.int64]:
    """Positions of the photos for which `wanted` holds."""
    return np.array([n for n, sample in enumerate(samples) if wanted(sample)], np.int64)


def drawable(samples: Sequence[Sample], wanted: Callable[[Sample], object]) -> NDArray[np.int64]:
    """The same, without the photos that are kept back from training."""
    return where(samples, lambda sample: wanted(sample) and not sample.held_out)


def pixels_of(samples: Sequence[Sample], rows: NDArray[np.int64]) -> Tensor:
    """(n, 3, SQUARE, SQUARE) float32 pixels of some photos, 0..255."""
    return torch.as_tensor(np.stack([samples[row].pixels for row in rows])).permute(0, 3, 1, 2).float()


def photo_batches(
    samples: Sequence[Sample], rows: NDArray[np.int64], side: int
) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
    """Some whole photos in batches: their positions, and (n, 3, side, side) pixels 0..255."""
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        yield batch, to_side(pixels_of(samples, batch), side)


def with_ellipses(samples: Sequence[Sample], largest: float) -> list[Sample]:
    """Photos whose boxes below a share of the photo are regions too, as the ellipses in them.

    A small thing's ellipse has an IoU of some 0.6 with its outline, which is enough to learn where it is.
    """
    return [
        replace(
            sample,
            regions=(*sample.regions, *(_ellipse(box) for box in sample.boxes if SMALLEST_MASK <= box.share < largest)),
        )
        for sample in samples
    ]


def _ellipse(box: SampleBox) -> SampleRegion:
    x0, y0, x1, y1 = box.corners
    places = (np.arange(MASK_SIDE * FINER) + 0.5) / (MASK_SIDE * FINER)
    x, y = ((2 * places - low - high) / max(high - low, 1e-6) for low, high in ((x0, x1), (y0, y1)))
    inside = (y[:, None] ** 2 + x**2 <= 1).reshape(MASK_SIDE, FINER, MASK_SIDE, FINER)
    return SampleRegion(box.label, ELLIPSE, np.rint(255 * inside.mean((1, 3))).astype(np.uint8))


def pooled_of(samples: Sequence[Sample]) -> NDArray[np.float16]:
    """(N, P) teacher vectors.

    Raises:
        InputError: there are none.
    """
    vectors = [sample.pooled for sample in samples if sample.pooled is not None]
    if len(vectors) < len(samples):
        raise InputError("no teacher targets given; pass --targets a folder written by tools/cache_teachers.py")
    return np.stack(vectors)


def load_samples(packs: Sequence[Path], *, targets: Path | None = None, limit: int | None = None) -> list[Sample]:
    """Read packs into memory, without the excluded sources.

    Args:
        packs: tar files, see docs/evaluate.md for the form.
        targets: folder of `PACK.npz` files written by tools/cache_teachers.py; photos without a target are left out.
        limit: at most so many photos, for trials.
    Raises:
        InputError: no photo was found.
    """
    samples = list[Sample]()
    cached: dict[Path, dict[str, _Targets]] = {}
    for pack, photo in training_photos(packs):
        if len(samples) == limit:
            break
        pooled, painted = None, None
        if targets is not None:
            if pack not in cached:
                cached = {pack: _cached_targets(targets, pack)}
            if photo.key not in cached[pack]:
                continue
            pooled, painted = cached[pack][photo.key]
        samples.append(_sample(photo, pooled, painted))
    if not samples:
        raise InputError(
            f"no training photo in {', '.join(map(str, packs)) or 'no packs'}; give --data a folder of packs"
        )
    return samples


def project_targets(pooled: NDArray[np.floating], dim: int) -> tuple[Floats, Floats]:
    """Mean (P,) and the `dim` first principal directions (P, dim) of (N, P) teacher vectors, N above `dim`."""
    mean = pooled.mean(0, dtype=np.float64).astype(np.float32)
    centred = pooled.astype(np.float32) - mean
    size = centred.shape[1]
    _, vectors = eigh(centred.T @ centred, subset_by_index=(size - dim, size - 1))
    return mean, np.ascontiguousarray(vectors[:, ::-1][:, :dim], dtype=np.float32)


def target_directions(pooled: NDArray[np.floating], mean: Floats, components: Floats) -> Tensor:
    """(N, dim) float32 unit vectors: teacher vectors in the space of `project_targets`."""
    return F.normalize(torch.as_tensor((pooled.astype(np.float32) - mean) @ components), dim=1)


def load_views(samples: Sequence[Sample], packs: Sequence[Path], targets: Path) -> Views:
    """Every view that teachers have seen of some samples: the whole photos, then the crops of `PACK.views.npz` files.

    Args:
        samples: with teacher vectors; packs: where they come from.
        targets: folder of the target files; packs without a views file add their whole photos only.
    """
    views = [whole_views(len(samples), pooled_of(samples))]
    place = {sample.key: n for n, sample in enumerate(samples)}
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
    return Views(np.arange(count), WHOLE_BOX.repeat(count, 0), pooled)


_Targets = tuple[NDArray[np.float16], NDArray[np.uint8]]  # pooled vector and painted maps of a photo


def _is_whole(boxes: NDArray[np.floating]) -> NDArray[np.bool_]:
    whole: NDArray[np.bool_] = np.isclose(boxes, WHOLE_BOX).all(1)
    return whole


def _cached_targets(folder: Path, pack: Path) -> dict[str, _Targets]:
    """Targets of a pack by key; one of which only views are cached has nothing painted."""
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
    return dict(zip(map(str, keys), zip(pooled, painted, strict=True), strict=True))


def _sample(photo: PackPhoto, pooled: NDArray[np.float16] | None, painted: NDArray[np.uint8] | None) -> Sample:
    from PIL import Image

    regions, boxes = list[SampleRegion](), list[SampleBox]()
    for region in photo.regions:
        label = region.label.lower() if region.label else None
        if region.crowd:
            continue
        if region.rle is not None and region.area >= SMALLEST_MASK * photo.width * photo.height:
            coverage = Image.fromarray(region.rle.decode().astype(np.uint8) * 255)
            mask = np.asarray(coverage.resize((MASK_SIDE, MASK_SIDE), Image.Resampling.BOX))
            if mask.max() >= 128:
                regions.append(SampleRegion(label, region.kind, mask))
        elif region.rle is None and label:
            x0, y0, x1, y1 = region.box
            corners = x0 / photo.width, y0 / photo.height, x1 / photo.width, y1 / photo.height
            boxes.append(SampleBox(label, corners))
    return Sample(
        key=photo.key,
        pixels=squashed(photo.rgb()),
        captions=tuple(caption.strip().lower() for caption in photo.captions),
        labels=tuple(dict.fromkeys(label.lower() for label in photo.labels)),
        regions=tuple(regions),
        boxes=tuple(boxes),
        pooled=pooled,
        painted=painted,
    )
