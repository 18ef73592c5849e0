"""The photos nearest to a query, where some lie in inverted lists and others came later, or were taken out."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from interleave_index.geometry import unit
from interleave_index.storage import kernel
from interleave_index.storage.files import Generation
from interleave_index.storage.indexes import NONE, Tier, VectorIndex
from interleave_index.storage.near import Near, first_of, joined
from interleave_index.storage.recipes import Recipe
from interleave_index.storage.segment import Segment

from .segments import DIM, both_kinds, clustered, region_ids, with_lists

Floats = NDArray[np.float32]
COUNT = 20  # photos that a list is asked for


class Grown:
    """A library whose first photos lie in inverted lists, others in a smaller file, the last in none."""

    def __init__(self, gone: float, *, lists_beside: bool) -> None:
        ids = region_ids(4000)
        self.vectors = clustered(len(ids)).astype(np.float32)
        self.photos = ids // 256
        cuts = np.searchsorted(ids, [256 * 6000, 256 * 7000])
        runs = np.split(ids, cuts)
        rows = np.split(self.vectors, cuts)
        every = np.unique(self.photos)
        self.dead = np.sort(np.random.default_rng(5).choice(every, round(gone * len(every)), replace=False))
        self.late = every[every >= 6000]
        middle = with_lists if lists_beside else _flat
        segments = [
            with_lists(runs[0], rows[0]),
            middle(runs[1], rows[1]),
            _flat(runs[2], rows[2]),
        ]
        tiers = [Tier(segment, _row(segment, mark), self.dead) for mark, segment in enumerate(segments[:2], 1)]
        delta = segments[2]
        if gone:  # a delta holds no photo that was taken out
            kept = ~np.isin(runs[2] // 256, self.dead)
            delta = _flat(runs[2][kept], rows[2][kept])
        self.index = VectorIndex("region", DIM, tiers, delta)

    def best(self, query: Floats) -> dict[int, float]:
        """The best product of every photo that is left."""
        products = self.vectors @ query
        starts = np.flatnonzero(np.diff(self.photos, prepend=-1))
        best = np.maximum.reduceat(products, starts)
        return {
            photo: score
            for photo, score in zip(self.photos[starts].tolist(), best.tolist(), strict=True)
            if photo not in set(self.dead.tolist())
        }


def _flat(ids: NDArray[np.int64], rows: Floats) -> Segment:
    return Segment.of(ids, rows.astype(np.float16), regions=True)


def _row(segment: Segment, mark: int) -> Generation:
    return Generation(mark, 1, "region", f"region-{mark}", "", 0, len(segment), mark, DIM, segment.recipe)


@pytest.fixture(params=[False, True], ids=["plain", "compiled"])
def compiled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param:
        monkeypatch.setattr(kernel, "WORTH_COMPILING", 0)


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("lists_beside", [False, True])
@pytest.mark.parametrize("gone", [0.0, 0.15])
def test_what_came_late_is_found_as_far_down_as_inverted_lists_reach(gone: float, lists_beside: bool) -> None:
    grown = Grown(gone, lists_beside=lists_beside)
    rng = np.random.default_rng(1)
    queries = unit(grown.vectors[rng.choice(len(grown.vectors), 30)] + 0.1 * rng.normal(size=(30, DIM)))
    found = 0
    for query, near in zip(queries, grown.index.nearest_photos(queries, COUNT), strict=True):
        best = grown.best(query)
        assert len(set(near.photo_ids.tolist())) == len(near.photo_ids) > COUNT
        assert (np.diff(near.scores) <= 0).all()
        assert set(near.photo_ids.tolist()) <= set(best)
        listed = set(near.photo_ids.tolist())
        came = grown.late[grown.late >= (7000 if lists_beside else 0)]  # product codes may miss one
        missed = [photo for photo in came.tolist() if photo in best and photo not in listed]
        assert all(best[photo] < near.least + 1e-6 for photo in missed)
        truth = sorted(best, key=lambda photo: -best[photo])[:COUNT]
        found += len(listed & set(truth))
    assert found >= 0.97 * COUNT * len(queries)


def test_dead_photos_cost_the_living_no_place_on_a_list() -> None:
    segment, rows = both_kinds()["inverted lists"]
    dead = np.random.default_rng(2).choice(segment.photo_ids, len(segment.photo_ids) // 6, replace=False)
    queries = rows[::400]
    whole = segment.nearest_photos(queries, COUNT, segment.select(None, NONE))
    living = segment.nearest_photos(queries, COUNT, segment.select(None, np.sort(dead)))
    for one, other in zip(whole, living, strict=True):
        assert not np.isin(other.photo_ids, dead).any()
        kept = one.photo_ids[~np.isin(one.photo_ids, dead)]
        assert np.isin(kept, other.photo_ids).all()


def test_a_list_says_what_others_have_at_most() -> None:
    ids, scores = np.array([7, 3]), np.array([0.5, 0.25], np.float32)
    assert first_of(ids, scores, all_of_them=False).least == 0.25
    assert first_of(ids, scores, all_of_them=True).all_of_them
    assert first_of(ids[:0], scores[:0], all_of_them=False).least == np.inf


def test_lists_of_several_places_are_one_list_with_the_highest_of_their_ends() -> None:
    deep = Near(np.array([1, 5, 2]), np.array([0.9, 0.4, 0.1], np.float32), 0.1)
    shallow = Near(np.array([4, 3]), np.array([0.8, 0.4], np.float32), 0.4)
    whole = joined([deep, shallow])
    assert whole.photo_ids.tolist() == [1, 4, 3, 5, 2]  # 3 before 5, which has as much
    assert whole.least == pytest.approx(0.4) and not whole.all_of_them
    assert joined([deep, shallow], 2).photo_ids.tolist() == [1, 4]
    assert joined([deep, shallow], 2).least == pytest.approx(0.8)
    assert joined([deep._replace(least=-np.inf), shallow._replace(least=-np.inf)]).all_of_them
    assert joined([deep, shallow], 0).least == np.inf


def test_a_flat_list_gives_more_only_where_that_is_asked_for() -> None:
    segment, rows = both_kinds()["flat"]
    everything = segment.select(None, NONE)
    (near,) = segment.nearest_photos(rows[:1], COUNT, everything)
    assert len(near.photo_ids) == COUNT
    (down,) = segment.nearest_photos(rows[:1], COUNT, everything, np.array([0.2], np.float32))
    _, best = segment.best(rows[:1], everything)
    assert len(down.photo_ids) == int((best >= 0.2).sum()) > COUNT
    assert segment.recipe == Recipe()


def test_a_list_is_cut_where_photos_have_less() -> None:
    near = Near(np.array([1, 5, 2]), np.array([0.9, 0.4, 0.1], np.float32), -np.inf)
    assert near.down_to(0.4).photo_ids.tolist() == [1, 5] and near.down_to(0.4).least == pytest.approx(0.4)
    assert near.down_to(-np.inf) is near
    assert near._replace(least=0.05).down_to(0.95).least == pytest.approx(0.95)
