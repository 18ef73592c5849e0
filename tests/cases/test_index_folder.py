"""An index folder that may only be read, that is older than the code, or that was damaged."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from interleave_index.errors import IndexDamaged, StorageError
from interleave_index.records import Filters
from interleave_index.storage import checked, database, files, schema
from interleave_index.storage.database import CATALOG
from interleave_index.storage.files import CHECKED_BYTES
from interleave_index.storage.store import Store

TEXTS = ("text_read", "passage_removal", "passage_encoding", "passage_photo", "passage", "document")
LATER_TABLES = (
    "exclusion",
    "pixels",
    "checksum",
    "part_checksum",
    "passage_checksum",
    "calibration_checksum",
    "forgotten_pixels",
    *TEXTS,
    "passage_words",
    "photo_words",
    "generation_folder",
)


@contextmanager
def shut(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The folder without permission to write, also where these tests run as a user who may write anywhere."""
    real = os.access

    def access(path, mode, **more):
        if mode == os.W_OK and Path(path).is_relative_to(folder):
            return False
        return real(path, mode, **more)

    monkeypatch.setattr(os, "access", access)
    paths = [folder, *folder.rglob("*")]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        yield
    finally:
        for path in paths:
            path.chmod(0o755 if path.is_dir() else 0o644)


def to_first_schema(folder: Path) -> None:
    """Make a catalog as the first version of the schema had it."""
    with closing(sqlite3.connect(folder / CATALOG)) as connection, connection:
        for name in LATER_TABLES:
            connection.execute(f"DROP TABLE {name}")
        connection.execute("UPDATE alembic_version SET version_num = '0001'")


# --- read-only -------------------------------------------------------------------------------


@pytest.mark.parametrize("age", ["today", "first schema"])
def test_an_index_that_may_only_be_read_answers_and_leaves_no_file_behind(age, toy_index, drawn_photos, monkeypatch):
    toy_index.optimize()
    folder = toy_index.folder
    asked = f"[image:{drawn_photos.red_disc.path}]"  # no words: the first schema knows none of file names
    expected = [hit.photo.path for hit in toy_index.search(asked, 3)]
    toy_index.close()
    if age != "today":
        to_first_schema(folder)
    before = sorted(folder.rglob("*"))
    with shut(folder, monkeypatch), type(toy_index).open(folder) as index:
        assert index._store.read_only
        assert [hit.photo.path for hit in index.search(asked, 3)] == expected
        assert index.status()["photos"] == 6 and all(check.ok for check in index.verify())
        assert len(list(index.library())) == 6
        with pytest.raises(StorageError, match="is read-only for this user"):
            index.forget([expected[0]])
        with pytest.raises(StorageError, match="is read-only for this user"):
            index.optimize()
        assert sorted(folder.rglob("*")) == before


def test_a_reader_without_permission_sees_what_a_writer_has_not_closed(library, monkeypatch):
    library.add("a")
    with shut(library.folder, monkeypatch), Store.open(library.folder) as store:
        assert store.read_only and store.status()["photos"] == 1
    monkeypatch.undo()
    library.add("b")


def reader_of(library, monkeypatch) -> Store:
    """A store without permission to write, opened while nobody writes."""
    library.store.close()
    with monkeypatch.context() as patched:
        patched.setattr(database, "may_not_be_written", lambda folder: True)
        return Store.open(library.folder)


def write_and_close(library, name: str) -> None:
    """What another process does: open the index, add a photo, close it again."""
    library.reopen()
    library.add(name)
    library.store.close()


def test_a_reader_without_permission_follows_what_another_process_commits(library, monkeypatch):
    library.add("a")
    with reader_of(library, monkeypatch) as reader:
        assert reader.read_only and reader.status()["photos"] == 1
        write_and_close(library, "b")
        assert reader.status()["photos"] == 2
        library.reopen()  # and while the other one still has it open
        library.add("c")
        assert reader.status()["photos"] == 3


def test_what_was_read_while_another_process_changed_the_catalog_is_not_given_out(library, monkeypatch):
    library.add("a")
    with reader_of(library, monkeypatch) as reader:
        with pytest.raises(StorageError, match="changed by another process"), reader.reading():
            write_and_close(library, "b")
        assert reader.status()["photos"] == 2


def test_a_journal_without_its_index_is_said_in_words(library, monkeypatch, tmp_path):
    library.add("a")
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in (CATALOG, f"{CATALOG}-wal"):
        shutil.copy(library.folder / name, copy / name)

    def refuse(*_):
        raise sqlite3.OperationalError("unable to open database file")

    monkeypatch.setattr(database, "_set_up_for_reading", refuse)
    with shut(copy, monkeypatch), pytest.raises(StorageError, match="is read-only and was not closed"):
        Store.open(copy)


# --- an index of an older version ------------------------------------------------------------


