"""64-bit perceptual hash of a picture by the discrete cosine transform. Pure functions on arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..records import RGB

SIDE, KEPT = 32, 8


def _cosines() -> NDArray[np.float64]:
    frequency, place = np.mgrid[:KEPT, :SIDE]
    waves: NDArray[np.float64] = np.cos(np.pi * frequency * (2 * place + 1) / (2 * SIDE))
    return waves


_COSINES = _cosines()  # (8, 32): the lowest frequencies of an unnormalised DCT-II


def phash(picture: RGB | Image.Image) -> int:
    """Hash a picture so that a resized or recompressed copy differs in few bits.

    The 8 x 8 lowest frequencies of the 32 x 32 grey picture, each compared with their median; row by row,
    most significant bit first.

    Args:
        picture: (H, W, 3) uint8, upright, or a Pillow picture of it.
    Returns:
        0 to 2^64 - 1.
    """
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    small = image.convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS, reducing_gap=2.0)
    waves = _COSINES @ np.asarray(small, np.float64) @ _COSINES.T
    bits = waves > np.median(waves)
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def distance(one: int, other: int) -> int:
    """Number of bits in which two hashes differ, 0 to 64.

    >>> distance(0b1010, 0b0011)
    2
    """
    return (one ^ other).bit_count()
