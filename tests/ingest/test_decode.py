"""One decode path: every format, orientation and colour gives the same upright sRGB pixels."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, PngImagePlugin

from interleave_index.errors import ImageTooLarge, ImageUnreadable, InputError, ShapeError
from interleave_index.ingest.decode import decode, load_picture, read_text
from interleave_index.ingest.sniff import sniff
from interleave_index.ingest.tiff import read_tiff

# How each orientation is stored, by hand: what has to be done to the upright picture so that EXIF undoes it.
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}
FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    "JPEG": ("JPEG", {"quality": 95, "subsampling": 0}),
    "PNG": ("PNG", {}),
    "WEBP": ("WEBP", {"lossless": True}),
    "HEIF": ("HEIF", {}),
    "AVIF": ("AVIF", {"quality": 95}),
    "TIFF": ("TIFF", {}),
    "GIF": ("GIF", {}),
    "BMP": ("BMP", {}),
    "TIFF-lzw": ("TIFF", {"compression": "tiff_lzw"}),
    "TIFF-jpeg": ("TIFF", {"compression": "jpeg", "quality": 95}),
}


def exif_with(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def difference(one, other):
    assert one.shape == other.shape
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_told_by_its_content_and_gives_the_pixels_that_were_written(name, pictures, tmp_path):
    kind, options = FORMATS[name]
    wanted = pictures.smooth()
    path = tmp_path / "any.name"
    path.write_bytes(pictures.encoded(wanted, kind, **options))
    got = decode(path)
    assert (got.format, got.width, got.height) == (kind, 64, 48)
    assert got.rgb.dtype == np.uint8 and got.rgb.flags.c_contiguous
    assert difference(got.rgb, wanted) < (12 if kind == "GIF" else 3)


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_all_eight_orientations_give_the_same_upright_pixels(kind, orientation, pictures):
    upright = pictures.smooth()
    stored = np.ascontiguousarray(STORED[orientation](upright))
    lossless: dict[str, dict[str, Any]] = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}
    got = decode(pictures.encoded(stored, kind, exif=exif_with(orientation), **lossless.get(kind, {})))
    assert (got.width, got.height) == (64, 48)
    assert difference(got.rgb, upright) < 2


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_orientation_of_heif_and_avif_is_applied_once_whoever_applies_it(kind, orientation, pictures):
    upright = pictures.smooth()
    stored = np.ascontiguousarray(STORED[orientation](upright))
    data = pictures.encoded(stored, kind, exif=exif_with(orientation).tobytes())
    got = decode(data)
    assert (got.width, got.height) == (64, 48)
    assert difference(got.rgb, upright) < 3


@pytest.mark.parametrize("orientation", [0, 9, 300])
def test_an_orientation_that_does_not_exist_is_ignored(orientation, pictures):
    wanted = pictures.smooth()
    got = decode(pictures.encoded(wanted, "JPEG", quality=95, exif=exif_with(orientation)))
    assert difference(got.rgb, wanted) < 3


def test_alpha_is_laid_on_white():
    image = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (0, 0, 2, 4))
    image.putpixel((3, 3), (0, 0, 0, 128))
    for kind in ("PNG", "WEBP"):
        file = io.BytesIO()
        image.save(file, kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {}))
        rgb = decode(file.getvalue()).rgb
        assert rgb[0, 0].tolist() == [0, 0, 255] and rgb[0, 3].tolist() == [255, 255, 255]
        assert rgb[3, 3].tolist() == [127, 127, 127]


def test_a_palette_with_a_transparent_colour_shows_white_there():
    image = Image.new("P", (4, 2), 0)
    image.putpalette([255, 0, 0, 0, 200, 0] + [0] * 762)
    image.putpixel((0, 0), 1)
    for kind in ("PNG", "GIF"):
        file = io.BytesIO()
        image.save(file, kind, transparency=0)
        rgb = decode(file.getvalue()).rgb
        assert rgb[0, 0].tolist() == [0, 200, 0] and rgb[1, 1].tolist() == [255, 255, 255]


def test_grey_of_eight_and_sixteen_bits_comes_out_as_the_same_grey(pictures):
    grey = pictures.smooth()[..., 0]
    for image in (Image.fromarray(grey), Image.fromarray(grey.astype(np.uint16) * 257)):
        for kind in ("PNG", "TIFF"):
            file = io.BytesIO()
            image.save(file, kind)
            assert np.array_equal(decode(file.getvalue()).rgb, np.repeat(grey[..., None], 3, -1))
    jpeg = io.BytesIO()
    Image.fromarray(grey).save(jpeg, "JPEG", quality=95)
    assert difference(decode(jpeg.getvalue()).rgb, np.repeat(grey[..., None], 3, -1)) < 2


def test_sixteen_bit_colour_and_floats_are_scaled_to_eight(pictures):
    wanted = pictures.smooth()
    assert np.array_equal(decode(png_of_sixteen_bits(wanted)).rgb, wanted)
    file = io.BytesIO()
    Image.fromarray((wanted[..., 0] / 255).astype(np.float32)).save(file, "TIFF")
    assert np.array_equal(decode(file.getvalue()).rgb[..., 1], wanted[..., 0])


def png_of_sixteen_bits(rgb):
    """A PNG written by hand, since Pillow writes none: 16-bit RGB, each value doubled up."""
    height, width, _ = rgb.shape
    rows = b"".join(b"\0" + (row.astype(">u2") * 257).astype(">u2").tobytes() for row in rgb)

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_cmyk_pictures_keep_their_colours():
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # no cyan, all magenta and yellow: red
    for kind, options in (("JPEG", {"quality": 95}), ("TIFF", {})):
        file = io.BytesIO()
        image.save(file, kind, **options)
        assert np.abs(decode(file.getvalue()).rgb.astype(int) - (255, 0, 0)).max() <= 3


def swapped_profile():
    """An ICC profile that is plainly not sRGB: sRGB with its red and green primaries' tags exchanged."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = int.from_bytes(data[128:132], "big")
    at = {bytes(data[132 + 12 * i : 136 + 12 * i]): 132 + 12 * i for i in range(count)}
    red, green = at[b"rXYZ"], at[b"gXYZ"]
    data[red : red + 4], data[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_a_colour_profile_is_applied(kind):
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 255
    file = io.BytesIO()
    Image.fromarray(red).save(file, kind, icc_profile=swapped_profile(), quality=95)
    got = decode(file.getvalue()).rgb[8, 8].astype(int)
    assert np.abs(got - (0, 255, 0)).max() <= 6


def test_a_damaged_or_foreign_profile_is_ignored(pictures):
    wanted = pictures.smooth()
    grey_profile = bytes(swapped_profile()).replace(b"RGB XYZ", b"GRAYXYZ")
    for profile in (b"rubbish" * 30, grey_profile):
        got = decode(pictures.encoded(wanted, "PNG", icc_profile=profile)).rgb
        assert np.array_equal(got, wanted)


def test_the_srgb_profile_itself_changes_nothing(pictures):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    wanted = pictures.smooth()
    assert np.array_equal(decode(pictures.encoded(wanted, "PNG", icc_profile=profile)).rgb, wanted)


def test_of_an_animation_the_first_frame_is_taken(pictures):
    first, second = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    for kind in ("GIF", "WEBP", "PNG", "TIFF", "AVIF"):
        file = io.BytesIO()
        first.save(file, kind, save_all=True, append_images=[second])
        assert np.abs(decode(file.getvalue()).rgb[4, 4].astype(int) - (255, 0, 0)).max() <= 4, kind


@pytest.mark.parametrize(
    "size, shrunk", [((900, 1300), (225, 325)), ((600, 999), (200, 333)), ((500, 599), (500, 599))]
)
def test_a_long_side_shrinks_by_a_whole_factor_and_keeps_the_facts(size, shrunk, pictures):
    picture = pictures.smooth(size)
    got = decode(pictures.encoded(picture, "PNG"), long_side=300)
    assert got.rgb.shape[:2] == shrunk and (got.height, got.width) == size
    rows, columns = ((np.arange(n) + 0.5) * full / n for n, full in zip(shrunk, size, strict=True))
    assert difference(got.rgb, picture[rows.astype(int)[:, None], columns.astype(int)]) < 2


@pytest.mark.parametrize("long_side, shrunk, near", [(300, (225, 325), 2), (100, (113, 163), 2), (20, (15, 21), 5)])
def test_scaled_jpeg_decoding_shows_the_same_picture(long_side, shrunk, near, pictures):
    picture = pictures.smooth((900, 1300))
    got = decode(pictures.encoded(picture, "JPEG", quality=95), long_side=long_side)
    assert got.rgb.shape[:2] == shrunk and (got.height, got.width) == (900, 1300)
    rows, columns = ((np.arange(n) + 0.5) * full / n for n, full in zip(shrunk, (900, 1300), strict=True))
    assert difference(got.rgb, picture[rows.astype(int)[:, None], columns.astype(int)]) < near


def test_the_size_of_a_jpeg_that_pillow_shrinks_is_that_of_the_whole_photo(pictures):
    """CMYK, and files with irregularities, do not go through libjpeg-turbo's own door."""
    file = io.BytesIO()
    Image.fromarray(pictures.smooth((900, 1300))).convert("CMYK").save(file, "JPEG", quality=95)
    got = decode(file.getvalue(), long_side=300)
    assert got.rgb.shape[:2] == (225, 325) and (got.height, got.width) == (900, 1300)
    plain = pictures.encoded(pictures.smooth((900, 1300)), "JPEG", quality=95)
    irregular = plain[:-2] + b"\xff\xd3" + plain[-2:]  # a restart marker without reason
    camera = b"FUJIFILMCCD-RAW 0201FF383501X-T2".ljust(160, b"\0") + irregular
    for data in (irregular, camera):
        got = decode(data, long_side=300)
        assert got.rgb.shape[:2] == (225, 325) and (got.height, got.width) == (900, 1300)


def test_a_tiff_whose_samples_are_fewer_than_its_size_is_damaged(pictures):
    file = io.BytesIO()
    Image.fromarray(pictures.smooth()).save(file, "TIFF")
    data = file.getvalue()
    bits = data.rfind(struct.pack("<HHH", 8, 8, 8))  # of each sample
    with pytest.raises(ImageUnreadable, match=r"unpacks to .* its size is 64 x 48"):
        decode(data[:bits] + struct.pack("<HHH", 1, 0, 18661) + data[bits + 6 :])


def test_texts_are_looked_for_in_no_picture_that_is_too_large(pictures, monkeypatch):
    """Pillow decodes a PNG to look for EXIF behind its pixels."""
    exif = Image.Exif()
    exif[0x010E] = "A lake"
    data = pictures.encoded(pictures.smooth(), "PNG", exif=exif)
    assert read_text(data, max_pixels=64 * 48).passages
    decoded = []
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", lambda image: decoded.append(image.size))
    bare = pictures.encoded(pictures.smooth(), "PNG")
    assert not read_text(bare, max_pixels=64 * 48).passages and decoded == [(64, 48)]
    assert not read_text(bare, max_pixels=64 * 48 - 1).passages and decoded == [(64, 48)]


@pytest.mark.parametrize(("values", "words"), [(1, "colours of kind 999"), (0, r"colours of kind \(\)")])
def test_a_tiff_of_unknown_colours_is_named_so(values, words, pictures):
    file = io.BytesIO()
    tifffile.imwrite(file, pictures.smooth().astype(np.float32), photometric="rgb")
    entry = struct.pack("<HHIHH", 262, 3, 1, 2, 0)
    assert file.getvalue().count(entry) == 1
    data = file.getvalue().replace(entry, struct.pack("<HHIHH", 262, 3, values, 999, 0))
    with pytest.raises(ImageUnreadable, match=f"this kind is not supported: {words} with 3 samples"):
        read_tiff(data, lambda size: None)


def test_the_limit_on_pixels_is_read_from_the_header(pictures):
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    png = (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + b"IHDR"
        + header
        + struct.pack(">I", zlib.crc32(b"IHDR" + header))
        + struct.pack(">I", 10)
        + b"IDAT"
        + bytes(14)
    )
    jpeg = bytearray(pictures.encoded(pictures.smooth(), "JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 50_000, 50_000)
    webp = bytearray(pictures.encoded(pictures.smooth(), "WEBP", lossless=True))
    webp[21:25] = ((16383) | (16383 << 14)).to_bytes(4, "little")
    for data in (png, bytes(jpeg), bytes(webp)):
        with pytest.raises(ImageTooLarge, match=r"expected at most 200000000"):
            decode(data)
    with pytest.raises(ImageTooLarge, match="64 x 48 = 3072 pixels, expected at most 3000"):
        decode(pictures.encoded(pictures.smooth(), "HEIF"), max_pixels=3000)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "HEIF", "AVIF", "TIFF", "GIF", "BMP"])
def test_a_file_that_was_cut_off_is_unreadable_and_not_half_a_picture(kind, pictures):
    data = pictures.encoded(pictures.drawn(3, (240, 320)), kind)
    for share in (0.02, 0.5, 0.9):
        with pytest.raises(ImageUnreadable):
            decode(data[: max(9, int(len(data) * share))])


def test_harmless_irregularities_do_not_cost_the_picture(pictures):
    wanted = pictures.smooth()
    data = pictures.encoded(wanted, "JPEG", quality=95)
    for odd in (data + b"bytes after the end", data[:2] + b"\xff\xe5\x00\x04ab" + b"zz" + data[2:]):
        assert difference(decode(odd).rgb, wanted) < 3


@pytest.mark.parametrize(
    "data, words",
    [
        (b"", "file is empty"),
        (b"just some text, not a picture at all", "not a picture: expected JPEG"),
        (b"II*\0\x10\0\0\0CR\2\0" + bytes(40), "raw file without a preview of a useful size"),
        (b"\xff\xd8\xff", "damaged or cut off"),
    ],
)
def test_what_is_no_picture_says_why(data, words):
    with pytest.raises(ImageUnreadable, match=words):
        decode(data)


def test_a_raw_file_inside_tiff_is_not_taken_for_its_preview():
    file = io.BytesIO()
    Image.new("RGB", (16, 12)).save(file, "TIFF", tiffinfo={254: 1})
    with pytest.raises(ImageUnreadable, match="raw file"):
        decode(file.getvalue())


def test_broken_exif_does_not_cost_the_pixels(pictures):
    wanted = pictures.smooth()
    for block in (b"Exif\0\0MM\0*" + b"\xff" * 60, b"Exif\0\0", b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(20)):
        assert difference(decode(pictures.encoded(wanted, "JPEG", quality=95, exif=block)).rgb, wanted) < 3


def test_films_and_documents_are_no_pictures():
    assert sniff(b"\0\0\0\x18ftypisom\0\0\2\0isommp41") is None
    assert sniff(b"\0\0\0\x14ftypqt  ") is None
    assert sniff(b"BMW is a maker of cars, and this is a text about it") is None
    assert sniff(b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf") == "AVIF"
    assert sniff(b"\0\0\0\x1cftypmif1\0\0\0\0mif1heicmiaf") == "HEIF"


def test_load_picture_takes_a_path_or_an_array_and_refuses_the_network_when_offline(pictures, tmp_path):
    wanted = pictures.smooth()
    path = tmp_path / "a.png"
    path.write_bytes(pictures.encoded(wanted, "PNG"))
    assert np.array_equal(load_picture(path), wanted) and np.array_equal(load_picture(str(path)), wanted)
    assert load_picture(wanted) is wanted
    with pytest.raises(InputError, match="offline"):
        load_picture("https://example.org/a.jpg", offline=True)
    with pytest.raises(ShapeError, match=r"\(48, 64\)"):
        load_picture(wanted[..., 0])
    with pytest.raises(ImageUnreadable, match=r"nowhere.jpg.*no such file"):
        load_picture(Path("nowhere.jpg"))
