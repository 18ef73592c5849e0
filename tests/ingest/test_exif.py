"""What a camera wrote becomes facts; what it wrote wrongly becomes nothing."""

from __future__ import annotations

from datetime import datetime

import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from interleave_index.ingest.decode import decode
from interleave_index.ingest.exif import parse_time


def written(pictures, kind="JPEG", main=None, detail=None, gps=None):
    exif = Image.Exif()
    exif.update(main or {})
    for tag, block in ((0x8769, detail), (0x8825, gps)):
        if block:
            exif.get_ifd(tag).update(block)
    return decode(pictures.encoded(pictures.smooth(), kind, exif=exif.tobytes()))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "HEIF", "AVIF", "TIFF"])
def test_time_camera_lens_and_place_are_read_from_every_format_that_carries_them(kind, pictures):
    got = written(
        pictures,
        kind,
        main={0x010F: "Canon", 0x0110: "Canon EOS R5", 0x0132: "2023:01:01 00:00:00"},
        detail={0x9003: "2021:07:04 18:05:09", 0xA434: "RF50mm F1.2 L USM"},
        gps={1: "S", 2: (33.0, 51.0, 24.0), 3: "E", 4: (151.0, 12.0, 36.0)},
    )
    assert got.taken_at == datetime(2021, 7, 4, 18, 5, 9)
    assert (got.camera, got.lens) == ("Canon EOS R5", "RF50mm F1.2 L USM")
    assert (got.latitude, got.longitude) == pytest.approx((-33.856667, 151.21), abs=1e-6)


def test_a_maker_that_the_model_does_not_name_is_put_before_it(pictures):
    got = written(pictures, main={0x010F: "SONY\0\0", 0x0110: "  ILCE-7M4 "}, detail={0xA433: "Sigma", 0xA434: "35mm"})
    assert (got.camera, got.lens) == ("SONY ILCE-7M4", "Sigma 35mm")
    assert written(pictures, main={0x010F: "NIKON CORPORATION", 0x0110: "NIKON D70"}).camera == "NIKON D70"


def test_without_the_time_of_the_shutter_the_next_best_time_is_taken(pictures):
    assert written(pictures, main={0x0132: "2019:03:02 01:00:00"}).taken_at == datetime(2019, 3, 2, 1)
    late = written(
        pictures,
        main={0x0132: "2019:03:02 01:00:00"},
        detail={0x9003: "    :  :     :  :  ", 0x9004: "2018:03:02 01:00:00"},
    )
    assert late.taken_at == datetime(2018, 3, 2, 1)


@pytest.mark.parametrize(
    "text, when",
    [
        ("2021:07:04 18:05:09", datetime(2021, 7, 4, 18, 5, 9)),
        ("2021-07-04T18:05:09+02:00", datetime(2021, 7, 4, 18, 5, 9)),
        ("2021/07/04 18:05", datetime(2021, 7, 4, 18, 5)),
        (b"2021:07:04 18:05:09\0", datetime(2021, 7, 4, 18, 5, 9)),
        ("0000:00:00 00:00:00", None),
        ("2021:13:04 18:05:09", None),
        ("yesterday", None),
        ("", None),
        (None, None),
        (7, None),
    ],
)
def test_times_are_read_as_cameras_write_them(text, when):
    assert parse_time(text) == when


@pytest.mark.parametrize(
    "gps",
    [
        {1: "N", 2: (0.0, 0.0, 0.0), 3: "E", 4: (0.0, 0.0, 0.0)},  # no fix
        {1: "N", 2: (91.0, 0.0, 0.0), 3: "E", 4: (10.0, 0.0, 0.0)},
        {1: "N", 2: (10.0, 0.0, 0.0)},
        {1: "N", 2: (IFDRational(0, 0), 0.0, 0.0), 3: "E", 4: (10.0, 0.0, 0.0)},
    ],
)
def test_a_place_that_cannot_be_is_no_place(gps, pictures):
    got = written(pictures, gps=gps)
    assert (got.latitude, got.longitude) == (None, None)


def test_a_picture_without_exif_has_no_facts(pictures):
    got = written(pictures)
    assert (got.taken_at, got.camera, got.lens, got.latitude, got.longitude) == (None,) * 5
