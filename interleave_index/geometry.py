"""Boxes, masks and run lengths as pure functions on arrays. Knows no files, models or SQL."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ShapeError
from .records import BoolMask, Box, Floats, Rle, Size

MASK_LONG_SIDE = 512  # stored masks are never larger than this


def unit(vectors: NDArray[np.floating]) -> Floats:
    """Scale vectors to length 1 along the last axis, float32; a zero vector stays zero.

    >>> unit(np.array([3.0, 4.0])).tolist()
    [0.6000000238418579, 0.800000011920929]
    """
    rows: Floats = np.asarray(vectors, np.float32)
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    return (rows / np.where(length > 0, length, 1)).astype(np.float32, copy=False)


def size_of(pixels: NDArray[Any]) -> Size:
    """(height, width) of a photo or a mask.

    >>> size_of(np.zeros((2, 3, 3)))
    (2, 3)
    """
    return int(pixels.shape[0]), int(pixels.shape[1])


def encode_rle(mask: BoolMask) -> Rle:
    """Run-length encode one mask in COCO's compressed form.

    Args:
        mask: (H, W) bool, True inside the region.
    Returns:
        Rle of size (H, W).
    Raises:
        ShapeError: mask is not two-dimensional bool.
    Source: COCO API, compressed RLE.

    >>> encode_rle(np.array([[0, 1], [0, 1]], bool))
    Rle(size=(2, 2), counts='22')
    """
    from pycocotools import mask as coco

    if mask.ndim != 2 or mask.dtype != np.bool_:
        raise ShapeError(f"mask has shape {mask.shape} and dtype {mask.dtype}, expected (H, W) bool")
    coded = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return Rle(size_of(mask), coded["counts"].decode("ascii"))


def box_of(mask: BoolMask) -> Box:
    """Tightest half-open box around the True pixels; all zeros for an empty mask.

    >>> box_of(np.array([[0, 0, 0], [0, 1, 1]], bool))
    (1.0, 1.0, 3.0, 2.0)
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return (0.0, 0.0, 0.0, 0.0)
    return (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))


def box_of_rle(rle: Rle) -> Box:
    """`box_of` a coded mask, without laying it out.

    >>> box_of_rle(box_rle((1, 1, 3, 2), (4, 4)))
    (1.0, 1.0, 3.0, 2.0)
    """
    from pycocotools import mask as coco

    x, y, width, height = coco.toBbox({"size": list(rle.size), "counts": rle.counts.encode("ascii")}).tolist()
    return (x, y, x + width, y + height) if width else (0.0, 0.0, 0.0, 0.0)


def as_box(row: NDArray[np.floating]) -> Box:
    """A row of boxes, (4,), as a tuple of plain floats."""
    x0, y0, x1, y1 = row.tolist()
    return float(x0), float(y0), float(x1), float(y1)


def boxes_of(masks: BoolMask) -> Floats:
    """`box_of` of (N, H, W) masks at once, (N, 4) float32.

    >>> boxes_of(np.array([[[0, 0, 0], [0, 1, 1]], [[0, 0, 0], [0, 0, 0]]], bool)).tolist()
    [[1.0, 1.0, 3.0, 2.0], [0.0, 0.0, 0.0, 0.0]]
    """
    boxes = np.zeros((len(masks), 4), np.float32)
    for low, axis in enumerate((1, 2)):  # columns, then rows
        there: BoolMask = np.logical_or.reduce(masks, axis=axis)
        length = there.shape[1]
        boxes[:, low] = there.argmax(1)
        boxes[:, low + 2] = (length - there[:, ::-1].argmax(1)) * there.any(1)
    return boxes


def resize_mask(mask: BoolMask, size: Size | None = None, *, long_side: int | None = None) -> BoolMask:
    """Resize a mask by nearest neighbour at pixel centres.

    Args:
        mask: (H, W) bool.
        size: wanted (height, width); or
        long_side: shrink so that the longer side is at most this many pixels, never enlarge.

    >>> resize_mask(np.array([[True, False]]), (2, 4)).astype(int).tolist()
    [[1, 1, 0, 0], [1, 1, 0, 0]]
    """
    if size is None:
        if long_side is None:
            raise TypeError("resize_mask needs size or long_side")
        size = fit(mask.shape, long_side)
    rows = ((np.arange(size[0]) + 0.5) * mask.shape[0] / size[0]).astype(int)
    columns = ((np.arange(size[1]) + 0.5) * mask.shape[1] / size[1]).astype(int)
    resized: BoolMask = mask[rows[:, None], columns]
    return resized


def fit(size: tuple[int, ...], long_side: int) -> Size:
    """(height, width) shrunk so that the longer side is at most `long_side`; never enlarged, never under 1.

    >>> fit((3000, 4000), 512), fit((100, 50), 512)
    ((384, 512), (100, 50))
    """
    scale = min(1.0, long_side / max(size[0], size[1]))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def mask_iou(one: BoolMask, other: BoolMask) -> float:
    """Intersection over union of two masks of one size, 0 to 1; two empty masks give 0.

    >>> mask_iou(np.array([[1, 1]], bool), np.array([[1, 0]], bool))
    0.5
    """
    if one.shape != other.shape:
        raise ShapeError(f"masks have sizes {one.shape} and {other.shape}, expected the same")
    union = np.logical_or(one, other).sum()
    return float(np.logical_and(one, other).sum() / union) if union else 0.0


