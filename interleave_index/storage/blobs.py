"""How vectors and masks lie in a row: little-endian arrays and packed run lengths. Knows no SQL.

Vectors are kept as fp16, which a unit vector survives to about 3 decimal digits in each coordinate; all else is
float32. What is read back is float32 and exactly what every search in this package scores.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, ShapeError
from ..records import REGIONS_PER_PHOTO, Floats, PhotoEncoding, Rle

CHECKED = ("image", "regions", "boxes", "areas", "scores", "masks")  # blobs under one checksum, in this order


def checksum(blobs: Iterable[bytes]) -> int:
    """CRC-32 over some blobs, one after the other.

    >>> checksum([b"ab", b"c"]) == checksum([b"a", b"bc"]) == zlib.crc32(b"abc")
    True
    """
    crc = 0
    for blob in blobs:
        crc = zlib.crc32(blob, crc)
    return crc


def encoding_columns(encoding: PhotoEncoding, dim: int) -> dict[str, Any]:
    """Columns of `encoding` that hold one photo's vectors.

    Raises:
        ShapeError: an array has another shape than its space and its number of regions ask for.
        InputError: a vector is not finite or longer than 1, or there are more regions than ids for them.
    """
    image = _checked("image vector", encoding.image, (dim,))
    count = len(encoding.regions)
    if count > REGIONS_PER_PHOTO:
        raise InputError(f"photo has {count} regions, expected at most {REGIONS_PER_PHOTO}; keep the best ones")
    regions = _checked("region vectors", encoding.regions, (count, dim))
    if len(encoding.masks) not in (0, count):
        raise ShapeError(f"photo has {len(encoding.masks)} masks for {count} regions, expected one each")
    return {
        "region_count": count,
        "image": _half(image),
        "regions": _half(regions),
        "boxes": _single("boxes", encoding.boxes, (count, 4)),
        "areas": _single("areas", encoding.areas, (count,)),
        "scores": _single("scores", encoding.scores, (count,)),
    }


def _checked(name: str, array: NDArray[Any], shape: tuple[int, ...]) -> Floats:
    found = np.asarray(array, np.float32)
    if found.shape != shape and not (found.size == 0 and 0 in shape):
        raise ShapeError(f"{name}: shape is {found.shape}, expected {shape}")
    longest = float(np.square(found).sum(-1).max(initial=0.0))
    if not longest <= 1.02:
        raise InputError(f"{name}: longest has squared length {longest}, expected unit vectors without NaN")
    return found


def _half(array: Floats) -> bytes:
    return array.astype("<f2").tobytes()


def _single(name: str, array: NDArray[Any], shape: tuple[int, ...]) -> bytes:
    found = np.asarray(array, "<f4")
    if found.shape != shape and not (found.size == 0 and 0 in shape):
        raise ShapeError(f"{name}: shape is {found.shape}, expected {shape}")
    return found.tobytes()


def floats(parts: Sequence[bytes], dtype: str, width: int) -> Floats:
    """Stored blobs joined to one (N, width) float32 array; width 0 gives a flat one."""
    joined = np.frombuffer(b"".join(parts), dtype).astype(np.float32)
    return joined.reshape(-1, width) if width else joined


def pack_masks(masks: Sequence[Rle]) -> bytes:
    """Masks as compressed JSON, best proposal first.

    >>> unpack_masks(pack_masks([Rle((2, 2), "22")]))
    (Rle(size=(2, 2), counts='22'),)
    """
    plain = [[mask.size[0], mask.size[1], mask.counts] for mask in masks]
    return zlib.compress(json.dumps(plain, separators=(",", ":")).encode("ascii"), 1)


def unpack_masks(blob: bytes) -> tuple[Rle, ...]:
    """What `pack_masks` was given."""
    return tuple(Rle((height, width), counts) for height, width, counts in json.loads(zlib.decompress(blob)))
