"""The score: against sums done by hand, against loops, and where photos have nothing to compare."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interleave_index.errors import EmptyQuery, ShapeError, SpaceMismatch
from interleave_index.interface.calibration import KINDS, Calibration, Curve
from interleave_index.query.score import (
    IMAGE_CENTRING,
    PENALTY,
    ScoringQuery,
    Terms,
    best_cosines,
    mean_of,
    rank,
    score,
    scoring_query,
)
from interleave_index.records import QueryEncoding, ResolvedPart
from interleave_index.storage.rows import StoredVectors

NONE = np.zeros((0, 2), np.float32)
AXES = np.eye(2, dtype=np.float32)


def block(*photos: tuple[Sequence[float], Sequence[Sequence[float]]]) -> StoredVectors:
    """Photos as (image vector, region vectors), ids from 1."""
    dim = len(photos[0][0])
    counts = [len(regions) for _, regions in photos]
    rows = sum(counts)
    return StoredVectors(
        np.arange(1, len(photos) + 1),
        np.array([image for image, _ in photos], np.float32),
        np.array([row for _, regions in photos for row in regions], np.float32).reshape(rows, dim),
        np.concatenate([[0], np.cumsum(counts)]),
        np.zeros((rows, 4), np.float32),
        np.zeros(rows, np.float32),
        np.zeros(rows, np.float32),
    )


PHOTOS = block(([1, 0], [[0.6, 0.8], [0, 1]]), ([0, 1], []), ([0.6, 0.8], [[1, 0]]), ([0.8, -0.6], [[-1, 0]]))


def terms(vectors=(), weights=(), whole=None, images=None):
    """Terms of two dimensions, compared with images as with regions by default."""
    rows = np.array(vectors, np.float32).reshape(len(vectors), 2)
    return Terms(
        rows,
        rows if images is None else np.array(images, np.float32),
        np.array(weights, np.float32),
        np.zeros(len(vectors), bool) if whole is None else np.array(whole),
    )


def asked(legend, entities=None, w=0.5, negatives=None, penalties=(), slopes=(), middles=()):
    return ScoringQuery(
        np.array(legend, np.float32),
        terms() if entities is None else entities,
        terms() if negatives is None else negatives,
        w,
        penalties=np.array(penalties, np.float32),
        slopes=np.array(slopes, np.float32),
        middles=np.array(middles, np.float32),
    )


# --- the formula -----------------------------------------------------------------------------


def test_without_entities_the_score_is_the_product_with_the_image():
    assert score(PHOTOS, asked([1, 0])).total.tolist() == pytest.approx([1, 0, 0.6, 0.8])


def test_one_entity_adds_w_times_its_best_region():
    # best regions along (1, 0): 0.6, none, 1, -1
    found = score(PHOTOS, asked([1, 0], terms([[1, 0]], [1])))
    assert (found.evidence[:, 0] - PHOTOS.image @ [1, 0]).tolist() == pytest.approx([0.6, 0, 1, -1], abs=1e-6)
    assert found.total.tolist() == pytest.approx([1.3, 0, 1.1, 0.3])
    assert score(PHOTOS, asked([1, 0], terms([[1, 0]], [1]), w=2)).total.tolist() == pytest.approx([2.2, 0, 2.6, -1.2])


def test_weights_shift_the_mean_of_the_entities_and_nothing_else():
    # second entity along (0, 1): best regions 1, none, 0, 0; mean with weights 1 and 3
    found = score(PHOTOS, asked([1, 0], terms(AXES, [1, 3])))
    assert found.total.tolist() == pytest.approx([1 + 0.5 * (0.6 + 3) / 4, 0, 0.6 + 0.5 * 0.25, 0.8 - 0.5 * 0.25])
    assert score(PHOTOS, asked([1, 0], terms(AXES, [2, 6]))).total.tolist() == found.total.tolist()


def test_evidence_is_what_an_entity_would_score_as_a_query_of_its_own():
    # images along (0, 1): 0, 1, 0.8, -0.6; regions along (1, 0): 0.6, none, 1, -1
    entity = terms([[1, 0]], [3], images=[[0, 1]])
    found = score(PHOTOS, asked([1, 0], entity, negatives=entity, penalties=[0], slopes=[1], middles=[0]))
    assert found.evidence[:, 0].tolist() == pytest.approx([0.6, 1, 1.8, -1.6])
    assert found.negative_evidence.tolist() == found.evidence.tolist()
    assert found.evidence[:, 0].tolist() == score(PHOTOS, asked([0, 1], entity, w=1)).total.tolist()


def test_a_whole_picture_also_meets_the_image_vector():
    part, whole = (score(PHOTOS, asked([1, 0], terms([[0, 1]], [1], [flag]))) for flag in (False, True))
    beside = PHOTOS.image @ [0, 1]
    assert (part.evidence[:, 0] - beside).tolist() == pytest.approx([1, 0, 0, 0], abs=1e-6)
    assert (whole.evidence[:, 0] - beside).tolist() == pytest.approx([1, 1, 0.8, 0], abs=1e-6)


def test_an_opposite_region_counts_as_evidence_and_not_as_none():
    assert best_cosines(PHOTOS, terms([[1, 0]], [1]))[:, 0].tolist() == pytest.approx([0.6, -np.inf, 1, -1])


def test_an_empty_block_has_no_scores():
    empty = StoredVectors(
        np.zeros(0, np.int64),
        NONE,
        NONE,
        np.zeros(1, np.int64),
        np.zeros((0, 4), np.float32),
        np.zeros(0, np.float32),
        np.zeros(0, np.float32),
    )
    found = score(
        empty,
        asked([1, 0], terms([[1, 0]], [1]), negatives=terms([[1, 0]], [1]), penalties=[1], slopes=[1], middles=[0]),
    )
    assert (found.total.shape, found.evidence.shape, found.negative_evidence.shape) == ((0,), (0, 1), (0, 1))


def test_vectors_of_another_length_are_refused():
    three = Terms(np.ones((1, 3), np.float32), np.ones((1, 3), np.float32), np.ones(1, np.float32), np.zeros(1, bool))
    with pytest.raises(SpaceMismatch, match="D=3"):
        best_cosines(PHOTOS, three)


def random_block(rng, make_vectors, photos=40, dim=8):
    counts = rng.integers(0, 5, photos) * rng.integers(0, 2, photos)  # about half of the photos have no regions
    rows = int(counts.sum())
    return StoredVectors(
        np.arange(photos),
        make_vectors(rng, photos, dim),
        make_vectors(rng, rows, dim),
        np.concatenate([[0], np.cumsum(counts)]),
        np.zeros((rows, 4), np.float32),
        np.zeros(rows, np.float32),
        np.zeros(rows, np.float32),
    )


def random_terms(rng, make_vectors, count, dim=8):
    return Terms(
        make_vectors(rng, count, dim),
        make_vectors(rng, count, dim),
        rng.uniform(0.1, 3, count).astype("f4"),
        rng.random(count) < 0.5,
    )


@pytest.mark.parametrize("seed", range(8))
def test_the_score_equals_a_loop_over_photos_and_regions(seed, make_vectors):
    rng = np.random.default_rng(seed)
    photos = random_block(rng, make_vectors)
    entities, negatives = (random_terms(rng, make_vectors, int(rng.integers(0, most))) for most in (4, 3))
    penalties, slopes, middles = (
        rng.uniform(low, high, len(negatives)).astype("f4") for low, high in ((0.1, 2), (1, 9), (-1, 1))
    )
    query = ScoringQuery(
        make_vectors(rng, 8), entities, negatives, float(rng.uniform(0, 1)), penalties, slopes, middles
    )

    def best(row, some, number):
        options = [
            float(region @ some.regions[number])
            for region in photos.regions[photos.offsets[row] : photos.offsets[row + 1]]
        ]
        options += [float(photos.image[row] @ some.regions[number])] if some.whole[number] else []
        return max(options, default=0.0)

    expected = []
    for row in range(40):
        total = float(photos.image[row] @ query.legend)
        if len(entities):
            found = [best(row, entities, number) for number in range(len(entities))]
            total += query.entity_weight * float(np.average(found, weights=entities.weights))
        for number in range(len(negatives)):
            evidence = float(photos.image[row] @ negatives.images[number]) + best(row, negatives, number)
            chance = 1 / (1 + np.exp(-float(slopes[number]) * (evidence - float(middles[number]))))
            total -= chance * float(penalties[number])
        expected.append(total)
    assert np.abs(score(photos, query).total - expected).max() < 3e-6


# --- negatives -------------------------------------------------------------------------------


def test_a_negative_takes_off_its_chance_of_the_penalty():
    # evidence along (0, 1): 0 + 1, 1 + 0, 0.8 + 0, -0.6 + 0; at the middle the chance is 1/2, a nat above it e/(1 + e)
    found = score(PHOTOS, asked([0, 0], negatives=terms([[0, 1]], [1]), penalties=[2], slopes=[5], middles=[0.8]))
    e = float(np.e)
    assert found.total.tolist() == pytest.approx([-2 * e / (1 + e), -2 * e / (1 + e), -1, -2 / (1 + e**7)], abs=2e-6)


def test_what_is_surely_absent_costs_nothing_and_what_is_surely_there_costs_the_penalty():
    negative = terms([[1, 0]], [1])  # evidence along (1, 0): 1 + 0.6, 0, 0.6 + 1, 0.8 - 1
    found = score(PHOTOS, asked([0, 0], negatives=negative, penalties=[3], slopes=[100], middles=[1]))
    assert found.total.tolist() == [-3, 0, -3, 0]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-2, 2, width=32), min_size=2, max_size=20),
    st.floats(0.125, 50, width=32),
    st.floats(-2, 2, width=32),
    st.floats(0, 10, width=32),
)
def test_more_evidence_for_a_negative_never_raises_the_score_nor_costs_more_than_the_penalty(
    found, slope, middle, penalty
):
    photos = block(*(([value, 0.0], []) for value in sorted(found)))
    totals = score(
        photos, asked([0, 0], negatives=terms([[1, 0]], [1]), penalties=[penalty], slopes=[slope], middles=[middle])
    ).total
    assert (np.diff(totals) <= 0).all() and totals.max() <= 0 and totals.min() >= -penalty - 1e-5


# --- from parts to what is compared ----------------------------------------------------------

CURVES = {
    kind: Curve(slope, 0.0, 0.5, 1.0, 0.0, 0.0, 0.5)
    for kind, slope in zip(KINDS, (2.0, 4.0, 5.0, 8.0, 10.0), strict=True)
}


def calibrated(captions=NONE, phrases=NONE) -> Calibration:
    return Calibration(np.array(captions, np.float32), np.array(phrases, np.float32), NONE, NONE, CURVES)


def part(role: str, label: str = "a dog", kind: str = "text", weight: float = 1.0) -> ResolvedPart:
    return ResolvedPart(role, kind, label, weight=weight)  # type: ignore[arg-type]


def encoded(legend, entities=NONE, negatives=NONE) -> QueryEncoding:
    return QueryEncoding(
        np.array(legend, np.float32),
        np.array(entities, np.float32).reshape(-1, 2),
        np.array(negatives, np.float32).reshape(-1, 2),
    )


def test_a_sentence_is_centred_by_half_of_the_mean_caption_and_an_entity_by_the_mean_phrase():
    query = scoring_query(
        [part("caption"), part("entity"), part("negative")],
        encoded([1, 0], [[0, 1]], [[1, 0]]),
        calibrated(captions=AXES, phrases=[[1, 0], [0.2, 0]]),
    )
    assert query.legend.tolist() == pytest.approx([0.75, -0.25])
    assert query.entities.regions.tolist() == [pytest.approx([-0.6, 1])]
    assert query.entities.images.tolist() == [pytest.approx([-0.3, 1])]
    assert query.negatives.regions.tolist() == [pytest.approx([0.4, 0])]
    assert query.negatives.images.tolist() == [pytest.approx([0.7, 0])]


@pytest.mark.parametrize("seed", range(4))
def test_centring_takes_off_every_photo_and_region_what_it_scores_for_captions_on_average(seed, make_vectors):
    rng = np.random.default_rng(seed)
    photos, (captions, phrases) = random_block(rng, make_vectors), make_vectors(rng, 2, 30, 8)
    legend, entity = make_vectors(rng, 2, 8)
    query = scoring_query(
        [part("caption"), part("entity", weight=2)],
        QueryEncoding(legend, entity[None], entity[:0].reshape(0, 8)),
        Calibration(captions, phrases, captions, captions, CURVES),
        entity_weight=0.3,
    )
    found = score(photos, query)
    images = photos.image @ legend - IMAGE_CENTRING * (photos.image @ captions.T).mean(1)
    regions = photos.regions @ entity - (photos.regions @ phrases.T).mean(1)
    best = [max(regions[photos.offsets[n] : photos.offsets[n + 1]], default=0.0) for n in range(40)]
    beside = photos.image @ entity - IMAGE_CENTRING * (photos.image @ phrases.T).mean(1)
    assert found.evidence[:, 0] - beside == pytest.approx(np.array(best), abs=1e-5)
    assert found.total == pytest.approx(images + query.entity_weight * np.array(best), abs=1e-5)


def test_without_banks_nothing_is_centred():
    query = scoring_query([part("entity")], encoded([1, 0], [[0, 1]]), calibrated())
    assert (query.legend.tolist(), query.entities.regions.tolist(), query.entities.images.tolist()) == (
        [1, 0],
        [[0, 1]],
        [[0, 1]],
    )
    assert mean_of(NONE, 2).tolist() == [0, 0]


@pytest.mark.parametrize(("beside", "w"), [((), 1.0), (("near", "it"), 0.3 + 0.7 * 2 / 4), (("red",) * 18, 0.37)])
def test_w_grows_with_the_share_of_the_sentence_that_stands_in_brackets(beside, w):
    parts = [part("entity", "a dog"), *([part("caption", " ".join(beside))] if beside else [])]
    assert scoring_query(parts, encoded([1, 0], [[0, 1]]), calibrated()).entity_weight == pytest.approx(w)


def test_a_negative_costs_its_weight_in_nats_of_the_querys_own_curve():
    parts = [
        part("entity", kind="region"),
        part("negative", "a cat", weight=0.5),
        part("negative", "[photo:1]", "picture"),
    ]
    query = scoring_query(parts, encoded([1, 0], [[0, 1]], AXES), calibrated(), negative_weight=2)
    assert query.penalties.tolist() == pytest.approx([2 * 0.5 * PENALTY / 10, 2 * PENALTY / 10])  # slope of regions
    assert query.slopes.tolist() == [5, 8]  # of a text entity, and of a picture
    assert query.negatives.whole.tolist() == [False, True]


def test_a_negative_that_is_surely_there_takes_the_penalty_off_the_log_odds_of_a_photo():
    photos = block(([1, 0], [[0, 1]]), ([1, 0], [[0, -1]]))
    sure = {**CURVES, "entity": Curve(50.0, 0.0, 0.5, 1.0, 0.0, 0.0, 0.5)}
    query = scoring_query(
        [part("caption"), part("negative")], encoded([1, 0], NONE, [[0, 1]]), Calibration(NONE, NONE, NONE, NONE, sure)
    )
    shows, lacks = score(photos, query).total.tolist()
    chances = CURVES["caption"].photo(np.array([shows, lacks], np.float32), 0.0)
    odds = np.log(chances / (1 - chances))
    assert lacks == 1 and odds[1] - odds[0] == pytest.approx(PENALTY, abs=1e-4)


def test_the_bar_of_a_negatives_own_curve_is_where_its_chance_is_even():
    curve = Curve(4.0, -3.0, 0.2, 1.0, 0.0, 0.0, 0.5)
    query = scoring_query(
        [part("caption"), part("negative")],
        encoded([1, 0], NONE, [[0, 1]]),
        Calibration(NONE, NONE, NONE, NONE, {**CURVES, "entity": curve}),
    )
    assert query.middles.tolist() == pytest.approx([(np.log(0.25) + 3) / 4])
    assert float(curve.photo(query.middles, 0.0)[0]) == pytest.approx(0.2)


def test_a_query_of_negatives_only_is_empty():
    with pytest.raises(EmptyQuery, match="negatives only"):
        scoring_query([part("negative", "a person")], encoded([1, 0], NONE, [[1, 1]]), calibrated())


def test_an_encoding_of_another_query_is_refused():
    with pytest.raises(ShapeError, match="0 entities"):
        scoring_query([part("entity")], encoded([1, 1]), calibrated())


def test_weights_and_kinds_come_from_the_parts_in_their_order():
    parts = [
        part("entity", "[photo:1]", "picture", 3),
        part("caption", "near"),
        part("negative", "[photo:3]", "picture", 0.5),
        part("entity"),
    ]
    query = scoring_query(parts, encoded([1, 0], AXES, AXES[1:]), calibrated())
    assert (query.entities.weights.tolist(), query.entities.whole.tolist()) == ([3, 1], [True, False])
    assert (query.negatives.weights.tolist(), query.negatives.whole.tolist()) == ([0.5], [True])


# --- ranks -----------------------------------------------------------------------------------


def test_ranks_fall_with_the_score_and_ties_break_by_photo_id():
    ids = np.array([9, 4, 7, 2])
    assert ids[rank(ids, np.array([0.5, 0.9, 0.5, 0.5], np.float32), 3)].tolist() == [4, 2, 7]
    assert len(rank(ids, np.zeros(4, np.float32), 0)) == 0


def test_a_partial_sort_keeps_the_order_of_a_whole_one():
    rng = np.random.default_rng(3)
    ids, total = rng.permutation(1000), rng.integers(0, 40, 1000).astype(np.float32)
    expected = sorted(range(1000), key=lambda row: (-total[row], ids[row]))
    assert rank(ids, total, 50).tolist() == expected[:50]


def test_photos_that_are_equal_tie_wherever_they_stand_in_a_block(make_vectors):
    rng = np.random.default_rng(5)
    one, regions = make_vectors(rng, 64), make_vectors(rng, 7, 64)
    captions, phrases = make_vectors(rng, 2, 20, 64)
    parts = [part("caption", "near it"), *[part("entity")] * 3, part("negative")]
    query = scoring_query(
        parts,
        QueryEncoding(make_vectors(rng, 64), make_vectors(rng, 3, 64), make_vectors(rng, 1, 64)),
        Calibration(captions, phrases, captions, phrases, CURVES),
    )
    totals = set()
    for size in (1, 2, 3, 17, 130):
        totals |= set(score(block(*([(one.tolist(), regions.tolist())] * size)), query).total.tolist())
    assert len(totals) == 1
