"""The one decode path of the project: a picture file becomes upright sRGB pixels and facts about the photo.

Embedding, masks, thumbnails and display all get their pixels here. Knows files and formats; nothing of models.
Pillow's (width, height) is turned into (height, width) in this module and nowhere else.
"""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..errors import ImageTooLarge, ImageUnreadable, InputError, ShapeError
from ..paths import is_url
from ..records import RGB, PhotoFacts
from ..records.texts import SourceText
from ..regular import open_regular, os_words
from .containers import PngParts, jxl_size, nclx, split_png
from .exif import ExifFacts, facts_of, read_exif
from .profiles import adobe_rgb, coded_profile
from .raw import develop, is_sensor_data, largest_preview, raw_facts
from .sniff import HEAD, sniff
from .text.embedded import embedded_texts

MAX_PIXELS = 200_000_000
MAX_FILE_BYTES = 2**31 - 1
_REDUCED_IMAGE, _SUBFILE_TYPE, _DNG_VERSION = 1, 254, 50706  # TIFF tags that betray a camera's raw file


@dataclass(frozen=True, slots=True)
class Decoded:
    """One decoded photo.

    Attributes:
        rgb: (H, W, 3) uint8, upright, sRGB, owned by the caller; smaller than the photo when that was asked for.
        width, height: pixels of the whole upright photo.
        format: of the content: JPEG, PNG, WEBP, HEIF, AVIF, JXL, TIFF, GIF, BMP or RAW.
        taken_at: the camera's wall clock, without a time zone.
        latitude, longitude: degrees, north and east positive.
        more_pages: pictures of the file after the first, which are not read (TIFF).
        text: what is written inside the file, perhaps nothing; None where no text can be looked for.
    """

    rgb: RGB
    width: int
    height: int
    format: str
    taken_at: datetime | None = None
    camera: str | None = None
    lens: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    more_pages: int = 0
    text: SourceText | None = None

    def facts(self, sha256: str, phash: int | None) -> PhotoFacts:
        """The row that the catalog keeps of this photo."""
        return PhotoFacts(
            sha256,
            self.width,
            self.height,
            self.format,
            self.taken_at,
            self.camera,
            self.lens,
            self.latitude,
            self.longitude,
            phash,
            text=self.text,
        )


