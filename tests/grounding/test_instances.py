"""Which stored region answers: the one that is near what is asked and well drawn."""

import numpy as np
import pytest

from interleave_index.grounding.instances import rank_regions

WEIGHT = 3.0
COSINES = np.array([0.30, 0.33, 0.10, 0.05], np.float32)  # standard deviation 0.122


def test_of_regions_that_are_about_as_near_the_better_drawn_one_answers():
    assert rank_regions(COSINES, np.array([0.9, 0.4, 0.1, 0.1], np.float32), WEIGHT).tolist() == [0, 1, 2, 3]
    assert rank_regions(COSINES, np.array([0.5, 0.5, 0.5, 0.5], np.float32), WEIGHT).tolist() == [1, 0, 2, 3]
    assert rank_regions(COSINES, None, WEIGHT).tolist() == [1, 0, 2, 3]


def test_a_score_of_one_is_worth_as_many_standard_deviations_as_it_weighs():
    for share, first in ((0.99, 1), (1.01, 0)):
        cosines = np.array([0.0, 1.0], np.float32)  # one lies two standard deviations above the other
        assert rank_regions(cosines, np.array([share * 2 / 3, 0.0], np.float32), WEIGHT)[0] == first


@pytest.mark.parametrize("spread", [0.1, 1.0, 7.0])
def test_the_worth_of_a_score_grows_with_the_spread_of_the_cosines(spread):
    scores = np.array([0.6, 0.4, 0.9, 0.1], np.float32)
    assert rank_regions(spread * COSINES, scores, WEIGHT).tolist() == rank_regions(COSINES, scores, WEIGHT).tolist()


def test_cosines_that_are_nearly_alike_still_count_beside_scores_that_are():
    cosines, scores = np.array([0.1, 0.105], np.float32), np.array([0.5, 0.4], np.float32)
    assert rank_regions(cosines, scores, WEIGHT).tolist() == [1, 0]  # a spread of 0.01 at least: 0.115 against 0.117


def test_equal_regions_come_in_their_order():
    assert (
        rank_regions(np.full(4, 0.2), np.full(4, 0.5), WEIGHT).tolist()
        == rank_regions(np.full(4, 0.2), None, WEIGHT).tolist()
        == [0, 1, 2, 3]
    )


def test_one_region_or_none():
    assert rank_regions(np.array([0.2]), np.array([0.9]), WEIGHT).tolist() == [0]
    assert rank_regions(np.zeros(0), np.zeros(0), WEIGHT).tolist() == []


def test_where_scores_have_no_weight_the_nearest_region_answers():
    assert rank_regions(COSINES, np.array([0.9, 0.1, 0.9, 0.9], np.float32), 0.0).tolist() == [1, 0, 2, 3]
