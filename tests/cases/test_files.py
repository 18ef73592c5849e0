"""Files of every kind that a collection holds: what is taken in, what is passed over, what stays one photo."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import unicodedata
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image

from interleave_index.ingest import decode_task
from interleave_index.ingest.decode import Decoded
from interleave_index.interface.toy import ToyInterface
from interleave_index.marks import jpeg_options, png_options
from interleave_index.records import Filters
from interleave_index.service import Index


def picture(number: int = 0, size: tuple[int, int] = (96, 128)) -> Image.Image:
    rgb = np.full((*size, 3), 255, np.uint8)
    rgb[20:70, 20 + number : 70 + number] = (220, 40, 40)
    rgb[0, 0] = (number, 7, 7)
    return Image.fromarray(rgb)


def put(path: Path, number: int = 0, **options: Any) -> Path:
    """Write a drawn JPEG that differs from others by its number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(number).save(path, "JPEG", quality=92, **options)
    return path


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    return folder


@pytest.fixture
def index(tmp_path):
    with Index.open(tmp_path / "index", interface=ToyInterface(), create=True) as made:
        yield made


def paths(index: Index) -> list[str]:
    return sorted(os.path.basename(str(photo.path)) for photo, _ in index.library())


# --- passed over and counted -----------------------------------------------------------------


def test_what_systems_and_other_programs_keep_is_passed_over_and_counted(index, photos):
    put(photos / "holiday" / "a.jpg")
    passed = (
        "#recycle/1.jpg",
        "@Recycle/2.jpg",
        "@eaDir/a.jpg/SYNOPHOTO_THUMB_XL.jpg",
        "System Volume Information/3.jpg",
        "A Previews.lrdata/0/1/4.jpg",
        "Mine.photoslibrary/resources/derivatives/5.jpg",
        "Old.aplibrary/Thumbnails/6.jpg",
        "CaptureOne/Cache/7.jpg",
        "cloud/appdata_oc1a2b3c/preview/8.jpg",
        "immich/thumbs/9.jpg",
    )
    for number, name in enumerate(passed, 1):
        put(photos / name, number)
    (photos / "immich" / "thumbs" / ".immich").touch()
    put(photos / "Mine.photoslibrary" / "originals" / "0" / "b.jpg", 20)
    put(photos / "thumbs" / "c.jpg", 21)  # a folder of that name that is nobody's cache
    report = index.ingest(photos)
    assert paths(index) == ["a.jpg", "b.jpg", "c.jpg"] and report.not_read["system_folders"] == len(passed)


def test_a_folder_that_is_passed_over_is_taken_in_when_it_is_named(index, photos):
    put(photos / "#recycle" / "a.jpg")
    assert index.ingest(photos / "#recycle").added == 1


def test_films_and_pictures_of_kinds_that_are_not_read_are_counted(index, photos):
    put(photos / "a.jpg")
    for name in ("a.mov", "b.MP4", "c.psd", "d.jp2", "e.svg", "notes.txt", "z.xmp", ".DS_Store", "._a.jpg"):
        (photos / name).write_bytes(b"what is inside does not matter")
    put(photos / ".hidden.jpg", 1)
    put(photos / ".cache" / "b.jpg", 2)
    report = index.ingest(photos)
    assert report.added == 1 and not report.failed
    assert report.not_read == {
        "hidden": 1,
        "hidden_folders": 1,
        "jpeg_2000": 1,
        "other_pictures": 1,
        "psd": 1,
        "video": 2,
    }


def test_a_raw_file_beside_its_jpeg_is_the_same_photo(index, photos):
    put(photos / "IMG_1.JPG")
    for name in ("IMG_1.CR2", "img_1.dng", "IMG_2.CR2"):
        (photos / name).write_bytes(b"II*\0\x10\0\0\0CR\2\0" + bytes(400))
    first = index.ingest(photos)
    assert first.not_read == {"raw_beside_jpeg": 2} and first.added == 1
    assert [os.path.basename(file.path) for file in first.new_failures] == ["IMG_2.CR2"]
    again = index.ingest(photos)
    assert [os.path.basename(file.path) for file in again.failed] == ["IMG_2.CR2"] and not again.new_failures
    assert [os.path.basename(file.path) for file in index.failed()] == ["IMG_2.CR2"]


