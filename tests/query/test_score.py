"""The score: against sums done by hand, against loops, and where photos have nothing to compare."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from interleave_index.errors import EmptyQuery, ShapeError, SpaceMismatch
from interleave_index.query.score import Wanted, best_cosines, null_cosines, rank, score, want
from interleave_index.records import QueryEncoding, ResolvedPart
from interleave_index.storage.rows import StoredVectors

NONE = np.zeros((0, 2), np.float32)


def block(*photos: tuple[Sequence[float], Sequence[Sequence[float]]]) -> StoredVectors:
    """Photos as (image vector, region vectors), ids from 1."""
    dim = len(photos[0][0])
    counts = [len(regions) for _, regions in photos]
    rows = sum(counts)
    return StoredVectors(
        np.arange(1, len(photos) + 1), np.array([image for image, _ in photos], np.float32),
        np.array([row for _, regions in photos for row in regions], np.float32).reshape(rows, dim),
        np.concatenate([[0], np.cumsum(counts)]), np.zeros((rows, 4), np.float32), np.zeros(rows, np.float32),
        np.zeros(rows, np.float32))


PHOTOS = block(
    ([1, 0], [[0.6, 0.8], [0, 1]]),
    ([0, 1], []),
    ([0.6, 0.8], [[1, 0]]),
    ([0.8, -0.6], [[-1, 0]]))


def wanted(legend, entities=(), weights=(), whole=None, negatives=(), negative_weights=(), thresholds=()):
    def rows(vectors):
        return np.array(vectors, np.float32).reshape(len(vectors), 2)

    return Wanted(np.array(legend, np.float32), rows(entities), np.array(weights, np.float32),
                  np.zeros(len(entities), bool) if whole is None else np.array(whole), rows(negatives),
                  np.array(negative_weights, np.float32), np.zeros(len(negatives), bool),
                  np.array(thresholds, np.float32))


def test_without_entities_the_score_is_the_cosine_with_the_image():
    assert score(PHOTOS, wanted([1, 0])).total.tolist() == pytest.approx([1, 0, 0.6, 0.8])


def test_one_entity_adds_half_of_its_best_region():
    # best regions along (1, 0): 0.6, none, 1, -1
    found = score(PHOTOS, wanted([1, 0], [[1, 0]], [1]))
    assert found.entities[:, 0].tolist() == pytest.approx([0.6, 0, 1, -1])
    assert found.total.tolist() == pytest.approx([1.3, 0, 1.1, 0.3])


def test_weights_shift_the_mean_of_the_entities_and_nothing_else():
    # second entity along (0, 1): best regions 1, none, 0, 0; mean with weights 1 and 3
    found = score(PHOTOS, wanted([1, 0], [[1, 0], [0, 1]], [1, 3]))
    assert found.total.tolist() == pytest.approx([1 + 0.5 * (0.6 + 3) / 4, 0, 0.6 + 0.5 * 0.25, 0.8 - 0.5 * 0.25])
    doubled = score(PHOTOS, wanted([1, 0], [[1, 0], [0, 1]], [2, 6]))
    assert doubled.total.tolist() == found.total.tolist()


def test_a_negative_takes_off_what_lies_above_its_threshold():
    found = score(PHOTOS, wanted([1, 0], negatives=[[0, 1]], negative_weights=[2], thresholds=[0.9]))
    assert found.penalty.tolist() == pytest.approx([0.2, 0, 0, 0])
    assert found.total.tolist() == pytest.approx([0.8, 0, 0.6, 0.8])


def test_the_dials_are_w_and_lambda():
    asked = wanted([1, 0], [[1, 0]], [1], negatives=[[0, 1]], negative_weights=[1], thresholds=[0.5])
    found = score(PHOTOS, asked, entity_weight=2, negative_weight=0.1)
    assert found.total.tolist() == pytest.approx([1 + 1.2 - 0.05, 0, 2.6, -1.2])


def test_a_whole_picture_also_meets_the_image_vector():
    part, whole = (score(PHOTOS, wanted([1, 0], [[0, 1]], [1], [flag])) for flag in (False, True))
    assert part.entities[:, 0].tolist() == pytest.approx([1, 0, 0, 0])
    assert whole.entities[:, 0].tolist() == pytest.approx([1, 1, 0.8, 0])


def test_a_photo_without_regions_is_never_punished_for_a_negative():
    found = score(PHOTOS, wanted([1, 0], negatives=[[0, 1]], negative_weights=[1], thresholds=[-0.5]))
    assert found.penalty.tolist() == pytest.approx([1.5, 0, 0.5, 0.5])


def test_an_opposite_region_counts_as_evidence_and_not_as_none():
    assert best_cosines(PHOTOS, np.array([[1, 0]], np.float32), np.zeros(1, bool))[:, 0].tolist() == pytest.approx(
        [0.6, -np.inf, 1, -1])


def test_an_empty_block_has_no_scores():
    empty = StoredVectors(np.zeros(0, np.int64), NONE, NONE, np.zeros(1, np.int64), np.zeros((0, 4), np.float32),
                          np.zeros(0, np.float32), np.zeros(0, np.float32))
    assert score(empty, wanted([1, 0], [[1, 0]], [1])).total.shape == (0,)


def test_vectors_of_another_length_are_refused():
    with pytest.raises(SpaceMismatch, match="D=3"):
        best_cosines(PHOTOS, np.ones((1, 3), np.float32), np.zeros(1, bool))


@pytest.mark.parametrize("seed", range(8))
def test_the_score_equals_a_loop_over_photos_and_regions(seed, make_vectors):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 5, 40) * rng.integers(0, 2, 40)  # about half of the photos have no regions
    offsets = np.concatenate([[0], np.cumsum(counts)])
    rows = int(offsets[-1])
    photos = StoredVectors(np.arange(40), make_vectors(rng, 40, 8), make_vectors(rng, rows, 8), offsets,
                           np.zeros((rows, 4), np.float32), np.zeros(rows, np.float32), np.zeros(rows, np.float32))
    entities, negatives = int(rng.integers(0, 4)), int(rng.integers(0, 3))
    asked = Wanted(make_vectors(rng, 8), make_vectors(rng, entities, 8), rng.uniform(0.1, 3, entities).astype("f4"),
                   rng.random(entities) < 0.5, make_vectors(rng, negatives, 8),
                   rng.uniform(0.1, 3, negatives).astype("f4"), rng.random(negatives) < 0.5,
                   rng.uniform(-0.3, 0.5, negatives).astype("f4"))

    def best(row, vector, whole):
        options = [float(region @ vector) for region in photos.regions[offsets[row]:offsets[row + 1]]]
        options += [float(photos.image[row] @ vector)] if whole else []
        return max(options) if options else None

    expected = []
    for row in range(40):
        total = float(photos.image[row] @ asked.legend)
        found = [best(row, vector, whole) or 0.0 for vector, whole in zip(asked.entities, asked.whole, strict=True)]
        if found:
            total += 0.5 * float(np.average(found, weights=asked.weights))
        for vector, whole, weight, bar in zip(asked.negatives, asked.negative_whole, asked.negative_weights,
                                              asked.thresholds, strict=True):
            against = best(row, vector, whole)
            total -= 0.0 if against is None else float(weight) * max(0.0, against - float(bar))
        expected.append(total)
    assert np.abs(score(photos, asked).total - expected).max() < 3e-6


# --- thresholds, ranks -----------------------------------------------------------------------


def threshold(sample, vector=(1, 0)):
    parts = [ResolvedPart("caption", "text", "a dog"), ResolvedPart("negative", "text", "a cat")]
    negative = np.array([vector], np.float32)
    return float(want(parts, QueryEncoding(negative[0], NONE, negative), sample).thresholds[0])


def test_the_threshold_of_a_negative_is_its_95th_percentile_over_the_sample():
    sample = block(*(([0.0, 1.0], [[step / 100, 0.0], [-1.0, 0.0]]) for step in range(101)))
    assert threshold(sample) == pytest.approx(0.95)


def test_a_negative_that_is_common_counts_from_its_bar_of_presence():
    rng = np.random.default_rng(0)
    absent, present = rng.normal(0.1, 0.05, 140), rng.normal(0.8, 0.02, 60)  # 30 % of the library show it
    sample = block(*(([0.0, 1.0], [[float(cosine), 0.0]]) for cosine in np.concatenate([absent, present])))
    assert absent.max() < threshold(sample) < present.min()


def test_a_negative_that_most_of_the_library_shows_still_takes_off():
    rng = np.random.default_rng(0)
    absent, present = rng.normal(0.1, 0.04, 80), rng.normal(0.8, 0.02, 120)
    sample = block(*(([0.0, 1.0], [[float(cosine), 0.0]]) for cosine in np.concatenate([absent, present])))
    assert absent.max() < threshold(sample) < present.min()


def test_the_threshold_counts_only_photos_that_have_regions():
    sample = block(([0, 1], []), ([0, 1], [[0.5, 0]]), ([0, 1], []))
    assert threshold(sample) == 0.5
    bare = block(([0, 1], []))
    assert threshold(bare) == np.inf
    assert null_cosines(bare, np.array([[0, 1]] * 2, np.float32), np.array([True, False]))[0].tolist() == [1]


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
    asked = Wanted(make_vectors(rng, 64), make_vectors(rng, 3, 64), np.ones(3, np.float32), np.zeros(3, bool))
    totals = set()
    for size in (1, 2, 3, 17, 130):
        found = score(block(*([(one.tolist(), regions.tolist())] * size)), asked).total
        totals |= set(found.tolist())
    assert len(totals) == 1


# --- want ------------------------------------------------------------------------------------


def test_a_query_of_negatives_only_is_empty():
    part = ResolvedPart("negative", "text", "a person")
    with pytest.raises(EmptyQuery, match="negatives only"):
        want([part], QueryEncoding(np.ones(2, np.float32), NONE, np.ones((1, 2), np.float32)), PHOTOS)


def test_an_encoding_of_another_query_is_refused():
    parts = [ResolvedPart("entity", "text", "a dog")]
    with pytest.raises(ShapeError, match="0 entities"):
        want(parts, QueryEncoding(np.ones(2, np.float32), NONE, NONE), PHOTOS)


def test_weights_and_kinds_come_from_the_parts_in_their_order():
    parts = [ResolvedPart("entity", "picture", "[photo:1]", weight=3), ResolvedPart("caption", "text", "near"),
             ResolvedPart("negative", "picture", "[photo:3]", weight=0.5), ResolvedPart("entity", "text", "a dog")]
    axes = np.eye(2, dtype=np.float32)
    asked = want(parts, QueryEncoding(axes[0], axes, axes[1:]), PHOTOS)
    assert (asked.weights.tolist(), asked.whole.tolist()) == ([3, 1], [True, False])
    assert (asked.negative_weights.tolist(), asked.negative_whole.tolist()) == ([0.5], [True])
    assert asked.thresholds.tolist() == pytest.approx([1])  # best of (0, 1): 1, 1, 0.8, 0
