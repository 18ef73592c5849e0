"""ICC profiles made from numbers: colour spaces that a file names and does not embed. Knows arithmetic only.

Sources: ICC.1:2001-04 (layout of a matrix profile), ITU-T H.273 (code points), BT.2100 (PQ and HLG), Adobe RGB (1998).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Chromaticities = tuple[tuple[float, float], tuple[float, float], tuple[float, float], tuple[float, float]]
Array = NDArray[np.float64]

D65 = (0.3127, 0.3290)
D50_XYZ = np.array([0.9642, 1.0, 0.8249])
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
CURVE_POINTS = 4096
REFERENCE_NITS = 203.0  # BT.2408: diffuse white of PQ; what is brighter is clipped, since the result has 8 bits
HLG_WHITE = 0.75  # BT.2408: signal of diffuse white

# Red, green, blue and white by code point of H.273.
PRIMARIES: dict[int, Chromaticities] = {
    1: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), D65),
    4: ((0.670, 0.330), (0.210, 0.710), (0.140, 0.080), (0.310, 0.316)),
    5: ((0.640, 0.330), (0.290, 0.600), (0.150, 0.060), D65),
    6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), D65),
    7: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), D65),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), D65),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), D65),
    22: ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), D65),
}
ADOBE_RGB: Chromaticities = ((0.640, 0.330), (0.210, 0.710), (0.150, 0.060), D65)
SRGB_CODES = {(1, 1), (1, 2), (1, 6), (1, 13), (1, 14), (1, 15), (2, 2), (2, 13)}  # nothing to convert


@lru_cache(maxsize=1)
def adobe_rgb() -> bytes:
    """Profile of Adobe RGB (1998)."""
    return _matrix_profile("Adobe RGB", ADOBE_RGB, lambda signal: signal ** (563 / 256))


@lru_cache(maxsize=32)
def coded_profile(primaries: int, transfer: int) -> bytes | None:
    """Profile of a colour space that is named by numbers of H.273; None for sRGB, and for numbers that are unknown.

    The curves of video (BT.709, BT.601, BT.2020) are taken as that of sRGB, which is how screens show such pictures.
    """
    curve = TRANSFERS.get(transfer, _srgb_to_linear)
    if (primaries, transfer) in SRGB_CODES or primaries not in PRIMARIES:
        return None
    return _matrix_profile(f"H.273 {primaries}/{transfer}", PRIMARIES[primaries], curve)


def _srgb_to_linear(signal: Array) -> Array:
    return np.where(signal <= 0.04045, signal / 12.92, ((signal + 0.055) / 1.055) ** 2.4)


def _pq_to_linear(signal: Array) -> Array:
    root = signal ** (1 / 78.84375)
    nits = 10000 * (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125)
    return np.minimum(nits / REFERENCE_NITS, 1)


def _hlg_to_linear(signal: Array) -> Array:
    def scene(value: Array) -> Array:
        bright = (np.exp((value - 0.55991073) / 0.17883277) + 0.28466892) / 12
        return np.where(value <= 0.5, value**2 / 3, bright)

    return np.minimum(scene(signal) / scene(np.array(HLG_WHITE)), 1)


TRANSFERS: dict[int, Callable[[Array], Array]] = {
    4: lambda signal: signal**2.2,
    5: lambda signal: signal**2.8,
    8: lambda signal: signal,
    16: _pq_to_linear,
    18: _hlg_to_linear,
}


def _matrix_profile(name: str, chromaticities: Chromaticities, to_linear: Callable[[Array], Array]) -> bytes:
    """A version 2 display profile of three primaries and one curve, adapted to D50."""
    matrix = _to_d50(chromaticities)
    curve = (to_linear(np.linspace(0, 1, CURVE_POINTS)) * 65535).round().clip(0, 65535).astype(">u2")
    text = name.encode("ascii") + b"\0"
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(78),
        b"cprt": b"text" + bytes(4) + b"no copyright\0",
        b"wtpt": _xyz(D50_XYZ),
        b"rXYZ": _xyz(matrix[:, 0]),
        b"gXYZ": _xyz(matrix[:, 1]),
        b"bXYZ": _xyz(matrix[:, 2]),
        b"rTRC": b"curv" + bytes(4) + struct.pack(">I", CURVE_POINTS) + curve.tobytes(),
    }
    offset = 128 + 4 + 12 * (len(tags) + 2)
    table, body = [], b""
    for signature, data in tags.items():
        table.append(struct.pack(">4sII", signature, offset + len(body), len(data)))
        body += data + bytes(-len(data) % 4)
    _, curve_at, curve_bytes = struct.unpack(">4sII", table[-1])
    table += [struct.pack(">4sII", signature, curve_at, curve_bytes) for signature in (b"gTRC", b"bTRC")]
    size = offset + len(body)
    head = struct.pack(">I4sI4s4s4s", size, bytes(4), 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    head += struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _numbers(D50_XYZ)
    return head.ljust(128, b"\0") + struct.pack(">I", len(table)) + b"".join(table) + body


def _to_d50(chromaticities: Chromaticities) -> Array:
    """(3, 3) matrix from linear RGB to XYZ under D50, by Bradford's adaptation."""
    xy = np.array(chromaticities)
    columns = np.stack([xy[:, 0] / xy[:, 1], np.ones(4), (1 - xy.sum(1)) / xy[:, 1]])
    primaries, white = columns[:, :3], columns[:, 3]
    to_xyz = primaries * np.linalg.solve(primaries, white)
    cones = (BRADFORD @ D50_XYZ) / (BRADFORD @ white)
    adapted: Array = np.linalg.inv(BRADFORD) @ np.diag(cones) @ BRADFORD @ to_xyz
    return adapted


def _xyz(values: Array) -> bytes:
    return b"XYZ " + bytes(4) + _numbers(values)


def _numbers(values: Array) -> bytes:
    """Numbers as signed 15.16 fixed point."""
    return np.round(np.asarray(values) * 65536).astype(">i4").tobytes()
