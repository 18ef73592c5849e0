"""Grounding: which regions are shown, at which size, and when an entity is present at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from interleave_index.geometry import box_mask, encode_rle, mask_iou
from interleave_index.query.ground import AskedPart, StoredRegions, ground_exact, ground_stored
from interleave_index.query.presence import presence_bar
from interleave_index.records import GroundedMask, Photo, ResolvedPart, region_id

PHOTO = Photo(id=5, path=None, width=80, height=40)
AXES = np.eye(2, dtype=np.float32)
BOXES = np.array([[0, 0, 40, 40], [40, 0, 80, 40], [44, 4, 76, 36], [0, 0, 80, 10]], np.float32)


def toward(cosine: float) -> list[float]:
    """A unit vector whose cosine with the first axis is given."""
    return [cosine, float(np.sqrt(1 - cosine**2))]


def stored(*cosines: float, image: float = 0.0, masks: bool = True, scores: Sequence[float] = ()) -> StoredRegions:
    """Regions of the four boxes, equally well drawn unless told, masks kept at a quarter of the photo's size."""
    small = tuple(encode_rle(box_mask(tuple(box / 4), (10, 20))) for box in BOXES[:len(cosines)])
    regions = np.array([toward(c) for c in cosines], np.float32).reshape(-1, 2)
    return StoredRegions(np.array(toward(image), np.float32), regions, BOXES[:len(cosines)],
                         np.array(scores or [0.5] * len(cosines), np.float32), lambda: small if masks else ())


def asked(bar: float = 0.5, role: str = "entity", kind: str = "text") -> AskedPart:
    return AskedPart(ResolvedPart(role, kind, "a dog", weight=2), AXES[0], bar)  # type: ignore[arg-type]


def test_the_best_region_comes_with_its_mask_and_box_at_the_size_of_the_photo():
    hit, = ground_stored(PHOTO, stored(0.2, 0.9), [asked()])
    assert (hit.text, hit.kind, hit.negative, hit.weight) == ("a dog", "text", False, 2)
    assert (hit.grounding.source, hit.grounding.present) == ("stored", True)
    assert hit.score == hit.grounding.score == pytest.approx(0.9)
    region, = hit.regions
    assert (region.region_id, region.box) == (region_id(5, 1), (40, 0, 80, 40))
    assert region.rle.size == (40, 80)
    assert np.array_equal(region.rle.decode(), box_mask((40, 0, 80, 40), (40, 80)))


def test_of_two_regions_that_answer_alike_the_better_drawn_is_shown_and_the_score_stays():
    hit, = ground_stored(PHOTO, stored(0.8, 0.801, scores=[0.9, 0.4]), [asked()])
    assert hit.regions[0].region_id == region_id(5, 0) and hit.score == pytest.approx(0.801)
    hit, = ground_stored(PHOTO, stored(0.2, 0.82, scores=[0.5, 0.4]), [asked()])
    assert hit.regions[0].region_id == region_id(5, 1)


def test_further_regions_are_near_in_score_and_apart_in_place():
    hit, = ground_stored(PHOTO, stored(0.90, 0.92, 0.91, 0.80), [asked()])
    # the third lies inside the second, the fourth scores too low
    assert [region.region_id for region in hit.regions] == [region_id(5, 1), region_id(5, 0)]


def test_at_most_five_regions_are_shown():
    boxes = np.array([[x, 0, x + 10, 40] for x in range(0, 80, 10)], np.float32)
    masks = tuple(encode_rle(box_mask(tuple(box), (40, 80))) for box in boxes)
    many = StoredRegions(AXES[1], np.tile(AXES[:1], (8, 1)), boxes, np.full(8, 0.5, np.float32), lambda: masks)
    assert len(ground_stored(PHOTO, many, [asked()])[0].regions) == 5


def test_an_absent_entity_shows_its_best_guess_alone_and_says_so():
    hit, = ground_stored(PHOTO, stored(0.42, 0.40), [asked(bar=0.5)])
    assert not hit.grounding.present and hit.grounding.source == "stored"
    assert [region.region_id for region in hit.regions] == [region_id(5, 0)]


def test_a_negative_shows_only_what_speaks_against_the_photo():
    present, absent = (ground_stored(PHOTO, stored(0.42), [asked(bar, "negative")])[0] for bar in (0.3, 0.5))
    assert present.negative and present.grounding.present and len(present.regions) == 1
    assert absent.negative and not absent.grounding.present and absent.regions == ()
    assert absent.score == pytest.approx(0.42)


def test_a_photo_without_regions_is_grounded_by_nothing():
    def never() -> tuple[()]:
        raise AssertionError("masks were fetched")

    bare = StoredRegions(AXES[0], AXES[:0], BOXES[:0], np.zeros(0, np.float32), never)
    text, picture = ground_stored(PHOTO, bare, [asked(), asked(kind="picture")])
    assert (text.grounding.source, text.grounding.present, text.regions, text.score) == ("none", False, (), 0)
    assert (picture.grounding.source, picture.regions, picture.score) == ("none", (), 1)


