"""What a store refuses and says in words, and damage to its files that it lives with."""

from __future__ import annotations

import io
import os
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interleave_index.errors import IndexBusy, IndexDamaged, InputError, NotInIndex, ShapeError, StorageError
from interleave_index.records import Rle
from interleave_index.storage import checked, database, files, generations, mapped_lists, names, recipes, session
from interleave_index.storage.backend import load_faiss
from interleave_index.storage.database import CATALOG
from interleave_index.storage.lock import WriteLock
from interleave_index.storage.rows import LocationWrite, PhotoWrite, WriteBatch
from interleave_index.storage.store import Store
from interleave_index.storage.text_rows import PassageVectors
from interleave_index.storage.upkeep import NotWritten

from .conftest import DIM, SPACE


def folded(library: Any) -> Any:
    """The library with eight photos in its FAISS files."""
    library.add(*[f"n{number}" for number in range(8)], regions=2)
    library.store.optimize(library.space)
    return library


def live(library: Any, kind: str) -> Any:
    """The row of a generation that is searched."""
    with library.store.reading() as connection:
        return next(row for row in generations.live(connection) if row.kind == kind)


# --- values ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("regions", "change", "error", "words"),
    [
        (257, {}, InputError, "257 regions, expected at most 256; keep the best ones"),
        (2, {"masks": (Rle((2, 2), "22"),)}, ShapeError, "1 masks for 2 regions"),
        (2, {"boxes": np.zeros((2, 3), np.float32)}, ShapeError, r"boxes: shape is \(2, 3\), expected \(2, 4\)"),
        (2, {"areas": np.zeros(3, np.float32)}, ShapeError, r"areas: shape is \(3,\), expected \(2,\)"),
    ],
)
def test_an_encoding_whose_parts_do_not_fit_together_is_refused(library, regions, change, error, words):
    bad = replace(library.encoding(regions), **change)
    with pytest.raises(error, match=words):
        library.store.write(WriteBatch(library.space, [PhotoWrite(library.facts("a"), bad)]))
    assert library.store.status()["photos"] == 0


def test_a_photo_without_regions_may_have_any_empty_arrays(library):
    none = np.zeros(0, np.float32)
    plain = replace(library.encoding(0), regions=none.reshape(0, DIM), boxes=none, areas=none, scores=none)
    library.store.write(WriteBatch(library.space, [PhotoWrite(library.facts("a"), plain)]))
    assert library.store.vectors(library.space, [library.id("a")]).boxes.shape == (0, 4)


def test_what_is_written_to_a_space_that_is_not_there_is_refused(library):
    with pytest.raises(NotInIndex, match="space 99 is not in the catalog"):
        library.store.write(WriteBatch(99, [PhotoWrite(library.facts("a"), library.encoding(1))]))
    with pytest.raises(NotInIndex, match="space 99"):
        library.store.drop_space(99)


def test_a_failure_needs_a_reason(library):
    with pytest.raises(InputError, match=r"'/p/a.jpg' failed without a reason"):
        library.store.write(WriteBatch(library.space, [], [LocationWrite("/p/a.jpg", None, 1, 1, "failed")]))


def test_a_space_that_is_there_already_keeps_its_id_and_the_active_one_cannot_be_dropped(library):
    assert library.store.ensure_space(SPACE) == library.space
    assert library.store.ensure_space(replace(SPACE, dim=8)) != library.space
    with pytest.raises(StorageError, match="is the one that searches use; activate another one first"):
        library.store.drop_space(library.space)


def test_only_what_was_known_when_the_folders_were_listed_becomes_missing(library):
    library.add("a", "b")
    assert library.store.mark_missing([Path("/photos")], set(), known={"/photos/a.jpg"}) == 1
    states = {path: row.state for path, row in library.store.known_locations([Path("/photos")]).items()}
    assert states == {"/photos/a.jpg": "missing", "/photos/b.jpg": "present"}


def test_vectors_of_passages_that_went_away_are_not_kept(library):
    gone = PassageVectors(7, library.vectors(1)[0], library.vectors(2), "")
    library.store.texts.write_vectors(library.space, DIM, [gone])
    library.store.texts.write([])
    assert library.store.texts.waiting(library.space).tolist() == [] and not library.names_of_checks_that_fail()


# --- answers that are kept -------------------------------------------------------------------


