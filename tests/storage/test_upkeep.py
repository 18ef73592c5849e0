"""FAISS files that go missing, readers beside writers, spaces beside each other, and what `verify` and `status` say."""

from __future__ import annotations

import io
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interleave_index.errors import BackendMissing, IndexDamaged, NotInIndex
from interleave_index.records import PhotoFacts, Space
from interleave_index.storage import backend, files, generations
from interleave_index.storage.database import CATALOG
from interleave_index.storage.rows import PhotoWrite, WriteBatch
from interleave_index.storage.store import Store


def faiss_files(library: Any) -> list[Path]:
    """Its FAISS files, by name."""
    return sorted((library.folder / "faiss").iterdir())


@pytest.fixture
def folded(library: Any) -> Any:
    """A library of 30 photos in its FAISS files and 2 in the delta."""
    library.add(*[f"n{i}" for i in range(30)], regions=[i % 4 for i in range(30)])
    library.store.optimize(library.space)
    library.add("late", "later", regions=2)
    return library


def test_files_that_were_deleted_are_rebuilt_by_the_next_open(folded: Any) -> None:
    folded.store.close()
    for path in faiss_files(folded):
        path.unlink()
    folded.reopen()
    assert len(faiss_files(folded)) == 2
    folded.check(folded.vectors(3), 10)
    assert folded.names_of_checks_that_fail() == []


@pytest.mark.parametrize("kind", ["image", "region"])
@pytest.mark.parametrize("harm", ["short", "empty", "longer", "another"])
def test_a_file_that_was_cut_or_replaced_is_rebuilt_by_the_next_open(folded: Any, kind: str, harm: str) -> None:
    folded.store.close()
    mine, other = [
        next(path for path in faiss_files(folded) if path.name.startswith(name))
        for name in (kind, "region" if kind == "image" else "image")
    ]
    data = mine.read_bytes()
    mine.write_bytes({"short": data[:-100], "empty": b"", "longer": data + b"x", "another": other.read_bytes()}[harm])
    folded.reopen()
    folded.check(folded.vectors(3), 10)
    assert folded.names_of_checks_that_fail() == []


def test_a_file_deleted_while_the_index_is_open_does_no_harm(folded: Any) -> None:
    folded.check(folded.vectors(2), 5)
    for path in faiss_files(folded):
        path.unlink()
    folded.check(folded.vectors(2), 5)
    folded.add("after")
    folded.check(folded.vectors(2), 5)


def test_rows_of_a_lost_file_are_served_from_the_catalog_while_another_process_writes(folded: Any) -> None:
    folded.store.close()
    for path in faiss_files(folded):
        path.unlink()
    folded.store = Store(folded.name)
    with Store.open(folded.name) as other:
        for path in faiss_files(folded):
            path.unlink()
        with other.writer("a long ingest"):
            folded.check(folded.vectors(3), 40)
            assert folded.store.indexes(folded.space).lost == ("image", "region")
            assert faiss_files(folded) == []
    folded.check(folded.vectors(3), 40)
    assert folded.store.indexes(folded.space).lost == ()


def test_verify_sees_one_flipped_bit_and_optimize_mends_it(folded: Any) -> None:
    path = faiss_files(folded)[0]
    data = bytearray(path.read_bytes())
    data[300] ^= 1
    path.write_bytes(data)
    assert ["image file of space 1: " in said for said in folded.names_of_checks_that_fail()] == [True]
    folded.store.optimize(folded.space)
    assert folded.names_of_checks_that_fail() == []


def test_verify_changes_nothing(folded: Any) -> None:
    before = [(path.name, path.stat().st_mtime_ns) for path in faiss_files(folded)]
    status = folded.store.status()
    folded.store.verify()
    assert [(path.name, path.stat().st_mtime_ns) for path in faiss_files(folded)] == before
    assert folded.store.status() == status


@pytest.mark.parametrize(
    ("sql", "check"),
    [
        ("DELETE FROM encoding WHERE photo_id = 3", "encodings"),
        ("UPDATE encoding SET image = scores WHERE photo_id = 3", "vectors of space 1"),
        ("DELETE FROM region_mask WHERE photo_id = 3", "masks of space 1"),
        ("UPDATE encoding SET seq = 4 WHERE photo_id = 3", "sequence of space 1"),
        ("UPDATE encoding SET seq = 99 WHERE photo_id = 3", "image ids of space 1"),
        ("UPDATE encoding SET image = regions WHERE photo_id = 2", "checksums of space 1"),
        ("UPDATE generation SET rows = 29 WHERE kind = 'region'", "region file of space 1"),
        ("UPDATE location SET photo_id = 999 WHERE photo_id = 3", "references"),
        ("DELETE FROM photo WHERE id = 3", "references"),
    ],
)
def test_verify_names_what_does_not_hold(folded: Any, database: Any, sql: str, check: str) -> None:
    database.run(folded.name, sql)
    assert check in {said.split(": ")[0] for said in folded.names_of_checks_that_fail()}


