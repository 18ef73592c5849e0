"""Small pictures in every format that is read, whole, as a start for files that are broken on purpose."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from interleave_index.demo.scenes import SCENES
from interleave_index.interface.generic import drawn_pictures

LONG_SIDE = 200  # of the drawn scenes among them
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:exif="http://ns.adobe.com/exif/1.0/" '
    b'exif:DateTimeOriginal="2024-06-30T12:00:00" exif:GPSLatitude="48,8.5N" exif:GPSLongitude="11,34.5E">'
    b'<dc:title><rdf:Alt><rdf:li xml:lang="x-default">Lake &amp; boat</rdf:li></rdf:Alt></dc:title>'
    b"<dc:subject><rdf:Bag><rdf:li>water</rdf:li><rdf:li>Ilse</rdf:li></rdf:Bag></dc:subject>"
    b"</rdf:Description></rdf:RDF></x:xmpmeta>"
)
IPTC = b"\x1c\x02\x05\x00\x05Title\x1c\x02\x19\x00\x04lake\x1c\x02\x78\x00\x09A caption"
SUBFILE_TYPE, DNG_VERSION = 254, 50706


def whole_pictures() -> dict[str, bytes]:
    """Files by a name that begins with their format; the same every time."""
    scenes = [Image.fromarray(scene().pixels()) for scene in list(SCENES.values())[:3]]
    for scene in scenes:
        scene.thumbnail((LONG_SIDE, LONG_SIDE))
    drawn = [Image.fromarray(picture) for picture in drawn_pictures(3, (72, 96))]
    return dict(_files([*scenes, *drawn]))


def _files(pictures: list[Image.Image]) -> Iterator[tuple[str, bytes]]:
    exif, profile = _exif(), ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    facts: dict[str, Any] = {"exif": exif, "icc_profile": profile, "xmp": XMP}
    first, second, *_, small = pictures
    grey, palette, clear = small.convert("L"), small.quantize(16), small.convert("RGBA")
    clear.putalpha(grey)
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    jpeg = _saved(first, "JPEG", **facts)
    yield "jpeg", jpeg
    yield "jpeg iptc", _with_iptc(_saved(second, "JPEG"))
    yield "jpeg progressive", _saved(second, "JPEG", progressive=True, restart_marker_rows=1)
    yield "jpeg grey", _saved(grey, "JPEG")
    yield "jpeg cmyk", _saved(small.convert("CMYK"), "JPEG")
    yield "png", _saved(first, "PNG", exif=exif, icc_profile=profile, pnginfo=_png_texts())
    yield "png palette", _saved(palette, "PNG", transparency=0)
    yield "png 16 bit", _saved(deep, "PNG")
    yield "png alpha", _with_chunk(_saved(clear, "PNG"), b"cICP", bytes((9, 16, 0, 1)))
    yield "webp", _saved(second, "WEBP", quality=80, **facts)
    yield "webp lossless", _saved(clear, "WEBP", lossless=True)
    yield "webp animated", _saved(small, "WEBP", save_all=True, append_images=pictures[3:])
    yield "avif", _saved(small, "AVIF", exif=exif, icc_profile=profile)
    yield "avif alpha", _saved(clear, "AVIF", quality=60)
    yield "heif", _heif(second, exif=exif, xmp=XMP)
    yield "heif alpha", _heif(clear)
    yield "jxl", _jxl(small)
    yield "jxl container", _jxl(second, exif=exif, use_container=True)
    yield "tiff", _saved(small, "TIFF", exif=exif, icc_profile=profile)
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"):
        yield f"tiff {compression}", _saved(small, "TIFF", compression=compression)
    yield "tiff bits", _saved(small.convert("1"), "TIFF", compression="group4")
    yield "tiff pages", _saved(small, "TIFF", save_all=True, append_images=pictures[3:])
    yield from _strange_tiffs(np.asarray(small))
    yield "gif", _saved(palette, "GIF", transparency=0, comment=b"words")
    yield "gif animated", _saved(small, "GIF", save_all=True, append_images=pictures[3:])
    yield "bmp", _saved(small, "BMP")
    yield "bmp palette", _saved(palette, "BMP")
    yield "bmp bits", _saved(small.convert("1"), "BMP")
    preview = _saved(first.resize((640, 480)), "JPEG", quality=40, exif=exif)
    yield "raw tiff", _saved(small, "TIFF", tiffinfo={SUBFILE_TYPE: 1, DNG_VERSION: b"\1\4\0\0"}) + preview
    yield "raw olympus", b"IIRO" + _saved(small, "TIFF", exif=exif)[4:] + preview
    yield "raw canon", _canon(exif, preview)
    yield "raw fuji", b"FUJIFILMCCD-RAW 0201FF383501X-T2".ljust(160, b"\0") + preview


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _heif(image: Image.Image, **options: Any) -> bytes:
    import pillow_heif

    file = io.BytesIO()
    pillow_heif.from_pillow(image).save(file, format="HEIF", quality=60, **options)
    return file.getvalue()


def _jxl(image: Image.Image, **options: Any) -> bytes:
    from pillow_jxl import JpegXLImagePlugin  # noqa: F401  registers the format

    return _saved(image, "JXL", quality=80, **options)


def _exif() -> bytes:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0112], exif[0x0132] = "Maker", "Model 1", 6, "2024:06:30 12:00:00"
    exif[0x010E] = "A lake"
    exif.get_ifd(0x8769).update({0x9003: "2024:06:30 12:00:00", 0xA434: "A lens", 0x9286: b"ASCII\0\0\0words"})
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 8.0, 30.0), 3: "E", 4: (11.0, 34.0, 0.0)})
    return exif.tobytes()


def _png_texts() -> Any:
    from PIL.PngImagePlugin import PngInfo

    texts = PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", XMP.decode(), zip=True)
    texts.add_text("Comment", "words " * 50, zip=True)
    texts.add_text("Title", "A lake")
    return texts


def _with_chunk(png: bytes, kind: bytes, body: bytes) -> bytes:
    """A PNG with one more chunk behind its header."""
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return png[:33] + chunk + png[33:]


def _with_iptc(jpeg: bytes) -> bytes:
    """A JPEG with the block in which Photoshop keeps captions."""
    block = b"Photoshop 3.0\x008BIM\x04\x04\0\0" + struct.pack(">I", len(IPTC)) + IPTC + bytes(len(IPTC) % 2)
    return jpeg[:2] + b"\xff\xed" + struct.pack(">H", len(block) + 2) + block + jpeg[2:]


def _strange_tiffs(rgb: Any) -> Iterator[tuple[str, bytes]]:
    """Kinds that are read by tifffile."""
    import tifffile

    alpha = np.concatenate([rgb, rgb[..., :1]], -1)
    kinds: dict[str, tuple[Any, dict[str, Any]]] = {
        "tiff float": (rgb[..., 0].astype(np.float32) / 255, {}),
        "tiff 16 bit alpha": (alpha.astype(np.uint16) * 257, {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
        "tiff planes": (np.moveaxis(rgb, -1, 0).astype(np.uint16), {"photometric": "rgb", "planarconfig": "separate"}),
        "tiff big": (rgb, {"photometric": "rgb", "bigtiff": True, "compression": "zlib"}),
    }
    for name, (array, options) in kinds.items():
        file = io.BytesIO()
        tifffile.imwrite(file, array, **options)
        yield name, file.getvalue()


def _canon(exif: bytes, preview: bytes) -> bytes:
    """A CR3's boxes: its brand, one of the small TIFF files that hold its facts, and the developed picture."""
    block = exif.removeprefix(b"Exif\0\0")
    facts = struct.pack(">I4s", 8 + len(block), b"CMT1") + block
    moov = struct.pack(">I4s", 8 + len(facts), b"moov") + facts
    return struct.pack(">I4s4sI4s", 20, b"ftyp", b"crx ", 1, b"isom") + moov + preview
