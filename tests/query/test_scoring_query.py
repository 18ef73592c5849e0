"""What a scoring query keeps beside the vectors: how passages are compared, the worth of a nat, and plain numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from interleave_index.query.score import (
    CAPTION_SPREAD,
    SMALLEST_SPREAD,
    Scores,
    best_cosines,
    mean_of,
    score,
    scoring_query,
    spread_of_captions,
    with_texts,
)

from .test_score import CURVES, PHOTOS, asked, calibrated, encoded, part, terms

CAPTIONS = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)


def spread_by_loop(captions) -> float:
    """Standard deviation, over ordered pairs of different captions, of the product of one with the centred other."""
    mean = sum(captions) / len(captions)
    found = [
        float(one @ other - one @ mean) for i, one in enumerate(captions) for j, other in enumerate(captions) if i != j
    ]
    middle = sum(found) / len(found)
    return float((sum((value - middle) ** 2 for value in found) / len(found)) ** 0.5)


def test_a_passage_is_as_near_as_it_is_further_than_captions_by_their_spread():
    query = scoring_query([part("caption")], encoded([0.6, 0.8]), calibrated(captions=CAPTIONS))
    vector, taken_off = query.passages
    spread, legend, mean = spread_by_loop(CAPTIONS), np.array([0.6, 0.8]), CAPTIONS.mean(0)
    for passage in ([1, 0], [0, 1], [0.8, -0.6]):
        wanted = (legend @ passage - legend @ mean) / spread
        assert float(vector @ np.array(passage, np.float32)) - taken_off == pytest.approx(wanted, abs=1e-5)


def test_the_spread_of_captions_is_that_of_different_ones_and_each_bank_has_its_own():
    other = np.array([[0.8, 0.6], [-0.6, 0.8], [0, -1], [1, 0]], np.float32)
    for captions in (CAPTIONS, other, CAPTIONS):
        assert spread_of_captions(calibrated(captions=captions)) == pytest.approx(spread_by_loop(captions), rel=1e-5)
    bank = calibrated(captions=other)
    assert spread_of_captions(bank) == spread_of_captions(bank)


def test_few_captions_tell_no_spread():
    assert spread_of_captions(calibrated()) == spread_of_captions(calibrated(captions=[[1, 0]])) == CAPTION_SPREAD
    # two of them have one product, which does not spread
    assert spread_of_captions(calibrated(captions=[[1, 0], [0, 1]])) == SMALLEST_SPREAD


def test_a_nat_is_worth_what_the_curve_of_the_query_needs_for_it():
    assert scoring_query([part("caption")], encoded([1, 0]), calibrated()).nat == 1 / CURVES["caption"].slope
    query = scoring_query([part("entity")], encoded([1, 0], [[1, 0]]), calibrated())
    assert query.nat == 1 / CURVES["entity"].slope


def test_everything_that_is_compared_is_float32():
    doubles = encoded([1, 0], [[0, 1]], [[1, 0]])
    query = scoring_query(
        [part("caption"), part("entity", weight=2), part("negative", kind="picture")],
        type(doubles)(doubles.legend, doubles.entities.astype(float), doubles.negatives.astype(float)),
        calibrated(captions=CAPTIONS, phrases=CAPTIONS),
    )
    arrays = [query.legend, query.penalties, query.slopes, query.middles, query.passages[0]]
    for some in (query.entities, query.negatives):
        arrays += [some.regions, some.images, some.weights]
    assert {array.dtype for array in arrays} == {np.dtype(np.float32)}
    assert (query.entities.whole.tolist(), query.negatives.whole.tolist()) == ([False], [True])
    none = scoring_query([part("caption")], encoded([1, 0]), calibrated())
    assert none.entities.whole.dtype == none.negatives.whole.dtype == bool
    assert mean_of(np.zeros((0, 2), np.float16), 2).dtype == mean_of(CAPTIONS.astype(np.float16), 2).dtype == np.float32


def test_what_is_wanted_is_scored_as_if_nothing_were_unwanted_and_every_photo_gets_the_offset():
    negative = terms([[0, 1]], [1])
    plain = score(PHOTOS, asked([1, 0], terms([[1, 0]], [1])))
    query = asked([1, 0], terms([[1, 0]], [1]), negatives=negative, penalties=[2], slopes=[5], middles=[0.8])
    found = score(PHOTOS, query)
    assert found.wanted.tolist() == plain.total.tolist() == plain.wanted.tolist()
    assert (found.total < found.wanted).all()
    moved = score(PHOTOS, replace(query, offset=0.25))
    assert moved.total.tolist() == pytest.approx((found.total + 0.25).tolist(), abs=2e-6)
    assert moved.wanted.tolist() == pytest.approx((found.wanted + 0.25).tolist(), abs=2e-6)
    assert moved.evidence.tolist() == found.evidence.tolist()
    parts = (found.total, found.wanted, found.evidence, found.negative_evidence, best_cosines(PHOTOS, negative))
    assert {array.dtype for array in parts} == {np.dtype(np.float32)}


SCORES = Scores(
    *(np.array(row, np.float32) for row in ([0.3, 0.2, 0.1], [0.5, 0.4, 0.3], [[1], [2], [3]], [[4], [5], [6]]))
)


def test_some_photos_of_scores_come_in_the_order_that_is_asked_for():
    found = SCORES.rows(np.array([2, 0]))
    assert found.total.tolist() == pytest.approx([0.1, 0.3]) and found.wanted.tolist() == pytest.approx([0.3, 0.5])
    assert (found.evidence.tolist(), found.negative_evidence.tolist()) == ([[3], [1]], [[6], [4]])


def test_texts_add_to_what_is_scored_and_to_what_is_wanted_and_to_no_evidence():
    found = with_texts(SCORES, np.array([0, 0.25, 1.0000004], np.float32))
    assert found.total.tolist() == pytest.approx([0.3, 0.45, 1.1], abs=1e-7)
    assert found.wanted.tolist() == pytest.approx([0.5, 0.65, 1.3], abs=1e-7)
    assert found.evidence is SCORES.evidence and found.negative_evidence is SCORES.negative_evidence
    same = with_texts(SCORES, np.zeros(3, np.float32))
    assert same.total.tolist() == SCORES.total.tolist() and same.wanted.tolist() == SCORES.wanted.tolist()
