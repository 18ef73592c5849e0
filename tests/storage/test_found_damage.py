"""What `verify` and the plan of a repair find in catalogs and files that are not as they should be."""

from __future__ import annotations

import json
import os
import sqlite3
import tarfile
from contextlib import closing
from typing import Any

import numpy as np
import pytest
from sqlalchemy import insert, select, update

from interleave_index.errors import IndexDamaged, InputError, NotInIndex, StorageError
from interleave_index.records import Space
from interleave_index.storage import checksums, database, spaces, statements
from interleave_index.storage.backup import read_manifest, restore_backup, write_backup
from interleave_index.storage.statements import raise_change, table
from interleave_index.storage.store import Store
from interleave_index.storage.tables import (
    EncodingRow,
    LocationRow,
    PartChecksumRow,
    PassageEncodingRow,
    PhotoRow,
    RegionMaskRow,
)

from ..past import unpack
from .conftest import DIM, SPACE, sha
from .test_texts import encode, page


def put(library: Any, model: Any, photo_id: int, **values: Any) -> None:
    """Change a row of a photo, and keep checksums that are right for it: as a wrong program would have written it."""
    rows = table(model)
    with library.store._session.writing("a test") as connection:
        connection.execute(update(rows).where(rows.c.photo_id == photo_id).values(values))
        (found,) = checksums._encodings(connection, library.space, [photo_id], parts=True)
        parts = table(PartChecksumRow)
        sums = checksums.of_parts(found)
        connection.execute(update(parts).where(parts.c.photo_id == photo_id).values(sums))
        connection.exec_driver_sql(
            f"UPDATE checksum SET crc32 = {checksums.of_whole(found)} WHERE photo_id = {photo_id}"
        )
        raise_change(connection)


def said(library: Any, check: str) -> str:
    """What `verify` says of one check, which must not hold."""
    (found,) = [found for found in library.store.verify() if found.name == check]
    assert not found.ok
    return str(found.detail)


def test_a_photo_without_a_size_is_named(library):
    (photo,) = library.add("a")
    with library.store._session.writing("a test") as connection:
        connection.execute(update(table(PhotoRow)).values(width=0))
    assert said(library, "photos") == f"1 photo, 1 with a content or size that cannot be: photo {photo}"


def test_vectors_that_are_no_numbers_are_infinitely_long(library):
    (photo,) = library.add("a")
    put(library, EncodingRow, photo, image=np.full(DIM, np.nan, "<f2").tobytes())
    assert "longest vector inf" in said(library, "vectors of space 1")


def test_masks_that_cannot_be_unpacked_or_are_those_of_other_regions_are_named(library):
    first, second = library.add("a", "b")
    put(library, RegionMaskRow, first, masks=b"no masks")
    put(library, RegionMaskRow, second, masks=b"x\x9c\x8b\x8e\x05\x00\x01\x15\x00\xb9")  # an empty list
    assert f"1 with masks that are not those of their regions: photo {first}" in said(library, "masks of space 1")


def test_a_passage_whose_vectors_have_another_number_than_its_phrases_is_counted(library):
    library.store.texts.write([page("/notes/a.md", "one", "two")])
    first, _ = encode(library)
    rows = table(PassageEncodingRow)
    with library.store._session.writing("a test") as connection:
        connection.execute(update(rows).where(rows.c.passage_id == first).values(phrases=b""))
    assert said(library, "text vectors of space 1").endswith("1 wrong")


def test_a_file_that_holds_other_vectors_than_the_catalog_is_found_though_both_have_their_checksums(library):
    first, _ = library.add("a", "b")
    library.store.optimize(library.space)
    put(library, EncodingRow, first, image=library.vectors(1)[0].astype("<f2").tobytes())
    assert said(library, "image vectors of space 1") == "2 vectors of 2 photos compared with the catalog"


def test_a_thumbnail_that_cannot_be_read_is_damaged(library):
    library.add("a")
    library.store.thumbnail_path(sha("a")).mkdir(parents=True)  # a folder in its place
    assert library.store.repair_plan().damaged_thumbnails == (library.store.thumbnail_path(sha("a")),)


def test_a_thumbnail_that_is_cut_off_is_named(library):
    (photo,) = library.add("a")
    small = library.store.thumbnail_path(sha("a"))
    small.parent.mkdir(parents=True)
    small.write_bytes(b"\xff\xd8 cut")
    assert f"1 damaged: photo {photo}; `interleave-index repair --apply` makes" in said(library, "thumbnails")


