"""Backup and restore, repair, and dropping a space: an index over years."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from interleave_index import Config, Index
from interleave_index.errors import IndexDamaged, InputError, NotInIndex, StorageError
from interleave_index.interface.toy import ToyInterface
from interleave_index.storage.backup import read_manifest, restore_backup
from interleave_index.storage.tables import CalibrationRow, EncodingRow, RegionMaskRow

from .damage import turn_over


def answers(index: Index) -> list[tuple[int, float]]:
    return [(hit.photo.id, hit.score) for hit in index.search("[red] beside [blue]", 10)]


# --- backup ------------------------------------------------------------------------------------


def test_a_restored_index_answers_as_the_one_that_was_backed_up(toy_index, tmp_path):
    before = answers(toy_index)
    about = toy_index.backup(tmp_path / "b.tar")
    assert (about.photos, about.thumbnails) == (6, 6) and read_manifest(tmp_path / "b.tar") == about
    assert restore_backup(tmp_path / "b.tar", tmp_path / "again") == about
    with Index.open(tmp_path / "again", interface=ToyInterface()) as index:
        assert answers(index) == before and all(check.ok for check in index.verify())
        assert index.thumbnail(1).is_file() and index.config == toy_index.config


def test_a_backup_is_made_while_others_write_and_holds_one_moment(toy_index, tmp_path, drawn_photos):
    extra = tmp_path / "extra"
    shutil.copytree(drawn_photos.folder, extra)
    for path in extra.iterdir():
        path.write_bytes(path.read_bytes() + b" ")
    writer = threading.Thread(target=toy_index.ingest, args=(extra,))
    writer.start()
    toy_index.backup(tmp_path / "b.tar")
    writer.join()
    restore_backup(tmp_path / "b.tar", tmp_path / "again")
    with Index.open(tmp_path / "again", interface=ToyInterface()) as index:
        assert all(check.ok for check in index.verify()) and index.status()["photos"] in (6, 12)


@pytest.mark.sqlite
def test_a_backup_of_a_large_index_ends_though_others_never_stop_writing(toy_index, tmp_path):
    catalog, given_up = toy_index.folder / "catalog.sqlite", time.monotonic() + 15
    with closing(sqlite3.connect(catalog)) as connection:
        connection.execute("CREATE TABLE filler (data BLOB)")
        connection.executemany("INSERT INTO filler VALUES (zeroblob(1000000))", [()] * 100)
        connection.commit()
    done, writes = threading.Event(), []

    def write() -> None:
        with closing(sqlite3.connect(catalog, timeout=60)) as connection:
            connection.execute("PRAGMA synchronous = OFF")
            while not done.is_set() and time.monotonic() < given_up:
                connection.execute("UPDATE catalog SET change = change + 1")
                connection.commit()
                writes.append(time.monotonic())

    writer = threading.Thread(target=write)
    writer.start()
    toy_index.backup(tmp_path / "b.tar")
    done.set()
    writer.join()
    assert writes and time.monotonic() < given_up


def test_nothing_is_written_over(toy_index, tmp_path):
    (tmp_path / "b.tar").write_text("mine")
    with pytest.raises(InputError, match="nothing lies"):
        toy_index.backup(tmp_path / "b.tar")
    assert (tmp_path / "b.tar").read_text() == "mine"
    toy_index.backup(tmp_path / "c.tar")
    with pytest.raises(StorageError, match="not empty"):
        restore_backup(tmp_path / "c.tar", toy_index.folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.tar", "c.tar", "photos.index"]


def test_a_backup_that_is_damaged_makes_no_index(toy_index, tmp_path):
    toy_index.backup(tmp_path / "b.tar")
    data = bytearray((tmp_path / "b.tar").read_bytes())
    for name, change in {"cut": data[: len(data) // 3], "no": b"no tar", "empty": b""}.items():
        (tmp_path / name).write_bytes(change)
        with pytest.raises((InputError, IndexDamaged)):
            restore_backup(tmp_path / name, tmp_path / "again")
    place = data.index(b"SQLite format 3") + 5000
    data[place] ^= 255
    (tmp_path / "flipped").write_bytes(data)
    with pytest.raises(IndexDamaged, match="not the one that was written"):
        restore_backup(tmp_path / "flipped", tmp_path / "again")
    assert not (tmp_path / "again").exists()


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """As on a disk that is full: no file of this process may grow beyond `size` bytes."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_without_room_is_not_taken_for_a_damaged_catalog(toy_index, tmp_path):
    (tmp_path / "to").mkdir()
    with files_of_at_most(50_000), pytest.raises(StorageError) as told:
        toy_index.backup(tmp_path / "to" / "b.tar")
    assert not isinstance(told.value, IndexDamaged) and str(tmp_path / "to") in str(told.value)
    assert list((tmp_path / "to").iterdir()) == []