def box_mask(box: Box, size: Size) -> BoolMask:
    """(H, W) mask of the pixels whose centres lie inside the box, clipped to the photo.

    >>> box_mask((1, 0, 3, 1), (2, 3)).astype(int).tolist()
    [[0, 1, 1], [0, 0, 0]]
    """
    x, y = np.arange(size[1]) + 0.5, np.arange(size[0]) + 0.5
    return ((y >= box[1]) & (y < box[3]))[:, None] & ((x >= box[0]) & (x < box[2]))[None, :]


def point_mask(points: tuple[tuple[float, float], ...], size: Size, radius: float) -> BoolMask:
    """(H, W) mask of discs around (x, y) points; a point outside the photo marks nothing.

    >>> int(point_mask(((1.0, 1.0),), (2, 2), radius=0.8).sum())
    4
    """
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    mask = np.zeros(size, bool)
    for px, py in points:
        mask |= (x - px) ** 2 + (y - py) ** 2 <= radius**2
    return mask


def resize_rle(rle: Rle, size: Size) -> Rle:
    """`resize_mask` on a coded mask; the large mask is never laid out, so that big photos stay cheap.

    Args:
        rle: mask of any size.
        size: wanted (height, width).

    >>> resize_rle(encode_rle(np.array([[True, False]])), (2, 4)).decode().astype(int).tolist()
    [[1, 1, 0, 0], [1, 1, 0, 0]]
    """
    if rle.size == size:
        return rle
    small = rle.decode()
    height, width = small.shape
    columns = ((np.arange(size[1]) + 0.5) * width / size[1]).astype(int)
    rows = ((np.arange(size[0]) + 0.5) * height / size[0]).astype(int)
    padded = np.zeros((width, height + 2), np.int8)
    padded[:, 1:-1] = small.T
    steps = np.flatnonzero(padded[:, 1:] != padded[:, :-1])  # column after column, where a run begins, where it ends
    at, start = np.divmod(steps[::2], height + 1)
    end = steps[1::2] % (height + 1)
    counts = np.bincount(at, minlength=width)
    first = np.cumsum(counts) - counts
    repeats = counts[columns]
    run = np.repeat(first[columns] - np.cumsum(repeats) + repeats, repeats) + np.arange(repeats.sum())
    base = np.repeat(np.arange(size[1]) * size[0], repeats)
    starts = base + np.searchsorted(rows, start)[run]
    ends = base + np.searchsorted(rows, end)[run]
    return _from_runs(starts, ends, size)


def box_rle(box: Box, size: Size) -> Rle:
    """`box_mask`, coded without laying it out.

    >>> box_rle((1, 0, 3, 1), (2, 3)).decode().astype(int).tolist()
    [[0, 1, 1], [0, 0, 0]]
    """
    x0, x1 = (min(max(math.ceil(x - 0.5), 0), size[1]) for x in (box[0], box[2]))
    y0, y1 = (min(max(math.ceil(y - 0.5), 0), size[0]) for y in (box[1], box[3]))
    base = np.arange(x0, max(x0, x1)) * size[0]
    return _from_runs(base + y0, base + y1, size)


def overlap_coefficient(one: Rle, other: Rle) -> float:
    """Share of the smaller mask that lies inside the other, 0 to 1; masks of one size.

    >>> overlap_coefficient(box_rle((0, 0, 4, 4), (9, 9)), box_rle((3, 0, 5, 4), (9, 9)))
    0.5
    """
    from pycocotools import mask as coco

    if one.size != other.size:
        raise ShapeError(f"masks have sizes {one.size} and {other.size}, expected the same")
    first, second = ([{"size": list(rle.size), "counts": rle.counts.encode("ascii")}] for rle in (one, other))
    # a crowd as second mask makes COCO divide by the area of the first alone
    return max(float(coco.iou(first, second, [1])[0, 0]), float(coco.iou(second, first, [1])[0, 0]))


def _from_runs(starts: NDArray[np.int64], ends: NDArray[np.int64], size: Size) -> Rle:
    """Code runs of True, given column-major and ascending; none may cross from one column into the next."""
    from pycocotools import mask as coco

    edges = np.stack([starts, ends], 1)[ends > starts].ravel()
    keep = np.ones(len(edges), bool)
    joined = np.flatnonzero(edges[1:] == edges[:-1])  # a run that goes on at the top of the next column
    keep[joined] = keep[joined + 1] = False
    runs = np.diff(np.concatenate([[0], edges[keep], [size[0] * size[1]]])).tolist()
    coded = coco.frPyObjects({"size": list(size), "counts": runs if runs[-1] else runs[:-1]}, *size)
    return Rle(size, coded["counts"].decode("ascii"))
