"""FAISS ids against brute force: every recipe, under filters, removals and deltas."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from interleave_index.errors import ShapeError
from interleave_index.geometry import unit
from interleave_index.storage import calibrate as calibration
from interleave_index.storage import kernel, recipes
from interleave_index.storage.backend import load_faiss
from interleave_index.storage.calibrate import PROMISE, calibrate
from interleave_index.storage.fp16 import photo_blocks, top, widen
from interleave_index.storage.recipes import Probe, Recipe, new_index, recipe_for
from interleave_index.storage.segment import Segment

from .segments import DIM, both_kinds

Ids = NDArray[np.int64]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    faiss = load_faiss()
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    yield
    faiss.omp_set_num_threads(before)


@pytest.fixture(scope="module")
def built() -> dict[str, tuple[Segment, NDArray[np.float32]]]:
    return both_kinds()


RECIPES = ("flat", "inverted lists")


def brute(
    segment: Segment, rows: NDArray[np.float32], queries: NDArray[np.float32], allowed: Ids | None, dead: Ids
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Which rows may be found, and every score with the others at -inf."""
    photos = segment.ids // 256
    keep = ~np.isin(photos, dead) & (np.isin(photos, allowed) if allowed is not None else True)
    return keep, np.where(keep, queries @ rows.T, -np.inf).astype(np.float32)


@pytest.mark.parametrize("name", RECIPES)
@settings(max_examples=25, deadline=None)
@given(
    share=st.sampled_from([None, 0.0, 0.001, 0.02, 0.055, 0.07, 0.3, 0.9]),
    gone=st.sampled_from([0.0, 0.01, 0.5]),
    k=st.sampled_from([1, 7, 60, 9000]),
    seed=st.integers(0, 999),
)
def test_a_search_finds_allowed_rows_only_with_their_own_scores_at_the_promised_recall(
    built: dict[str, tuple[Segment, NDArray[np.float32]]],
    name: str,
    share: float | None,
    gone: float,
    k: int,
    seed: int,
) -> None:
    segment, rows = built[name]
    rng = np.random.default_rng(seed)
    everyone = np.arange(1, 5000)
    allowed = None if share is None else np.sort(rng.choice(everyone, round(share * len(everyone)), replace=False))
    dead = np.sort(rng.choice(everyone, round(gone * len(everyone)), replace=False))
    queries = unit(rows[rng.choice(len(rows), 8)] + 0.1 * rng.normal(size=(8, DIM)))
    scores, ids = segment.search(queries, k, segment.select(allowed, dead))
    keep, truth = brute(segment, rows, queries, allowed, dead)
    found = min(k, int(keep.sum()))
    assert (ids[:, found:] == -1).all() and (ids[:, :found] >= 0).all()
    assert (np.diff(scores[:, :found], axis=1) <= 0).all()
    places = np.searchsorted(segment.ids, ids[:, :found])
    assert keep[places].all() and all(len(set(line)) == found for line in ids[:, :found].tolist())
    np.testing.assert_allclose(np.take_along_axis(truth, places, 1), scores[:, :found], atol=2e-6)
    best = -np.sort(-truth, axis=1)[:, :found]
    if name == "flat":
        np.testing.assert_allclose(scores[:, :found], best, atol=2e-6)
    elif found:
        kth_best = best[:, -1:] - 2e-6
        assert (scores[:, :found] >= kth_best).mean() >= PROMISE - 0.04  # 8 queries; the promise is on the mean of many


@pytest.mark.parametrize("name", RECIPES)
def test_the_promised_recall_holds_on_average_with_and_without_a_filter(
    built: dict[str, tuple[Segment, NDArray[np.float32]]], name: str
) -> None:
    segment, rows = built[name]
    rng = np.random.default_rng(1)
    queries = unit(rows[rng.choice(len(rows), 300)] + 0.1 * rng.normal(size=(300, DIM)))
    for share in (None, 0.5, 0.1):
        allowed = None if share is None else np.sort(rng.choice(5000, int(share * 5000), replace=False))
        _, truth = brute(segment, rows, queries, allowed, np.empty(0, np.int64))
        scores, _ = segment.search(queries, 10, segment.select(allowed, np.empty(0, np.int64)))
        assert (scores >= -np.sort(-truth, axis=1)[:, 9:10] - 2e-6).mean() >= PROMISE