def test_a_repair_makes_a_file_anew_that_was_cut_short_while_it_was_open(library):
    library.add("a", "b")
    for row in library.store.optimize(library.space):
        if row.kind == "region":
            path = library.folder / "faiss" / row.file
    library.store.indexes(library.space)
    path.write_bytes(path.read_bytes()[:-1])
    plan = library.store.repair_plan()
    assert plan.rebuild == ((library.space, ("region",)),)
    library.store.repair_files(plan)
    assert library.names_of_checks_that_fail() == [] and not library.store.repair_plan().rebuild


def test_a_file_of_texts_that_waits_for_vectors_is_named_when_it_is_here(library, tmp_path):
    library.add("a")
    library.store.texts.write([page(str(tmp_path / "a.md"), "one"), page("/not/here.md", "two")])
    (tmp_path / "a.md").write_text("one")
    assert library.store.repair_plan().texts == (str(tmp_path / "a.md"),)


# --- spaces and rows that contradict each other ----------------------------------------------


def test_a_space_is_made_once_though_two_make_it_at_the_same_time(library):
    with library.store._session.writing("a test") as connection:
        assert spaces.ensure(connection, SPACE) == library.space == spaces.ensure(connection, SPACE)
        with pytest.raises(NotInIndex, match="space 9 is not in the catalog; ensure_space makes one"):
            statements.raise_seq(connection, 9, 1)


def test_a_new_space_with_the_id_of_one_that_another_process_dropped_is_read_anew(library):
    library.add("a", "b")
    other = library.store.ensure_space(Space("other", "1" * 64, "none", DIM))
    library.store.activate(other)
    with Store.open(library.name) as reader:
        assert len(reader.indexes(library.space).image.best(library.vectors(1))[0]) == 2
        library.store.drop_space(library.space)
        with library.store._session.writing("a test") as connection:
            connection.exec_driver_sql(f"UPDATE space SET id = {library.space} WHERE id = {other}")
        assert len(reader.indexes(library.space).image.best(library.vectors(1))[0]) == 0


def test_rows_that_contradict_each_other_are_an_error_of_this_program_not_of_the_catalog(library):
    from sqlalchemy.exc import IntegrityError

    library.add("a")
    with pytest.raises(IntegrityError), library.store._session.writing("a test") as connection:
        path = connection.execute(select(LocationRow.path)).scalar_one()
        connection.execute(insert(table(LocationRow)).values(path=path, bytes=1, mtime_ns=1, state="missing"))
    assert library.names_of_checks_that_fail() == []


def test_text_that_is_no_utf_8_is_damage_in_words(library):
    library.add("a")
    with closing(sqlite3.connect(library.folder / database.CATALOG)) as connection:
        connection.execute("UPDATE photo SET camera = CAST(x'ff80' AS TEXT)")
        connection.commit()
    with pytest.raises(IndexDamaged, match=r"is damaged \(Could not decode to UTF-8 column 'camera'"):
        library.store.photo(1)


def test_a_locked_catalog_is_not_taken_for_a_damaged_one(library, monkeypatch):
    library.add("a")
    library.store.close()
    monkeypatch.setattr(database, "BUSY_MS", 10)
    with closing(sqlite3.connect(library.folder / database.CATALOG, isolation_level=None)) as connection:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StorageError, match=r"cannot be used just now \(database is locked\)") as told:
            Store.open(library.name)
        assert not isinstance(told.value, IndexDamaged)


# --- catalogs that may only be read ----------------------------------------------------------


@pytest.mark.parametrize("revision", ["0001", "0003"])
def test_an_older_catalog_that_may_only_be_read_has_no_texts_and_nothing_forgotten(revision, tmp_path, monkeypatch):
    folder = unpack(revision, tmp_path / "index")
    monkeypatch.setattr(database, "may_not_be_written", lambda _: True)
    with Store.open(folder) as store:
        assert [*store.texts.at("/photos/page.md"), *store.texts.of_photo(1), *store.texts.every()] == []
        assert store.texts.of_kinds(["markdown"]).tolist() == [] and store.facets()["texts"] == []
        assert len(store.exclusions()) == (0 if revision == "0001" else 1) and store.forgotten_pixels() == set()
        with pytest.raises(StorageError, match="is read-only for this user"):
            store.save_calibration(1, b"x")


