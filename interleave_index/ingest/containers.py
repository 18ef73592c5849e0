"""What stands around the pixels in PNG, HEIF/AVIF and JPEG XL files, read by hand where the decoders do not give it.

Pillow refuses a PNG whose text or profile unpacks to more than a megabyte and says nothing of the colour space that an
AVIF names by number; JPEG XL is decoded before its size is known. Knows bytes only.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

PNG_SIGNATURE_BYTES = 8
UNPACKED_BY_PILLOW = 1 << 20  # bytes; a longer text or profile is an error there
UNPACKED_HERE = 1 << 24  # a profile or XMP block beyond this is left out, since it may be a bomb
XMP_KEYWORD = b"XML:com.adobe.xmp"
EXIF_AS_TEXT = b"Raw profile type"  # how ImageMagick keeps EXIF in PNG

_JXL_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_JXL_SIZE_BITS = (9, 13, 18, 30)


@dataclass(frozen=True, slots=True)
class PngParts:
    """A PNG without its long texts, and what they held.

    Attributes:
        data: the file; the very object that was given when nothing had to go.
        profile: an ICC profile that is too long for Pillow, or None.
        xmp: the XMP block, or None.
        cicp: colour primaries and transfer function by their numbers in ITU-T H.273, or None.
        deep: samples have 16 bits.
    """

    data: bytes
    profile: bytes | None = None
    xmp: bytes | None = None
    cicp: tuple[int, int] | None = None
    deep: bool = False


def split_png(data: bytes) -> PngParts:
    """Take texts out of a PNG, wherever they stand, and read its XMP, colour numbers and long profile.

    Chunks of a file that is cut off are kept as far as they go: the decoder tells what is wrong.
    """
    kept: list[bytes] = [data[:PNG_SIGNATURE_BYTES]]
    profile = xmp = cicp = None
    dropped = False
    at = PNG_SIGNATURE_BYTES
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        body = data[at + 8 : at + 8 + length] if kind in (b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"cICP") else b""
        keep = True
        if kind == b"cICP" and len(body) == 4:
            cicp = (body[0], body[1])
        elif kind == b"iCCP":
            _, _, packed = body.partition(b"\0")
            unpacked = _inflate(packed[1:])
            if unpacked is None or len(unpacked) > UNPACKED_BY_PILLOW:
                profile, keep = unpacked, False
        elif kind == b"iTXt" and body.startswith(XMP_KEYWORD + b"\0"):
            xmp, keep = _international_text(body), False
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            keep = body.startswith(EXIF_AS_TEXT) and length < UNPACKED_BY_PILLOW and _is_short(kind, body)
        if keep:
            kept.append(data[at:end])
        dropped = dropped or not keep
        at = end
    deep = len(data) > 24 and data[24] == 16
    return PngParts(b"".join(kept) if dropped else data, profile, xmp, cicp, deep)


def _inflate(packed: bytes) -> bytes | None:
    """Unpacked bytes; None when they are damaged or more than `UNPACKED_HERE`."""
    unpacker = zlib.decompressobj()
    try:
        unpacked = unpacker.decompress(packed, UNPACKED_HERE)
    except zlib.error:
        return None
    return None if unpacker.unconsumed_tail else unpacked


def _is_short(kind: bytes, body: bytes) -> bool:
    if kind != b"zTXt":
        return True
    unpacked = _inflate(body.partition(b"\0")[2][1:])
    return unpacked is not None and len(unpacked) <= UNPACKED_BY_PILLOW


def _international_text(body: bytes) -> bytes | None:
    """Text of an iTXt chunk: keyword, 0, packed or not, method, language, 0, translated keyword, 0, text."""
    rest = body.partition(b"\0")[2]
    packed, parts = rest[:1] == b"\1", rest[2:].split(b"\0", 2)
    if len(parts) < 3:
        return None
    return _inflate(parts[2]) if packed else parts[2]


def nclx(data: bytes) -> tuple[int, int] | None:
    """Colour primaries and transfer function that a HEIF or AVIF names by number (ITU-T H.273), or None.

    Of several `colr` boxes the first of this kind: writers put the properties of the main picture first.
    """
    properties = data.find(b"ipco")
    at = data.find(b"colrnclx", properties)
    if properties < 0 or at < 0 or at + 12 > len(data):
        return None
    primaries, transfer = struct.unpack_from(">HH", data, at + 8)
    return primaries, transfer


def jxl_size(data: bytes) -> tuple[int, int] | None:
    """Width and height that a JPEG XL file announces, before it is turned upright; None when they cannot be read."""
    stream = data
    if not data.startswith(b"\xff\x0a"):
        at = max(data.find(b"jxlc"), 0) or data.find(b"jxlp")
        start = data.find(b"\xff\x0a", at) if at > 0 else -1
        if start < 0:
            return None
        stream = data[start : start + 32]
    bits = int.from_bytes(stream[2:32], "little")

    def take(count: int) -> int:
        nonlocal bits
        value = bits & ((1 << count) - 1)
        bits >>= count
        return value

    def side(by_eight: bool) -> int:
        return 8 * (take(5) + 1) if by_eight else 1 + take(_JXL_SIZE_BITS[take(2)])

    by_eight = bool(take(1))
    height = side(by_eight)
    ratio = take(3)
    if ratio:
        across, down = _JXL_RATIOS[ratio - 1]
        return height * across // down, height
    return side(by_eight), height
