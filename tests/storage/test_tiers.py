"""Several FAISS files a kind: which a fold leaves, that they answer as one, and that each can be lost alone."""

from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interleave_index.errors import IndexDamaged
from interleave_index.geometry import unit
from interleave_index.records import Floats
from interleave_index.regular import sha256_of
from interleave_index.storage import builder, calibrate, files, generations, recipes, vectors
from interleave_index.storage.backend import load_faiss
from interleave_index.storage.files import Generation
from interleave_index.storage.recipes import Probe, Recipe, new_index
from interleave_index.storage.store import Store
from interleave_index.storage.tiers import Held, fold_after


def after(*rows: int, came: int, spent: int | None = None) -> int:
    """`fold_after` of files of so many rows, the mark of each being their number so far."""
    held = [Held(i, i + 1, n, 0 if i == spent else n) for i, n in enumerate(rows)]
    return fold_after({"image": held}, {"image": came}, 256)


def test_a_file_is_taken_in_as_long_as_it_is_small_beside_what_is_gathered() -> None:
    assert after(came=5) == 0
    assert after(100, came=10) == 1  # a file of its own
    assert after(100, 20, came=10) == 1  # 20 <= 2 * 10, and 100 > 2 * 30
    assert after(100, 21, came=10) == 2
    assert after(60, 20, came=10) == 0
    assert after(1000, 100, 20, came=10) == 2


def test_a_file_of_which_much_was_removed_is_written_anew_with_those_after_it() -> None:
    assert after(1000, 300, 90, came=1, spent=1) == 1
    assert after(1000, 300, 90, came=0, spent=2) == 2
    assert after(1000, 300, came=0) == 0  # whoever asks for new files although nothing came
    held = [Held(0, 4, 100, 80), Held(4, 5, 40, 31)]
    assert fold_after({"image": held}, {"image": 1}, 256) == 4  # a fifth of the first is gone, more of the second
    assert fold_after({"image": [Held(0, 4, 100, 79)]}, {"image": 1}, 256) == 0


def test_flat_files_never_have_more_rows_together_than_one_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "FLAT_ROWS", 1000)
    assert after(800, 150, came=50) == 2
    assert after(800, 150, came=51) == 0
    assert after(9000, 800, 150, came=51) == 1  # the first has inverted lists


def test_files_of_photos_and_of_regions_are_folded_from_one_moment() -> None:
    image, region = [Held(0, 10, 100, 100), Held(10, 12, 9, 9)], [Held(0, 10, 500, 500), Held(10, 15, 30, 30)]
    assert fold_after({"image": image, "region": region}, {"image": 3, "region": 9}, 256) == 10
    assert fold_after({"image": image[:1], "region": region[1:]}, {"image": 3, "region": 9}, 256) == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 5000), min_size=1, max_size=80))
def test_folds_cost_a_logarithmic_share_and_leave_few_files(batches: list[int]) -> None:
    held: list[Held] = []
    written = total = 0
    for step, came in enumerate(batches):
        start = fold_after({"image": held}, {"image": came}, 256)
        rows = came + sum(file.rows for file in held if file.mark > start)
        held = [file for file in held if file.mark <= start] + [Held(start, step + 1, rows, rows)]
        total, written = total + came, written + rows
        assert [file.after for file in held] == [0, *(file.mark for file in held[:-1])]
        assert sum(file.rows for file in held) == total
        assert all(older.rows > 2 * newer.rows for older, newer in pairwise(held))
    assert written <= total * (1 + math.log(total, 1.5))


# --- in an index -----------------------------------------------------------------------------


