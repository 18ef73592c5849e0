"""fp16 codes as float32 arrays, and exact inner products over them, at the speed of memory. numpy only, pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..records import Floats
from .rows import Ids

BLOCK_ROWS = 2048  # a block of 2048 x 256 float32 stays in the second-level cache


@dataclass(frozen=True, slots=True)
class ScanBlock:
    """Vectors of some photos; the rows of photo i are ``vectors[offsets[i]:offsets[i + 1]]``.

    `vectors` is lent: it is overwritten when the next block is asked for.

    Attributes:
        photo_ids: (N,) int64, ascending.
        offsets: (N + 1,) int64; each photo has at least one row.
        vectors: (rows, D) float32.
    """

    photo_ids: Ids
    offsets: Ids
    vectors: Floats


def widen(codes: NDArray[np.uint8], out: Floats) -> Floats:
    """Turn fp16 codes into float32, exactly, several times as fast as `astype`.

    The bits of a half are the top bits of a float with another exponent bias; shifting them into place and
    multiplying by 2**112 corrects the bias, for subnormal numbers too. Not for infinities and NaN.

    Args:
        codes: (n, 2 * D) uint8, rows of little-endian fp16, C order.
        out: (at least n, D) float32, overwritten.
    Returns:
        The first n rows of `out`.

    >>> widen(np.array([[1.5, -0.25]], np.float16).view(np.uint8), np.empty((1, 2), np.float32)).tolist()
    [[1.5, -0.25]]
    """
    floats = out[: len(codes)]
    bits = floats.view(np.int32)
    np.copyto(bits, codes.view("<i2"))
    np.left_shift(bits, 13, out=bits)
    np.bitwise_and(bits, np.int32(0x8FFFE000 - (1 << 32)), out=bits)
    return np.multiply(floats, np.float32(2.0**112), out=floats)


def photo_blocks(starts: Ids, rows: int = BLOCK_ROWS) -> Iterator[tuple[int, int]]:
    """Runs of whole photos of about `rows` rows each, as (first photo, past the last).

    Args:
        starts: (N + 1,) first row of each photo, and the number of all rows.

    >>> list(photo_blocks(np.array([0, 3, 5, 9]), rows=5))
    [(0, 2), (2, 3)]
    """
    first, last = 0, len(starts) - 1
    while first < last:
        past = int(np.searchsorted(starts, starts[first] + rows, side="right")) - 1
        past = min(max(past, first + 1), last)
        yield first, past
        first = past


def scan_codes(codes: NDArray[np.uint8], photo_ids: Ids, starts: Ids, photos: Ids | None) -> Iterator[ScanBlock]:
    """Blocks over the codes of all photos, or of those at the positions `photos` (ascending)."""
    dim = codes.shape[1] // 2
    if photos is None:
        buffer = np.empty((BLOCK_ROWS + 256, dim), np.float32)
        for first, past in photo_blocks(starts):
            low, high = int(starts[first]), int(starts[past])
            yield ScanBlock(photo_ids[first:past], starts[first : past + 1] - low, widen(codes[low:high], buffer))
        return
    counts = starts[photos + 1] - starts[photos]
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    buffer = np.empty((BLOCK_ROWS + 256, dim), np.float32)
    for first, past in photo_blocks(offsets):
        some, inside = photos[first:past], offsets[first : past + 1] - offsets[first]
        rows = np.repeat(starts[some] - inside[:-1], counts[first:past]) + np.arange(inside[-1])
        yield ScanBlock(photo_ids[some], inside, widen(codes[rows], buffer))


def top(scores: Floats, ids: Ids, k: int) -> tuple[Floats, Ids]:
    """The k best of each row, score falling, ties by smaller id; padded with -inf and -1.

    Args:
        scores: (Q, n) float32; -inf marks a place that holds nothing.
        ids: (Q, n) or (n,) int64.
    """
    ids = np.broadcast_to(ids, scores.shape)
    if scores.shape[1] > 4 * k + 64:
        # Everything as good as the k-th stays in, so that ties are broken by id and not by chance.
        kth_best = -np.partition(-scores, k - 1, axis=1)[:, k - 1]
        keep = max(k, int((scores >= kth_best[:, None]).sum(1).max()))
        best = np.argpartition(-scores, keep - 1, axis=1)[:, :keep]
        scores, ids = np.take_along_axis(scores, best, 1), np.take_along_axis(ids, best, 1)
    order = np.lexsort((ids, -scores))[:, :k]
    found, names = np.take_along_axis(scores, order, 1), np.take_along_axis(ids, order, 1)
    names = np.where(np.isneginf(found), -1, names)
    short = k - found.shape[1]
    if short > 0:
        found = np.pad(found, ((0, 0), (0, short)), constant_values=-np.inf)
        names = np.pad(names, ((0, 0), (0, short)), constant_values=-1)
    return found.astype(np.float32, copy=False), names.astype(np.int64, copy=False)
