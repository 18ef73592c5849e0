"""The judgement: two chances multiplied, one cut-off, and curves between kinds; monotone by construction."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interleave_index.interface.calibration import KINDS, Calibration, Curve, spread_of
from interleave_index.query.judgement import (
    IMPOSSIBLE,
    SMALLEST_DEVIATION,
    STANDARD,
    Judgement,
    curve_of,
    judge,
    judge_named,
    kind_of_part,
    library_curves,
    sentence_share,
)
from interleave_index.records import ResolvedPart

EVEN = Curve(
    slope=2.0, offset=-1.0, bar=0.5, anything_slope=4.0, anything_size=-1.0, anything_offset=0.0, anything_bar=0.5
)
BARS = st.floats(0.01, 0.99)
CONSTANTS = st.floats(-20, 20)
CURVES = st.builds(
    Curve,
    slope=st.floats(0.1, 200),
    offset=CONSTANTS,
    bar=BARS,
    anything_slope=st.floats(0.1, 200),
    anything_size=CONSTANTS,
    anything_offset=CONSTANTS,
    anything_bar=BARS,
)
SCORES = st.lists(st.floats(-3, 3, width=32), min_size=1, max_size=30)


def logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value))


# --- chances ---------------------------------------------------------------------------------


def test_the_chance_of_a_photo_is_that_of_anything_times_its_own():
    judgement = judge(EVEN, best=0.25, count=1)  # of one photo: 4 * 0.25 - 0 nats
    assert judgement.anything == pytest.approx(logistic(1))
    found = judgement.chances(np.array([0.5, 1.0, 0.0], np.float32))  # 0, 1 and -1 nats
    assert found.dtype == np.float32
    assert found.tolist() == pytest.approx([logistic(1) * 0.5, logistic(1) ** 2, logistic(1) * logistic(-1)])


def test_in_a_large_library_a_photo_must_score_more_to_say_that_anything_is_there():
    nats = [math.log(found / (1 - found)) for found in (judge(EVEN, 0.5, count).anything for count in (1, 8, 1000))]
    assert nats == pytest.approx([2, 2 - math.sqrt(2 * math.log(8)), 2 - math.sqrt(2 * math.log(1000))])


def test_in_an_empty_library_nothing_is_meant():
    assert judge(EVEN, best=9.0, count=0).anything == 0
    assert judge(EVEN, best=9.0, count=0).cutoff == IMPOSSIBLE


def test_the_best_of_one_photo_is_its_own_and_that_of_many_stands_higher():
    assert spread_of(1) == 0
    assert spread_of(8) == pytest.approx(2.0393, abs=1e-4)  # sqrt(2 * 2.0794)
    best = np.random.default_rng(0).normal(size=(200, 3000)).max(1).mean()
    assert spread_of(3000) == pytest.approx(best, rel=0.15)


@given(CURVES, SCORES, st.integers(1, 10**6))
def test_within_an_answer_the_chance_never_falls_while_the_score_rises(curve, scores, count):
    found = judge(curve, max(scores), count).chances(np.sort(np.array(scores, np.float32)))
    assert (np.diff(found) >= 0).all() and found.min() >= 0 and found.max() <= 1


def test_scores_beyond_all_measure_are_still_chances():
    found = judge(EVEN, 1e4, 10).chances(np.array([-1e6, 1e6], np.float32))
    assert found[0] == 0 and found[1] == pytest.approx(1)


# --- the cut-off -----------------------------------------------------------------------------


@given(CURVES, SCORES, st.integers(1, 10**6))
def test_a_photo_is_meant_where_both_chances_reach_their_bars(curve, scores, count):
    rows, judgement = np.array(scores, np.float32), judge(curve, max(scores), count)
    photo = curve.photo(rows, 0.0)
    clear = abs(photo - curve.bar) > 1e-5  # at the bar itself the rounding decides
    meant = (photo >= curve.bar) & (judgement.anything >= curve.anything_bar)
    assert ((judgement.chances(rows) >= judgement.cutoff) == meant)[clear].all()


def test_where_nothing_is_there_no_score_is_enough():
    judgement = Judgement(EVEN, 0.0, anything=0.49)
    assert judgement.cutoff == IMPOSSIBLE == 1
    assert float(judgement.chances(np.array([1e6], np.float32))[0]) == pytest.approx(0.49)
    assert Judgement(EVEN, 0.0, anything=0.5).cutoff == 0.25


def test_the_cutoff_that_the_user_set_stands():
    for fixed in (0.0, 0.3, 1.0):
        assert judge(EVEN, -9.0, 100, fixed=fixed).cutoff == fixed
        assert judge_named(EVEN, 0.0, fixed=fixed).cutoff == fixed


def test_whoever_names_a_photo_is_not_asked_whether_anything_is_there():
    judgement = judge_named(replace(EVEN, anything_bar=0.99), 0.0)
    assert judgement.anything == 1 and judgement.cutoff == EVEN.bar
    assert judgement.chances(np.array([0.5], np.float32)).tolist() == [0.5]


# --- curves ----------------------------------------------------------------------------------


def test_the_middle_is_the_score_that_just_reaches_the_bar():
    assert EVEN.middle == 0.5
    low = replace(EVEN, bar=0.2)
    assert low.middle == pytest.approx((math.log(0.25) + 1) / 2)
    assert float(low.photo(np.array([low.middle], np.float64), 0.0)[0]) == pytest.approx(0.2)


@given(CURVES, st.floats(-2, 2), st.floats(0.01, 5), st.floats(-3, 3), st.integers(1, 10**6))
def test_a_scaled_curve_says_of_a_score_what_the_plain_one_says_of_its_deviations(
    curve, middle, deviation, score, count
):
    scaled = curve.scaled(middle, deviation)
    plain = np.array([(score - middle) / deviation])
    assert scaled.photo(np.array([score]), 0.0) == pytest.approx(curve.photo(plain, 0.0), abs=1e-6)
    assert scaled.anything(score, count) == pytest.approx(curve.anything(float(plain[0]), count), abs=1e-6)
    assert (scaled.bar, scaled.anything_bar) == (curve.bar, curve.anything_bar)


def test_curves_mix_constant_by_constant():
    other = Curve(6.0, 3.0, 0.1, 8.0, 1.0, -4.0, 0.9)
    assert Curve.mixed([(EVEN, 0.75), (other, 0.25)]) == Curve(3.0, 0.0, 0.4, 5.0, -0.5, -1.0, 0.6)
    assert Curve.mixed([(EVEN, 1.0), (other, 0.0)]) == EVEN


# --- the curve of a query --------------------------------------------------------------------

NONE = np.zeros((0, 2), np.float32)
BY_KIND = Calibration(
    NONE,
    NONE,
    NONE,
    NONE,
    {kind: replace(EVEN, slope=slope) for kind, slope in zip(KINDS, (1.0, 2.0, 4.0, 8.0, 16.0), strict=True)},
)  # caption, mixed, entity, picture, region
DOG = ResolvedPart("entity", "text", "a dog")
BEACH = ResolvedPart("caption", "text", "on a beach")
PICTURE = ResolvedPart("entity", "picture", "[photo:1]")
PART = ResolvedPart("entity", "region", "[region:1/0]", weight=3)
NOT = ResolvedPart("negative", "text", "a very long negative")


@pytest.mark.parametrize(
    ("parts", "slope"),
    [
        ([BEACH], 1),
        ([BEACH, NOT], 1),
        ([DOG], 4),
        ([PICTURE], 8),
        ([PART], 16),
        ([DOG, NOT], 4),
        ([DOG, BEACH], 0.6 * 2 + 0.4 * 4),  # two of five words stand in brackets
        ([PART, BEACH], 0.75 * 2 + 0.25 * 16),  # a picture counts as one word
        ([PICTURE, PART], 8 / 4 + 16 * 3 / 4),
        ([DOG, PICTURE, BEACH], 0.5 * 2 + 0.25 * 4 + 0.25 * 8),
    ],
)
def test_the_curve_of_a_query_lies_between_those_of_its_parts(parts, slope):
    assert curve_of(parts, BY_KIND).slope == pytest.approx(slope)


def test_a_part_is_of_the_kind_that_it_would_be_alone():
    assert [kind_of_part(part) for part in (DOG, PICTURE, PART, NOT)] == ["entity", "picture", "region", "entity"]


@pytest.mark.parametrize(
    ("parts", "share"),
    [
        ([], 0),
        ([BEACH], 0),
        ([DOG], 1),
        ([DOG, BEACH], 0.4),
        ([PICTURE, PART], 1),
        ([PART, BEACH], 0.25),
        ([DOG, ResolvedPart("caption", "text", ", - & !")], 1),  # what holds no letter is no word
        ([DOG, BEACH, NOT], 0.4),
    ],
)
def test_the_share_of_the_sentence_that_stands_in_brackets_is_counted_in_words(parts, share):
    assert sentence_share(parts) == pytest.approx(share)


# --- where none were fitted ------------------------------------------------------------------


def test_a_photo_far_below_the_best_of_its_library_is_less_likely_meant():
    curve = replace(EVEN, best_slope=-2.0)
    near, far = (float(curve.photo(np.array([0.5]), best)[0]) for best in (0.5, 1.5))
    assert near > far
    assert far == pytest.approx(logistic(curve.slope * 0.5 - 2.0 * 1.5 + curve.offset))


def test_curves_of_a_library_measure_in_its_own_deviations():
    curves = library_curves({"caption": np.array([[0.1, 0.3]]), "picture": np.array([[1.0, np.nan], [3.0, 4.0]])})
    assert set(curves) == {"caption", "picture"}
    for curve, mean, deviation in ((curves["caption"], 0.2, 0.1), (curves["picture"], 8 / 3, math.sqrt(14 / 9))):
        for z in (-1.0, 0.0, 3.0):
            score = mean + z * deviation
            assert float(curve.photo(np.array([score]), 0.0)[0]) == pytest.approx(
                logistic(STANDARD.slope * z + STANDARD.best_slope * -mean / deviation + STANDARD.offset)
            )
            assert curve.anything(score, 1) == pytest.approx(
                logistic(STANDARD.anything_slope * z + STANDARD.anything_offset)
            )


def test_parts_that_most_photos_match_are_judged_by_where_they_do_not_match():
    # of eight photos five match every part, by 1; where none matches, parts lie 0.5 above phrases
    phrases = np.tile(np.array([0.0, 0, 0, 0, 0, 0, 0, 0.4])[:, None], (1, 5))
    parts = np.full((8, 5), 1.5)
    parts[:3] = 0.5
    curves = library_curves({"entity": phrases, "region": parts})
    assert curves["region"].slope == curves["entity"].slope
    assert curves["region"].middle == pytest.approx(curves["entity"].middle + 0.5)
    assert 0.5 < curves["region"].middle < 1.5


def test_a_caption_with_a_part_in_it_has_the_curve_of_such_captions():
    moved = EVEN.scaled(2.0, 1.0)
    calibration = replace(BY_KIND, mixed_with={"region": moved})
    assert curve_of([DOG, BEACH], calibration) == curve_of([DOG, BEACH], BY_KIND)
    for entities, share in (([PART], 1.0), ([DOG, PART], 0.75)):  # the part weighs three times as much
        parts = [*entities, BEACH]
        wanted = share * (1 - sentence_share(parts)) * (moved.offset - EVEN.offset)
        found = curve_of(parts, calibration).offset - curve_of(parts, BY_KIND).offset
        assert found == pytest.approx(wanted) and wanted


def test_equal_scores_make_a_steep_curve_and_not_an_infinite_one():
    curve = library_curves({"caption": np.full((5, 1), 0.4)})["caption"]
    assert curve.slope == pytest.approx(STANDARD.slope / SMALLEST_DEVIATION)
    assert 0 < float(curve.photo(np.array([0.4]), 0.4)[0]) < STANDARD.bar < float(curve.photo(np.array([0.41]), 0.4)[0])