@pytest.fixture
def streamed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many photos each block had that a fold read."""
    taken: list[int] = []
    read = vectors.stream

    def counted(*arguments: Any, **more: Any) -> Iterator[Any]:
        for block in read(*arguments, **more):
            taken.append(len(block.photo_ids))
            yield block

    monkeypatch.setattr(builder, "stream", counted)
    return taken


def shape(library: Any) -> dict[str, list[int]]:
    """Rows of its files by kind, oldest first."""
    found: dict[str, list[int]] = {}
    for row in library.store.status()["generations"]:
        found.setdefault(row["kind"], []).append(row["rows"])
    return found


def right(library: Any) -> None:
    """Compare with brute force, and verify."""
    library.check(library.vectors(4), 40)
    library.check(library.vectors(2), 9, [photo for photo in library.image if photo % 3])
    queries = library.vectors(3)
    for kind in ("image", "region"):
        ids, rows = library.rows(kind)
        photos = ids // 256 if kind == "region" else ids
        found, best = library.store.indexes(library.space).of(kind).best(queries)
        assert found.tolist() == sorted(set(photos.tolist()))
        expected = np.stack([(rows[photos == photo] @ queries.T).max(0) for photo in found.tolist()])
        np.testing.assert_allclose(best, expected, atol=2e-6)
    assert library.names_of_checks_that_fail() == []


@pytest.fixture
def tiered(library: Any) -> Any:
    """A library with files of 60, 27 and 6 photos, some of which were encoded again or forgotten since, and a delta."""
    library.add(*(f"a{i}" for i in range(60)), regions=[i % 4 for i in range(60)])
    library.store.optimize(library.space)
    library.add(*(f"b{i}" for i in range(25)), regions=1)
    library.add("a5", "a6", regions=1, replace=True)
    library.store.optimize(library.space)
    library.forget([library.id("a7"), library.id("b3")])
    library.add(*(f"c{i}" for i in range(5)), "a5", regions=1, replace=True)
    library.store.optimize(library.space)
    library.add("late", regions=1)
    return library


def test_a_fold_reads_and_writes_what_came_and_leaves_the_other_files(tiered: Any, streamed: list[int]) -> None:
    assert shape(tiered)["image"] == [60, 27, 6]
    before = {path.name for path in (tiered.folder / "faiss").glob("*.faiss")}
    right(tiered)
    seen: list[tuple[int, int]] = []
    tiered.store.optimize(tiered.space, lambda done, total: seen.append((done, total)))
    assert streamed == [1] and seen == [(1, 1)]
    assert shape(tiered)["image"] == [60, 27, 6, 1] and len(before) == 6
    assert before < {path.name for path in (tiered.folder / "faiss").glob("*.faiss")}
    right(tiered)
    tiered.add("x", "y", "z", regions=1)
    streamed.clear()
    tiered.store.optimize(tiered.space)
    assert streamed == [10] and shape(tiered)["image"] == [60, 27, 10]
    right(tiered)
    tiered.reopen()
    right(tiered)


def test_where_nothing_came_one_file_of_each_kind_is_made(tiered: Any) -> None:
    tiered.store.optimize(tiered.space)
    tiered.store.optimize(tiered.space)
    assert {kind: len(rows) for kind, rows in shape(tiered).items()} == {"image": 1, "region": 1}
    right(tiered)


def test_removals_are_kept_as_long_as_the_oldest_file_needs_them(tiered: Any) -> None:
    def removals() -> int:
        with tiered.store.reading() as connection:
            return int(connection.exec_driver_sql("SELECT count(*) FROM removal").scalar())

    assert removals() == 5
    tiered.forget([tiered.id(f"a{i}") for i in range(10, 30)])
    assert tiered.store.due(tiered.space) == ("image", "region")  # a third of the first file is dead
    tiered.store.optimize(tiered.space)
    assert shape(tiered)["image"] == [69] and removals() == 0
    right(tiered)
    assert not tiered.store.due(tiered.space)


def test_removals_alone_are_not_folded_before_they_are_a_fifth_of_a_file(tiered: Any) -> None:
    tiered.store.optimize(tiered.space)
    tiered.forget([tiered.id(f"a{i}") for i in range(10, 15)])
    assert not tiered.store.due(tiered.space)
    right(tiered)


@pytest.mark.parametrize("mark", [0, 1, 2])
@pytest.mark.parametrize("harm", ["gone", "flipped"])
def test_a_file_that_is_lost_is_made_anew_with_those_after_it_alone(
    tiered: Any, streamed: list[int], mark: int, harm: str
) -> None:
    with tiered.store.reading() as connection:
        rows = [row for row in generations.live(connection, tiered.space) if row.kind == "region"]
    path = tiered.folder / "faiss" / rows[mark].file
    if harm == "gone":
        path.unlink()
        tiered.reopen()
    else:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        name = "region file of space 1" if mark == 0 else f"region file {mark + 1} of space 1"
        assert [said.split(": ")[0] for said in tiered.names_of_checks_that_fail()] == [name]
        tiered.store.optimize(tiered.space)
    # photos encoded after the file before; a fold takes in the first file, which is small beside the second and third
    assert sum(streamed) == {"gone": [89, 32, 7], "flipped": [89, 89, 7]}[harm][mark]
    right(tiered)


def test_rows_of_a_lost_file_are_served_from_the_catalog_and_the_others_from_theirs(tiered: Any) -> None:
    with tiered.store.reading() as connection:
        rows = [row for row in generations.live(connection, tiered.space) if row.kind == "image"]
    with Store.open(tiered.name) as other, other.writer("a long ingest"):
        (tiered.folder / "faiss" / rows[1].file).unlink()
        tiered.store.close()
        tiered.store = Store(tiered.name)
        found = tiered.store.indexes(tiered.space)
        assert found.lost == ("image",) and found.image.mark == rows[0].mark and found.region.mark == rows[2].mark
        tiered.check(tiered.vectors(3), 50)


def test_a_file_of_another_stretch_of_the_counter_is_not_opened(tiered: Any, database: Any) -> None:
    """A row that went missing leaves a gap, which the file after it cannot fill."""
    database.run(tiered.name, "DELETE FROM generation WHERE kind = 'image' AND rows = 27")
    tiered.reopen()
    right(tiered)


# --- inverted lists --------------------------------------------------------------------------

DIM = 32


def clustered(n: int, seed: int) -> Floats:
    """(n, 32) unit vectors around 30 centres."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(3).normal(size=(30, DIM))
    return unit(centres[rng.integers(0, 30, n)] + 0.5 * rng.normal(size=(n, DIM))).astype(np.float32)


