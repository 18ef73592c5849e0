"""Sound files of rarer kinds give the pixels and facts that their makers meant."""

from __future__ import annotations

import io
import struct
import zlib
from datetime import datetime
from typing import Any

import numpy as np
import pillow_jxl  # noqa: F401  (so that Pillow writes JPEG XL)
import pytest
import tifffile
from PIL import Image, ImageCms, PngImagePlugin

from interleave_index.errors import ImageTooLarge, ImageUnreadable
from interleave_index.ingest import profiles, raw
from interleave_index.ingest.containers import UNPACKED_HERE, jxl_size, nclx
from interleave_index.ingest.decode import decode
from interleave_index.ingest.exif import parse_time

SIZE = (24, 32)
COLOUR = (200, 60, 60)


def plain(colour: tuple[int, int, int] = COLOUR, size: tuple[int, int] = SIZE) -> Image.Image:
    return Image.new("RGB", (size[1], size[0]), colour)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def tiff(samples: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, samples, **options)
    return file.getvalue()


def seen(data: bytes) -> list[int]:
    """The colour in the middle of a decoded picture."""
    rgb = decode(data).rgb
    return [int(level) for level in rgb[rgb.shape[0] // 2, rgb.shape[1] // 2]]


def near(data: bytes, colour: tuple[int, int, int], by: int = 3) -> bool:
    return max(abs(a - b) for a, b in zip(seen(data), colour, strict=True)) <= by


# --- colours that are named by number -------------------------------------------------------


def test_the_made_profile_of_adobe_rgb_agrees_with_its_published_matrix():
    source = ImageCms.ImageCmsProfile(io.BytesIO(profiles.adobe_rgb()))
    target = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    picture = ImageCms.ImageCmsTransform(source, target, "RGB", "RGB").apply(plain((128, 128, 128)))
    red, green, blue = (int(level) for level in np.asarray(picture)[0, 0])
    assert abs(red - green) <= 1 and abs(green - blue) <= 1  # grey stays grey
    # Adobe's green primary lies outside of sRGB; (0, 127, 0) under gamma 2.2 is 0.216 of it.
    linear = np.array([[2.0416, -0.5650, -0.3447], [-0.9692, 1.8760, 0.0416], [0.0134, -0.1184, 1.0154]])
    assert np.allclose(linear @ profiles._to_d50(profiles.ADOBE_RGB)[:, 1], [0, 1, 0], atol=0.25)


@pytest.mark.parametrize("mark", ["interoperability", "colour space"])
def test_adobe_rgb_that_only_exif_names_is_converted(mark):
    exif = Image.Exif()
    if mark == "interoperability":
        exif.get_ifd(0x8769)[0xA001] = 65535
        exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    else:
        exif.get_ifd(0x8769)[0xA001] = 2
    data = saved(plain((150, 100, 80)), "JPEG", quality=98, exif=exif)
    red, green, _ = seen(data)
    assert red > 165 and abs(green - 100) < 6  # a red of the wider space is a stronger red of sRGB


def test_a_profile_goes_before_the_colour_space_that_exif_names():
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = 2
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert near(saved(plain(), "JPEG", quality=98, exif=exif, icc_profile=srgb), COLOUR)


def with_chunk(data: bytes, kind: bytes, body: bytes) -> bytes:
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return data[:33] + chunk + data[33:]


def test_cicp_in_png_is_followed_and_goes_before_the_profile():
    png = saved(plain(), "PNG")
    assert seen(with_chunk(png, b"cICP", bytes((1, 13, 0, 1)))) == list(COLOUR)
    wide = seen(with_chunk(png, b"cICP", bytes((12, 13, 0, 1))))  # Display P3
    assert wide[0] > 212 and wide[1] < 50
    assert seen(with_chunk(png, b"cICP", bytes((77, 13, 0, 1)))) == list(COLOUR)  # no such number


def test_bright_video_of_pq_and_hlg_is_neither_black_nor_white():
    png = saved(plain((148, 148, 148)), "PNG")  # 58 % of PQ is about 200 nits: diffuse white
    assert min(seen(with_chunk(png, b"cICP", bytes((9, 16, 0, 1))))) > 240
    png = saved(plain((100, 100, 100)), "PNG")
    assert 60 < seen(with_chunk(png, b"cICP", bytes((9, 16, 0, 1))))[0] < 160
    assert 60 < seen(with_chunk(png, b"cICP", bytes((9, 18, 0, 1))))[0] < 180


def test_nclx_in_avif_is_followed():
    data = saved(plain(), "AVIF", quality=95, subsampling="4:4:4")
    assert nclx(data) is not None and near(data, COLOUR, 6)
    at = data.index(b"colrnclx") + 8
    wide = data[:at] + struct.pack(">HH", 12, 13) + data[at + 4 :]
    red, green, _ = seen(wide)
    assert red > 208 and green < 54


# --- transparency and depth -----------------------------------------------------------------


def test_the_transparent_level_of_a_deep_grey_png_is_white():
    levels = np.full(SIZE, 1000, np.uint16)
    levels[:12] = 30000
    data = with_chunk(saved(Image.fromarray(levels), "PNG"), b"tRNS", struct.pack(">H", 30000))
    rgb = decode(data).rgb
    assert rgb[0, 0].tolist() == [255] * 3 and rgb[20, 0].tolist() == [4] * 3


def deep_png(rgb: tuple[int, int, int]) -> bytes:
    row = b"\0" + struct.pack(">3H", *rgb) * SIZE[1]
    head = struct.pack(">IIBBBBB", SIZE[1], SIZE[0], 16, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n"
    for kind, body in ((b"IHDR", head), (b"IDAT", zlib.compress(row * SIZE[0])), (b"IEND", b"")):
        data += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return data


def test_the_transparent_colour_of_a_deep_png_is_white_and_others_stay():
    deep = (200 * 257, 60 * 257, 60 * 257)
    assert seen(with_chunk(deep_png(deep), b"tRNS", struct.pack(">3H", *deep))) == [255] * 3
    assert seen(with_chunk(deep_png(deep), b"tRNS", struct.pack(">3H", 5, 6, 7))) == list(COLOUR)


# --- long texts and profiles in PNG ----------------------------------------------------------


def long_text(**more: str) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "a" * 3_000_000, zip=True)
    for name, text in more.items():
        info.add_itxt(name.replace("__", ":").replace("_", "."), text, zip=True)
    return info


def test_long_texts_of_a_png_cost_nothing_and_its_xmp_is_read():
    xmp = xmp_block(f'exif:DateTimeOriginal="2018-01-30T20:30:48" x="{"y" * 2_000_000}"')
    data = saved(plain(), "PNG", pnginfo=long_text(XML__com_adobe_xmp=xmp))
    decoded = decode(data)
    assert decoded.rgb[5, 5].tolist() == list(COLOUR) and decoded.taken_at == datetime(2018, 1, 30, 20, 30, 48)


def test_a_png_that_unpacks_without_end_is_read_without_its_text():
    bomb = b"Comment\0\0" + zlib.compress(bytes(4 * UNPACKED_HERE))
    png = with_chunk(saved(plain(), "PNG"), b"zTXt", bomb)
    assert seen(png) == list(COLOUR)
    assert seen(with_chunk(saved(plain(), "PNG"), b"iCCP", b"p\0\0" + zlib.compress(bytes(4 * UNPACKED_HERE)))) == [
        200,
        60,
        60,
    ]


def test_a_profile_of_more_than_a_megabyte_is_applied():
    profile = bytearray(profiles.adobe_rgb())
    profile += bytes(1_500_000)
    profile[:4] = struct.pack(">I", len(profile))
    red, _, _ = seen(saved(plain((150, 100, 80)), "PNG", icc_profile=bytes(profile)))
    assert red > 165


def test_a_png_that_is_cut_off_is_still_called_so():
    data = saved(Image.effect_noise((64, 64), 50), "PNG", pnginfo=long_text())
    with pytest.raises(ImageUnreadable, match="damaged or cut off"):
        decode(data[: len(data) - 2000])


# --- TIFF ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("planes", ["contig", "separate"])
def test_colour_tiff_of_floats(dtype, planes):
    colour = np.full((*SIZE, 3), np.array(COLOUR) / 255, dtype)
    samples = colour if planes == "contig" else np.moveaxis(colour, -1, 0)
    assert near(tiff(samples, photometric="rgb", planarconfig=planes), COLOUR, 1)


def test_grey_tiff_with_alpha_of_sixteen_bits_lies_on_white():
    samples = np.zeros((*SIZE, 2), np.uint16)
    samples[..., 0], samples[:, 16:, 1] = 20000, 65535
    rgb = decode(tiff(samples, photometric="minisblack", extrasamples=["unassalpha"])).rgb
    assert rgb[5, 5].tolist() == [255] * 3 and rgb[5, 30].tolist() == [78] * 3


def test_colour_tiff_with_multiplied_alpha_is_not_multiplied_twice():
    samples = np.zeros((*SIZE, 4), np.float32)
    samples[..., 0], samples[..., 3] = 0.5, 0.5
    assert near(tiff(samples, photometric="rgb", extrasamples=["assocalpha"]), (255, 127, 127), 2)


def test_cmyk_tiff_with_alpha():
    samples = np.zeros((*SIZE, 5), np.uint8)
    samples[..., 1], samples[..., 2] = 255, 255  # magenta and yellow make red
    samples[:, 16:, 4] = 255
    rgb = decode(tiff(samples, photometric="separated", extrasamples=["unassalpha"])).rgb.astype(int)
    assert rgb[5, 5].tolist() == [255] * 3 and rgb[5, 30, 0] > 200 and rgb[5, 30, 1:].max() < 60


def test_a_strange_tiff_keeps_limits_turns_and_facts():
    samples = np.zeros((*SIZE, 3), np.float32)
    samples[:4] = 1
    data = tiff(samples, photometric="rgb", extratags=[(274, "H", 1, 6, True), (271, "s", 0, "Maker", True)])
    decoded = decode(data)
    assert decoded.rgb.shape == (32, 24, 3) and decoded.camera == "Maker"
    assert decoded.rgb[0, -1].tolist() == [255] * 3 and decoded.rgb[0, 0].tolist() == [0] * 3
    with pytest.raises(ImageTooLarge):
        decode(data, max_pixels=100)


def test_a_strange_tiff_that_is_cut_off_is_called_damaged():
    data = tiff(np.zeros((*SIZE, 3), np.float32), photometric="rgb")
    with pytest.raises(ImageUnreadable, match="damaged or cut off"):
        decode(data[:-500])


def test_a_tiff_kind_that_nothing_reads_is_not_called_damaged():
    data = tiff(np.zeros((*SIZE, 3), np.float32), photometric="cielab")
    with pytest.raises(ImageUnreadable, match="not supported"):
        decode(data)


def test_pages_after_the_first_are_counted_but_not_small_copies():
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for subfile in (0, 0, 1, 0):
            writer.write(np.zeros((*SIZE, 3), np.uint8), photometric="rgb", subfiletype=subfile)
    assert decode(file.getvalue()).more_pages == 2
    assert decode(saved(plain(), "TIFF")).more_pages == 0


# --- JPEG XL ---------------------------------------------------------------------------------


def test_jpeg_xl_is_read_turned_once_and_measured_before_it_is_unpacked():
    picture = np.zeros((*SIZE, 3), np.uint8)
    picture[:, 16:] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(Image.fromarray(picture), "JXL", lossless=True)
    assert np.abs(decode(data).rgb.astype(int) - picture).max() <= 1
    assert jxl_size(data) == (32, 24) and decode(data).format == "JXL"
    with pytest.raises(ImageTooLarge, match="32 x 24"):
        decode(data, max_pixels=100)
    boxed = saved(Image.fromarray(picture), "JXL", lossless=True, exif=exif.tobytes())
    assert boxed.startswith(b"\0\0\0\x0cJXL") and jxl_size(boxed) == (32, 24)


@pytest.mark.parametrize("size", [(8, 8), (256, 256), (3000, 2000), (1920, 1080), (1, 5000), (20000, 3)])
def test_sizes_of_jpeg_xl_are_read_in_every_form(size):
    assert jxl_size(saved(Image.new("L", size), "JXL")) == size


# --- dates -----------------------------------------------------------------------------------


def xmp_block(attributes: str = "", inside: str = "") -> str:
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" '
        'xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
        f"{attributes}>{inside}</rdf:Description></rdf:RDF></x:xmpmeta>"
    )


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "TIFF", "AVIF"])
def test_facts_that_stand_only_in_xmp_are_read(kind):
    block = xmp_block(
        'photoshop:DateCreated="2019-03-02T01:02:03.5+09:00" tiff:Make="Maker" tiff:Model="One"',
        "<exif:GPSLatitude>48,8.5N</exif:GPSLatitude><exif:GPSLongitude>11,34,30W</exif:GPSLongitude>",
    ).encode()
    decoded = decode(saved(plain(), kind, xmp=block) if kind != "TIFF" else tiff_with_xmp(block))
    assert (decoded.taken_at, decoded.camera) == (datetime(2019, 3, 2, 1, 2, 3), "Maker One")
    assert decoded.latitude == pytest.approx(48.1416, abs=1e-3) and decoded.longitude == pytest.approx(-11.575)