def test_a_catalog_that_changes_while_it_is_read_without_locks_is_said(tmp_path):
    folder = unpack("0005", tmp_path / "index")
    words = "was changed by another process while it was read; ask again"
    with pytest.raises(StorageError, match=words), database.unchanging(folder):
        os.truncate(folder / database.CATALOG, 100_000)
    with database.unchanging(folder):  # a file that was put in its place leaves the one that is read whole
        (folder / database.CATALOG).unlink()
    (folder / f"{database.CATALOG}-wal").write_bytes(b"")
    with database.unchanging(folder):  # then locks keep readers and writers apart
        (folder / database.CATALOG).write_bytes(b"anything")


def test_how_a_catalog_is_opened_for_reading_only(tmp_path, monkeypatch):
    folder = unpack("0005", tmp_path / "index")
    assert database.reading_address(folder).endswith("/catalog.sqlite?mode=ro")
    monkeypatch.setattr(database, "may_not_be_written", lambda _: True)
    assert database.reading_address(folder).endswith("?mode=ro&immutable=1")
    (folder / f"{database.CATALOG}-shm").write_bytes(b"")
    assert database.reading_address(folder).endswith("?mode=ro")


def test_an_empty_catalog_beside_thumbnails_is_damage(tmp_path):
    (tmp_path / "thumbnails").mkdir()
    (tmp_path / database.CATALOG).touch()
    with pytest.raises(IndexDamaged, match=r"is empty \(0 bytes\), but an index was here; restore"):
        Store.open(tmp_path, create=True)


# --- backups ---------------------------------------------------------------------------------


@pytest.fixture
def kept(library, tmp_path):
    """A backup of an index with two thumbnails."""
    library.add("a", "b")
    for name in ("a", "b"):
        small = library.store.thumbnail_path(sha(name))
        small.parent.mkdir(parents=True, exist_ok=True)
        small.write_bytes(b"\xff\xd8\xff\xd9")
    write_backup(library.folder, tmp_path / "b.tar", library.store.copy_catalog)
    return tmp_path / "b.tar"


def test_a_thumbnail_that_is_forgotten_during_a_backup_is_left_out(library, kept, tmp_path):
    every = sorted((library.folder / "thumbnails").glob("??/*.jpg"))
    about = write_backup(
        library.folder, tmp_path / "c.tar", library.store.copy_catalog, lambda done, _: every[done % 2].unlink()
    )
    assert about.thumbnails == 2
    with tarfile.open(tmp_path / "c.tar") as tar:
        assert [name for name in tar.getnames() if name.startswith("thumbnails/")] == [
            f"thumbnails/{every[0].parent.name}/{every[0].name}"
        ]


def test_a_backup_tells_how_many_thumbnails_of_all_it_holds(library, kept, tmp_path):
    told = []
    write_backup(library.folder, tmp_path / "c.tar", library.store.copy_catalog, lambda *said: told.append(said))
    assert told == [(1, 2), (2, 2)]


def test_a_backup_goes_into_an_empty_folder(kept, tmp_path):
    (tmp_path / "empty").mkdir()
    restore_backup(kept, tmp_path / "empty")
    with Store.open(tmp_path / "empty") as store:
        assert store.status()["photos"] == 2


def test_an_archive_of_something_else_is_no_backup(kept, tmp_path):
    with tarfile.open(tmp_path / "other.tar", "w") as tar:
        tar.add(kept, "backup.tar")
    with pytest.raises(InputError, match=r"other\.tar is no backup of an index, expected one that `interleave-index"):
        read_manifest(tmp_path / "other.tar")


def test_a_backup_of_an_unknown_schema_is_refused(kept, tmp_path):
    with tarfile.open(kept) as tar:
        tar.extractall(tmp_path / "all", filter="data")
    manifest = tmp_path / "all" / "backup.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"revision": "0999"}))
    with tarfile.open(tmp_path / "newer.tar", "w") as tar:
        tar.add(manifest, "backup.json")
    with pytest.raises(InputError, match="has schema 0999, this version knows up to"):
        restore_backup(tmp_path / "newer.tar", tmp_path / "new")
    assert not (tmp_path / "new").exists()