@pytest.fixture(scope="module")
def lists() -> tuple[Recipe, Any, Floats]:
    """A coarse index whose lists are filled and whose exact part is empty, and its vectors; some lists are empty."""
    rows = clustered(3000, 1).astype(np.float16).astype(np.float32)
    recipe = Recipe("IVF64,PQ16x4fs,Refine(SQfp16)", 64, {10: Probe(8, 40)}, {10: 0.99}, grouped=True)
    index = new_index(recipe, DIM, rows)
    load_faiss().downcast_index(index.base_index).add(rows)
    return recipe, index, rows


def written(folder: Path, lists: tuple[Recipe, Any, Floats]) -> Generation:
    recipe, index, rows = lists
    made = Generation(0, 1, "image", "", "", 0, len(rows), 7, DIM, recipe, 3)
    return files.write_file(folder, made, np.arange(len(rows)), io.BytesIO(rows.astype("<f2").tobytes()), index)


def found_by(index: Any, queries: Floats) -> Any:
    faiss = load_faiss()
    bits = np.packbits(np.arange(3000) % 3 > 0, bitorder="little")
    chosen = faiss.SearchParametersIVF(nprobe=9, sel=faiss.IDSelectorBitmap(3000, faiss.swig_ptr(bits)))
    base, every = faiss.downcast_index(index.base_index), faiss.SearchParametersIVF(nprobe=9)
    some = [base.search(queries, 20, params=parameters) for parameters in (every, chosen)]
    return [part.tolist() for pair in some for part in pair]