def test_answers_that_were_not_asked_for_lately_are_found_anew(library, monkeypatch):
    monkeypatch.setattr(session, "REMEMBERED", 2)
    library.add("a")
    first = library.store.status()
    assert library.store.status() is first
    assert library.store.facets()["folders"] == [{"name": "/photos", "photos": 1}]
    library.store.null_sample(library.space)
    again = library.store.status()
    assert again == first and again is not first


def test_photos_without_a_place_are_near_to_nothing(library):
    from interleave_index.records import Filters

    library.add("a")
    assert library.store.eligible(library.space, Filters(near=(48.0, 11.0, 100.0))).tolist() == []


def test_folders_count_the_photos_below_them(library):
    library.store.write(
        WriteBatch(
            library.space,
            [PhotoWrite(library.facts(name), library.encoding(0)) for name in "abc"],
            [
                LocationWrite(path, library.facts(name).sha256, 1, 1)
                for name, path in zip("abc", ("/p/a.jpg", "/p/q/b.jpg", "/p/q/r/c.jpg"), strict=True)
            ],
        )
    )
    found = library.store.facets()["folders"]
    assert found == [{"name": "/p", "photos": 3}, {"name": "/p/q", "photos": 2}, {"name": "/p/q/r", "photos": 1}]
    library.store.mark_missing([Path("/p")], set())
    assert library.store.facets()["folders"] == []


# --- files -----------------------------------------------------------------------------------