def test_where_a_restore_had_no_room_is_said(toy_index, tmp_path):
    toy_index.backup(tmp_path / "b.tar")
    with files_of_at_most(20_000), pytest.raises(StorageError) as told:
        restore_backup(tmp_path / "b.tar", tmp_path / "to" / "again")
    assert f"backup cannot be restored to {tmp_path / 'to' / 'again'}: " in str(told.value)
    assert list((tmp_path / "to").iterdir()) == []


def test_a_backup_cannot_write_outside_of_its_folder(toy_index, tmp_path):
    toy_index.backup(tmp_path / "b.tar")
    (tmp_path / "evil").write_text("evil")
    with tarfile.open(tmp_path / "b.tar", "a") as tar:
        tar.add(tmp_path / "evil", "../evil-out")
    with pytest.raises(InputError, match="which no backup"):
        restore_backup(tmp_path / "b.tar", tmp_path / "deep" / "again")
    assert not (tmp_path / "deep" / "evil-out").exists() and not (tmp_path / "deep" / "again").exists()


def test_a_backup_of_a_newer_version_is_refused_in_words(toy_index, tmp_path):
    toy_index.backup(tmp_path / "b.tar")
    about = json.loads(json.dumps({"form": 2}))
    (tmp_path / "backup.json").write_text(json.dumps(about))
    with tarfile.open(tmp_path / "newer.tar", "w") as tar:
        tar.add(tmp_path / "backup.json", "backup.json")
    with pytest.raises(InputError, match="form 2"):
        restore_backup(tmp_path / "newer.tar", tmp_path / "again")


# --- repair ------------------------------------------------------------------------------------


def test_a_sound_index_needs_no_repair(toy_index):
    assert not toy_index.repair_plan() and toy_index.repair() is None


def test_a_damaged_file_of_vectors_is_made_anew(toy_index):
    before = answers(toy_index)
    (file,) = (toy_index.folder / "faiss").glob("region-*")
    toy_index.close()
    data = bytearray(file.read_bytes())
    data[200] ^= 255
    file.write_bytes(data)
    with Index.open(toy_index.name, interface=ToyInterface()) as index:
        assert index.repair_plan().rebuild == ((1, ("region",)),)
        index.repair()
        assert not index.repair_plan() and answers(index) == before and all(check.ok for check in index.verify())


def test_thumbnails_are_made_again_and_those_of_no_photo_go(toy_index):
    lost, damaged = toy_index.thumbnail(1), toy_index.thumbnail(2)
    lost.unlink()
    damaged.write_bytes(damaged.read_bytes()[:100])
    orphan = lost.parent / f"{'0' * 64}.jpg"
    orphan.write_bytes(damaged.read_bytes())
    plan = toy_index.repair_plan()
    assert (len(plan.thumbnails), plan.damaged_thumbnails, plan.orphans) == (2, (damaged,), (orphan,))
    report = toy_index.repair(plan)
    assert report is not None and report.present == 2 and not orphan.exists()
    assert not toy_index.repair_plan() and all(check.ok for check in toy_index.verify())


def test_photos_without_vectors_are_taken_in_again(toy_index, database):
    for name in ("part_checksum", "checksum", "region_mask", "encoding"):
        database.run(toy_index.name, f"DELETE FROM {name} WHERE photo_id = 3")
    database.run(toy_index.name, "INSERT INTO removal VALUES (1, (SELECT seq + 1 FROM space), 3)")
    database.run(toy_index.name, "UPDATE space SET seq = seq + 1")
    database.run(toy_index.name, "UPDATE catalog SET change = change + 1")
    plan = toy_index.repair_plan()
    assert [Path(path).stem for path in plan.unencoded] == [Path(toy_index.photo(3).path).stem]
    toy_index.repair(plan)
    assert not toy_index.repair_plan() and all(check.ok for check in toy_index.verify())


