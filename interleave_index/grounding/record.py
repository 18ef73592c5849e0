"""What an index keeps of one photo's patch grid, so that it can be grounded again without its pixels.

The record stands beside the masks of the photo (column ``region_mask.grounding``); the vectors of its regions are
those of its encoding and are not repeated. `similarity.Scene` draws maps from it.

Bytes, little-endian:

    offset  type   what
    0       4s     b"IIGR"
    4       u8     version, 1
    5       u8     mode of the grid: 0 stretch, 1 crop, 2 letterbox, 3 native
    6       u16    flags: bit 0, the photo was turned upright (EXIF) before it was encoded; always set
    8       u32*2  height, width of the upright photo
    16      f64*4  window of the grid: x0, y0, x1, y1 in pixels of the photo
    48      u16*2  cells: h, w
    52      u16    R, regions, in the order of the encoding
    54      u16    D, length of a patch vector; 0 when none are kept
    56      u16    r, rank of the kept patch vectors; 0 when none are kept
    58      u16    0
    60      8s     the first 8 bytes of the checkpoint's sha256
    68      u32    length of all that follows once it is inflated
    72      zlib   u8[R][h][w]  coverage: share of the cell that the region's mask covers, in 255ths
                   f32[r]       scales of the left factor's columns
                   f32[r]       scales of the right factor's rows
                   i8[h * w][r] left factor
                   i8[r][D]     right factor

Patch vectors are kept as the product of two thin matrices (a truncated singular value decomposition of this photo's
own grid): it follows each photo, and nothing is fitted to the collection. `GroundingRecord.patches` scales the rows of
the product to length 1 again.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, ShapeError
from ..geometry import unit
from ..records import BoolMask, Floats
from .grid import MODES, PatchGrid

MAGIC, VERSION, UPRIGHT = b"IIGR", 1, 1
HEAD = struct.Struct("<4sBBHIIddddHHHHHH8sI")


@dataclass(frozen=True, slots=True)
class GroundingRecord:
    """The grounding record of one photo.

    Attributes:
        grid: where the cells lie in the photo.
        coverage: (R, h, w) float32, 0 to 1, share of each cell under each region's mask.
        encoder: the first 16 hex digits of the checkpoint's sha256; a record of another model is stale.
        left, right: (h * w, r) and (r, D) float32, whose product are the patch vectors; None when none were kept.
    """

    grid: PatchGrid
    coverage: Floats
    encoder: str
    left: Floats | None = None
    right: Floats | None = None

    def patches(self) -> Floats | None:
        """(h * w, D) float32 patch vectors in the space of the encoding, of length 1; None when none were kept."""
        return None if self.left is None or self.right is None else unit(self.left @ self.right)


def pack(
    grid: PatchGrid, masks: Sequence[BoolMask], checkpoint: str, patches: Floats | None = None, *, rank: int = 16
) -> bytes:
    """The record of one photo as bytes.

    Args:
        masks: of its regions, in the order of its encoding; see `PatchGrid.coverage`.
        checkpoint: sha256 of the encoder, hex.
        patches: (h * w, D) unit patch vectors in the space of the encoding, or None to keep none.
        rank: at most this many factors are kept of them.
    Raises:
        ShapeError: patches do not fit the grid.
    """
    parts: list[NDArray[Any]] = [np.rint(grid.coverage(masks) * 255).astype(np.uint8)]
    kept, dim = 0, 0
    if patches is not None:
        if patches.ndim != 2 or len(patches) != grid.cells:
            raise ShapeError(f"patches have shape {patches.shape}, expected ({grid.cells}, D), one row a cell")
        left, right = _factors(patches, rank)
        left_scales, right_scales = _scales(left, 0), _scales(right, 1)
        parts += [left_scales, right_scales, _rounded(left / left_scales), _rounded(right / right_scales[:, None])]
        kept, dim = right.shape
    body = b"".join(part.tobytes() for part in parts)
    head = HEAD.pack(
        MAGIC,
        VERSION,
        MODES.index(grid.mode),
        UPRIGHT,
        *grid.size,
        *grid.window,
        *grid.grid,
        len(masks),
        dim,
        kept,
        0,
        bytes.fromhex(checkpoint[:16].ljust(16, "0")),
        len(body),
    )
    return head + zlib.compress(body, 6)


def unpack(data: bytes) -> GroundingRecord:
    """What `pack` made.

    Raises:
        InputError: the bytes are no such record, are of a newer version, or are cut short.
    """
    if len(data) < HEAD.size or data[:4] != MAGIC:
        raise InputError(f"grounding record of {len(data)} bytes does not begin with {MAGIC!r}; ingest the photo again")
    _, version, mode, _, height, width, *window, h, w, count, dim, rank, _, encoder, length = HEAD.unpack_from(data)
    if version != VERSION or mode >= len(MODES):
        raise InputError(
            f"grounding record has version {version} and mode {mode}, expected version {VERSION}; "
            "ingest the photo again, or use a newer version of this program"
        )
    try:
        body = zlib.decompress(data[HEAD.size :])
    except zlib.error as error:
        raise InputError(f"grounding record is damaged ({error}); ingest the photo again") from error
    cells = h * w
    if len(body) != length or length != count * cells + rank * (8 + cells + dim):
        raise InputError(f"grounding record holds {len(body)} bytes, expected {length}; ingest the photo again")
    coverage = np.frombuffer(body, np.uint8, count * cells).reshape(count, h, w).astype(np.float32) / np.float32(255)
    record = GroundingRecord(PatchGrid((height, width), (h, w), tuple(window), MODES[mode]), coverage, encoder.hex())
    if not rank:
        return record
    scales = np.frombuffer(body, "<f4", 2 * rank, coverage.size).astype(np.float32)
    factors = np.frombuffer(body, np.int8, offset=coverage.size + 8 * rank).astype(np.float32)
    left = factors[: cells * rank].reshape(cells, rank) * scales[:rank]
    right = factors[cells * rank :].reshape(rank, dim) * scales[rank:, None]
    return replace(record, left=left, right=right)


def _factors(patches: Floats, rank: int) -> tuple[Floats, Floats]:
    """(cells, r) and (r, D) whose product is nearest to the patches, weights split evenly between them."""
    left, weights, right = np.linalg.svd(np.asarray(patches, np.float32), full_matrices=False)
    kept = max(1, min(rank, int((weights > weights.max(initial=0) * 1e-6).sum())))
    root = np.sqrt(weights[:kept])
    return left[:, :kept] * root, right[:kept] * root[:, None]


def _scales(factor: Floats, axis: int) -> Floats:
    """What 1 stands for in each column or row of a factor in 127ths of its largest value; little-endian float32."""
    most = np.abs(factor).max(axis=axis, initial=0) / 127
    return np.where(most > 0, most, 1).astype("<f4")


def _rounded(factor: Floats) -> NDArray[np.int8]:
    return np.rint(factor).clip(-127, 127).astype(np.int8)