def test_a_raw_file_that_had_failed_leaves_no_row_once_its_jpeg_is_there(index, photos):
    (photos / "a.cr2").write_bytes(b"II*\0\x10\0\0\0CR\2\0" + bytes(400))
    index.ingest(photos)
    put(photos / "a.jpg")
    index.ingest(photos)
    assert index.failed() == [] and index.status()["missing"] == 0


def test_own_masks_and_heat_maps_are_no_photos(index, photos):
    put(photos / "a.jpg")
    picture(1).save(photos / "mask.png", **png_options("mask"))
    picture(2).save(photos / "painted.jpg", **jpeg_options("painted"))
    report = index.ingest(photos)
    assert report.added == 1 and report.not_read == {"own_outputs": 2}
    assert not list((index.folder / "thumbnails").rglob(f"{'0' * 64}.jpg"))
    assert len(list((index.folder / "thumbnails").rglob("*.jpg"))) == 1


def test_pages_of_a_tiff_after_the_first_are_counted(index, photos):
    picture().save(photos / "scan.tif", save_all=True, append_images=[picture(1), picture(2)])
    assert index.ingest(photos).not_read == {"tiff_pages": 2}


# --- times -----------------------------------------------------------------------------------


@pytest.mark.parametrize("year", [13_569_465_600, -9_999_999_999])
def test_a_time_of_change_beyond_what_a_catalog_holds_costs_nobody(year, index, photos):
    os.utime(put(photos / "a.jpg"), (year, year))
    put(photos / "b.jpg", 1)
    assert index.ingest(photos).added == 2
    assert index.ingest(photos).present == 2


# --- one path a file -------------------------------------------------------------------------


def test_links_inside_a_root_make_no_duplicates(index, photos):
    for number in range(5):
        put(photos / "2024" / f"{number}.jpg", number)
    (photos / "favourites").mkdir()
    for number in range(5):
        (photos / "favourites" / f"{number}.jpg").symlink_to(photos / "2024" / f"{number}.jpg")
    (photos / "everything").symlink_to(photos / "2024")
    report = index.ingest(photos)
    assert (report.added, report.duplicate) == (5, 0)
    assert index.status()["locations"] == 5
    assert {len(index.locations(photo)) for photo, _ in index.library()} == {1}


def test_both_names_of_a_linked_root_find_its_photos(index, photos, tmp_path):
    file = put(photos / "a.jpg")
    link = tmp_path / "link"
    link.symlink_to(photos)
    assert index.ingest(link).added == 1 and index.ingest(photos).present == 1
    assert index.ingest(link / "a.jpg").present == 1
    for name in (photos, link):
        assert len(index.search("red box", filters=Filters(folder=name))) == 1
        assert index.ids(Filters(folder=name)).tolist() == [1]
    assert index.forget([link / "a.jpg"]) == 1 and file.exists()


FORMS: tuple[Literal["NFC"], Literal["NFD"]] = ("NFC", "NFD")


@pytest.mark.parametrize("on_disk", FORMS)
def test_both_spellings_of_an_accent_name_one_folder(on_disk, index, photos):
    name = unicodedata.normalize(on_disk, "Café/Zürich")
    put(photos / name / "é.jpg")
    put(photos / "Cafe" / "b.jpg", 1)
    index.ingest(photos)
    for form in FORMS:
        spelled = photos / unicodedata.normalize(form, "Café")
        assert index.ids(Filters(folder=spelled)).size == 1
        inside = photos / unicodedata.normalize(form, "Café/Zürich")
        assert index.ids(Filters(folder=inside)).size == 1
    other = FORMS[on_disk == "NFC"]
    assert index.forget([photos / unicodedata.normalize(other, "Café")]) == 1
    assert index.ingest(photos).not_read == {"forgotten_folders": 1}


