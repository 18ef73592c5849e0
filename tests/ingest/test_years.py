"""What an ingest does with a library over years: dates beside the files, second looks, disks that are not there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from PIL import Image

from interleave_index import Config, Index
from interleave_index.errors import InputError
from interleave_index.ingest import decode
from interleave_index.ingest.file_dates import date_beside, date_in_name
from interleave_index.ingest.unmounted import AT_LEAST, why_unmounted
from interleave_index.interface.toy import ToyInterface

WITHOUT_PROCESSES = Config().with_flags(ingest_workers=0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    return tmp_path / "photos"


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with Index.open(tmp_path / "index", config=WITHOUT_PROCESSES, interface=ToyInterface(), create=True) as opened:
        yield opened


def picture(path: Path, colour: str = "red") -> Path:
    Image.new("RGB", (40, 30), colour).save(path)
    return path


def put_back(path: Path, before: os.stat_result) -> None:
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


# --- dates --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "when"),
    [
        ("IMG_20240630_142233.jpg", datetime(2024, 6, 30, 14, 22, 33)),
        ("PXL_20240630_142233123.MP.jpg", datetime(2024, 6, 30, 14, 22, 33)),
        ("Screenshot_20240630-142233_Maps.png", datetime(2024, 6, 30, 14, 22, 33)),
        ("Screen Shot 2024-06-30 at 14.22.33.png", datetime(2024, 6, 30, 14, 22, 33)),
        ("photo_2024-06-30_14-22-33.jpg", datetime(2024, 6, 30, 14, 22, 33)),
        ("IMG-20240630-WA0001.jpg", datetime(2024, 6, 30)),
        ("2024.06.30 25.99.00.jpg", datetime(2024, 6, 30)),
        ("scan 20241345 of 20240630.jpg", datetime(2024, 6, 30)),
        ("IMG_0001.jpg", None),
        ("DSC_20240230.jpg", None),
        ("1234567820240630.jpg", None),
        ("FB_IMG_1596712345678.jpg", None),
        ("19840213.jpg", None),
        ("29991231.jpg", None),
    ],
)
def test_a_name_tells_a_date_only_where_it_holds_one(name, when):
    assert date_in_name(name) == when


def test_a_sidecar_comes_before_takeout_and_takeout_before_the_name(folder):
    photo = folder / "IMG-20240630-WA0001.jpg"
    assert date_beside(str(photo)) == datetime(2024, 6, 30)
    for written in (b"[]", b"{", b'{"photoTakenTime": {"timestamp": "1e400"}}'):
        (folder / f"{photo.name}.json").write_bytes(written)
        assert date_beside(str(photo)) == datetime(2024, 6, 30)
    (folder / f"{photo.name}.json").write_text('{"photoTakenTime": {"timestamp": "1500000000"}}')
    assert date_beside(str(photo)) == datetime(2017, 7, 14, 2, 40)
    sidecar = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><a xmlns:e="http://ns.adobe.com/exif/1.0/" {}/></x:xmpmeta>'
    (folder / "IMG-20240630-WA0001.xmp").write_text(sidecar.format('e:DateTimeOriginal="2010-02-03T04:05:06+02:00"'))
    assert date_beside(str(photo)) == datetime(2010, 2, 3, 4, 5, 6)
    os.mkfifo(folder / f"{photo.name}.xmp")  # must not be waited for
    assert date_beside(str(photo)) == datetime(2010, 2, 3, 4, 5, 6)


def test_takeout_cuts_long_names(folder):
    name = f"{'a' * 40}.jpg"
    (folder / f"{(name + '.supplemental-metadata')[:46]}.json").write_text(
        json.dumps({"photoTakenTime": {"timestamp": 1500000000}})
    )
    assert date_beside(str(folder / name)) == datetime(2017, 7, 14, 2, 40)


def test_the_camera_is_believed_before_everything_beside_the_file(index, folder):
    exif = Image.Exif()
    exif[0x9003] = "2001:02:03 04:05:06"
    Image.new("RGB", (40, 30), "red").save(folder / "IMG-20240630-WA0001.jpg", exif=exif)
    picture(folder / "IMG-20240701-WA0002.jpg", "blue")
    picture(folder / "plain.jpg", "green")
    index.ingest(folder)
    dates = {Path(photo.path or "").name: photo.taken_at for photo, _ in index.library()}
    assert dates == {
        "IMG-20240630-WA0001.jpg": datetime(2001, 2, 3, 4, 5, 6),
        "IMG-20240701-WA0002.jpg": datetime(2024, 7, 1),
        "plain.jpg": None,
    }


# --- second looks -------------------------------------------------------------------------------


def test_a_reread_notices_what_keeps_size_and_time(index, folder):
    photo, other = picture(folder / "a.bmp", "red"), picture(folder / "b.bmp", "blue")
    index.ingest(folder)
    before = photo.stat()
    shutil.copyfile(picture(folder.parent / "c.bmp", "yellow"), photo)
    put_back(photo, before)
    assert index.ingest(folder).present == 2
    report = index.ingest(folder, reread=True)
    assert (report.changed, report.present) == (1, 1)
    assert index.ingest(folder, reread=True).present == 2 and all(check.ok for check in index.verify())
    assert other.exists()


def test_a_reread_takes_facts_anew_and_keeps_the_vectors(index, folder):
    photo = picture(folder / "a.jpg")
    copy = shutil.copy(photo, folder / "b.jpg")
    index.ingest(folder)
    (number,) = index.ids().tolist()
    assert index.photo(number).taken_at is None
    (folder / "a.xmp").write_text(
        '<x xmlns:e="http://ns.adobe.com/exif/1.0/" e:DateTimeOriginal="2010-02-03T04:05:06"/>'
    )
    assert index.ingest(folder).present == 2 and index.photo(number).taken_at is None
    index.interface.encode_photos = None  # would fail if it were asked
    assert index.ingest(folder, reread=True).present == 2
    assert index.ids().tolist() == [number] and index.photo(number).taken_at == datetime(2010, 2, 3, 4, 5, 6)
    assert Path(copy).exists() and all(check.ok for check in index.verify())


def test_a_damaged_file_that_kept_size_and_time_is_told_and_its_photo_stays(index, folder):
    photo = picture(folder / "a.jpg")
    index.ingest(folder)
    before = photo.stat()
    photo.write_bytes(bytes(before.st_size))
    put_back(photo, before)
    report = index.ingest(folder, reread=True)
    assert [Path(file.path).name for file in report.failed] == ["a.jpg"] and index.status()["photos"] == 1


def test_failures_are_tried_again_when_asked(index, folder, monkeypatch):
    picture(folder / "a.jpg")
    (folder / "b.jpg").write_bytes(b"no picture")
    (folder / "b.md").write_bytes(b"\xff\xfe\x00")
    first = index.ingest(folder)
    read: list[str] = []

    def noting(path):
        read.append(path)
        return decode.read_file(path)

    monkeypatch.setattr("interleave_index.ingest.decode_task.read_file", noting)
    index.ingest(folder)
    assert read == []
    again = index.ingest(folder, retry=True)
    assert [Path(path).name for path in read] == ["b.jpg"]
    assert again.failed == first.failed and not again.new_failures


# --- disks that are not there -------------------------------------------------------------------


def test_a_folder_that_is_empty_all_at_once_is_not_believed(index, folder):
    for number, colour in enumerate(("red", "blue", "green")):
        picture(folder / f"{number}.jpg", colour)
    (folder / "notes.md").write_text("a red house")
    index.ingest(folder)
    for path in folder.iterdir():
        path.rename(folder.parent / path.name)
    report = index.ingest(folder)
    assert (report.missing, report.texts["missing"]) == (0, 0)
    assert [(root.path, root.photos, root.why) for root in report.unmounted] == [
        (str(folder), 3, "the folder is empty")
    ]
    assert len(index.ids()) == 3 and report.to_json()["unmounted"][0]["photos"] == 3
    report = index.ingest(folder, really=True)
    assert (report.missing, report.texts["missing"], report.unmounted) == (3, 1, ())


def test_photos_that_moved_elsewhere_are_no_lost_disk(index, folder):
    picture(folder / "a.jpg")
    index.ingest(folder)
    (folder.parent / "new").mkdir()
    (folder / "a.jpg").rename(folder.parent / "new" / "a.jpg")
    report = index.ingest([folder, folder.parent / "new"])
    assert (report.moved, report.missing, report.unmounted) == (1, 0, ())


def test_many_photos_gone_at_once_are_not_believed_few_are(tmp_path):
    (tmp_path / "one").write_text("")
    assert why_unmounted(str(tmp_path), AT_LEAST, 2 * AT_LEAST - 1) is not None
    assert why_unmounted(str(tmp_path), AT_LEAST, 2 * AT_LEAST) is None
    assert why_unmounted(str(tmp_path), AT_LEAST - 1, AT_LEAST) is None
    assert why_unmounted(str(tmp_path / "one"), 1, 1) is None  # a file, not a folder


def test_only_what_is_missing_for_long_enough_is_pruned(index, folder):
    for name, colour in (("a.jpg", "red"), ("b.jpg", "blue")):
        picture(folder / name, colour)
    (folder / "a.txt").write_text("a red house")
    index.ingest(folder)
    (folder / "a.jpg").unlink()
    (folder / "a.txt").unlink()
    index.ingest(folder)
    due = index.prunable(7)
    assert (due.photos, due.locations, due.texts, due.waiting) == (0, 0, 0, 2)
    assert index.prune(7) == 0 and index.status()["photos"] == 2
    due = index.prunable()
    assert (due.photos, due.locations, due.texts, due.waiting) == (1, 1, 1, 0)
    assert index.prune(1e300) == 0  # further back than there are dates
    with pytest.raises(InputError, match="grace of -1 days"):
        index.prune(-1)
    assert index.prune() == 1 and index.status()["photos"] == 1


# --- files of one shot ---------------------------------------------------------------------------


def test_raw_files_and_films_of_a_shot_are_listed_with_its_photo(index, folder):
    picture(folder / "IMG_1.JPG")
    picture(folder / "IMG_2.png", "blue")
    for name in ("IMG_1.CR2", "img_1.mov", "IMG_1.txt", "IMG_10.mov", "IMG_2.mov"):
        (folder / name).write_bytes(b"data")
    report = index.ingest(folder)
    assert report.added == 2 and report.not_read["raw_beside_jpeg"] == 1
    ids = {Path(photo.path or "").name: photo.id for photo, _ in index.library()}
    listed = [(Path(place.path).name, place.kind) for place in index.locations(ids["IMG_1.JPG"])]
    assert listed == [("IMG_1.JPG", "photo"), ("IMG_1.CR2", "raw"), ("img_1.mov", "film")]
    assert [place.kind for place in index.locations(ids["IMG_2.png"])] == ["photo"]
    (folder / "IMG_1.JPG").unlink()
    index.ingest(folder)
    assert [place.present for place in index.locations(ids["IMG_1.JPG"])] == [False]


def test_a_raw_file_that_is_a_photo_by_itself_is_no_companion(index, folder):
    Image.new("RGB", (700, 500), "green").save(folder / "a.cr2", format="JPEG")
    index.ingest(folder)
    picture(folder / "a.jpg")
    index.ingest(folder)
    names = {Path(photo.path or "").name: photo.id for photo, _ in index.library()}
    assert set(names) == {"a.cr2", "a.jpg"}
    assert [Path(place.path).name for place in index.locations(names["a.jpg"])] == ["a.jpg"]