def tiff_with_xmp(block: bytes) -> bytes:
    return saved(plain(), "TIFF", tiffinfo={700: block})


def test_exif_goes_before_xmp_and_xmp_before_the_time_of_a_change():
    exif = Image.Exif()
    exif[0x0132] = "2024:01:01 00:00:00"
    block = xmp_block('xmp:CreateDate="2019-03-02T01:02:03"').encode()
    assert decode(saved(plain(), "JPEG", exif=exif, xmp=block)).taken_at == datetime(2019, 3, 2, 1, 2, 3)
    exif.get_ifd(0x8769)[0x9003] = "2012:05:06 07:08:09"
    assert decode(saved(plain(), "JPEG", exif=exif, xmp=block)).taken_at == datetime(2012, 5, 6, 7, 8, 9)


def test_xmp_that_unfolds_into_more_or_is_broken_is_left_aside():
    laughs = '<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>' + xmp_block(inside="<exif:X>&b;</exif:X>")
    for block in (laughs.encode(), b"<x:xmpmeta", b"\xff\xfe\x00", b""):
        assert decode(saved(plain(), "JPEG", xmp=block or b" ")).taken_at is None


def test_hour_twenty_four_is_the_first_hour_of_the_day_that_is_named():
    assert parse_time("2019:01:01 24:04:20") == datetime(2019, 1, 1, 0, 4, 20)
    assert parse_time("2019-01-01") == datetime(2019, 1, 1)
    assert parse_time("2019:01:01 25:04:20") is None


