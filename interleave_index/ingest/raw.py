"""Camera raw files: the picture that the camera itself developed and embedded, and its facts.

A raw file holds one or more JPEGs beside the sensor's data. The largest of them is what the camera would have saved, so
that it is taken as the photo; only where none has a useful size is the raw data developed, by rawpy (extra `raw`).
Knows bytes, Pillow's EXIF reader and rawpy.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import Any

from ..errors import ImageUnreadable
from ..records import RGB
from .exif import EXIF_IFD, GPS_IFD, ExifFacts, facts_from, sub_block

USEFUL_SIDE = 640  # long side in pixels of a preview that stands for the photo
MOST_JPEGS = 64  # looked at in one file
SENSOR_COLOURS = (32803, 34892)  # of TIFF: by colour filters, and linear
_COLOURS, _DNG_VERSION = 262, 50706  # TIFF tags
_SIZED_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive; sensor data is lossless (C3) and no picture
_WITHOUT_LENGTH = (0x01, *range(0xD0, 0xD9))


@dataclass(frozen=True, slots=True)
class Preview:
    """A JPEG inside a raw file: where it begins and its size in pixels, not turned upright."""

    start: int
    width: int
    height: int

    @property
    def is_useful(self) -> bool:
        """Whether it is large enough to stand for the photo."""
        return max(self.width, self.height) >= USEFUL_SIDE


def largest_preview(data: bytes) -> Preview | None:
    """The largest JPEG that a raw file embeds, or None when there is none."""
    best: Preview | None = None
    at = data.find(b"\xff\xd8\xff")
    for _ in range(MOST_JPEGS):
        if at < 0:
            break
        size = _jpeg_size(data, at)
        if size is not None and (best is None or size[0] * size[1] > best.width * best.height):
            best = Preview(at, *size)
        at = data.find(b"\xff\xd8\xff", at + 2)
    return best


def _jpeg_size(data: bytes, start: int) -> tuple[int, int] | None:
    """Width and height of the JPEG that begins here; None when it is none, or a lossless one."""
    at = start + 2
    while at + 9 < len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _SIZED_FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return (width, height) if width and height else None
        if marker == 0xFF or marker in _WITHOUT_LENGTH:
            at += 1 if marker == 0xFF else 2
            continue
        if not 0xC4 <= marker <= 0xFE or marker in (0xDA, 0xD9):
            return None
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def is_sensor_data(data: bytes) -> bool:
    """Whether the first page of a TIFF is what a sensor saw, as in the negatives (DNG) of phones without a preview."""
    entries = _entries(_exif(data))
    return _DNG_VERSION in entries or entries.get(_COLOURS) in SENSOR_COLOURS


def raw_facts(data: bytes) -> ExifFacts:
    """Time, camera, lens, place and orientation as the raw file itself says them; empty where it is not understood."""
    if data[4:12] == b"ftypcrx ":
        return facts_from(_canon_block(data, b"CMT1"), _canon_block(data, b"CMT2"), _canon_block(data, b"CMT4"))
    if data[:2] not in (b"II", b"MM"):
        return ExifFacts()
    # Panasonic, Olympus and others write a number of their own where TIFF has 42; all else is TIFF.
    number = b"*\0" if data[:2] == b"II" else b"\0*"
    exif = _exif(data[:2] + number + data[4:])
    return facts_from(_entries(exif), sub_block(exif, EXIF_IFD), sub_block(exif, GPS_IFD))


def _canon_block(data: bytes, name: bytes) -> dict[int, Any]:
    """One of the small TIFF files that CR3 keeps instead of one EXIF block."""
    at = data.find(name)
    if at < 4:
        return {}
    length = int.from_bytes(data[at - 4 : at], "big")
    return _entries(_exif(data[at + 4 : at - 4 + length]))


def _exif(block: bytes) -> Any:
    from PIL import Image

    exif = Image.Exif()
    try:
        exif.load(block)
    except Exception:  # a damaged block may raise anything; the picture does not depend on it
        return Image.Exif()
    return exif


def _entries(exif: Any) -> dict[int, Any]:
    try:
        return dict(exif)
    except Exception:  # as above
        return {}


def develop(data: bytes, *, half: bool) -> tuple[RGB, tuple[int, int]]:
    """Develop the sensor's data with the camera's white balance.

    Args:
        half: in half the size, which is four times as fast.
    Returns:
        Upright (H, W, 3) uint8 sRGB pixels, and (width, height) of the whole photo.
    Raises:
        ImageUnreadable: rawpy is not installed, or does not know the camera.
    """
    try:
        import rawpy
    except ImportError as error:
        raise ImageUnreadable(
            "raw file without a preview of a useful size; keep the JPEG beside it, or install the extra raw, which "
            "develops it: pip install 'interleave-index[raw]'"
        ) from error
    try:
        with rawpy.imread(io.BytesIO(data)) as raw:
            width, height = raw.sizes.width, raw.sizes.height  # before: those of half a size are put in their place
            turned = raw.sizes.flip in (5, 6)
            rgb: RGB = raw.postprocess(use_camera_wb=True, half_size=half, output_bps=8)
    except rawpy.LibRawError as error:
        said = error.args[0] if error.args else ""
        words = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        raise ImageUnreadable(
            f"raw file without a preview of a useful size, and its data cannot be developed: {words.lower()}"
        ) from error
    return rgb, (height, width) if turned else (width, height)
