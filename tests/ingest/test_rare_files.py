"""Files of rare kinds, files that go away or cannot be read just now, and limits of the machine."""

from __future__ import annotations

import io
import os
import struct
import sys
from datetime import datetime

import numpy as np
import pytest
import tifffile
from PIL import Image

from interleave_index.errors import BackendMissing, ImageTooLarge, ImageUnreadable
from interleave_index.ingest import decode as decode_module
from interleave_index.ingest import decode_task, xmp
from interleave_index.ingest.companions import companions
from interleave_index.ingest.decode import decode, read_file, read_stream
from interleave_index.ingest.decode_process import receive, send
from interleave_index.ingest.decode_task import Recipe, Task, work
from interleave_index.ingest.exif import facts_from, facts_of, parse_time, read_exif
from interleave_index.ingest.file_dates import date_beside
from interleave_index.ingest.ignore import IGNORE_FILE, Ignored
from interleave_index.ingest.raw import largest_preview, raw_facts
from interleave_index.ingest.scan import Scanner
from interleave_index.ingest.sniff import sniff
from interleave_index.ingest.unmounted import why_unmounted
from interleave_index.records.texts import TEXT_KINDS


def jpeg(pictures, size=(480, 640)):
    return pictures.encoded(pictures.smooth(size), "JPEG", quality=90)


# --- limits ----------------------------------------------------------------------------------


def test_a_file_of_two_gigabytes_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "huge.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    os.truncate(path, 2**31)  # takes no space on the disk
    with pytest.raises(ImageTooLarge, match="file has 2147483648 bytes, expected at most 2147483647"):
        read_file(path)


def test_a_stream_that_does_not_end_is_refused_at_the_same_limit(monkeypatch, pictures):
    data = jpeg(pictures)
    assert read_stream(io.BytesIO(data)) == data
    monkeypatch.setattr(decode_module, "MAX_FILE_BYTES", 1000)
    with pytest.raises(ImageTooLarge, match="stream has more than 1000 bytes"):
        read_stream(io.BytesIO(data))
    with pytest.raises(ImageUnreadable, match="not a picture"):
        read_stream(io.BytesIO(b"words " * 1000))


def test_a_picture_that_does_not_fit_into_memory_is_too_large_and_not_damaged(monkeypatch, pictures):
    def exhausted(data: bytes) -> None:
        raise MemoryError

    monkeypatch.setattr(decode_module, "split_png", exhausted)
    with pytest.raises(ImageTooLarge, match="PNG picture does not fit into memory; lower the limit on pixels"):
        decode(pictures.encoded(pictures.smooth(), "PNG"))


# --- raw files -------------------------------------------------------------------------------


def camera_tiff(pictures, preview: bytes) -> bytes:
    """A TIFF whose pixels are packed in a way that only a camera's maker knows, with a JPEG behind them."""
    file = io.BytesIO()
    Image.fromarray(pictures.smooth()).save(file, "TIFF")
    plain = struct.pack("<HHIHH", 259, 3, 1, 1, 0)
    assert file.getvalue().count(plain) == 1
    return file.getvalue().replace(plain, struct.pack("<HHIHH", 259, 3, 1, 34713, 0)) + preview


def test_a_tiff_in_a_camera_makers_compression_is_its_embedded_jpeg(pictures):
    got = decode(camera_tiff(pictures, jpeg(pictures)))
    assert (got.format, got.width, got.height) == ("RAW", 640, 480)
    wanted = pictures.smooth((480, 640)).astype(int)
    assert np.abs(got.rgb.astype(int) - wanted).mean() < 3


@pytest.mark.parametrize("preview", [b"", "small"])
def test_without_a_useful_jpeg_such_a_tiff_cannot_be_read(preview, pictures):
    data = camera_tiff(pictures, jpeg(pictures, (120, 160)) if preview else b"")
    with pytest.raises(ImageUnreadable, match="TIFF data is damaged or cut off"):
        decode(data)