def test_an_index_of_the_first_schema_opens_searches_and_is_brought_up_to_date(toy_index, drawn_photos):
    folder = toy_index.folder
    expected = [hit.photo.path for hit in toy_index.search("red disc", 3)]
    toy_index.close()
    to_first_schema(folder)
    with type(toy_index).open(folder) as index:
        assert [hit.photo.path for hit in index.search("red disc", 3)] == expected
        assert all(check.ok for check in index.verify())
        report = index.ingest(drawn_photos.folder)
        assert (report.added, report.present) == (0, 6)
        assert index.forget([drawn_photos.red_disc.path]) == 1
        assert index.ingest(drawn_photos.folder).not_read == {"forgotten": 1}
    with closing(sqlite3.connect(folder / CATALOG)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(schema.REVISIONS[-1],)]


def test_files_that_an_older_version_could_not_read_are_tried_again_once(toy_index, tmp_path):
    good = tmp_path / "more" / "a.jpg"
    good.parent.mkdir()
    Image.new("RGB", (64, 64), (200, 30, 30)).save(good)
    toy_index.ingest(good.parent)
    folder = toy_index.folder
    toy_index.close()
    to_first_schema(folder)
    edit(folder, "UPDATE location SET state = 'failed', photo_id = NULL, reason = 'old' WHERE path = ?", str(good))
    with type(toy_index).open(folder, interface=toy_index.interface) as index:
        assert [file.path for file in index.failed()] == [str(good)]
        report = index.ingest(good.parent)
        assert not report.failed and index.failed() == []


# --- damage ----------------------------------------------------------------------------------


def edit(folder: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(folder / CATALOG)) as connection, connection:
        assert connection.execute(statement, values).rowcount > 0


def flip(folder: Path, table: str, column: str, photo_id: int = 3, at: int = 10) -> None:
    """Change one bit of a stored blob."""
    with closing(sqlite3.connect(folder / CATALOG)) as connection, connection:
        (blob,) = connection.execute(f"SELECT {column} FROM {table} WHERE photo_id = ?", (photo_id,)).fetchone()
        changed = bytearray(blob)
        changed[at] ^= 4
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE photo_id = ?", (bytes(changed), photo_id))


def flip_faiss(folder: Path, share: float) -> None:
    for path in (folder / "faiss").glob("*.faiss"):
        data = bytearray(path.read_bytes())
        data[int(len(data) * share)] ^= 4
        path.write_bytes(data)


def not_a_number(folder: Path) -> None:
    edit(folder, "UPDATE encoding SET image = ? WHERE photo_id = 3", np.full(16, np.nan, "<f2").tobytes())


CORRUPTIONS: dict[str, Callable[[Path], None]] = {
    "a bit of an image vector": lambda folder: flip(folder, "encoding", "image"),
    "a bit of a region vector": lambda folder: flip(folder, "encoding", "regions"),
    "a bit of a box": lambda folder: flip(folder, "encoding", "boxes"),
    "a bit of a score": lambda folder: flip(folder, "encoding", "scores", at=2),
    "a bit of the masks": lambda folder: flip(folder, "region_mask", "masks"),
    "a vector that is no number": not_a_number,
    "a photo without width": lambda folder: edit(folder, "UPDATE photo SET width = 0 WHERE id = 2"),
    "vectors of two photos exchanged": lambda folder: edit(
        folder, "UPDATE encoding SET image = (SELECT image FROM encoding WHERE photo_id = 1) WHERE photo_id = 2"
    ),
    "masks of another photo": lambda folder: edit(
        folder, "UPDATE region_mask SET masks = X'789c8bae8e05000240010d' WHERE photo_id = 2"
    ),
    "a location of a photo that is gone": lambda folder: edit(folder, "UPDATE location SET photo_id = 77"),
    "an index of the catalog": lambda folder: edit(
        folder, "DELETE FROM sqlite_sequence WHERE name = 'photo'"
    ),  # harmless: ids are still never used twice
    "codes of a FAISS file": lambda folder: flip_faiss(folder, 0.3),
    "ids of a FAISS file": lambda folder: flip_faiss(folder, 0.85),
}
HARMLESS = {"an index of the catalog"}


@pytest.fixture
def folded(library):
    """Forty photos, folded into FAISS files, and closed."""
    library.add(*(f"p{number}" for number in range(40)), regions=3)
    library.store.optimize(library.space)
    library.store.close()
    return library


@pytest.mark.parametrize("what", [name for name in CORRUPTIONS if name not in HARMLESS])
def test_verify_sees_what_was_changed_behind_its_back(what, folded):
    CORRUPTIONS[what](folded.folder)
    folded.store = Store(folded.folder)  # not `open`, which mends FAISS files that are short
    assert [check.name for check in folded.store.verify() if not check.ok]


def test_verify_looks_at_every_photo_and_not_at_a_sample(library):
    library.add(*(f"p{number}" for number in range(700)), regions=1)
    library.store.close()
    for photo_id in (1, 350, 700):
        flip(library.folder, "encoding", "regions", photo_id)
        library.store = Store(library.folder)
        failed = [check for check in library.store.verify() if not check.ok]
        assert failed and any(str(photo_id) in check.detail for check in failed)
        library.store.close()
        flip(library.folder, "encoding", "regions", photo_id)
    library.store = Store(library.folder)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