def test_verify_names_a_file_with_an_id_that_no_region_has(folded: Any, database: Any) -> None:
    with folded.store.reading() as connection:
        row = next(row for row in generations.live(connection) if row.kind == "region")
    segment = files.open_file(folded.folder / "faiss", row)
    ids = segment.ids.copy()
    ids[-1] += 100
    false = files.write_file(folded.folder / "faiss", row, ids, io.BytesIO(segment.codes.tobytes()))
    changes = f"file = '{false.file}', sha256 = '{false.sha256}', bytes = {false.bytes}"
    database.run(folded.name, f"UPDATE generation SET {changes} WHERE kind = 'region'")
    assert "region ids of space 1" in {said.split(": ")[0] for said in folded.names_of_checks_that_fail()}


@pytest.mark.sqlite
def test_verify_names_a_catalog_with_a_broken_page(folded: Any) -> None:
    folded.store.close()
    path = folded.folder / CATALOG
    data = bytearray(path.read_bytes())
    data[5 * 16384 : 5 * 16384 + 4096] = b"\xff" * 4096
    path.write_bytes(data)
    folded.store = Store(folded.folder)
    assert [check.name for check in folded.store.verify() if not check.ok] == ["database"]


@pytest.mark.sqlite
def test_a_catalog_that_is_ruined_is_called_damaged_by_every_question(folded: Any) -> None:
    folded.store.close()
    path = folded.folder / CATALOG
    data = path.read_bytes()
    path.write_bytes(data[:16384] + b"\xff" * (len(data) - 16384))
    folded.store = Store(folded.folder)
    with pytest.raises(IndexDamaged, match="is damaged"):
        folded.store.photos([1])


def test_a_reader_sees_whole_states_while_a_writer_commits_and_optimizes(folded: Any) -> None:
    stop, troubles = threading.Event(), []
    queries = folded.vectors(2)

    def read() -> None:
        with Store.open(folded.name) as store:
            while not stop.is_set():
                try:
                    index = store.indexes(folded.space)
                    ids = index.image.search(queries, 500)[1][0]
                    ids = ids[ids >= 0]
                    known = set(store.photos(ids.tolist()))
                    # Photos come in fives and go in fives: anything else would be half of a transaction.
                    if len(ids) % 5 != 2 or len(set(ids.tolist())) != len(ids) or (len(ids) - len(known)) % 5:
                        troubles.append(f"{len(ids)} found, {len(known)} known")
                except Exception as error:  # whatever it is, the main thread must report it
                    troubles.append(repr(error))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for turn in range(8):
        ids = folded.add(*[f"t{turn}-{i}" for i in range(5)])
        if turn % 2:
            folded.store.optimize(folded.space)
        if turn % 3 == 2:
            folded.forget(ids)
    stop.set()
    for reader in readers:
        reader.join()
    assert troubles == []
    folded.check(queries, 60)
    assert folded.names_of_checks_that_fail() == []


def test_only_a_delta_that_has_grown_is_worth_folding_in(library: Any) -> None:
    assert not library.store.due(library.space)
    library.add(*[f"n{i}" for i in range(60)])
    assert library.store.due(library.space)
    library.store.optimize(library.space)
    assert not library.store.due(library.space)
    library.add("a", "b", "c")
    assert not library.store.due(library.space)
    library.forget(library.add("d"))
    assert library.store.due(library.space)


def test_removals_are_kept_only_as_long_as_a_file_needs_them(folded: Any) -> None:
    folded.forget([2, 5])
    folded.check(folded.vectors(2), 40)
    for kept in (2, 0):  # the first fold leaves the file that they were in
        folded.store.optimize(folded.space)
        with folded.store.reading() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM removal").scalar() == kept
        folded.check(folded.vectors(2), 40)


def test_progress_is_told_in_photos(folded: Any) -> None:
    updates: list[tuple[int, int]] = []
    for _ in range(2):  # of those that came, then of all
        folded.store.optimize(folded.space, lambda done, of: updates.append((done, of)))
    assert updates == [(2, 2), (32, 32)]


def test_status_counts_what_there_is(folded: Any) -> None:
    folded.store.mark_missing([Path("/photos")], {f"/photos/n{i}.jpg" for i in range(30)})
    status = folded.store.status()
    assert {key: status[key] for key in ("photos", "locations", "missing", "failed", "encodings", "regions")} == {
        "photos": 32,
        "locations": 32,
        "missing": 2,
        "failed": 0,
        "encodings": 32,
        "regions": 47,
    }
    assert status["space"] == {"id": 1, "interface": "toy", "checkpoint": "0" * 64, "preprocessing": "none", "dim": 16}
    assert [(row["kind"], row["rows"], row["delta"], row["recipe"]) for row in status["generations"]] == [
        ("image", 30, 2, "SQfp16"),
        ("region", 43, 2, "SQfp16"),
    ]


def test_the_status_of_an_empty_index_has_no_space(tmp_path: Path) -> None:
    with Store.open(tmp_path, create=True) as store:
        assert store.status()["space"] is None and store.active_space() is None
        assert all(check.ok for check in store.verify())


# --- spaces ----------------------------------------------------------------------------------

