"""Which stored region answers: the nearest, and of nearly as near ones the better drawn."""

import numpy as np
import pytest

from interleave_index.grounding.stored import NEAR, WELL_DRAWN, answers

COSINES = np.array([0.30, 0.33, 0.10, 0.05], np.float32)


def test_of_nearly_as_near_regions_the_better_drawn_one_answers():
    assert answers(COSINES, np.array([0.9, 0.4, 0.9, 0.9], np.float32)).tolist() == [0, 1, 2, 3]
    assert answers(COSINES, np.array([0.5, 0.5, 0.5, 0.5], np.float32)).tolist() == [1, 0, 2, 3]
    assert answers(COSINES).tolist() == [1, 0, 2, 3]


@pytest.mark.parametrize("spread", [0.1, 1.0, 7.0])
def test_what_counts_as_nearly_grows_with_the_spread_of_the_cosines(spread):
    scores = np.array([0.6, 0.4, 0.9, 0.1], np.float32)
    assert answers(spread * COSINES, scores).tolist() == answers(COSINES, scores).tolist()


def test_a_badly_drawn_region_that_is_far_nearer_still_answers():
    scores = np.array([1.0, 0.0, 0.6, 0.6], np.float32)
    cosines = np.array([0.1, 0.9, 0.1, 0.1], np.float32)
    assert cosines.std() * WELL_DRAWN > 0.8 > cosines.std() * NEAR and answers(cosines, scores)[0] == 1


def test_one_region_or_none():
    assert answers(np.array([0.2]), np.array([0.9])).tolist() == [0]
    assert answers(np.zeros(0), np.zeros(0)).tolist() == []