def negative(size=(400, 600)) -> bytes:
    """A small DNG without a preview: what a sensor with four colour filters sees of a grey that rises to the right."""
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        np.tile(np.linspace(500, 12000, size[1]).astype(np.uint16), (size[0], 1)),
        photometric=32803,  # colour filters
        extratags=[
            (271, 2, 0, "Maker", True),
            (272, 2, 0, "Raw One", True),
            (274, 3, 1, 6, True),
            (33421, 3, 2, (2, 2), True),
            (33422, 1, 4, bytes((0, 1, 1, 2)), True),
            (50706, 1, 4, bytes((1, 4, 0, 0)), True),
            (50708, 2, 0, "Maker Raw One", True),
            (50717, 4, 1, 16000, True),
            (50721, 10, 9, (1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1), True),
            (50728, 5, 3, (1, 1, 1, 1, 1, 1), True),
        ],
    )
    return file.getvalue()


def test_sensor_data_without_a_useful_jpeg_is_developed_upright():
    pytest.importorskip("rawpy")
    whole, half = decode(negative()), decode(negative(), long_side=100)
    assert (whole.format, whole.width, whole.height) == (half.format, half.width, half.height) == ("RAW", 400, 600)
    assert whole.rgb.shape == (600, 400, 3)
    assert 100 <= max(half.rgb.shape) < 200  # by half while it is developed, then by whole factors
    # it is turned by a quarter to the right, so that the grey rises to the bottom
    for rgb in (whole.rgb, half.rgb):
        rows = rgb.mean((1, 2))
        quarters = [float(rows[int(len(rows) * share)]) for share in (0.1, 0.3, 0.5, 0.7, 0.9)]
        assert quarters == sorted(quarters) and quarters[-1] - quarters[0] > 50
        assert float(np.ptp(rgb[len(rgb) // 4 : len(rgb) // 2].astype(int), axis=1).max()) < 20  # even across
    assert whole.camera == "Maker Raw One"
    with pytest.raises(ImageTooLarge, match="400 x 600"):
        decode(negative(), max_pixels=1000)


def test_jpegs_in_a_raw_file_are_measured_whatever_stands_before_their_size(pictures):
    plain = jpeg(pictures, (30, 40))
    filled = plain[:2] + b"\xff\xff\xff\x01" + plain[2:]  # a fill byte and a marker without a length
    for data, size in ((plain, (40, 30)), (filled, (40, 30))):
        preview = largest_preview(b"II*\0" + data)
        assert preview is not None and (preview.width, preview.height, preview.start) == (*size, 4)
    assert largest_preview(b"II*\0\xff\xd8\xff\x20\0\4ab" + bytes(30)) is None  # no marker of a JPEG
    assert largest_preview(b"II*\0\xff\xd8\xff\xda" + bytes(30)) is None  # pixels without a size before them
    zero = plain.replace(struct.pack(">HH", 30, 40), bytes(4), 1)
    assert largest_preview(b"II*\0" + zero) is None


def test_the_larger_of_two_jpegs_in_a_raw_file_is_taken_wherever_it_stands(pictures):
    small, large = jpeg(pictures, (30, 40)), jpeg(pictures, (60, 80))
    for data in (small + large, large + small):
        preview = largest_preview(b"II*\0" + data)
        assert preview is not None and (preview.width, preview.height) == (80, 60)


def test_facts_of_a_raw_file_that_is_not_understood_are_empty():
    assert raw_facts(b"FUJIFILMCCD-RAW 0201").camera is None
    assert raw_facts(b"II*\0" + b"\xff" * 60).taken_at is None
    assert raw_facts(b"\0\0\0\x18ftypcrx isom" + bytes(40)).camera is None


def test_a_cr3_keeps_its_facts_in_blocks_of_their_own():
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Canon", "Canon EOS R5"
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    data = b"\0\0\0\x18ftypcrx isom" + bytes(8) + struct.pack(">I", 8 + len(block)) + b"CMT1" + block + bytes(20)
    assert sniff(data[:64]) == "RAW" and raw_facts(data).camera == "Canon EOS R5"


# --- damaged heads and facts -----------------------------------------------------------------


def test_a_webp_without_its_header_is_damaged():
    with pytest.raises(ImageUnreadable, match="WEBP data is damaged or cut off: no header"):
        decode(b"RIFF\x10\0\0\0WEBPVP8 ")


class Broken:
    """A picture, or a block of EXIF, that raises whatever it is asked."""

    def __init__(self):
        self.info = {}

    def getexif(self):
        raise SyntaxError("not a block")

    def __iter__(self):
        raise ValueError("damaged")

    keys = __iter__

    def get_ifd(self, tag):
        raise KeyError(tag)


def test_damaged_facts_are_no_facts():
    assert read_exif(Broken()) == facts_of(Broken()) == facts_from({}, {}, {})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("gps", "place"),
    [
        ({1: "N", 2: (48, 30, 0), 3: "W", 4: (11, 15, 0)}, (48.5, -11.25)),
        ({1: b"S\0", 2: (48,), 3: "E", 4: (11, 30)}, (-48.0, 11.5)),
        ({1: "N", 2: (1, 2, 3, 4), 3: "E", 4: (11, 15, 0)}, (None, None)),
        ({1: "N", 2: ("x",), 3: "E", 4: (11, 15, 0)}, (None, None)),
        ({1: "N", 2: (91, 0, 0), 3: "E", 4: (11, 15, 0)}, (None, None)),
        ({1: "N", 2: (0, 0, 0), 3: "E", 4: (0, 0, 0)}, (None, None)),
        ({1: "N", 2: (float("nan"), 0, 0), 3: "E", 4: (1, 0, 0)}, (None, None)),
    ],
)
def test_a_place_is_degrees_minutes_and_seconds_or_none_at_all(gps, place):
    found = facts_from({}, {}, gps)
    assert (found.latitude, found.longitude) == place


def xmp_place(latitude: str, longitude: str) -> str:
    return (
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{xmp.RDF[1:-1]}"><rdf:Description '
        f'xmlns:exif="{xmp.EXIF[1:-1]}" exif:GPSLatitude="{latitude}" exif:GPSLongitude="{longitude}"/>'
        "</rdf:RDF></x:xmpmeta>"
    )


@pytest.mark.parametrize(
    ("written", "place"),
    [(("48,30N", "11,15E"), (48.5, 11.25)), (("95,0N", "11,15E"), (None, None)), (("0,0N", "0,0E"), (None, None))],
)
def test_a_place_in_xmp_has_the_same_limits(written, place):
    found = facts_from({}, {}, {}, xmp_block=xmp_place(*written))
    assert (found.latitude, found.longitude) == place


def test_days_that_there_are_none_of_are_no_times():
    assert parse_time("2021:02:30 10:00:00") is None and parse_time(b"2021:02:03 04:05:06\0rubbish") == datetime(
        2021, 2, 3, 4, 5, 6
    )


# --- what goes away or cannot be read just now -----------------------------------------------


def test_whatever_a_decoder_raises_is_the_failure_of_that_file_and_does_not_last(tmp_path, pictures, monkeypatch):
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg(pictures))

    def surprise(data: bytes, **_: object) -> None:
        raise RuntimeError("out of file handles")

    monkeypatch.setattr(decode_task, "decode", surprise)
    reply, rgb = work(Task(0, str(path)), Recipe(str(tmp_path / "small"), 10**6, 100, 32))
    assert rgb is None and (reply.reason, reply.lasting) == ("ImageUnreadable", False)
    assert reply.detail == "RuntimeError: out of file handles"


def test_a_message_that_is_cut_off_is_the_end_of_the_other_side():
    whole = io.BytesIO()
    send(whole, ("a message", 1))
    data = whole.getvalue()
    assert receive(io.BytesIO(data)) == ("a message", 1)
    for length in (0, 2, len(data) - 1):
        with pytest.raises(EOFError):
            receive(io.BytesIO(data[:length]))


def test_companions_a_file_in_a_folder_that_cannot_be_listed_are_none(tmp_path):
    for name in ("a.jpg", "A.CR2", "a.mov", "b.nef"):
        (tmp_path / name).touch()
    assert companions(str(tmp_path / "a.jpg")) == [
        (str(tmp_path / "A.CR2"), "raw"),
        (str(tmp_path / "a.mov"), "film"),
    ]
    assert companions(str(tmp_path / "a.txt")) == companions(str(tmp_path / "gone" / "a.jpg")) == []


def test_a_file_of_facts_that_goes_away_just_now_tells_no_date(tmp_path, monkeypatch):
    beside = tmp_path / "a.jpg.json"
    beside.write_text('{"photoTakenTime": {"timestamp": "1600000000"}}')
    assert date_beside(str(tmp_path / "a.jpg")) == datetime(2020, 9, 13, 12, 26, 40)
    beside.unlink()
    monkeypatch.setattr(os.path, "isfile", lambda path: True)
    assert date_beside(str(tmp_path / "a.jpg")) is None


def test_an_ignore_file_that_is_none_counts_for_nothing(tmp_path):
    (tmp_path / IGNORE_FILE).write_text("!\n")
    ignored = Ignored()
    ignored.enter(str(tmp_path))
    assert not ignored.cover(str(tmp_path / "a.jpg"), str(tmp_path), folder=False)


def test_a_folder_that_cannot_be_listed_is_not_called_empty(tmp_path, monkeypatch):
    assert why_unmounted(str(tmp_path), 1, 9) == "the folder is empty"

    def refuse(folder: str) -> None:
        raise PermissionError(13, os.strerror(13), folder)

    monkeypatch.setattr(os, "scandir", refuse)
    assert why_unmounted(str(tmp_path), 1, 9) is None
    assert why_unmounted(str(tmp_path), 60, 100) == "60 of its 100 photos are gone at once"
    assert why_unmounted(str(tmp_path), 50, 100) is None and why_unmounted(str(tmp_path), 0, 100) is None


def test_a_linked_file_that_goes_away_between_listing_and_looking_is_remembered(tmp_path, pictures):
    (tmp_path / "root").mkdir()
    (tmp_path / "away").mkdir()
    target = tmp_path / "away" / "a.jpg"
    target.write_bytes(jpeg(pictures))
    (tmp_path / "root" / "link.jpg").symlink_to(target)
    scanner = Scanner(on_outside=lambda path: target.unlink())
    assert list(scanner.files([tmp_path / "root"])) == []
    assert scanner.unlisted == {str(target): "no such file"}


def test_a_file_that_is_named_by_itself_is_found_though_its_folder_cannot_be_listed(tmp_path, pictures, monkeypatch):
    (tmp_path / "a.jpg").write_bytes(jpeg(pictures))

    def refuse(folder: str) -> None:
        raise PermissionError(13, os.strerror(13), folder)

    monkeypatch.setattr(os, "listdir", refuse)
    scanner = Scanner(text_kinds=TEXT_KINDS)
    assert [file.path for file in scanner.files([tmp_path / "a.jpg"])] == [str(tmp_path / "a.jpg")]


def test_without_watchdog_the_error_says_what_to_install(tmp_path, monkeypatch):
    import threading

    from interleave_index.ingest.watch import changes

    monkeypatch.setitem(sys.modules, "watchdog.observers", None)
    with pytest.raises(BackendMissing, match=r"interleave-index\[watch\]"):
        next(iter(changes([str(tmp_path)], threading.Event())))