def test_a_file_that_cannot_be_written_leaves_the_old_ones_and_nothing_beside(library, monkeypatch):
    folded(library)
    before = sorted(path.name for path in (library.folder / "faiss").iterdir())
    library.add("late")

    def refuse(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(files, "publish", refuse)
    with pytest.raises(NotWritten, match=r"cannot be written: no space left on device; mend that and run"):
        library.store.optimize(library.space)
    assert sorted(path.name for path in (library.folder / "faiss").iterdir()) == before
    library.check(library.vectors(2), 5)


def test_a_file_of_fewer_rows_than_its_row_says_is_never_searched(library):
    folded(library)
    row = live(library, "image")
    path = library.folder / "faiss" / row.file
    data = path.read_bytes()
    start = files.FOOTER.unpack(data[-files.FOOTER.size :])[6]
    faiss = load_faiss()
    fewer = recipes.new_index(recipes.Recipe(), DIM)
    fewer.add(library.vectors(row.rows - 1))
    path.write_bytes(faiss.serialize_index(fewer).tobytes().ljust(start, b"\0") + data[start:])
    with pytest.raises(IndexDamaged, match=r"holds 7 rows of 16, expected 8 of 16; `interleave-index optimize`"):
        files.open_file(library.folder / "faiss", row, checked=False)
    with pytest.raises(IndexDamaged, match="checksum is not the one"):
        files.open_file(library.folder / "faiss", row)


def test_verify_names_a_file_that_is_gone(library):
    folded(library)
    (library.folder / "faiss" / live(library, "region").file).unlink()
    assert any(said.startswith("region file of space 1") for said in library.names_of_checks_that_fail())


@pytest.mark.sqlite
def test_an_index_may_lie_in_a_folder_whose_name_is_not_utf_8(tmp_path, library):
    folded(library)
    library.store.close()
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    library.folder.rename(odd)
    with Store.open(odd) as store:
        library.store = store
        library.check(library.vectors(2), 5)
        library.folder = odd
        library.add("late")
        store.optimize(library.space)
        library.check(library.vectors(2), 5)
    assert len(list((odd / "faiss").glob("*.faiss"))) == 4  # a second file beside the first


def test_a_file_that_was_changed_while_it_was_read_is_not_called_read_through(tmp_path, monkeypatch):
    monkeypatch.setattr(checked, "SETTLED_NS", 0)
    file = tmp_path / "a.faiss"
    file.write_bytes(b"before")
    seen = checked.state_of(file)
    file.write_bytes(b"and after")
    checked.remember(file, "0" * 64, seen)
    assert not checked.is_checked(file, "0" * 64, seen)
    now = checked.state_of(file)
    checked.remember(file, "0" * 64, now)
    assert checked.is_checked(file, "0" * 64, now) and not checked.is_checked(file, "1" * 64, now)


def test_a_version_of_faiss_that_lays_its_files_out_otherwise_is_refused(monkeypatch):
    assert len(recipes.flat_head(3, DIM)) > 16
    monkeypatch.setattr(recipes, "new_index", lambda recipe, dim: load_faiss().IndexFlatL2(dim))
    with pytest.raises(StorageError, match="writes a flat index otherwise than expected; install a version"):
        recipes.flat_head(3, DIM)


@pytest.mark.parametrize(
    ("table", "possible"),
    [
        (((2, 2, 0), (1, 2, 24)), True),
        (((2, 2, 0), (1, 2, 25)), False),  # its ids end behind the lists
        (((2, 2, 0), (1, 3, 24)), False),  # no whole number of blocks
        (((2, 2, 0), (-1, 0, 24)), False),
        (((2, 2, 0), (1, 2, -1)), False),
        (((2, 2, 0), (0, 0, 24)), False),  # a row is lost
    ],
)
def test_a_table_that_leads_faiss_out_of_its_lists_is_refused(table, possible):
    lists, block_rows, row_bytes, start = 2, 2, 4, 40  # 3 rows in blocks of two, each with its number of 8 bytes
    file = io.BytesIO(bytes(start) + np.array(table, np.int64).tobytes())
    end = len(file.getvalue())
    with nullcontext() if possible else pytest.raises(ValueError, match="2 inverted lists are said to have"):
        assert mapped_lists._table(file, lists, 3, block_rows, row_bytes, end).tolist() == [*map(list, table)]


def test_a_lock_file_that_says_nothing_sensible_names_nobody(tmp_path):
    path = tmp_path / "writer.lock"
    with WriteLock(path).held("ingest"):
        for rubbish in ("{not json", "[1, 2]"):
            path.write_text(rubbish)
            with pytest.raises(IndexBusy, match="another process is writing"), WriteLock(path).held("prune", wait=0):
                pass


# --- the catalog -----------------------------------------------------------------------------


@pytest.mark.sqlite
def test_a_damaged_catalog_is_not_copied_as_if_it_were_whole(library, tmp_path):
    folded(library)
    library.store.close()
    path = library.folder / CATALOG
    data = bytearray(path.read_bytes())
    data[5 * 16384 : 5 * 16384 + 4096] = b"\xff" * 4096
    path.write_bytes(data)
    (tmp_path / "work").mkdir()
    library.store = Store(library.folder)
    with pytest.raises(IndexDamaged, match=r"cannot be copied: .*verify` says more") as caught:
        library.store.copy_catalog(tmp_path / "work" / CATALOG)
    (check,) = (check for check in library.store.verify() if not check.ok)
    assert "\n" not in str(caught.value) + check.detail  # SQLite's own report has several lines


@pytest.mark.sqlite
def test_a_file_that_is_no_database_is_not_copied(library, tmp_path):
    library.store.close()
    for suffix in ("-wal", "-shm"):
        (library.folder / f"{CATALOG}{suffix}").unlink(missing_ok=True)
    (library.folder / CATALOG).write_bytes(b"just some text that is long enough to be read as a page" * 20)
    (tmp_path / "work").mkdir()
    library.store = Store(library.folder)
    with pytest.raises(IndexDamaged, match="file is not a database"):
        library.store.copy_catalog(tmp_path / "work" / CATALOG)


def test_a_store_says_which_database_holds_its_catalog(library):
    said = library.store.database()
    if library.store.is_shared:
        assert said.startswith("PostgreSQL ")
    else:
        assert said.startswith("SQLite 3.") and said.endswith(str(library.folder / CATALOG))


def test_where_mounts_cannot_be_listed_no_folder_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert database.filesystem_of(tmp_path) == ""
    database.refuse_network(tmp_path)


# --- folders that are gone -------------------------------------------------------------------


def test_a_folder_is_gone_when_all_its_photos_are_missing_and_nothing_is_left_in_it(tmp_path):
    def files_of(*paths: str) -> list[str]:
        return [str(tmp_path / path) for path in paths]

    missing = files_of("drive/a/1.jpg", "drive/b/2.jpg", "kept/3.jpg", "full/4.jpg", "empty/5.jpg")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "note.txt").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "kept").mkdir()
    gone = names.gone_folders(missing, files_of("kept/6.jpg"))
    assert gone == ((str(tmp_path / "drive"), 2), (str(tmp_path / "empty"), 1))


def test_a_folder_that_cannot_be_listed_is_gone_only_when_it_is_none(tmp_path, monkeypatch):
    (tmp_path / "locked").mkdir()

    def refuse(folder: str) -> list[str]:
        raise PermissionError(13, os.strerror(13), folder)

    monkeypatch.setattr(os, "listdir", refuse)
    missing = [str(tmp_path / "locked" / "1.jpg"), str(tmp_path / "nowhere" / "2.jpg")]
    assert names.gone_folders(missing, [str(tmp_path / "3.jpg")]) == ((str(tmp_path / "nowhere"), 1),)