NEW = Space("toy", "1" * 64, "none", 8)


def fill(library: Any, space_id: int, dim: int) -> None:
    """Encode every photo of the library in another space."""
    facts = [PhotoFacts(library.store.photo(photo).sha256, 40, 30, "JPEG") for photo in sorted(library.image)]
    rows = np.eye(dim, dtype=np.float32)[np.arange(len(facts)) % dim]
    none = [np.empty((0, width), np.float32) for width in (dim, 4)]
    flat = np.empty(0, np.float32)
    library.store.write_encodings(
        space_id,
        facts,
        rows,
        [none[0]] * len(facts),
        [none[1]] * len(facts),
        [flat] * len(facts),
        [flat] * len(facts),
        paths=[library.store.photo(photo).path for photo in sorted(library.image)],
    )


def test_a_new_space_is_filled_beside_the_active_one_and_switched_to_and_back(folded: Any) -> None:
    new = folded.store.ensure_space(NEW)
    assert folded.store.ensure_space(NEW) == new != folded.space
    assert [row.state for row in folded.store.spaces()] == ["active", "building"]
    fill(folded, new, 8)
    assert folded.store.status()["photos"] == 32 and [row.encodings for row in folded.store.spaces()] == [32, 32]
    folded.check(folded.vectors(2), 10)
    folded.store.activate(new)
    assert folded.store.active_space() == (new, NEW)
    assert [row.state for row in folded.store.spaces()] == ["retired", "active"]
    folded.store.optimize(new)
    assert folded.store.indexes(new).image.search(np.eye(8, dtype=np.float32)[:1], 4)[0].tolist() == [[1, 1, 1, 1]]
    folded.forget([2])
    folded.store.activate(folded.space)
    folded.check(folded.vectors(2), 10)
    assert (
        folded.store.indexes(new).image.rows == 32
        and 2 not in folded.store.indexes(new).image.best(np.eye(8, dtype=np.float32))[0]
    )
    assert folded.names_of_checks_that_fail() == []


def test_encoded_is_told_about_the_space_that_is_asked_for(folded: Any) -> None:
    new = folded.store.ensure_space(NEW)
    sha = folded.facts("n1").sha256
    assert folded.store.photos_by_sha([sha])[sha].encoded
    assert not folded.store.photos_by_sha([sha], space_id=new)[sha].encoded
    assert not folded.store.known_locations([Path("/photos/n1.jpg")], space_id=new)["/photos/n1.jpg"].encoded


def test_a_photo_without_an_encoding_in_the_active_space_fails_verify(folded: Any) -> None:
    folded.store.write(WriteBatch(folded.space, [PhotoWrite(folded.facts("bare"))]))
    assert folded.names_of_checks_that_fail() == ["encodings: 33 photos, 32 encodings; without: 33"]


def test_an_unknown_space_is_an_error(library: Any) -> None:
    for ask in (library.store.activate, library.store.indexes, library.store.null_sample, library.store.dim):
        with pytest.raises(NotInIndex, match="space 9"):
            ask(9)


def test_a_calibration_belongs_to_its_space(library: Any) -> None:
    new = library.store.ensure_space(NEW)
    assert library.store.load_calibration(library.space) is None
    library.store.save_calibration(library.space, b"one")
    library.store.save_calibration(library.space, b"two")
    library.store.save_calibration(new, b"other")
    assert (library.store.load_calibration(library.space), library.store.load_calibration(new)) == (b"two", b"other")


def test_the_null_sample_is_the_same_each_time_and_hardly_changes_as_photos_come(library: Any) -> None:
    library.add(*[f"n{i}" for i in range(300)], regions=1)
    first = library.store.null_sample(library.space, 50)
    assert library.store.null_sample(library.space, 50) is first and len(first.photo_ids) == 50
    library.add(*[f"m{i}" for i in range(30)], regions=1)
    second = library.store.null_sample(library.space, 50)
    assert len(set(first.photo_ids.tolist()) & set(second.photo_ids.tolist())) >= 38
    assert len(library.store.null_sample(library.space, 5000).photo_ids) == 330


def test_without_faiss_the_error_says_what_to_install(folded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(BackendMissing, match=r"install interleave-index\[cpu\], or interleave-index\[gpu\]"):
        backend.load_faiss()
    with pytest.raises(BackendMissing):
        folded.store.optimize(folded.space)
    assert folded.store.status()["photos"] == 32


def test_what_is_read_in_one_moment_is_of_one_snapshot_and_of_this_thread_alone(library: Any) -> None:
    library.add("dog")
    count, others = library.store.count, []

    def another_writes_and_reads() -> None:
        library.add("cat")
        others.append(count(library.space))

    with library.store.one_moment():
        before = count(library.space)
        other = threading.Thread(target=another_writes_and_reads)
        other.start()
        other.join()
        assert count(library.space) == before and list(library.store.photos([1, 2])) == [1]
        with library.store.one_moment():
            assert count(library.space) == before
    assert others == [count(library.space)] and others[0][0] == 2
    assert list(library.store.photos([1, 2])) == [1, 2]
