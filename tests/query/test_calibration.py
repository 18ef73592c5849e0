"""The calibration in force: kept in an index, completed by the photos of a library, and made of them alone."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from interleave_index.interface.calibration import KINDS, Calibration, Curve, read_curves
from interleave_index.query.blocks import bank_of, block_of
from interleave_index.query.calibration import (
    ENOUGH_PHOTOS,
    MIXED_WITH,
    MOST_PHOTOS,
    complete,
    first_regions,
    generic_scores,
    of_library,
    some_regions,
    unpacked,
)
from interleave_index.query.judgement import STANDARD, library_curves
from interleave_index.records import PhotoEncoding

AXES = np.eye(3, dtype=np.float32)
CURVE = Curve(8.0, -4.0, 0.25, 12.0, -0.5, -3.0, 0.75)


def encoded(image, regions) -> PhotoEncoding:
    regions = np.array(regions, np.float32).reshape(-1, len(image))
    empty = np.zeros(len(regions), np.float32)
    boxes = np.zeros((len(regions), 4), np.float32)
    return PhotoEncoding(np.array(image, np.float32), regions, boxes, empty, empty, ())


TWO = block_of([encoded(AXES[0], AXES[:2]), encoded(AXES[1], [])])
BANKS = Calibration(
    captions=np.array([[0.6, 0.8, 0], [0.8, 0.6, 0]], np.float32),
    phrases=np.array([[0, 0.6, 0.8], [0, 0.8, 0.6]], np.float32),
    pictures=np.array([[0.6, 0.8, 0], [0.8, 0.6, 0]], np.float32),
    regions=np.array([[0.6, 0.8, 0], [0, 0.6, 0.8]], np.float32),
)


def library(make_vectors, photos: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    return block_of(
        [encoded(make_vectors(rng, 8), make_vectors(rng, int(rng.integers(0, 4)), 8)) for _ in range(photos)]
    )


def banks(make_vectors, seed: int = 1, **more) -> Calibration:
    captions, phrases, pictures, regions = make_vectors(np.random.default_rng(seed), 4, 12, 8)
    return Calibration(captions, phrases, pictures, regions, **more)


# --- kept ------------------------------------------------------------------------------------


def test_a_calibration_survives_being_kept_in_an_index():
    curves = {kind: replace(CURVE, slope=float(number + 1)) for number, kind in enumerate(KINDS)}
    one = Calibration(AXES[:2], AXES[1:], AXES[:1], AXES[2:], curves, stand_in=True)
    kept = Calibration.from_bytes(one.to_bytes())
    assert kept.curves == curves and kept.stand_in
    for name in ("captions", "phrases", "pictures", "regions"):
        assert np.array_equal(getattr(kept, name), getattr(one, name)) and getattr(kept, name).dtype == np.float32
    assert not Calibration.from_bytes(replace(one, curves={}, stand_in=False).to_bytes()).stand_in


def test_constants_of_an_older_form_count_as_not_fitted():
    file = io.BytesIO()
    old = {"slope": {"caption": 1.0}, "offset": {"caption": -2.0}, "cutoff": 0.5}
    np.savez_compressed(
        file, curves=np.array(json.dumps(old)), captions=AXES, phrases=AXES, pictures=AXES, regions=AXES
    )
    kept = Calibration.from_bytes(file.getvalue())
    assert kept.curves == {} and np.array_equal(kept.captions, AXES)


@pytest.mark.parametrize(("said", "weight"), [({}, 3.0), ({"stand_in": True}, 0.0), ({"score_weight": 0.0}, 0.0)])
def test_a_calibration_kept_without_a_weight_of_scores_ranks_as_its_model_does(said, weight):
    file = io.BytesIO()
    np.savez_compressed(
        file,
        curves=np.array(json.dumps({"fitted": {}, **said})),
        captions=AXES,
        phrases=AXES,
        pictures=AXES,
        regions=AXES,
    )
    assert Calibration.from_bytes(file.getvalue()).score_weight == weight


def test_curves_are_read_for_every_kind_or_for_none():
    values: dict[str, dict[str, float]] = {str(kind): asdict(CURVE) for kind in KINDS}
    assert read_curves(values) == dict.fromkeys(KINDS, CURVE) and read_curves({}) == {}
    with pytest.raises(KeyError):
        read_curves({"caption": values["caption"]})
    with pytest.raises(TypeError):
        read_curves({**values, "region": {"slope": 1.0}})


def test_what_an_index_keeps_is_unpacked_once():
    kept = replace(BANKS, curves=dict.fromkeys(KINDS, CURVE)).to_bytes()
    assert unpacked(kept) is unpacked(bytes(kept))


# --- completed -------------------------------------------------------------------------------


def test_what_the_model_brought_is_left_as_it_is(make_vectors):
    own = banks(make_vectors, curves=dict.fromkeys(KINDS, CURVE))
    assert complete(own, library(make_vectors, 40)) == own
    assert complete(own, None) == own


def test_photos_of_the_library_are_better_than_drawn_ones(make_vectors):
    drawn, photos = banks(make_vectors, curves=dict.fromkeys(KINDS, CURVE), stand_in=True), library(make_vectors, 40)
    found = complete(drawn, photos)
    assert np.array_equal(found.pictures, photos.image) and np.array_equal(found.regions, first_regions(photos))
    assert found.captions is drawn.captions and found.phrases is drawn.phrases and found.curves == drawn.curves


def test_a_handful_of_photos_is_no_better_than_drawn_ones(make_vectors):
    drawn, photos = banks(make_vectors, stand_in=True), library(make_vectors, ENOUGH_PHOTOS - 1)
    found = complete(drawn, photos)
    assert found.pictures is drawn.pictures and found.regions is drawn.regions
    made = library_curves(generic_scores(bank_of(drawn), drawn))
    assert found.curves == {kind: made[kind] for kind in KINDS} == complete(drawn, None).curves
    assert found.mixed_with == {part: made[kind] for kind, part in MIXED_WITH.items()}


def test_curves_that_are_missing_are_those_of_the_library(make_vectors):
    own, photos = banks(make_vectors), library(make_vectors, MOST_PHOTOS)
    made = library_curves(generic_scores(photos, own))
    assert complete(own, photos).curves == {kind: made[kind] for kind in KINDS}
    assert complete(own, photos).mixed_with == {part: made[kind] for kind, part in MIXED_WITH.items()}
    more = block_of(
        [
            encoded(photos.image[n], photos.regions[photos.offsets[n] : photos.offsets[n + 1]])
            for n in range(MOST_PHOTOS)
        ]
        + [encoded(AXES[0].repeat([1, 1, 6]), [])] * 50
    )
    assert complete(own, more).curves == complete(own, photos).curves  # the first ones are enough


def test_without_any_calibration_the_library_stands_in_for_all_of_it(make_vectors):
    photos = library(make_vectors, 40)
    found = of_library(photos)
    assert len(found.captions) == len(found.phrases) == 0
    assert np.array_equal(found.pictures, photos.image) and set(found.curves) == set(KINDS)
    scores = generic_scores(photos, found)["region"]  # there are no phrases to judge parts by
    assert found.curves["region"] == STANDARD.scaled(float(np.nanmean(scores)), float(np.nanstd(scores)))
    assert all(np.isfinite([curve.slope, curve.offset]).all() for curve in found.curves.values())


@pytest.mark.parametrize("photos", [1, 2, ENOUGH_PHOTOS])
def test_a_library_of_equals_has_curves_all_the_same(photos):
    curves = of_library(block_of([encoded(AXES[0], AXES[:1])] * photos)).curves
    assert set(curves) == set(KINDS) and np.isfinite([curve.offset for curve in curves.values()]).all()


def test_the_first_region_of_every_photo_that_has_one():
    photos = block_of([encoded(AXES[0], AXES[1:]), encoded(AXES[1], []), encoded(AXES[2], AXES[:1])])
    assert first_regions(photos).tolist() == [AXES[1].tolist(), AXES[0].tolist()]
    assert first_regions(block_of([encoded(AXES[1], [])])).tolist() == [AXES[1].tolist()]


def test_what_is_made_of_a_library_is_made_once(make_vectors):
    photos = library(make_vectors, 40)
    found = of_library(photos)
    assert of_library(photos) is found
    assert of_library(library(make_vectors, 40)) is not found


def test_parts_that_stand_for_parts_in_general_are_of_the_whole_library(make_vectors):
    drawn, photos = banks(make_vectors, stand_in=True), library(make_vectors, 40)
    asked = replace(drawn, pictures=photos.image, regions=some_regions(photos))
    assert complete(drawn, photos).curves["region"] == library_curves(generic_scores(photos, asked))["region"]


def test_regions_of_a_library_are_taken_from_everywhere_in_it():
    photos = block_of([encoded(AXES[0], AXES[1:]), encoded(AXES[1], []), encoded(AXES[2], AXES[:1])])
    assert some_regions(photos).tolist() == [AXES[1].tolist(), AXES[2].tolist(), AXES[0].tolist()]
    assert some_regions(block_of([encoded(AXES[1], [])])).tolist() == [AXES[1].tolist()]
    many = block_of([encoded(AXES[0], [[n, 0, 0] for n in range(300)])] * 2)
    chosen = some_regions(many)[:, 0]
    assert len(chosen) == MOST_PHOTOS and chosen[0] == 0 and chosen[-1] == 299 and (np.diff(chosen) > 0).sum() >= 198


# --- what generic queries score --------------------------------------------------------------


def test_generic_queries_score_as_a_search_would_have_them():
    # legends less half of the mean caption (0.7, 0.7, 0) are (0.25, 0.45, 0) and (0.45, 0.25, 0); entities less the
    # mean phrase (0, 0.7, 0.7) are (0, -0.1, 0.1) and (0, 0.1, -0.1); the second photo has no region
    found = {kind: scores.ravel().tolist() for kind, scores in generic_scores(TWO, BANKS).items()}
    assert found["caption"] == pytest.approx([0.25, 0.45, 0.45, 0.25])
    assert found["mixed"] == pytest.approx([0.25, 0.45 + 0.3 * 0.1, 0.45, 0.25])
    assert found["entity"] == pytest.approx([0.25, 0.45 + 0.1, 0.45, 0.25])
    # pictures (0.6, 0.1, -0.7) and (0.8, -0.1, -0.7) also meet the images; regions (0.6, 0.1, -0.7) and (0, -0.1, 0.1)
    assert found["picture"] == pytest.approx([0.25 + 0.6, 0.45 + 0.8, 0.45 + 0.1, 0.25 - 0.1])
    assert found["region"] == pytest.approx([0.25 + 0.6, -0.35 + 0, 0.45, 0.25])
    # the captions beside these
    assert found["mixed with picture"] == pytest.approx(
        [0.25 + 0.3 * 0.6, 0.45 + 0.3 * 0.8, 0.45 + 0.3 * 0.1, 0.25 - 0.3 * 0.1]
    )
    assert found["mixed with region"] == pytest.approx([0.25 + 0.3 * 0.6, 0.45, 0.45, 0.25])


def test_a_photo_never_meets_itself_or_a_region_of_its_own():
    bare = np.zeros((0, 3), np.float32)
    photos = block_of([encoded(AXES[0], AXES[1:2]), encoded(AXES[1], AXES[2:])])
    own = Calibration(bare, bare, photos.image, first_regions(photos))
    found = generic_scores(photos, own)
    # pictures along axes 0 and 1 are the photos; the second one meets a region of the first photo
    assert np.array_equal(found["picture"], [[np.nan, 1], [0, np.nan]], equal_nan=True)
    # regions along axes 1 and 2 are the photos' own, and the second photo as a whole is along axis 1 as well
    assert np.array_equal(found["region"], [[np.nan, 0], [np.nan, np.nan]], equal_nan=True)
    assert np.array_equal(np.isnan(found["mixed with region"]), np.isnan(found["region"]))
