"""What is stored and is not what was written: never part of an answer, named, and mended."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interleave_index.errors import EncodingDamaged, NotInIndex
from interleave_index.records import Space
from interleave_index.storage import database
from interleave_index.storage.store import Store
from interleave_index.storage.tables import (
    CalibrationRow,
    EncodingRow,
    PassageEncodingRow,
    RegionMaskRow,
)

from ..damage import turn_over
from ..past import unpack
from .conftest import DIM
from .test_texts import encode, ids_found, page, waiting_passages

pytestmark = pytest.mark.both_databases
PARTS = ("image", "regions", "boxes", "areas", "scores", "region_count", "seq")


def damage(library: Any, photo_id: int, column: str = "image", *, at: int = 3) -> None:
    """Change a byte of the encoding of a photo."""
    turn_over(library.store, EncodingRow, column, at=at, photo_id=photo_id, space_id=library.space)


def photos_found(library: Any, kind: str = "image") -> set[int]:
    """Photos that an index can find."""
    ids = library.store.indexes(library.space).of(kind).search(np.ones((1, DIM), np.float32), 100)[1].ravel()
    return set((ids if kind == "image" else ids // 256).tolist()) - {-1}


def checksums_said(library: Any) -> str:
    """What `verify` says of the checksums, when nothing else is wrong."""
    (said,) = library.names_of_checks_that_fail()
    assert said.startswith(f"checksums of space {library.space}: ")
    return str(said)


@pytest.mark.parametrize("column", PARTS)
def test_vectors_and_boxes_that_changed_are_refused_and_their_photo_is_named(library, column):
    first, second, third = library.add("a", "b", "c")
    damage(library, second, column)
    assert library.store.damaged(library.space) == set()
    with pytest.raises(EncodingDamaged, match=rf"stored vectors of photo {second} are not those .* `interleave-index"):
        library.store.vectors(library.space, [first, second, third])
    assert library.store.damaged(library.space) == {second}
    others = library.store.encoded(library.space)
    assert others.tolist() == [first, third]
    assert (library.store.vectors(library.space, others).image[1] == library.image[third]).all()
    assert library.store.null_sample(library.space).photo_ids.tolist() == [first, third]
    assert any(f"1 differ: photo {second}" in said for said in library.names_of_checks_that_fail())


def test_all_damaged_photos_are_named_at_once(library):
    ids = library.add(*(f"p{n}" for n in range(14)))
    for photo_id in ids[1:13]:
        damage(library, photo_id)
    with pytest.raises(EncodingDamaged) as raised:
        library.store.vectors(library.space, ids[::-1])
    assert raised.value.photo_ids == tuple(ids[1:13])
    assert f"photo {', '.join(map(str, ids[1:11]))}, … are" in str(raised.value)


def test_masks_and_grounding_records_that_changed_are_refused(library):
    first, second = library.add("a", "b")
    key = {"photo_id": second, "space_id": library.space}
    turn_over(library.store, RegionMaskRow, "grounding", at=1, **key)
    with pytest.raises(EncodingDamaged, match=f"stored grounding record of photo {second}"):
        library.store.grounding(library.space, second)
    assert "1 differ" in checksums_said(library)
    packed = library.store.masks(library.space, second)
    turn_over(library.store, RegionMaskRow, "masks", at=-1, **key)
    with pytest.raises(EncodingDamaged, match=f"stored masks of photo {second}"):
        library.store.masks(library.space, second)
    loads = library.store.many_masks(library.space, [first, second])
    assert loads[first]() == packed
    with pytest.raises(EncodingDamaged, match="masks"):
        loads[second]()
    assert library.store.vectors(library.space, [second]).photo_ids.tolist() == [second]
    assert library.store.grounding(library.space, first) == b"record"


def test_a_damaged_photo_that_came_since_the_last_file_is_left_out_of_searches(library):
    first, second, third = library.add("a", "b", "c")
    damage(library, second, "regions")
    library.reopen()
    for kind in ("image", "region"):
        assert photos_found(library, kind) == {first, third}
    assert library.store.damaged(library.space) == {second}
    library.add("d")
    assert len(photos_found(library)) == 3 and library.store.damaged(library.space) == {second}
    (again,) = library.add("b", replace=True)
    assert again == second and library.store.damaged(library.space) == set()
    library.check(library.vectors(3), 5)
    assert library.names_of_checks_that_fail() == []


def test_verify_names_a_damaged_photo_once_though_a_file_holds_its_vectors(library):
    _, second = library.add("a", "b")
    library.store.texts.write([page("/notes/a.md", "one", "two")])
    passage, _ = encode(library)
    library.store.optimize(library.space)
    damage(library, second)
    turn_over(library.store, PassageEncodingRow, "passage", at=4, passage_id=passage, space_id=library.space)
    assert f"1 differ: photo {second}, those of 1 passage differ; " in checksums_said(library)


def test_no_file_is_made_of_a_damaged_vector_and_the_catalog_says_so_from_then_on(library):
    first, second, third = library.add("a", "b", "c")
    damage(library, second)
    image, region = library.store.optimize(library.space)
    assert (image.rows, region.rows) == (2, 4)
    assert library.store.status()["damaged"] == 1
    library.reopen()
    assert photos_found(library) == {first, third}
    assert library.store.damaged(library.space) == {second}
    assert f"2 agree, 0 without one, 1 differ: photo {second}; `interleave-index repair" in checksums_said(library)
    library.add("b", replace=True)
    assert library.store.status()["damaged"] == 0 and library.store.damaged(library.space) == set()
    library.check(library.vectors(3), 5)
    assert library.names_of_checks_that_fail() == []


def test_a_photo_whose_checksums_are_lost_is_damaged_and_stays_so_when_files_are_made(library):
    first, second = library.add("a", "b")
    with library.store._session.writing("a test") as connection:
        connection.exec_driver_sql(f"DELETE FROM part_checksum WHERE photo_id = {first}")
    library.store.optimize(library.space)
    library.reopen()
    assert photos_found(library) == {second} and library.store.damaged(library.space) == {first}
    assert f"1 differ: photo {first}" in checksums_said(library)
    library.add("a", replace=True)
    assert photos_found(library) == {first, second} and library.names_of_checks_that_fail() == []


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("column", "value"), [("region_count", "two"), ("seq", "x"), ("image", "text"), ("boxes", "t")]
)
def test_a_value_whose_type_changed_is_damage(library, column, value):
    first, second = library.add("a", "b")
    changed(library.folder, f"UPDATE encoding SET {column} = ? WHERE photo_id = ?", value, second)
    with pytest.raises(EncodingDamaged, match=f"photo {second}"):
        library.store.vectors(library.space, [first, second])
    if column != "boxes":
        assert photos_found(library) == {first}
    assert any(f"1 differ: photo {second}" in said for said in library.names_of_checks_that_fail())


def test_a_damaged_photo_of_which_no_file_is_here_is_beyond_repair_and_stays(library, tmp_path):
    first, second = library.add("a", "b")
    damage(library, second)
    plan = library.store.repair_plan()
    assert (plan.beyond, plan.damaged, plan.damaged_photos, plan.again) == ((second,), (), (), ())
    library.store.repair_files(plan)
    assert library.store.encoded(library.space).tolist() == [first, second]
    file = tmp_path / "b.jpg"
    file.write_bytes(b"a picture")
    library.store.write(library_batch(library, "b", file))
    plan = library.store.repair_plan()
    assert (plan.beyond, plan.damaged, plan.damaged_photos) == ((), (str(file),), (second,))
    assert plan.again == (str(file),)
    library.store.repair_files(plan)
    assert library.store.encoded(library.space).tolist() == [first]
    assert library.store.repair_plan().unencoded == (str(file),)


def library_batch(library: Any, name: str, file: Path) -> Any:
    """A batch that moves a photo to a file that is there."""
    from interleave_index.storage.rows import LocationWrite, WriteBatch

    from .conftest import sha

    return WriteBatch(library.space, (), (LocationWrite(str(file), sha(name), 9, 1, moved_from=f"/photos/{name}.jpg"),))


def test_damaged_vectors_of_passages_are_left_out_and_encoded_again(library):
    library.store.texts.write([page("/notes/a.md", "one", "two", "three")])
    first, second, third = encode(library)
    key = {"space_id": library.space}
    turn_over(library.store, PassageEncodingRow, "passage", at=4, passage_id=first, **key)
    turn_over(library.store, PassageEncodingRow, "phrases", at=4, passage_id=second, **key)
    library.reopen()
    assert ids_found(library) == {second, third}
    phrases = library.store.texts.phrase_vectors(library.space, DIM, [first, second, third])
    assert sorted(phrases) == [first, third]
    assert "those of 2 passages differ" in checksums_said(library)
    plan = library.store.repair_plan()
    assert plan.damaged_passages == ((library.space, (first, second)),) and plan
    library.store.repair_files(plan)
    assert [passage.id for passage in waiting_passages(library)] == [first, second]
    assert encode(library, 1) == [first, second]
    assert ids_found(library) == {first, second, third}
    assert library.names_of_checks_that_fail() == [] and not library.store.repair_plan()


def test_a_damaged_passage_that_a_file_would_hold_waits_to_be_encoded_again(library):
    library.store.texts.write([page("/notes/a.md", "one", "two")])
    first, second = encode(library)
    turn_over(library.store, PassageEncodingRow, "passage", passage_id=first, space_id=library.space)
    library.reopen()
    library.store.optimize(library.space)
    assert ids_found(library) == {second}
    assert [passage.id for passage in waiting_passages(library)] == [first]
    encode(library, 1)
    assert ids_found(library) == {first, second} and library.names_of_checks_that_fail() == []


def test_a_calibration_that_changed_is_not_used_and_goes_at_a_repair(library):
    library.store.save_calibration(library.space, b"how to judge")
    assert library.store.load_calibration(library.space) == b"how to judge"
    turn_over(library.store, CalibrationRow, "data", at=4, space_id=library.space)
    assert library.store.load_calibration(library.space) is None
    assert "that of the calibration differs" in checksums_said(library)
    plan = library.store.repair_plan()
    assert plan.calibrations == (library.space,) and plan
    library.store.repair_files(plan)
    assert library.names_of_checks_that_fail() == []
    library.store.save_calibration(library.space, b"anew")
    assert library.store.load_calibration(library.space) == b"anew" and not library.store.repair_plan()


def test_a_space_is_dropped_with_its_checksums(library):
    library.add("a")
    other = library.store.ensure_space(Space("other", "1" * 64, "none", DIM))
    library.store.activate(other)
    library.store.save_calibration(library.space, b"x")
    library.store.drop_space(library.space)
    with library.store.reading() as connection:
        for name in ("part_checksum", "calibration_checksum", "checksum"):
            assert connection.exec_driver_sql(f"SELECT count(*) FROM {name}").scalar() == 0


# --- catalogs of older schemas ---------------------------------------------------------------


def changed(folder: Path, sql: str, *values: Any) -> None:
    with closing(sqlite3.connect(folder / database.CATALOG)) as connection:
        connection.execute(sql, values)
        connection.commit()


def first_blob(folder: Path, photo_id: int) -> bytes:
    with closing(sqlite3.connect(folder / database.CATALOG)) as connection:
        found = connection.execute("SELECT image FROM encoding WHERE photo_id = ?", (photo_id,)).fetchone()[0]
    return bytes([found[0] ^ 0xFF]) + bytes(found[1:])


def test_a_migration_believes_no_encoding_whose_old_checksum_differs(tmp_path):
    folder = unpack("0006", tmp_path / "index")
    changed(folder, "UPDATE encoding SET image = ? WHERE photo_id = 3", first_blob(folder, 3))
    with Store.open(folder) as store:
        assert store.status()["damaged"] == 1 and store.damaged(1) == {3}
        with pytest.raises(EncodingDamaged, match="photo 3"):
            store.vectors(1, [3])
        with pytest.raises(EncodingDamaged, match="masks of photo 3"):
            store.masks(1, 3)
        with store.reading() as connection:  # of which part a byte was changed, nobody can tell
            parts = "SELECT vectors, boxes, masks, grounding FROM part_checksum WHERE photo_id = 3"
            assert connection.exec_driver_sql(parts).all() == [(-1, -1, -1, None)]
        assert len(store.vectors(1, store.encoded(1)).photo_ids) == 5
        failing = [f"{check.name}: {check.detail}" for check in store.verify() if not check.ok]
        assert any("5 agree, 0 without one, 1 differ: photo 3" in said for said in failing)


def test_a_migration_believes_what_never_had_a_checksum(tmp_path):
    folder = unpack("0006", tmp_path / "index")
    changed(folder, "DELETE FROM checksum WHERE photo_id = 3")
    with Store.open(folder) as store:
        assert len(store.vectors(1, store.encoded(1)).photo_ids) == 6
        assert [check for check in store.verify() if not check.ok] == []
        turn_over(store, EncodingRow, "image", photo_id=3, space_id=1)
        with pytest.raises(EncodingDamaged, match="photo 3"):
            store.vectors(1, [3])


@pytest.mark.parametrize("revision", ["0001", "0003", "0006"])
def test_an_older_catalog_that_may_only_be_read_is_read_without_checksums(revision, tmp_path, monkeypatch):
    folder = unpack(revision, tmp_path / "index")
    monkeypatch.setattr(database, "may_not_be_written", lambda _: True)
    with Store.open(folder) as store:
        ids = store.encoded(1)
        block = store.vectors(1, ids)
        assert len(ids) == 6 and store.damaged(1) == set() and store.status()["damaged"] == 0
        assert store.load_calibration(1) is not None
        assert [len(store.masks(1, photo_id)) for photo_id in ids.tolist()] == np.diff(block.offsets).tolist()
        assert {store.grounding(1, photo_id) for photo_id in ids.tolist()} == {None}
        assert not store.repair_plan().damaged_photos
        (said,) = [check.detail for check in store.verify() if check.name == "checksums of space 1"]
        assert said.startswith("none in a catalog" if revision == "0001" else "6 agree, 0 without one, 0 differ")


def test_an_older_catalog_that_may_only_be_read_is_still_compared_by_verify(tmp_path, monkeypatch):
    folder = unpack("0006", tmp_path / "index")
    changed(folder, "UPDATE encoding SET image = ? WHERE photo_id = 3", first_blob(folder, 3))
    changed(folder, "DELETE FROM checksum WHERE photo_id = 5")
    monkeypatch.setattr(database, "may_not_be_written", lambda _: True)
    with Store.open(folder) as store:
        (check,) = [check for check in store.verify() if check.name == "checksums of space 1"]
        assert not check.ok and check.detail.startswith("4 agree, 1 without one, 1 differ: photo 3; `interleave-index")


def test_what_has_no_masks_at_all_is_said_so(library):
    with pytest.raises(NotInIndex, match="photo 7 has no masks in space 1; ingest it again"):
        library.store.masks(library.space, 7)
    with pytest.raises(NotInIndex, match="photo 7 has no masks in space 1; ingest it again"):
        library.store.grounding(library.space, 7)


def test_damage_in_one_space_is_none_in_another(library):
    first, second = library.add("a", "b")
    library.store.texts.write([page("/notes/a.md", "one", "two")])
    passage, _ = encode(library)
    other = library.store.ensure_space(Space("other", "1" * 64, "none", DIM))
    own, library.space = library.space, other
    library.add("a")
    encode(library)
    library.space = own
    damage(library, first)
    turn_over(library.store, PassageEncodingRow, "passage", at=4, passage_id=passage, space_id=own)
    plan = library.store.repair_plan()
    assert plan.beyond == (first,) and plan.damaged_passages == ((own, (passage,)),)
    assert library.store.vectors(other, [first]).scores.shape == (2,)
    assert library.store.count(own) == (2, 4) and library.store.count(other) == (1, 2)
    assert library.store.texts.waiting(other).tolist() == [] and library.store.encoded(own).tolist() == [first, second]


def test_what_came_damaged_after_the_first_look_is_named_by_its_photo_and_leaves_the_others(library):
    (first,) = library.add("a")
    library.add("a", replace=True)  # so that numbers of encodings are others than those of photos
    assert photos_found(library) == {first}
    with library.store.writer("a test"):  # nobody looks between the two
        (second,) = library.add("b")
        damage(library, second)
    assert photos_found(library) == {first} == photos_found(library, "region")
    assert library.store.damaged(library.space) == {second}
    library.store.optimize(library.space)
    library.reopen()
    assert library.store.damaged(library.space) == {second}