@pytest.mark.parametrize("in_memory", [False, True])
def test_lists_that_are_mapped_from_a_file_are_searched_as_those_in_memory(
    tmp_path: Path, lists: tuple[Recipe, Any, Floats], in_memory: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    faiss, queries = load_faiss(), clustered(12, 2)
    expected = found_by(lists[1], queries)
    row = written(tmp_path, lists)
    if in_memory:  # as on a system without memory maps of lists
        monkeypatch.delattr(faiss, "OnDiskInvertedLists")
    segment = files.open_file(tmp_path, row)
    held = faiss.downcast_InvertedLists(faiss.downcast_index(segment.index.base_index).invlists)
    assert type(held).__name__ == ("BlockInvertedLists" if in_memory else "OnDiskInvertedLists")
    assert found_by(segment.index, queries) == expected == found_by(lists[1], queries)
    np.testing.assert_array_equal(segment.codes.view("<f2").astype(np.float32), lists[2])


def test_a_file_of_the_first_form_with_its_lists_inside_is_still_searched(
    tmp_path: Path, lists: tuple[Recipe, Any, Floats]
) -> None:
    recipe, index, rows = lists
    faiss, flat = load_faiss(), new_index(Recipe(), DIM)
    flat.add(rows)
    base = faiss.downcast_index(index.base_index)
    path = tmp_path / "old.faiss"
    faiss.write_index(faiss.IndexRefine(base, flat), str(path))
    with path.open("ab") as file:
        file.write(b"\0" * (-file.tell() % 64))
        start = file.tell()
        file.write(np.arange(len(rows)).astype("<i8").tobytes() + b"\0" * (-8 * len(rows) % 64))
        size = file.tell() + 64
        file.write(files.FOOTER.pack(b"IIFAISS1", 0, 1, DIM, len(rows), 7, start, size, 0))
    row = Generation(0, 1, "image", path.name, sha256_of(path), size, len(rows), 7, DIM, recipe)
    queries = clustered(12, 2)
    assert found_by(files.open_file(tmp_path, row).index, queries) == found_by(index, queries)


@pytest.mark.parametrize("at", [0, 8, 16])  # rows of a list, capacity of its blocks, its place
def test_a_table_of_lists_that_says_what_cannot_be_is_refused_before_faiss_looks(
    tmp_path: Path, lists: tuple[Recipe, Any, Floats], at: int
) -> None:
    row = written(tmp_path, lists)
    data = bytearray((tmp_path / row.file).read_bytes())
    start = int.from_bytes(data[-64 + 40 : -64 + 48], "little") - 24 * 64 + at
    data[start : start + 8] = (1 << 50).to_bytes(8, "little")
    (tmp_path / row.file).write_bytes(data)
    with pytest.raises(IndexDamaged, match="inverted lists are said to have"):
        files.open_file(tmp_path, row, checked=False)


def test_the_effort_of_a_file_that_stays_is_measured_again_with_what_came(
    another_library: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipes, "FLAT_ROWS", 1000)
    monkeypatch.setattr(calibrate, "WORTH", np.inf)
    library = another_library()
    library.add(*(f"a{i}" for i in range(500)), regions=3)
    library.store.optimize(library.space)

    def coarse() -> Recipe:
        with library.store.reading() as connection:
            return next(row for row in generations.live(connection) if row.kind == "region").recipe

    first = coarse()
    assert first.coarse and first.checked == 0
    library.add(*(f"b{i}" for i in range(20)), regions=3)  # less than a tenth
    library.store.optimize(library.space)
    assert coarse() == first
    library.add(*(f"c{i}" for i in range(45)), regions=3)
    library.store.optimize(library.space)
    second = coarse()
    assert shape(library)["region"] == [1500, 195] and second.checked == 565
    assert all(second.search[k].nprobe >= probe.nprobe for k, probe in first.search.items())
    right_after = library.store.indexes(library.space).region.tiers[0].info.recipe
    assert right_after == second
    library.add("last", regions=3)
    library.store.optimize(library.space)
    assert coarse() == second  # not measured again before another tenth came
    library.check(library.vectors(3), 30, range(1, 40))
    assert library.names_of_checks_that_fail() == []


def test_a_small_file_beside_a_large_one_takes_its_lists(
    another_library: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipes, "FLAT_ROWS", 1000)
    monkeypatch.setattr(builder, "WORTH_LISTS", 400)
    monkeypatch.setattr(calibrate, "WORTH", np.inf)
    library = another_library()
    library.add(*(f"a{i}" for i in range(500)), regions=3)
    library.store.optimize(library.space)
    library.add(*(f"b{i}" for i in range(140)), regions=3)
    library.forget(sorted(library.image)[::20])
    library.store.optimize(library.space)
    tiers = library.store.indexes(library.space).region.tiers
    assert [tier.info.rows for tier in tiers] == [1500, 3 * 133]
    assert [tier.info.recipe.coarse for tier in tiers] == [True, False]  # too few rows are left
    library.add(*(f"c{i}" for i in range(70)), regions=3)
    library.store.optimize(library.space)
    tiers = library.store.indexes(library.space).region.tiers
    assert [tier.info.rows for tier in tiers] == [1500, 3 * 203]
    first, second = (load_faiss().downcast_index(tier.segment.index.base_index) for tier in tiers)
    assert second.ntotal == 3 * 203 and second.nlist == first.nlist
    np.testing.assert_array_equal(_centres(first), _centres(second))
    nearly_right(library)
    library.reopen()
    nearly_right(library)
    assert library.names_of_checks_that_fail() == []


def nearly_right(library: Any) -> None:
    """The share of the ten nearest rows that lists promise, each with its own score, and the exact best of all."""
    ids, rows = library.rows("region")
    queries = library.vectors(40)
    index = library.store.indexes(library.space).region
    scores, names = index.search(queries, 10)
    truth = queries @ rows.T
    np.testing.assert_allclose(scores, np.take_along_axis(truth, np.searchsorted(ids, names), 1), atol=2e-6)
    tenth = -np.sort(-truth, axis=1)[:, 9:10]
    assert (scores >= tenth - 2e-6).mean() >= 0.97
    photos, best = index.best(queries)
    starts = np.flatnonzero(np.diff(ids // 256, prepend=-1))
    np.testing.assert_array_equal(photos, ids[starts] // 256)
    np.testing.assert_allclose(best.T, np.maximum.reduceat(truth, starts, axis=1), atol=2e-6)


def _centres(lists: Any) -> Floats:
    return np.asarray(load_faiss().downcast_index(lists.quantizer).reconstruct_n(0, lists.nlist))


def test_there_are_no_trained_lists_of_a_flat_file_or_of_one_that_is_gone(
    tmp_path: Path, lists: tuple[Recipe, Any, Floats]
) -> None:
    row = written(tmp_path, lists)
    trained = files.open_trained(tmp_path, row)
    assert trained is not None and trained.is_trained and trained.ntotal == 0
    assert files.open_trained(tmp_path, dataclasses.replace(row, recipe=Recipe())) is None
    (tmp_path / row.file).write_bytes(b"short")
    assert files.open_trained(tmp_path, row) is None
    (tmp_path / row.file).unlink()
    assert files.open_trained(tmp_path, row) is None