def test_a_filter_against_the_grain_of_the_clusters_still_fills_its_answer(
    built: dict[str, tuple[Segment, NDArray[np.float32]]],
) -> None:
    segment, rows = built["inverted lists"]
    query = rows[:1]
    far = np.argsort(query @ rows.T)[0, : len(rows) // 10]
    allowed = np.unique(segment.ids[far] // 256)
    allowed = allowed[~np.isin(allowed, segment.ids[np.argsort(-(query @ rows.T))[0, : len(rows) // 2]] // 256)]
    chosen = segment.select(allowed, np.empty(0, np.int64))
    _, ids = segment.search(query, 50, chosen)
    assert np.isin(ids[ids >= 0] // 256, allowed).all()
    assert (ids >= 0).sum() == min(50, chosen.count)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("share", [None, 0.01, 0.4])
def test_a_scan_gives_every_chosen_photo_once_with_its_very_vectors(
    built: dict[str, tuple[Segment, NDArray[np.float32]]], name: str, share: float | None
) -> None:
    segment, rows = built[name]
    rng = np.random.default_rng(2)
    allowed = None if share is None else np.sort(rng.choice(5000, int(share * 5000), replace=False))
    dead = segment.photo_ids[::7]
    keep, _ = brute(segment, rows, rows[:1], allowed, dead)
    photos, vectors = [], []
    for block in segment.scan(segment.select(allowed, dead)):
        photos.append(np.repeat(block.photo_ids, np.diff(block.offsets)))
        vectors.append(block.vectors.copy())
    np.testing.assert_array_equal(np.concatenate(photos), segment.ids[keep] // 256)
    np.testing.assert_array_equal(np.concatenate(vectors), rows[keep])


@pytest.mark.parametrize("queries", [1, 3, 4, 9])
@pytest.mark.parametrize("share", [None, 0.3, 0.0])
def test_the_compiled_scan_gives_the_best_product_of_every_chosen_photo(
    built: dict[str, tuple[Segment, NDArray[np.float32]]],
    monkeypatch: pytest.MonkeyPatch,
    share: float | None,
    queries: int,
) -> None:
    segment, rows = built["flat"]
    asked = np.random.default_rng(queries).normal(size=(queries, DIM)).astype(np.float32)
    allowed = None if share is None else np.sort(np.random.default_rng(8).choice(5000, int(share * 5000)))
    chosen = segment.select(None if allowed is None else np.unique(allowed), segment.photo_ids[::9])
    keep, _ = brute(segment, rows, asked, allowed, segment.photo_ids[::9])
    photos = segment.ids[keep] // 256
    starts = np.flatnonzero(np.diff(photos, prepend=-1))
    expected = np.maximum.reduceat(rows[keep] @ asked.T, starts) if len(photos) else np.empty((0, queries))
    plain = segment.best(asked, chosen)
    monkeypatch.setattr(kernel, "WORTH_COMPILING", 0)
    for worth_threads in (1 << 60, 0):
        monkeypatch.setattr(kernel, "WORTH_THREADS", worth_threads)
        for ids, best in (plain, segment.best(asked, chosen)):
            assert np.array_equal(ids, photos[starts]) and best.shape == (len(ids), queries)
            np.testing.assert_allclose(best, expected, atol=2e-5)


def test_the_compiled_scan_is_used_where_it_pays(
    built: dict[str, tuple[Segment, NDArray[np.float32]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    segment, rows = built["flat"]
    calls: list[int] = []
    compiled = kernel.best_products

    def counted(*given: Any) -> Any:
        calls.append(1)
        return compiled(*given)

    monkeypatch.setattr(kernel, "best_products", counted)
    everything = segment.select(None, np.empty(0, np.int64))
    segment.best(rows[:1], everything)
    monkeypatch.setattr(kernel, "WORTH_COMPILING", len(segment))
    segment.best(rows[:1], everything)
    monkeypatch.setattr(kernel, "is_there", lambda: False)
    segment.best(rows[:1], everything)
    assert calls == [1]


def test_a_recipe_that_would_read_as_much_as_an_exact_scan_is_not_used() -> None:
    rows = unit(np.random.default_rng(0).normal(size=(3000, DIM)))
    coarse = Recipe("IVF32,PQ16x4fs,Refine(SQfp16)", 32)
    index = new_index(coarse, DIM, rows)
    index.add(rows)
    assert calibrate(Segment(np.arange(3000), index, coarse, regions=False), rows) is None


def test_effort_grows_with_k_and_as_a_filter_leaves_less() -> None:
    recipe = Recipe("x", 64, {10: Probe(8, 40), 100: Probe(16, 400)}, {10: 0.99, 100: 0.99})
    assert recipe.effort(10) == Probe(8, 40)
    assert recipe.effort(10, share=0.5) == Probe(16, 40)
    assert recipe.effort(10, share=0.95) == Probe(9, 40)  # few removed rows cost little
    assert recipe.effort(100, share=0.25) == Probe(32, 400)
    assert recipe.effort(400) == Probe(32, 1600)
    assert recipe.effort(100, share=0.0001).nprobe == 64


def test_a_recipe_survives_its_row() -> None:
    recipe = Recipe("IVF64,PQ8x4fs,Refine(SQfp16)", 64, {10: Probe(8, 40)}, {10: 0.9912})
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert Recipe.from_json(Recipe().to_json()) == Recipe()


def test_a_recipe_of_an_older_file_promises_rows_so_that_photos_ask_for_two_each() -> None:
    older = Recipe.from_json('{"factory": "x", "lists": 64, "search": {"10": [8, 40]}, "recall": {"10": 0.99}}')
    assert older.photo_effort(5) == Probe(8, 40) == older.effort(10)
    newer = Recipe("x", 64, {10: Probe(8, 40)}, {10: 0.99}, grouped=True)
    assert newer.photo_effort(10) == Probe(8, 40) and Recipe.from_json(newer.to_json()) == newer


def test_the_size_decides_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    assert recipe_for(recipes.FLAT_ROWS, 256) == Recipe()
    assert recipe_for(1_200_000, 512) == Recipe("IVF1024,PQ256x4fs,Refine(SQfp16)", 1024)
    assert recipe_for(10_000_000, 7) == Recipe()
    monkeypatch.setattr(recipes, "FLAT_ROWS", 100)
    assert recipe_for(300, 16).lists == 16


def test_widening_is_exact_for_every_finite_half() -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    finite = every[np.isfinite(every)].reshape(-1, 2)
    out = np.empty(finite.shape, np.float32)
    np.testing.assert_array_equal(
        widen(finite.view(np.uint8), out).view(np.uint32), finite.astype(np.float32).view(np.uint32)
    )


@given(st.lists(st.integers(1, 9), max_size=40), st.integers(1, 20))
def test_blocks_hold_whole_photos_and_leave_none_out(counts: list[int], rows: int) -> None:
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    blocks = list(photo_blocks(starts, rows))
    assert [first for first, _ in blocks] == [0, *[past for _, past in blocks[:-1]]][: len(blocks)]
    assert not counts or blocks[-1][1] == len(counts)
    assert all(starts[past] - starts[first] <= max(rows, max(counts)) for first, past in blocks)


@given(
    st.lists(st.lists(st.sampled_from([0.0, 0.25, 0.5, -np.inf]), min_size=300, max_size=300), min_size=1, max_size=3),
    st.integers(1, 8),
)
@settings(max_examples=30, deadline=None)
def test_the_top_of_many_ties_is_in_order_of_id(values: list[list[float]], k: int) -> None:
    scores = np.array(values, np.float32)
    found, names = top(scores, np.arange(300), k)
    for line, best, ids in zip(scores, found, names, strict=True):
        order = sorted(range(300), key=lambda i: (-line[i], i))[:k]
        assert ids.tolist() == [i if line[i] > -np.inf else -1 for i in order]
        np.testing.assert_array_equal(best, line[order])


OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["add", "forget", "replace", "optimize", "reopen", "lose"]), st.integers(0, 1000)),
    min_size=1,
    max_size=8,
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=OPERATIONS)
def test_whatever_happens_to_an_index_both_halves_agree(
    another_library: Callable[[], Any], operations: list[tuple[str, int]]
) -> None:
    library = another_library()
    library.add("first", "second", regions=[0, 3])
    for step, (name, number) in enumerate(operations):
        ids = sorted(library.image)
        if name == "add":
            library.add(*[f"{step}-{i}" for i in range(number % 5 + 1)], regions=number % 4)
        elif name == "forget" and ids:
            library.forget([ids[number % len(ids)]])
        elif name == "replace":
            library.add("second", regions=number % 5, replace=True)
        elif name == "optimize":
            library.store.optimize(library.space)
        elif name == "reopen":
            library.reopen()
        elif name == "lose":
            for path in sorted((library.folder / "faiss").glob("*.faiss"))[: number % 3]:
                path.unlink()
        library.check(library.vectors(2), 1 + number % 30)
        library.check(library.vectors(1), 5, [photo for photo in library.image if photo % 2])
    library.reopen()
    assert library.names_of_checks_that_fail() == []


def test_a_query_of_the_wrong_length_is_refused(library: Any) -> None:
    library.add("a")
    with pytest.raises(ShapeError, match=r"expected \(Q, 16\)"):
        library.store.indexes(library.space).image.search(np.zeros((1, 5), np.float32), 3)


def test_an_empty_space_answers_with_nothing(library: Any) -> None:
    library.store.optimize(library.space)
    library.check(library.vectors(2), 3)
    assert library.names_of_checks_that_fail() == []


def test_the_best_of_each_photo_is_the_maximum_over_its_regions(library: Any) -> None:
    ids = library.add("a", "b", "c", "d", regions=[3, 0, 2, 5])
    library.store.optimize(library.space)
    library.forget([ids[2]])
    ids += library.add("e", regions=4)
    queries = library.vectors(3)
    index = library.store.indexes(library.space)
    photos, best = index.region.best(queries)
    assert photos.tolist() == [ids[0], ids[3], ids[4]]
    np.testing.assert_allclose(best, [(library.regions[photo] @ queries.T).max(0) for photo in photos], atol=1e-6)
    photos, best = index.image.best(queries, np.array([ids[1], ids[4]]))
    assert photos.tolist() == [ids[1], ids[4]]
    np.testing.assert_allclose(best, [queries @ library.image[photo] for photo in photos], atol=1e-6)


def test_a_large_library_is_folded_into_inverted_lists_that_agree_with_it(
    another_library: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipes, "FLAT_ROWS", 1000)
    monkeypatch.setattr(calibration, "WORTH", np.inf)
    library = another_library()
    names = [f"n{i}" for i in range(700)]
    library.add(*names, regions=[i % 5 for i in range(700)])
    library.store.optimize(library.space)
    index = library.store.indexes(library.space)
    assert (index.image.recipe, index.region.recipe) == ("SQfp16", "IVF32,PQ8x4fs,Refine(SQfp16)")
    library.forget([3, 4, 5])
    library.add("more", regions=5)
    library.reopen()
    library.check(library.vectors(5), 60, range(1, 20))
    assert library.names_of_checks_that_fail() == []
    assert library.store.status()["generations"][1]["recall"]["10"] >= PROMISE


def test_what_a_filter_chooses_is_kept_for_the_next_query_whatever_candidates_are_scored_between(library: Any) -> None:
    library.add("a", "b", "c", "d")
    library.store.optimize(library.space)
    index = library.store.indexes(library.space).region
    chosen: list[int] = []
    segment = index.tiers[0].segment
    select = segment.select

    def noting(allowed: Any, dead: Any) -> Any:
        chosen.append(len(allowed))
        return select(allowed, dead)

    segment.select = noting
    kept = np.array([1, 2, 4])
    kept.setflags(write=False)
    for _ in range(2):
        assert index.best(library.vectors(1), kept)[0].tolist() == [1, 2, 4]
        assert index.best(library.vectors(1), np.array([2, 4]))[0].tolist() == [2, 4]
    assert chosen == [3, 2, 2]


@pytest.mark.skipif(sys.platform != "linux", reason="the system has to list mappings")
def test_vectors_of_a_file_stay_on_the_disk_until_they_are_looked_at(library: Any) -> None:
    library.add(*(f"{number}" for number in range(400)), regions=0)
    library.store.optimize(library.space)
    library.store.indexes(library.space)
    (file,) = (library.folder / "faiss").glob("image-*")
    mapped = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith(str(file))]
    assert any(int(offset, 16) == 0 for _, _, offset, *_ in mapped)  # ids lie behind the vectors
