"""Masks into one picture in which every pixel belongs to one segment at most."""

import numpy as np
import pytest

from interleave_index.records import Panoptic, PanopticSegment
from interleave_index.segmentation.panoptic import Candidate, compose, enlarged


def row(*filled: range, width: int = 10):
    mask = np.zeros((1, width), bool)
    for columns in filled:
        mask[0, columns] = True
    return mask


def test_pixels_go_to_the_surest_mask_whatever_the_order():
    low, high = Candidate(row(range(6)), 0, 0.3), Candidate(row(range(4, 10)), 1, 0.8)
    for candidates in ([low, high], [high, low]):
        found = compose(candidates, {0, 1}, (1, 10))
        assert found.ids.tolist() == [[2] * 4 + [1] * 6]
        assert [(one.id, one.category, one.score) for one in found.segments] == [(1, 1, 0.8), (2, 0, 0.3)]


@pytest.mark.parametrize(("end", "kept"), [(10, True), (9, False)])
def test_a_mask_of_which_less_than_half_is_left_is_no_segment(end, kept):
    better, worse = Candidate(row(range(5)), 0, 0.9), Candidate(row(range(end)), 1, 0.5)
    found = compose([better, worse], {0, 1}, (1, 10))
    assert (len(found.segments) == 2) == kept
    assert bool((found.ids == 2).any()) == kept


def test_stuff_of_one_class_is_one_segment_and_things_are_each_their_own():
    masks = [row(range(2)), row(range(4, 6)), row(range(8, 10))]
    candidates = [Candidate(mask, 5, 0.9 - n / 10) for n, mask in enumerate(masks)]
    stuff = compose(candidates, set(), (1, 10))
    assert stuff.ids.tolist() == [[1, 1, 0, 0, 1, 1, 0, 0, 1, 1]]
    assert [(one.thing, one.score) for one in stuff.segments] == [(False, 0.9)]
    things = compose(candidates, {5}, (1, 10))
    assert things.ids.tolist() == [[1, 1, 0, 0, 2, 2, 0, 0, 3, 3]] and all(one.thing for one in things.segments)


def test_nothing_gives_an_empty_picture():
    found = compose([Candidate(row(), 0, 0.9)], {0}, (1, 10))
    assert not found.ids.any() and found.segments == ()


def test_enlarging_keeps_every_segment_and_shrinking_leaves_out_what_vanishes():
    ids = np.array([[1, 1, 2], [1, 1, 1]], np.int32)
    found = Panoptic(ids, (PanopticSegment(1, 0, True), PanopticSegment(2, 4, False)))
    assert enlarged(found, (4, 6)).ids.tolist() == np.kron(ids, np.ones((2, 2), int)).tolist()
    assert enlarged(found, (4, 6)).segments == found.segments
    assert enlarged(found, (2, 3)) is found
    assert enlarged(found, (1, 1)).segments == found.segments[:1]
