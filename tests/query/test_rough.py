"""The pass over a whole library by lines of tables, against the same formula over whole arrays."""

from __future__ import annotations

import numpy as np
import pytest

from interleave_index.query import rough
from interleave_index.query.candidates import image_cosines, joined_cosines, region_cosines
from interleave_index.query.rough import RoughPass, best_by_rough_scores, joined
from interleave_index.query.score import ScoringQuery, Terms, totals
from interleave_index.records import PhotoFacts, Space
from interleave_index.storage import calibrate, kernel, recipes
from interleave_index.storage.store import Store

D, FILED, LATE, GONE = 16, 1500, 60, (7, 300, 1499)


@pytest.fixture(scope="module")
def listed(tmp_path_factory, make_vectors):
    """1,500 photos of 0 to 4 regions in files with inverted lists, three of them removed since; 60 more came late."""
    rng, patch = np.random.default_rng(0), pytest.MonkeyPatch()
    patch.setattr(recipes, "FLAT_ROWS", 1000)
    patch.setattr(calibrate, "WORTH", np.inf)  # lists are taken however little they save here
    with Store.open(tmp_path_factory.mktemp("listed"), create=True) as store:
        space_id = store.ensure_space(Space("random", "0" * 64, "none", D))
        for numbers in (range(FILED), range(FILED, FILED + LATE)):
            counts = rng.integers(0, 5, len(numbers))
            store.write_encodings(
                space_id,
                [PhotoFacts(f"{number:064x}", 10, 10, "PNG") for number in numbers],
                make_vectors(rng, len(numbers), D),
                [make_vectors(rng, int(count), D) for count in counts],
                [np.zeros((count, 4), np.float32) for count in counts],
                [np.zeros(count, np.float32) for count in counts],
                [np.zeros(count, np.float32) for count in counts],
            )
            if not numbers.start:
                store.optimize(space_id)
        store.forget(list(GONE))
        indexes = store.indexes(space_id)
        assert not indexes.image.is_exact and not indexes.region.is_exact
        yield indexes
    patch.undo()


@pytest.fixture(params=["compiled", "numpy"])
def way(request, monkeypatch):
    """Both ways in which a library is passed through."""
    if request.param == "numpy":
        monkeypatch.setattr(kernel, "is_there", lambda: False)
    elif not kernel.is_there():
        pytest.skip("numba is not installed")


def query_of(make_vectors, entities, negatives, seed=1):
    """Half of the terms are whole pictures."""
    rng = np.random.default_rng(seed)

    def terms(count):
        weights = rng.uniform(0.5, 2, count).astype(np.float32)
        return Terms(make_vectors(rng, count, D), make_vectors(rng, count, D), weights, np.arange(count) % 2 == 1)

    penalties, slopes, middles = (np.full(negatives, value, np.float32) for value in (0.4, 9, 0.2))
    return ScoringQuery(
        make_vectors(rng, D), terms(entities), terms(negatives), 0.7, penalties, slopes, middles, offset=0.1
    )


def whole_arrays(indexes, query, allowed, exact_images=False):
    """Ids and rough scores of every allowed photo."""
    ids, images = image_cosines(indexes, query, allowed, rough=not exact_images)
    regions = region_cosines(indexes, query, ids, allowed, rough=True)
    return ids, totals(joined_cosines(query, images, regions), query)[0]


@pytest.mark.parametrize("filtered", [False, True])
@pytest.mark.parametrize(("entities", "negatives"), [(0, 0), (1, 0), (2, 1), (0, 1), (4, 3)])
def test_every_photo_has_the_score_of_the_formula_and_the_bar_keeps_those_that_reach_it(
    way, listed, make_vectors, entities, negatives, filtered
):
    query = query_of(make_vectors, entities, negatives)
    allowed = np.setdiff1d(np.arange(3, FILED + LATE, 2), GONE) if filtered else None
    ids, expected = whole_arrays(listed, query, allowed)
    beside = np.random.default_rng(2).random(len(ids), np.float32) / np.float32(10)
    expected = expected + beside
    photos = RoughPass(listed, query, allowed, beside)
    every = joined(photos.above(-np.inf))
    assert every.places.tolist() == list(range(len(ids)))
    assert len(ids) == (FILED + LATE) // 2 - 2 - filtered if filtered else FILED + LATE - len(GONE)
    np.testing.assert_allclose(every.scores, expected, atol=2e-6)
    regions = region_cosines(listed, query, ids, allowed, rough=True)
    np.testing.assert_allclose(every.best, regions, atol=1e-6)
    order = np.sort(expected)
    bar = float(order[-100] + order[-101]) / 2
    kept = joined(photos.above(bar))
    assert kept.places.tolist() == np.flatnonzero(expected >= bar).tolist()
    np.testing.assert_allclose(kept.scores, expected[kept.places], atol=2e-6)
    np.testing.assert_allclose(kept.best, regions[kept.places], atol=1e-6)


def test_the_best_are_those_with_exact_images_and_rough_regions(way, listed, make_vectors, monkeypatch):
    monkeypatch.setattr(rough, "IMAGES_EXACT", 1000)  # all of them
    query = query_of(make_vectors, 2, 1)
    found = best_by_rough_scores(listed, query, None, 50, lambda ids: np.zeros(len(ids), np.float32))
    ids, expected = whole_arrays(listed, query, None, exact_images=True)
    best = np.sort(np.argsort(-expected)[:50])
    assert found.photo_ids.tolist() == ids[best].tolist()
    np.testing.assert_allclose(found.scores, expected[best], atol=2e-6)
    _, images = image_cosines(listed, query, found.photo_ids)
    assert found.images is not None
    np.testing.assert_allclose(found.images, images, atol=1e-6)


def test_a_bar_keeps_about_as_many_as_are_wanted(listed, make_vectors, monkeypatch):
    monkeypatch.setattr(rough, "SAMPLED", 4)
    query, photos = query_of(make_vectors, 2, 0), FILED + LATE - len(GONE)
    kept = RoughPass(listed, query, None, np.zeros(photos, np.float32)).best(400, 50)
    assert 250 < len(kept.places) < 550


def test_a_sample_that_misleads_leaves_no_fewer_than_are_needed(listed, make_vectors):
    query, photos = query_of(make_vectors, 2, 0), FILED + LATE - len(GONE)
    beside = np.zeros(photos, np.float32)
    beside[:: rough.SAMPLED] = 100  # those that are asked first, and no others
    kept = RoughPass(listed, query, None, beside).best(20 * rough.SAMPLED, 50)
    assert len(kept.places) >= 50
