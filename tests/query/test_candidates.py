"""Which photos are scored: the rule, the exact path against loops, and the ann path's union."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interleave_index.errors import InputError, NotInIndex
from interleave_index.geometry import unit
from interleave_index.query import approximate
from interleave_index.query.approximate import Beside, best_photos, bound
from interleave_index.query.candidates import every_cosine, lists_of, nearest, plan, vectors_of
from interleave_index.query.score import ScoringQuery, Terms, cosines, fuse, score
from interleave_index.records import PhotoFacts, Space
from interleave_index.storage import calibrate, recipes
from interleave_index.storage.store import Store

D = 16


@pytest.fixture(scope="module")
def random_store(tmp_path_factory, make_vectors):
    """300 photos with 0 to 6 regions in random directions: 200 in FAISS files, 100 in the delta."""
    rng = np.random.default_rng(0)
    with Store.open(tmp_path_factory.mktemp("random"), create=True) as store:
        space_id = store.ensure_space(Space("random", "0" * 64, "none", D))
        counts = rng.integers(0, 7, 300)
        facts = [PhotoFacts(hashlib.sha256(bytes([n % 256, n // 256])).hexdigest(), 100, 80, "PNG") for n in range(300)]
        image, regions = make_vectors(rng, 300, D), [make_vectors(rng, int(count), D) for count in counts]
        boxes = [np.tile(np.array([0, 0, 9, 9], np.float32), (count, 1)) for count in counts]
        single = [np.full(count, 0.5, np.float32) for count in counts]
        for part in (slice(0, 200), slice(200, 300)):
            store.write_encodings(
                space_id, facts[part], image[part], regions[part], boxes[part], single[part], single[part]
            )
            if part.start == 0:
                store.optimize(space_id)
        yield store, space_id


def random_terms(rng, make_vectors, count, whole=0.5):
    """Terms that are compared with images otherwise than with regions, as centring makes them."""
    return Terms(
        make_vectors(rng, count, D), make_vectors(rng, count, D), np.ones(count, np.float32), rng.random(count) < whole
    )


def asked(rng, make_vectors, entities=2, negatives=1, whole=0.5):
    wanted, unwanted = (random_terms(rng, make_vectors, count, whole) for count in (entities, negatives))
    return ScoringQuery(
        make_vectors(rng, D),
        wanted,
        unwanted,
        0.3,
        np.ones(negatives, np.float32),
        np.full(negatives, 9, np.float32),
        np.zeros(negatives, np.float32),
    )


@pytest.mark.parametrize("seed", range(5))
def test_the_exact_path_equals_the_score_over_stored_vectors(seed, random_store, make_vectors):
    store, space_id = random_store
    rng = np.random.default_rng(seed)
    query = asked(rng, make_vectors, seed, seed % 3)
    allowed = None if seed == 0 else np.sort(rng.choice(np.arange(1, 301), 120, replace=False))
    ids, found = every_cosine(store.indexes(space_id), query, allowed)
    assert ids.tolist() == (list(range(1, 301)) if allowed is None else allowed.tolist())
    block = store.vectors(space_id, ids)
    expected = cosines(block, query)
    for name in ("legend", "entities", "entity_images", "negatives", "negative_images"):
        left, right = getattr(found, name), getattr(expected, name)
        assert left.shape == right.shape and np.array_equal(np.isneginf(left), np.isneginf(right)), name
        assert np.allclose(left, right, atol=1e-6), name
    fused, scored = fuse(found, query), score(block, query)
    for name in ("total", "wanted", "evidence", "negative_evidence"):
        assert np.allclose(getattr(fused, name), getattr(scored, name), atol=3e-6), name


def test_the_ann_path_brings_the_nearest_of_every_part(random_store, make_vectors):
    store, space_id = random_store
    query = asked(np.random.default_rng(1), make_vectors, entities=2, whole=0)
    found = set(nearest(store.indexes(space_id), query, None, 20).tolist())
    ids, every = every_cosine(store.indexes(space_id), query, None)
    expected = set(ids[np.argsort(-every.legend)[:20]].tolist())
    for column in every.entities.T:
        expected |= set(ids[np.argsort(-column)[:20]].tolist())
    assert found == expected


def test_a_whole_picture_also_asks_the_image_index(random_store, make_vectors):
    store, space_id = random_store
    rng = np.random.default_rng(2)
    query = asked(rng, make_vectors, entities=1, whole=1)
    found = nearest(store.indexes(space_id), query, None, 5)
    block = store.vectors(space_id, range(1, 301))
    likest = np.argsort(-(block.image @ query.entities.regions[0]))[:5]
    assert set(block.photo_ids[likest].tolist()) <= set(found.tolist())


def test_candidates_are_among_the_allowed_ones_and_stand_once(random_store, make_vectors):
    store, space_id = random_store
    allowed = np.arange(50, 260, 3)
    found = nearest(store.indexes(space_id), asked(np.random.default_rng(3), make_vectors), allowed, 30)
    assert set(found.tolist()) <= set(allowed.tolist())
    assert (np.diff(found) > 0).all() and len(found) >= 30


def test_asking_for_more_than_there_is_brings_everything(random_store, make_vectors):
    store, space_id = random_store
    found = nearest(store.indexes(space_id), asked(np.random.default_rng(4), make_vectors), None, 1000)
    assert found.tolist() == list(range(1, 301))


def test_many_near_equal_regions_of_one_photo_do_not_crowd_others_out(tmp_path, make_vectors):
    rng = np.random.default_rng(6)
    axis = make_vectors(rng, D)
    with Store.open(tmp_path / "crowd", create=True) as store:
        space_id = store.ensure_space(Space("random", "0" * 64, "none", D))
        counts = [60, *[1] * 40]
        regions = [np.tile(axis, (60, 1)), *(make_vectors(rng, 1, D) for _ in range(40))]
        facts = [PhotoFacts(hashlib.sha256(bytes([n])).hexdigest(), 10, 10, "PNG") for n in range(41)]
        store.write_encodings(
            space_id,
            facts,
            make_vectors(rng, 41, D),
            regions,
            [np.zeros((n, 4), np.float32) for n in counts],
            [np.zeros(n, np.float32) for n in counts],
            [np.zeros(n, np.float32) for n in counts],
        )
        one = Terms(axis[None], axis[None], np.ones(1, np.float32), np.zeros(1, bool))
        query = ScoringQuery(-axis, one, random_terms(rng, make_vectors, 0))
        found = nearest(store.indexes(space_id), query, None, 10)
        ids, every = every_cosine(store.indexes(space_id), query, None)
        assert set(ids[np.argsort(-every.entities[:, 0])[:10]].tolist()) <= set(found.tolist())


# --- the ann path ----------------------------------------------------------------------------

NO_TEXTS = Beside(np.empty(0, np.int64), lambda ids: np.zeros(len(ids), np.float32))


def totals_of(indexes, query, allowed=None):
    ids, every = every_cosine(indexes, query, allowed)
    return ids, fuse(every, query).total


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10**6),
    entities=st.integers(0, 3),
    depth=st.integers(1, 400),
    share=st.sampled_from([None, 0.05, 0.5]),
)
def test_a_photo_on_no_list_never_scores_more_than_the_bound(random_store, make_vectors, seed, entities, depth, share):
    store, space_id = random_store
    indexes, rng = store.indexes(space_id), np.random.default_rng(seed)
    query = asked(rng, make_vectors, entities, negatives=seed % 2)
    allowed = None if share is None else np.sort(rng.choice(np.arange(1, 301), int(300 * share), replace=False))
    near = lists_of(indexes, query, allowed, depth)
    listed = np.unique(np.concatenate([one.photo_ids for one in near]))
    everyone, totals = totals_of(indexes, query, allowed)
    unseen = ~np.isin(everyone, listed)
    most = bound(query, near)
    assert (totals[unseen] <= most + 2e-6).all()
    assert unseen.any() or most == -np.inf or depth < len(everyone)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), entities=st.integers(0, 3), top_k=st.integers(1, 40), told=st.integers(0, 20))
def test_the_ann_path_finds_the_best_of_brute_force_with_what_texts_add(
    random_store, make_vectors, seed, entities, top_k, told
):
    store, space_id = random_store
    indexes, rng = store.indexes(space_id), np.random.default_rng(seed)
    query = asked(rng, make_vectors, entities, negatives=seed % 2)
    said = np.zeros(301, np.float32)
    said[rng.integers(1, 301, told)] = rng.random(told)
    fetched = np.sort(np.argsort(-said)[:5])
    fetched = fetched[said[fetched] > 0]
    others = float(np.delete(said, fetched).max())
    beside = Beside(fetched, lambda ids: said[ids], others)
    everyone, totals = totals_of(indexes, query)
    kth_best = np.sort(totals + said[everyone])[-top_k]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(approximate, "FIRST_DEPTH", 4)
        ids, found = best_photos(indexes, query, None, top_k, 100, beside)
    reached = fuse(found, query).total + said[ids]
    assert (reached >= kth_best - 2e-6).sum() >= top_k


def test_the_lists_are_followed_no_further_than_the_bound_asks_for(random_store, make_vectors, monkeypatch):
    store, space_id = random_store
    indexes = store.indexes(space_id)
    depths = []

    def counted(*given):
        depths.append(given[-1])
        return lists_of(*given)

    monkeypatch.setattr(approximate, "lists_of", counted)
    monkeypatch.setattr(approximate, "FIRST_DEPTH", 4)
    rng = np.random.default_rng(8)
    sentence = asked(rng, make_vectors, entities=0, negatives=0)  # one list: its first photos are the best
    ids, _ = best_photos(indexes, sentence, None, 2, 256, NO_TEXTS)
    assert depths == [4] and len(ids) == 4
    depths.clear()
    several = asked(rng, make_vectors, entities=3, negatives=0, whole=0)
    best_photos(indexes, several, None, 2, 64, NO_TEXTS)
    assert depths[:2] == [4, 16] and depths[-1] <= 64


def test_photos_that_are_first_on_no_list_are_found_by_rough_scores(tmp_path, make_vectors, monkeypatch):
    """600 photos hold something like the one region, 600 something like the other, and one a little of each."""
    rng = np.random.default_rng(11)
    one, other, image = np.linalg.qr(rng.normal(size=(D, 3)))[0].T.astype(np.float32)
    near = [unit(axis + 0.15 * rng.normal(size=(600, D)) / D**0.5).astype(np.float32) for axis in (one, other)]
    regions = np.concatenate([near[0], near[1]])[:, None]
    regions = np.concatenate([regions, -np.broadcast_to(one + other, (1200, 1, D)) / 2**0.5], axis=1)
    both = np.stack([unit(0.8 * one + 0.6 * image), unit(0.8 * other + 0.6 * image)])[None].astype(np.float32)
    regions = np.concatenate([regions, both]).astype(np.float32)
    monkeypatch.setattr(recipes, "FLAT_ROWS", 1000)
    monkeypatch.setattr(calibrate, "WORTH", np.inf)
    monkeypatch.setattr(approximate, "FEWEST_ROUGH", 20)
    flat = np.zeros((1201, 2), np.float32)
    with Store.open(tmp_path / "both", create=True) as store:
        space_id = store.ensure_space(Space("random", "0" * 64, "none", D))
        facts = [PhotoFacts(f"{n:064x}", 10, 10, "PNG") for n in range(1201)]
        images = np.broadcast_to(image, (1201, D))
        store.write_encodings(space_id, facts, images, regions, np.zeros((1201, 2, 4), np.float32), flat, flat)
        store.optimize(space_id)
        indexes = store.indexes(space_id)
        assert not indexes.region.is_exact
        axes = np.stack([one, other])
        terms = Terms(axes, axes, np.ones(2, np.float32), np.zeros(2, bool))
        query = ScoringQuery(image, terms, random_terms(rng, make_vectors, 0), 1.0)
        everyone, totals = totals_of(indexes, query)
        _, every = every_cosine(indexes, query, None)
        assert everyone[totals.argmax()] == 1201 and (every.entities > every.entities[-1]).sum(0).min() > 500
        ids, _ = best_photos(indexes, query, None, 1, 100, NO_TEXTS)
        assert 1201 in ids and len(ids) < 500


def test_vectors_out_of_the_indexes_are_the_stored_ones_in_the_order_asked_for(random_store):
    store, space_id = random_store
    ids = np.array([250, 3, 299, 17, 1])
    found, stored = vectors_of(store.indexes(space_id), ids), store.vectors(space_id, ids)
    for name in ("image", "regions", "offsets"):
        assert np.array_equal(getattr(found, name), getattr(stored, name)), name
    with pytest.raises(NotInIndex, match="photo 999"):
        vectors_of(store.indexes(space_id), np.array([3, 999]))


# --- the rule --------------------------------------------------------------------------------

BIG = {"photos": 1_000_000, "regions": 12_000_000, "entities": 1, "top_k": 10, "candidates": 200}


@pytest.mark.parametrize(
    ("eligible", "path"),
    [(1_000_000, "ann"), (100_000, "ann"), (20_000, "exact"), (3_000, "exact"), (300, "exact"), (0, "exact")],
)
def test_auto_scores_everything_where_the_filters_leave_little(eligible, path):
    assert plan("auto", eligible=eligible, **BIG).path == path


def test_a_small_library_is_always_scored_whole():
    small = {"photos": 2_000, "regions": 30_000, "entities": 3, "top_k": 10, "candidates": 200}
    assert plan("auto", eligible=2_000, **small).path == "exact"


def test_a_large_share_of_a_large_library_is_not_scanned_for_being_selective():
    assert plan("auto", **{**BIG, "photos": 10**7, "regions": 12 * 10**7}, eligible=150_000).path == "ann"


def test_modes_are_obeyed_and_candidates_grow_with_the_hits():
    assert plan("ann", eligible=5, **BIG).path == "ann"
    assert plan("exact", eligible=10**6, **BIG).path == "exact"
    assert plan("ann", eligible=10**6, **{**BIG, "top_k": 50}).count == 500
    with pytest.raises(InputError, match="expected auto, exact or ann"):
        plan("fast", eligible=5, **BIG)  # type: ignore[arg-type]