def decode(source: Path | str | bytes, *, max_pixels: int = MAX_PIXELS, long_side: int | None = None) -> Decoded:
    """Decode a picture of any supported format, recognised by its content.

    EXIF orientation is applied (values other than 1 to 8 are ignored), ICC profiles and colour spaces that are named by
    number (Adobe RGB in EXIF, CICP in PNG, nclx in HEIF and AVIF) are converted to sRGB, alpha is laid on white, and
    CMYK, grey, 16-bit, float and palette pictures become 8-bit RGB; of several frames the first. Of a camera's raw file
    the embedded JPEG is taken.

    Args:
        source: a path, or the bytes of a file.
        max_pixels: width times height above which nothing is decoded; read from the header.
        long_side: when given, pictures at least twice as long are shrunk by a whole factor (JPEG: by scaled DCT,
            factors 2, 4, 8), so that the longer side of `rgb` is from this to twice this. None decodes in full.
    Raises:
        ImageUnreadable: no such file, no picture, a damaged or cut-off one, or a format that is not supported.
        ImageTooLarge: more pixels than `max_pixels`.
    """
    try:
        data = source if isinstance(source, bytes) else read_file(source)
    except OSError as trouble:
        raise ImageUnreadable(f"file cannot be read: {os_words(trouble)}") from trouble
    kind = _kind(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of damage that does not touch the pixels
            return _decode(kind, data, max_pixels, long_side)
    except (ImageUnreadable, ImageTooLarge):
        raise
    except MemoryError as trouble:
        raise ImageTooLarge(f"{kind} picture does not fit into memory; lower the limit on pixels") from trouble
    except Exception as trouble:  # decoders raise anything on damaged data; here they enter the package
        words = " ".join(str(trouble).split()) or type(trouble).__name__
        raise ImageUnreadable(f"{kind} data is damaged or cut off: {words[:200]}") from trouble


def read_text(data: bytes, *, max_pixels: int = MAX_PIXELS) -> SourceText:
    """What is written inside a picture file, without decoding its pixels where that can be helped.

    A file that cannot be opened, or has more than `max_pixels`, says nothing.
    """
    try:
        kind = _kind(data)
        if kind == "RAW":
            preview = largest_preview(data)
            return _written(_open("JPEG", data[preview.start :])) if preview else SourceText("embedded")
        _check_announced(kind, data, max_pixels)
        parts = split_png(data) if kind == "PNG" else PngParts(data)
        image = _open(kind, parts.data)
        _check_pixels(image.size, max_pixels)  # Pillow decodes a PNG to look for EXIF behind its pixels
        _add_to_info(image, kind, data, parts)
        return _written(image)
    except Exception:  # decoders raise anything on damaged data; the photo itself was read before
        return SourceText("embedded")


def read_file(path: Path | str) -> bytes:
    """All bytes of a picture file; what begins like no picture is not read further.

    Raises:
        OSError: it cannot be read, or it is no regular file: a FIFO would be waited for without end.
        ImageUnreadable: it is no picture.
        ImageTooLarge: more than 2 GiB.
    """
    with open_regular(path) as file:
        _kind(file.read(HEAD))
        size = os.fstat(file.fileno()).st_size
        if size > MAX_FILE_BYTES:
            raise ImageTooLarge(f"file has {size} bytes, expected at most {MAX_FILE_BYTES}")
        file.seek(0)
        return file.read()


def read_stream(file: BinaryIO) -> bytes:
    """All bytes of a picture that comes through a pipe; what begins like no picture is not read further.

    Raises:
        OSError: it cannot be read.
        ImageUnreadable: it is no picture.
        ImageTooLarge: more than 2 GiB.
    """
    head = file.read(HEAD)
    _kind(head)
    data = head + file.read(MAX_FILE_BYTES + 1 - len(head))
    if len(data) > MAX_FILE_BYTES:
        raise ImageTooLarge(f"stream has more than {MAX_FILE_BYTES} bytes, expected at most that")
    return data


def load_picture(
    source: str | Path | RGB,
    *,
    offline: bool = False,
    max_pixels: int = MAX_PIXELS,
    max_bytes: int = 64 * 2**20,
    timeout: float = 20.0,
) -> RGB:
    """Upright pixels of a query's picture, in full size.

    Args:
        source: a path, an http(s) URL, the URL of an object in a store, or an upright (H, W, 3) uint8 array, which is
            given back as it is.
        offline: refuse URLs.
        max_bytes: of a download.
        timeout: seconds for a whole download.
    Raises:
        InputError: a URL while offline, or a download that fails or is too long.
        RemoteError: the store cannot be used.
        ImageUnreadable, ImageTooLarge: as `decode`.
        ShapeError: an array that is not (H, W, 3) uint8.
    """
    if isinstance(source, np.ndarray):
        if source.ndim != 3 or source.shape[2] != 3 or source.dtype != np.uint8 or not source.size:
            raise ShapeError(f"picture has shape {source.shape} and dtype {source.dtype}, expected (H, W, 3) uint8")
        return source
    of_web = isinstance(source, str) and source.lower().startswith(("http://", "https://"))
    if offline and (of_web or is_url(source)):
        raise InputError(f"picture {source} is on the network, but offline is set; download it and give its path")
    if isinstance(source, str) and of_web:
        from .fetch import fetch

        return decode(fetch(source, max_bytes=max_bytes, timeout=timeout), max_pixels=max_pixels).rgb
    try:
        return decode(source if is_url(source) else Path(source), max_pixels=max_pixels).rgb
    except InputError as trouble:
        raise type(trouble)(f"picture {os.fspath(source)!r}: {trouble}") from trouble


def _kind(head: bytes) -> str:
    kind = sniff(head[:HEAD])
    if kind is None:
        raise ImageUnreadable(
            "file is empty"
            if not head
            else "not a picture: expected JPEG, PNG, WebP, HEIF, AVIF, JPEG XL, TIFF, GIF, BMP or a camera's raw file"
        )
    return kind


def _decode(kind: str, data: bytes, max_pixels: int, long_side: int | None) -> Decoded:
    if kind == "RAW":
        return _decode_raw(data, max_pixels, long_side)
    _check_announced(kind, data, max_pixels)
    parts = split_png(data) if kind == "PNG" else PngParts(data)
    try:
        image = _open(kind, parts.data)
        if kind == "TIFF" and _is_raw(image):
            return _decode_raw(data, max_pixels, long_side)
        _check_pixels(image.size, max_pixels)
        _add_to_info(image, kind, data, parts)
        exif, written = read_exif(image), _written(image)
        _name_colours(image, kind, data, parts, exif)
        if kind == "JPEG":
            width, height = image.size  # before the pixels: a draft changes it
            rgb = _jpeg_pixels(image, data, long_side)
        else:
            image.load()
            _check_pixels(image.size, max_pixels)
            width, height = image.size
            rgb = _pixels(image, long_side)
    except (SyntaxError, OSError, KeyError) as error:
        if kind == "TIFF" and is_sensor_data(data):
            return _decode_raw(data, max_pixels, long_side)
        if kind == "TIFF" and _is_strange_tiff(error):
            return _decode_strange_tiff(data, max_pixels, long_side)
        if kind == "TIFF" and _is_strange_compression(error):
            preview = largest_preview(data)
            if preview is not None and preview.is_useful:
                return _decode_raw(data, max_pixels, long_side)
        raise
    # Pillow turns TIFF while it loads, and the JPEG XL decoder all but repacked JPEGs.
    turn = 1 if kind == "TIFF" or (kind == "JXL" and not image.jpeg) else exif.orientation
    if turn >= 5:
        width, height = height, width
    from .tiff import full_pages

    more = full_pages(data) - 1 if kind == "TIFF" and image.n_frames > 1 else 0
    return _decoded(upright(rgb, turn), width, height, kind, exif, more_pages=max(0, more), text=written)


def _written(image: Any) -> SourceText:
    return embedded_texts(image) or SourceText("embedded")


def _add_to_info(image: Any, kind: str, data: bytes, parts: PngParts) -> None:
    """What Pillow was not given or does not look for: the long profile, XMP and true transparency of a PNG."""
    if kind != "PNG":
        return
    if parts.profile is not None:
        image.info["icc_profile"] = parts.profile
    if parts.xmp is not None:
        image.info["xmp"] = parts.xmp
    transparent = image.info.get("transparency")
    if parts.deep and isinstance(transparent, tuple):  # Pillow keeps the upper 8 of 16 bits of each sample
        image.info["transparency"] = tuple(level >> 8 for level in transparent)


def _name_colours(image: Any, kind: str, data: bytes, parts: PngParts, exif: ExifFacts) -> None:
    """Give a picture without a profile that of the colour space which it names by number.

    Numbers in a PNG go before its profile, as its specification asks.
    """
    coded = parts.cicp if kind == "PNG" else nclx(data) if kind in ("HEIF", "AVIF") else None
    if coded is not None and (kind == "PNG" or not image.info.get("icc_profile")):
        image.info["icc_profile"] = coded_profile(*coded)
    elif exif.adobe_rgb and image.mode == "RGB" and not image.info.get("icc_profile"):
        image.info["icc_profile"] = adobe_rgb()


def _is_raw(image: Any) -> bool:
    """Whether an opened TIFF is a camera's raw file: its first page is a small copy, or it is a DNG."""
    return bool(int(image.tag_v2.get(_SUBFILE_TYPE, 0)) & _REDUCED_IMAGE or _DNG_VERSION in image.tag_v2)


def _decode_raw(data: bytes, max_pixels: int, long_side: int | None) -> Decoded:
    preview = largest_preview(data)
    own = raw_facts(data)
    if preview is None or not preview.is_useful:
        rgb, (width, height) = develop(data, half=long_side is not None)
        _check_pixels((width, height), max_pixels)
        return _decoded(_reduced_array(rgb, long_side), width, height, "RAW", own)
    embedded = data[preview.start :]
    _check_pixels((preview.width, preview.height), max_pixels)
    image = _open("JPEG", embedded)
    inner, written = read_exif(image), _written(image)
    facts = own if own != ExifFacts() else inner
    _name_colours(image, "JPEG", embedded, PngParts(embedded), inner)
    width, height = image.size  # before the pixels: a draft changes it
    rgb = _jpeg_pixels(image, embedded, long_side)
    if facts.orientation >= 5:
        width, height = height, width
    return _decoded(upright(rgb, facts.orientation), width, height, "RAW", facts, text=written)


def _is_strange_tiff(error: Exception) -> bool:
    """Whether Pillow's words mean a kind of TIFF that it does not know, rather than damage."""
    words = str(error)
    return any(part in words for part in ("unknown pixel mode", "unknown data organization", "not available"))


def _is_strange_compression(error: Exception) -> bool:
    """Whether Pillow found a way of compression that is not in its table: some are used by cameras alone."""
    return isinstance(error, KeyError) or isinstance(error.__cause__, KeyError)


def _decode_strange_tiff(data: bytes, max_pixels: int, long_side: int | None) -> Decoded:
    from PIL import Image

    from .tiff import read_tiff

    picture = read_tiff(data, lambda size: _check_pixels(size, max_pixels))
    exif = Image.Exif()
    with contextlib.suppress(Exception):  # damaged facts cost no pixels
        exif.load(data)
    facts = facts_of(exif, picture.info.get("xmp"))
    width, height = picture.size
    if facts.orientation >= 5:
        width, height = height, width
    return _decoded(upright(_reduced(picture, long_side), facts.orientation), width, height, "TIFF", facts)


def _decoded(
    rgb: RGB,
    width: int,
    height: int,
    kind: str,
    exif: ExifFacts,
    more_pages: int = 0,
    text: SourceText | None = None,
) -> Decoded:
    return Decoded(
        np.ascontiguousarray(rgb),
        width,
        height,
        kind,
        exif.taken_at,
        exif.camera,
        exif.lens,
        exif.latitude,
        exif.longitude,
        more_pages,
        text,
    )


def upright(rgb: RGB, orientation: int) -> RGB:
    """Turn a picture by its EXIF orientation (1 to 8); a view, not a copy.

    >>> upright(np.array([[[1], [2]]], np.uint8), 6)[..., 0].tolist()
    [[1], [2]]
    """
    if orientation >= 5:
        rgb = rgb.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        rgb = rgb[::-1]
    if orientation in (2, 3, 6, 7):
        rgb = rgb[:, ::-1]
    return rgb


def shrink_factor(long: int, long_side: int | None) -> int:
    """The whole number by which a picture may be divided while its longer side stays at least `long_side`.

    >>> shrink_factor(4000, 1000), shrink_factor(3999, 1000), shrink_factor(500, 1000), shrink_factor(500, None)
    (4, 3, 1, 1)
    """
    return max(1, long // long_side) if long_side else 1


def _check_pixels(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise ImageUnreadable(f"picture is {width} x {height}, expected at least one pixel")
    if width * height > max_pixels:
        raise ImageTooLarge(
            f"picture has {width} x {height} = {width * height} pixels, expected at most {max_pixels}; "
            "raise ingest.max_pixels to take it"
        )


def _check_announced(kind: str, data: bytes, max_pixels: int) -> None:
    """`_check_pixels` for decoders that take memory for all pixels as soon as the file is opened."""
    announced = {"WEBP": _webp_size, "JXL": jxl_size}.get(kind)
    size = announced(data) if announced else None
    if size is not None:
        _check_pixels(size, max_pixels)


def _open(kind: str, data: bytes) -> Any:
    """Pillow's reader of one format; its own limit on pixels is global to the process and so is not used."""
    file = io.BytesIO(data)
    if kind == "HEIF":
        return _open_heif(file)
    if kind == "JXL":
        return _open_jxl(file)
    from PIL import (
        AvifImagePlugin,
        BmpImagePlugin,
        GifImagePlugin,
        JpegImagePlugin,
        PngImagePlugin,
        TiffImagePlugin,
        WebPImagePlugin,
    )

    readers: dict[str, Any] = {
        "JPEG": JpegImagePlugin.JpegImageFile,
        "PNG": PngImagePlugin.PngImageFile,
        "GIF": GifImagePlugin.GifImageFile,
        "WEBP": WebPImagePlugin.WebPImageFile,
        "AVIF": AvifImagePlugin.AvifImageFile,
        "TIFF": TiffImagePlugin.TiffImageFile,
        "BMP": BmpImagePlugin.BmpImageFile,
    }
    return readers[kind](file)


def _open_heif(file: io.BytesIO) -> Any:
    import pillow_heif

    pillow_heif.options.DECODE_THREADS = 1
    return pillow_heif.HeifImageFile(file)  # type: ignore[no-untyped-call]


def _open_jxl(file: io.BytesIO) -> Any:
    from pillow_jxl import JpegXLImagePlugin

    JpegXLImagePlugin.DECODE_THREADS = 1
    return JpegXLImagePlugin.JXLImageFile(file)


def _webp_size(data: bytes) -> tuple[int, int]:
    kind, body = data[12:16], data[20:30]
    if len(body) < 10:
        raise ImageUnreadable("WEBP data is damaged or cut off: no header")
    if kind == b"VP8X":
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF


def _jpeg_pixels(image: Any, data: bytes, long_side: int | None) -> RGB:
    """libjpeg-turbo for the common kinds; Pillow for CMYK, odd profiles, and files with harmless irregularities."""
    from .colour import apply_profile, is_srgb

    profile = image.info.get("icc_profile")
    long = max(image.size)
    factor = next((f for f in (8, 4, 2) if f <= shrink_factor(long, long_side)), 1)
    if image.mode == "RGB" or (image.mode == "L" and not profile):
        import simplejpeg
        from PIL import Image

        side = "min_width" if image.width >= image.height else "min_height"
        try:
            rgb: RGB = simplejpeg.decode_jpeg(data, colorspace="RGB", **{side: -(-long // factor)})
        except ValueError:
            pass  # strict about every irregularity; Pillow knows which of them cost pixels
        else:
            if is_srgb(profile) and shrink_factor(max(rgb.shape), long_side) == 1:
                return rgb
            return _reduced(apply_profile(Image.fromarray(rgb), profile), long_side)
    image.draft(image.mode, (image.width // factor, image.height // factor))
    image.load()
    return _pixels(image, long_side)


def _pixels(image: Any, long_side: int | None) -> RGB:
    from .colour import to_srgb

    return _reduced(to_srgb(image), long_side)


def _reduced_array(rgb: RGB, long_side: int | None) -> RGB:
    from PIL import Image

    return _reduced(Image.fromarray(rgb), long_side)


def _reduced(image: Any, long_side: int | None) -> RGB:
    factor = shrink_factor(max(image.size), long_side)
    return np.asarray(image.reduce(factor) if factor > 1 else image)
