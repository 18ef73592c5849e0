"""Relevance: standardised per photo and kind, monotone, and fitted so that present and absent part."""

from __future__ import annotations

import numpy as np
import pytest

from interleave_index.errors import ShapeError
from interleave_index.interface.protocol import Calibration
from interleave_index.query.blocks import bank_of, block_of
from interleave_index.query.relevance import (
    Nulls,
    fit_constants,
    library_calibration,
    null_moments,
    relevance,
    standardised,
)
from interleave_index.records import PhotoEncoding, ResolvedPart

AXES = np.eye(3, dtype=np.float32)
CAPTION = [ResolvedPart("caption", "text", "a dog")]
TEXT = [ResolvedPart("entity", "text", "a dog")]
PICTURE = [ResolvedPart("entity", "picture", "[photo:1]")]
REGION = [ResolvedPart("entity", "region", "[region:1/0]")]


def encoded(image, regions) -> PhotoEncoding:
    regions = np.array(regions, np.float32).reshape(-1, 3)
    empty = np.zeros(len(regions), np.float32)
    boxes = np.zeros((len(regions), 4), np.float32)
    return PhotoEncoding(np.array(image, np.float32), regions, boxes, empty, empty, ())


BLOCK = block_of([encoded(AXES[0], AXES[:2]), encoded(AXES[1], [])])
CALIBRATION = Calibration(
    captions=AXES[:2], phrases=AXES[1:], pictures=AXES[:2], regions=AXES[1:],
    slope={"caption": 1.0, "entity": 2.0, "picture": 4.0}, offset={"caption": 0.0, "entity": -1.0, "picture": -2.0})


@pytest.mark.parametrize(("kind", "first", "second"), [
    ("caption", [1, 0], [0, 1]),
    ("text", [1 + 0.5, 0 + 0], [0, 1]),  # the first photo's best regions along axes 1 and 2: 1 and 0
    ("picture", [1 + 0.5, 0 + 0.5], [0, 1 + 0.5]),  # the images join the regions
    ("region", [0 + 0.5, 0 + 0], [1, 0]),  # legends and entities along axes 1 and 2
])
def test_the_null_of_each_kind_is_what_the_photo_scores_for_its_bank(kind, first, second):
    moments = null_moments(BLOCK, CALIBRATION, kind)
    assert moments.mean.tolist() == pytest.approx([np.mean(first), np.mean(second)])
    assert moments.deviation.tolist() == pytest.approx([max(np.std(first), 1e-3), max(np.std(second), 1e-3)])


def test_a_score_is_standardised_against_the_photos_own_scores():
    total = np.array([1.5, 0.5], np.float32)
    assert standardised(total, BLOCK, CAPTION, CALIBRATION).tolist() == pytest.approx([2, 0])
    assert Nulls(BLOCK, CALIBRATION).standardise(total, CAPTION).tolist() == pytest.approx([2, 0])


def test_a_mixture_of_kinds_is_judged_between_them_by_weight():
    total = np.array([2.0, 2.0], np.float32)
    mixed = [ResolvedPart("entity", "text", "a dog", weight=3), ResolvedPart("entity", "picture", "[photo:1]")]
    text, picture = (null_moments(BLOCK, CALIBRATION, kind) for kind in ("text", "picture"))
    expected = (2 - 0.75 * text.mean - 0.25 * picture.mean) / (0.75 * text.deviation + 0.25 * picture.deviation)
    z = standardised(total, BLOCK, mixed, CALIBRATION)
    assert z.tolist() == pytest.approx(expected.tolist(), rel=1e-5)
    slope, offset = 0.75 * 2 + 0.25 * 4, -0.75 - 0.25 * 2
    assert relevance(z, mixed, CALIBRATION).tolist() == pytest.approx((1 / (1 + np.exp(-slope * z - offset))).tolist())


@pytest.mark.parametrize("parts", [CAPTION, TEXT, PICTURE, REGION])
def test_relevance_rises_with_z_and_stays_between_0_and_1(parts):
    found = relevance(np.linspace(-1e4, 1e4, 2001).astype(np.float32), parts, CALIBRATION)
    assert (np.diff(found) >= 0).all() and found.min() >= 0 and found.max() <= 1 and found[0] < 0.01 < 0.99 < found[-1]


def test_captions_and_negatives_do_not_change_the_kind():
    more = [*CAPTION, *TEXT, ResolvedPart("negative", "picture", "[photo:1]")]
    total = np.ones(2, np.float32)
    assert standardised(total, BLOCK, more, CALIBRATION).tolist() == standardised(
        total, BLOCK, TEXT, CALIBRATION).tolist()


def test_a_missing_bank_is_an_error_and_not_a_number():
    with pytest.raises(ShapeError, match="no bank for caption"):
        null_moments(BLOCK, library_calibration(bank_of(CALIBRATION)), "caption")


def test_a_calibration_survives_being_kept_in_an_index():
    kept = Calibration.from_bytes(CALIBRATION.to_bytes())
    assert (kept.slope, kept.offset, kept.cutoff) == (CALIBRATION.slope, CALIBRATION.offset, 0.5)
    for name in ("captions", "phrases", "pictures", "regions"):
        assert np.array_equal(getattr(kept, name), getattr(CALIBRATION, name))
        assert getattr(kept, name).dtype == np.float32


# --- fit -------------------------------------------------------------------------------------


def test_the_fit_finds_the_curve_that_drew_the_labels():
    rng = np.random.default_rng(0)
    z = rng.normal(2, 2, 40_000)
    chance = 1 / (1 + np.exp(-(1.5 * z - 3)))
    present = rng.random(len(z)) < chance
    slope, offset = fit_constants(z, present)
    assert slope == pytest.approx(1.5, rel=0.05)
    # balancing the classes moves the offset by the log-odds of the labels alone
    odds = present.mean() / (1 - present.mean())
    assert offset == pytest.approx(-3 - np.log(odds), abs=0.1)


def test_the_fit_does_not_care_how_many_absent_photos_there_are():
    rng = np.random.default_rng(1)
    with_, without = rng.normal(4, 1, 500), rng.normal(0, 1, 500)
    few = fit_constants(np.concatenate([with_, without]), np.arange(1000) < 500)
    many = fit_constants(np.concatenate([with_, np.tile(without, 20)]), np.arange(10_500) < 500)
    assert few == pytest.approx(many, rel=1e-3)
    assert -few[1] / few[0] == pytest.approx(2, abs=0.2)


def test_the_fit_of_separable_or_reversed_scores_stays_usable():
    slope, offset = fit_constants(np.array([0, 1, 9, 10.0]), np.array([False, False, True, True]))
    assert np.isfinite([slope, offset]).all() and slope > 0 and -offset / slope == pytest.approx(5, abs=1e-3)
    assert fit_constants(np.array([0, 1, 9, 10.0]), np.array([True, True, False, False]))[0] == 0
    constant = fit_constants(np.ones(4), np.array([True, True, False, False]))
    assert np.isfinite(constant).all()


@pytest.mark.parametrize(("z", "present"), [([1.0], [True]), ([1.0, 2.0], [True]), ([], [])])
def test_the_fit_needs_both_classes(z, present):
    with pytest.raises(ShapeError, match="both classes"):
        fit_constants(np.array(z), np.array(present, bool))
