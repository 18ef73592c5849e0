"""Which photos are scored: the rule, the exact path against loops, and the ann path's union."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from interleave_index.errors import InputError
from interleave_index.query.candidates import every_cosine, nearest, plan
from interleave_index.query.score import ScoringQuery, Terms, cosines, fuse, score
from interleave_index.records import PhotoFacts, Space
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