def test_changed_bytes_of_a_faiss_file_are_never_searched(share, folded):
    flip_faiss(folded.folder, share)
    folded.store = Store.open(folded.folder)
    folded.check(folded.vectors(3), 5)
    assert folded.names_of_checks_that_fail() == []  # the search has built the files anew


def open_and_count(folded, monkeypatch) -> list[str]:
    """Open the index as another process would, search it, and name the files that were read through for that."""
    read: list[str] = []

    def sha256_of(path: Path) -> str:
        read.append(path.name)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    with monkeypatch.context() as patched:
        patched.setattr(files, "sha256_of", sha256_of)
        folded.store = Store.open(folded.folder)
        folded.check(folded.vectors(3), 5)
        folded.store.close()
    return read


def test_a_faiss_file_is_read_through_once_and_again_when_it_was_touched(folded, monkeypatch):
    monkeypatch.setattr(checked, "SETTLED_NS", 0)
    assert len(open_and_count(folded, monkeypatch)) == 2
    assert open_and_count(folded, monkeypatch) == []
    (first, *_) = sorted((folded.folder / "faiss").glob("*.faiss"))
    times = first.stat()
    data = bytearray(first.read_bytes())
    data[len(data) // 3] ^= 4
    first.write_bytes(data)
    os.utime(first, ns=(times.st_atime_ns, times.st_mtime_ns))  # whoever changes bytes may set this time back
    assert first.name in open_and_count(folded, monkeypatch)
    folded.store = Store.open(folded.folder)
    assert folded.names_of_checks_that_fail() == []


def test_a_faiss_file_that_has_just_changed_is_not_called_read_through(folded, monkeypatch):
    assert len(open_and_count(folded, monkeypatch)) == 2 == len(open_and_count(folded, monkeypatch))


def test_a_list_of_files_read_through_that_is_no_list_is_made_anew(folded, monkeypatch):
    monkeypatch.setattr(checked, "SETTLED_NS", 0)
    for words in ("", "[1]", '{"a": 1}'):
        (folded.folder / "faiss" / checked.NAME).write_text(words)
        assert len(open_and_count(folded, monkeypatch)) == 2
    assert open_and_count(folded, monkeypatch) == []


def test_an_index_that_may_only_be_read_gets_no_list_of_files_read_through(folded, monkeypatch):
    monkeypatch.setattr(checked, "SETTLED_NS", 0)
    monkeypatch.setattr(database, "may_not_be_written", lambda folder: True)
    assert len(open_and_count(folded, monkeypatch)) == 2 == len(open_and_count(folded, monkeypatch))
    folded.store = Store.open(folded.folder)
    assert not (folded.folder / "faiss" / checked.NAME).exists()


def test_what_is_larger_than_is_read_at_every_start_is_stated():
    assert CHECKED_BYTES >= 1 << 30


def test_a_catalog_of_no_bytes_is_no_new_index_where_thumbnails_lie(toy_index):
    folder = toy_index.folder
    toy_index.close()
    for name in (CATALOG, f"{CATALOG}-wal", f"{CATALOG}-shm"):
        (folder / name).unlink(missing_ok=True)
    (folder / CATALOG).touch()
    for create in (False, True):
        with pytest.raises(IndexDamaged, match=r"is empty \(0 bytes\), but an index was here"):
            Store.open(folder, create=create)
    assert (folder / CATALOG).stat().st_size == 0


def test_a_damaged_thumbnail_is_named_and_lost_ones_are_only_counted(toy_index):
    photo = toy_index.photo(1)
    toy_index.thumbnail(photo).write_bytes(b"\xff\xd8 cut off")
    toy_index.thumbnail(2).unlink()
    failed = [check for check in toy_index.verify() if not check.ok]
    assert [check.name for check in failed] == ["thumbnails"] and "1 damaged: photo 1" in failed[0].detail
    toy_index.thumbnail(photo).unlink()
    assert all(check.ok for check in toy_index.verify())


def test_a_folder_of_thumbnails_that_is_gone_is_filled_again(toy_index, drawn_photos):
    shutil.rmtree(toy_index.folder / "thumbnails")
    assert toy_index.ingest(drawn_photos.folder).present == 6
    assert all(toy_index.thumbnail(photo_id).is_file() for photo_id in toy_index.ids().tolist())


def test_the_first_version_of_this_code_reads_nothing_of_a_newer_catalog(tmp_path):
    """An older program refuses the newer schema in words; what it does not know it must not write to."""
    Store.open(tmp_path, create=True).close()
    code = textwrap.dedent(
        """
        import sys
        from interleave_index.storage import schema
        from interleave_index.storage.store import Store
        schema.REVISIONS = ("0001",)
        Store.open(sys.argv[1])
        """
    )
    said = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert said.returncode and "SchemaTooNew" in said.stderr


def test_filters_by_folder_need_no_table_that_the_first_schema_lacks(library, monkeypatch):
    library.add("a")
    library.store.close()
    to_first_schema(library.folder)
    with shut(library.folder, monkeypatch), Store.open(library.folder) as store:
        assert store.eligible(library.space, Filters(folder=Path("/photos"))) is None
        assert store.exclusions() == []
    monkeypatch.undo()
    library.store = Store.open(library.folder)
