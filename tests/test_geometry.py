"""Masks that are coded, resized and compared without being laid out equal those that are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from interleave_index.errors import ShapeError
from interleave_index.geometry import box_mask, box_rle, encode_rle, overlap_coefficient, resize_mask, resize_rle

sides = st.integers(1, 12)
sizes = st.tuples(sides, sides)
masks = sizes.flatmap(lambda size: arrays(bool, size))


@given(masks, sizes)
@settings(max_examples=300, deadline=None)
def test_a_coded_mask_resizes_as_the_mask_does(mask, size):
    assert resize_rle(encode_rle(mask), size) == encode_rle(resize_mask(mask, size))


def test_a_coded_mask_of_the_wanted_size_stays_what_it_is():
    rle = encode_rle(np.eye(3, dtype=bool))
    assert resize_rle(rle, (3, 3)) is rle


@given(st.tuples(*[st.floats(-3, 15)] * 4), sizes)
@settings(max_examples=300, deadline=None)
def test_a_coded_box_marks_the_pixels_of_the_box(box, size):
    assert box_rle(box, size) == encode_rle(box_mask(box, size))


@given(sizes.flatmap(lambda size: st.tuples(arrays(bool, size), arrays(bool, size))))
@settings(max_examples=200, deadline=None)
def test_overlap_is_the_intersection_over_the_smaller_mask(pair):
    one, other = pair
    smaller = min(one.sum(), other.sum())
    expected = (one & other).sum() / smaller if smaller else 0
    assert overlap_coefficient(encode_rle(one), encode_rle(other)) == pytest.approx(float(expected))


def test_masks_of_two_sizes_have_no_overlap_to_speak_of():
    with pytest.raises(ShapeError, match="expected the same"):
        overlap_coefficient(encode_rle(np.ones((2, 3), bool)), encode_rle(np.ones((3, 2), bool)))