def test_the_original_is_shown_before_its_copies_and_all_places_are_listed(index, photos):
    names = ("DSC_1 (1).jpg", "Copy of DSC_1.jpg", "DSC_1.jpg", "A copy.jpg")
    for name in names:
        shutil.copy(put(photos / "DSC_1.jpg"), photos / name) if name != "DSC_1.jpg" else None
    index.ingest(photos)
    photo = index.photo(1)
    assert os.path.basename(str(photo.path)) == "DSC_1.jpg"
    listed = index.locations(photo)
    assert listed[0].path == photo.path and all(location.present for location in listed) and len(listed) == 4
    (photos / "DSC_1.jpg").unlink()
    index.ingest(photos)
    assert [location.present for location in index.locations(1)] == [True] * 3 + [False]


# --- edits -----------------------------------------------------------------------------------


def dated(text: str) -> dict[str, Any]:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = text
    return {"exif": exif}


class Counting(ToyInterface):
    """Counts the photos that it was given."""

    seen = 0

    def encode_photos(self, photos):
        Counting.seen += len(photos)
        return super().encode_photos(photos)


def test_a_tag_that_is_written_into_a_file_keeps_its_photo(tmp_path, photos):
    put(photos / "a.jpg", **dated("2024:06:30 23:30:00"))
    with Index.open(tmp_path / "index", interface=Counting(), create=True) as index:
        index.ingest(photos)
        before, seen = index.photo(1), Counting.seen
        old_thumbnail = index.thumbnail(1)
        put(photos / "a.jpg", **dated("2011:01:02 03:04:05"))
        assert index.ingest(photos).changed == 1
        after = index.photo(1)
        assert after.taken_at is not None and after.taken_at.year == 2011
        assert after.sha256 != before.sha256 and Counting.seen == seen
        assert index.thumbnail(1).is_file() and not old_thumbnail.exists()
        assert index.status()["photos"] == 1 and all(check.ok for check in index.verify())
        assert index.ingest(photos).present == 1


def test_a_turned_or_painted_picture_is_another_photo_and_the_old_one_is_gone(index, photos):
    put(photos / "a.jpg")
    index.ingest(photos)
    turned = Image.Exif()
    turned[0x0112] = 6
    put(photos / "a.jpg", exif=turned)
    assert index.ingest(photos).changed == 1
    assert index.status()["photos"] == 1 and index.ids().tolist() == [2]


def test_a_copy_whose_tags_change_leaves_the_other_copies_as_they_are(index, photos):
    put(photos / "a.jpg", **dated("2024:06:30 23:30:00"))
    shutil.copy(photos / "a.jpg", photos / "b.jpg")
    index.ingest(photos)
    put(photos / "b.jpg", **dated("2011:01:02 03:04:05"))
    assert index.ingest(photos).changed == 1
    taken = {os.path.basename(str(photo.path)): str(photo.taken_at)[:4] for photo, _ in index.library()}
    assert taken == {"a.jpg": "2024", "b.jpg": "2011"}


def test_a_picture_that_is_sent_as_bytes_is_not_the_mark_of_ours(index, photos):
    file = io.BytesIO()
    picture().save(file, "PNG")
    (photos / "interleave-index.png").write_bytes(file.getvalue())
    assert index.ingest(photos).added == 1


@pytest.mark.parametrize("pixels", [True, False])
def test_an_own_output_is_known_by_its_head_and_not_read_further(pixels, photos, monkeypatch):
    picture().save(photos / "mask.png", **png_options("mask"))
    size = (photos / "mask.png").stat().st_size

    def refuse(*_: object) -> None:
        raise AssertionError("the whole file is read")

    monkeypatch.setattr(decode_task, "read_file", refuse)
    monkeypatch.setattr(decode_task, "sha256_of", refuse)
    recipe = decode_task.Recipe(str(photos), 10**6, 1000, 64)
    reply, rgb = decode_task.work(decode_task.Task(1, str(photos / "mask.png"), pixels=pixels), recipe)
    assert (reply.left_out, reply.bytes, rgb) == ("own_outputs", size, None)


def test_the_hash_of_pixels_is_that_of_older_catalogs():
    rgb = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    for shown in (rgb, rgb[:, ::-1], rgb[::2]):
        decoded = Decoded(shown, 16, 12, "PNG")
        expected = hashlib.sha256(shown.tobytes() + f"16x12 {shown.shape}".encode()).hexdigest()
        assert decode_task._pixel_hash(decoded) == expected