# --- raw files -------------------------------------------------------------------------------


def raw_file(preview: bytes, small: bytes = b"") -> bytes:
    """A made-up raw file in the form of TIFF: facts, a small copy in front, noise, the camera's JPEG, more noise."""
    exif = Image.Exif()
    exif[254], exif[256], exif[257], exif[258], exif[259], exif[262] = 1, 160, 120, 8, 7, 6
    exif[273], exif[279] = 8, 8
    exif[0x010F], exif[0x0110], exif[0x0112] = "Maker", "Raw One", 6
    exif.get_ifd(0x8769)[0x9003] = "2020:02:03 04:05:06"
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    noise = np.random.default_rng(1).integers(0, 255, 5000, np.uint8).tobytes()
    return block + small + noise + preview + noise


def test_the_jpeg_inside_a_raw_file_is_the_photo_turned_as_the_raw_file_says():
    data = raw_file(saved(plain(size=(600, 800)), "JPEG"), saved(plain((0, 0, 0), (120, 160)), "JPEG"))
    decoded = decode(data)
    assert (decoded.format, decoded.width, decoded.height) == ("RAW", 600, 800)
    assert decoded.rgb.shape == (800, 600, 3) and near(data, COLOUR)
    assert (decoded.camera, decoded.taken_at) == ("Maker Raw One", datetime(2020, 2, 3, 4, 5, 6))
    with pytest.raises(ImageTooLarge):
        decode(data, max_pixels=1000)


def test_other_numbers_in_the_head_of_a_raw_file_do_not_hide_its_facts():
    data = raw_file(saved(plain(size=(600, 800)), "JPEG"))
    for head in (b"IIRO", b"IIRS", b"IIU\0") if data.startswith(b"II") else (b"MMOR",):
        assert decode(head + data[4:]).camera == "Maker Raw One"


def test_sensor_data_that_is_kept_as_lossless_jpeg_is_no_preview():
    lossless = b"\xff\xd8\xff\xc3\0\x11\x08" + struct.pack(">HH", 4000, 6000) + bytes(20)
    assert raw.largest_preview(b"II*\0" + lossless) is None
    preview = raw.largest_preview(b"II*\0" + lossless + saved(plain(size=(600, 800)), "JPEG"))
    assert preview is not None and (preview.width, preview.height) == (800, 600)


def test_a_raw_file_with_a_small_preview_says_what_would_read_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "rawpy", None)
    with pytest.raises(ImageUnreadable, match=r"interleave-index\[raw\]"):
        decode(raw_file(saved(plain(size=(120, 160)), "JPEG")))