@pytest.mark.parametrize("column", ["image", "boxes", "masks"])
def test_what_is_stored_of_a_photo_and_changed_is_encoded_again(toy_index, column):
    before, held = answers(toy_index), toy_index.regions(3)
    model = RegionMaskRow if column == "masks" else EncodingRow
    turn_over(toy_index._store, model, column, at=9, photo_id=3, space_id=1)
    plan = toy_index.repair_plan()
    assert plan.damaged_photos == (3,) and plan.damaged == (toy_index.photo(3).path,) == plan.again
    report = toy_index.repair(plan)
    assert report is not None and report.present == 1
    assert not toy_index.repair_plan() and all(check.ok for check in toy_index.verify())
    assert answers(toy_index) == before and toy_index.regions(3) == held


def test_a_calibration_that_changed_is_kept_anew_though_no_file_is_read(toy_index):
    before = toy_index._store.load_calibration(1)
    turn_over(toy_index._store, CalibrationRow, "data", at=99, space_id=1)
    assert toy_index.repair_plan().calibrations == (1,) and toy_index.repair() is None
    assert toy_index._store.load_calibration(1) == before is not None and not toy_index.repair_plan()


def test_failed_files_are_tried_again(toy_index, tmp_path, drawn_photos):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    times = (1_600_000_000, 1_600_000_000)
    import os

    os.utime(bad, times)
    assert len(toy_index.ingest(bad).failed) == 1
    bad.write_bytes((Path(drawn_photos.red_disc.path).read_bytes() + b"x")[: len(b"no picture")])
    os.utime(bad, times)
    assert toy_index.repair_plan().failed == (str(bad),)
    report = toy_index.repair()
    assert report is not None and [failed.path for failed in report.failed] == [str(bad)]


# --- spaces ------------------------------------------------------------------------------------


class Other(ToyInterface):
    """The same colours under another checkpoint, hence another space."""

    space = replace(ToyInterface.space, checkpoint="1" * 64)


def test_a_space_that_is_not_searched_can_be_dropped_with_all_its_vectors(toy_index, drawn_photos):
    with Index.open(toy_index.name, config=Config().with_flags(models_interface="toy"), interface=Other()) as index:
        index.ingest(drawn_photos.folder)
    second = toy_index.spaces()[1].id
    with pytest.raises(StorageError, match="activate another"):
        toy_index.drop_space(1)
    with pytest.raises(NotInIndex):
        toy_index.drop_space(99)
    files = len(list((toy_index.folder / "faiss").glob("*.faiss")))
    toy_index.drop_space(second)
    assert [row.id for row in toy_index.spaces()] == [1] and all(check.ok for check in toy_index.verify())
    assert len(list((toy_index.folder / "faiss").glob("*.faiss"))) < files


def test_a_new_space_with_the_id_of_a_dropped_one_is_not_searched_by_its_vectors(toy_index, drawn_photos, database):
    """A reader that has the dropped space open, as a server does, reads the new one anew."""
    with Index.open(toy_index.name, config=Config().with_flags(models_interface="toy"), interface=Other()) as index:
        index.ingest(drawn_photos.folder)
    store = toy_index._store
    before = store.indexes(2)
    toy_index.drop_space(2)
    if database.server is not None:  # PostgreSQL gives no id twice by itself
        database.run(toy_index.name, "ALTER SEQUENCE space_id_seq RESTART WITH 2")

    class Third(ToyInterface):
        space = replace(ToyInterface.space, checkpoint="2" * 64)

        def encode_photos(self, photos):
            return [replace(encoding, image=-encoding.image) for encoding in super().encode_photos(photos)]

    with Index.open(toy_index.name, config=Config().with_flags(models_interface="toy"), interface=Third()) as index:
        index.ingest(drawn_photos.folder)
    after = store.indexes(2)
    assert after.identity != before.identity
    query = before.pending.image[:1] if len(before.pending.image) else next(iter(before.image.scan())).vectors[:1]
    assert after.image.search(query.astype("f4"), 1)[0][0, 0] < 0.5