def test_a_whole_picture_answered_by_the_whole_photo_is_the_whole_photo():
    hit, = ground_stored(PHOTO, stored(0.2, image=0.8), [asked(kind="picture")])
    assert hit.score == pytest.approx(0.8)
    assert (hit.regions[0].region_id, hit.regions[0].box) == (None, (0, 0, 80, 40))
    assert hit.regions[0].rle.decode().all()
    part, = ground_stored(PHOTO, stored(0.9, image=0.8), [asked(kind="picture")])
    assert part.regions[0].region_id == region_id(5, 0)


def test_regions_without_masks_show_their_box():
    hit, = ground_stored(PHOTO, stored(0.2, 0.9, masks=False), [asked()])
    assert np.array_equal(hit.regions[0].rle.decode(), box_mask((40, 0, 80, 40), (40, 80)))


def test_an_exact_look_replaces_masks_and_leaves_scores_and_negatives():
    parts = [asked(role="negative"), asked(0.5), asked(0.95)]
    before = ground_stored(PHOTO, stored(0.9), parts)
    small = box_mask((0, 0, 10, 10), (20, 40))
    found = [GroundedMask(1, encode_rle(small), (0, 0, 10, 10), 0.8),
             GroundedMask(0, encode_rle(small), (0, 0, 10, 10), 0.6),
             GroundedMask(0, encode_rle(~small), (0, 0, 40, 20), 0.7)]
    after = ground_exact(PHOTO, before, parts, found)
    assert after[0] == before[0]
    assert [hit.score for hit in after] == [hit.score for hit in before]
    assert [(hit.grounding.source, hit.grounding.present, hit.grounding.score) for hit in after[1:]] == [
        ("exact", True, 0.7), ("exact", False, 0.8)]
    assert [len(hit.regions) for hit in after[1:]] == [1, 1]  # 0.6 lies more than 0.05 under 0.7
    assert after[2].regions[0].box == (0, 0, 20, 20) and after[2].regions[0].region_id is None
    assert mask_iou(after[2].regions[0].rle.decode(), box_mask((0, 0, 20, 20), (40, 80))) == 1


def test_a_picture_whose_pixels_are_lost_is_not_looked_for_by_its_name():
    lost = asked(kind="region")
    shown = AskedPart(replace(lost.part, photo=np.zeros((4, 4, 3), np.uint8)), lost.vector, lost.bar)
    before = ground_stored(PHOTO, stored(0.9), [lost, shown])
    small = box_mask((0, 0, 10, 10), (20, 40))
    found = [GroundedMask(entity, encode_rle(small), (0, 0, 10, 10), 0.8) for entity in (0, 1)]
    after = ground_exact(PHOTO, before, [lost, shown], found)
    assert after[0] == before[0]
    assert after[1].grounding.source == "exact"


def test_a_look_does_not_judge_whether_a_whole_picture_is_there():
    picture = asked(kind="picture")
    part = replace(picture.part, photo=np.zeros((4, 4, 3), np.uint8))
    parts = [AskedPart(part, picture.vector, bar) for bar in (0.5, 0.7)]
    before = ground_stored(PHOTO, stored(0.1, image=0.6), parts)
    small = box_mask((0, 0, 10, 10), (20, 40))
    found = [GroundedMask(entity, encode_rle(small), (0, 0, 10, 10), score) for entity, score in ((0, 0.3), (1, 0.8))]
    assert [hit.grounding.present for hit in ground_exact(PHOTO, before, parts, found)] == [True, False]
    told = [replace(mask, present=not mask.entity == 0) for mask in found]
    assert [hit.grounding.present for hit in ground_exact(PHOTO, before, parts, told)] == [False, True]


def test_an_entity_that_the_look_did_not_find_keeps_its_stored_region():
    before = ground_stored(PHOTO, stored(0.9), [asked()])
    assert ground_exact(PHOTO, before, [asked()], []) == before


# --- presence --------------------------------------------------------------------------------


def test_the_bar_is_three_mirrored_lower_deviations_above_the_median():
    rng = np.random.default_rng(0)
    assert presence_bar(rng.normal(0.2, 0.05, 20_001)) == pytest.approx(0.35, abs=0.005)


def test_a_thing_that_is_common_does_not_raise_its_own_bar():
    rng = np.random.default_rng(0)
    absent = rng.normal(0.2, 0.05, 600)
    bar = presence_bar(np.concatenate([absent, np.full(400, 0.9)]))
    assert presence_bar(absent) < bar < 0.5


@pytest.mark.parametrize("share", [0.45, 0.5, 0.6, 0.7])
@pytest.mark.parametrize("photos", [20, 1000])
def test_what_about_half_of_the_library_shows_is_present_where_it_is_shown(share, photos):
    rng = np.random.default_rng(0)
    with_it = round(share * photos)
    absent, present = rng.normal(0.1, 0.04, photos - with_it), np.full(with_it, 1.0)
    assert absent.max() < presence_bar(np.concatenate([absent, present])) < 1


def test_a_thing_that_nothing_shows_keeps_its_bar_however_the_sample_is_shaped():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        for null in (rng.normal(0.1, 0.05, 200), 0.1 + 0.04 * rng.gumbel(size=200), rng.uniform(0, 0.3, 400)):
            below = null[null <= np.median(null)] - np.median(null)
            assert presence_bar(null) == pytest.approx(np.median(null) + 3 * np.sqrt((below**2).mean()))


def test_a_library_of_equals_has_nothing_present():
    assert presence_bar(np.full(50, 0.5)) > 0.5
    assert presence_bar(np.zeros(0)) == np.inf
