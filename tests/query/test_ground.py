"""Grounding: which regions are shown, at which size; whether an entity is there was judged before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from interleave_index.evaluation.library import as_it_is
from interleave_index.geometry import box_mask, box_of, encode_rle, mask_iou
from interleave_index.grammar import Query
from interleave_index.interface.toy import ToyInterface
from interleave_index.query.ground import AskedPart, StoredRegions, ground_exact, ground_stored, look_at
from interleave_index.query.resolve import resolve
from interleave_index.records import BoolMask, Entity, GroundedMask, Photo, Picture, ResolvedPart, region_id

PHOTO = Photo(id=5, path=None, width=80, height=40)
AXES = np.eye(2, dtype=np.float32)
BOXES = np.array([[0, 0, 40, 40], [40, 0, 80, 40], [44, 4, 76, 36], [0, 0, 80, 10]], np.float32)


def toward(cosine: float) -> list[float]:
    """A unit vector whose cosine with the first axis is given."""
    return [cosine, float(np.sqrt(1 - cosine**2))]


def stored(*cosines: float, image: float = 0.0, masks: bool = True, scores: Sequence[float] = ()) -> StoredRegions:
    """Regions of the four boxes, equally well drawn by default, masks kept at a quarter of the photo's size."""
    small = tuple(encode_rle(box_mask(tuple(box / 4), (10, 20))) for box in BOXES[: len(cosines)])
    regions = np.array([toward(c) for c in cosines], np.float32).reshape(-1, 2)
    return StoredRegions(
        np.array(toward(image), np.float32),
        regions,
        BOXES[: len(cosines)],
        np.array(scores or [0.5] * len(cosines), np.float32),
        lambda: small if masks else (),
        3.0,
    )


def asked(present: bool = True, role: str = "entity", kind: str = "text") -> AskedPart:
    part = ResolvedPart(role, kind, "a dog", weight=2)  # type: ignore[arg-type]
    return AskedPart(part, AXES[0], 0.75 if present else 0.25, present)


def test_the_best_region_comes_with_its_mask_and_box_at_the_size_of_the_photo():
    (hit,) = ground_stored(PHOTO, stored(0.2, 0.9), [asked()])
    assert (hit.text, hit.kind, hit.negative, hit.weight) == ("a dog", "text", False, 2)
    assert (hit.grounding.source, hit.grounding.present, hit.grounding.probability) == ("stored", True, 0.75)
    assert hit.score == hit.grounding.score == pytest.approx(0.9)
    (region,) = hit.regions
    assert (region.region_id, region.box) == (region_id(5, 1), (40, 0, 80, 40))
    assert region.rle.size == (40, 80)
    assert np.array_equal(region.rle.decode(), box_mask((40, 0, 80, 40), (40, 80)))


def test_of_two_regions_that_answer_alike_the_better_drawn_is_shown_and_the_score_stays():
    (hit,) = ground_stored(PHOTO, stored(0.8, 0.801, scores=[0.9, 0.4]), [asked()])
    assert hit.regions[0].region_id == region_id(5, 0) and hit.score == pytest.approx(0.801)
    (hit,) = ground_stored(PHOTO, stored(0.2, 0.82, scores=[0.5, 0.4]), [asked()])
    assert hit.regions[0].region_id == region_id(5, 1)


def test_further_regions_are_near_in_score_and_apart_in_place():
    (hit,) = ground_stored(PHOTO, stored(0.90, 0.92, 0.91, 0.80), [asked()])
    # the third lies inside the second, the fourth scores too low
    assert [region.region_id for region in hit.regions] == [region_id(5, 1), region_id(5, 0)]


def test_at_most_five_regions_are_shown():
    boxes = np.array([[x, 0, x + 10, 40] for x in range(0, 80, 10)], np.float32)
    masks = tuple(encode_rle(box_mask(tuple(box), (40, 80))) for box in boxes)
    many = StoredRegions(AXES[1], np.tile(AXES[:1], (8, 1)), boxes, np.full(8, 0.5, np.float32), lambda: masks, 3.0)
    assert len(ground_stored(PHOTO, many, [asked()])[0].regions) == 5


@pytest.mark.parametrize("cosine", [-0.5, 0.1, 0.9])
@pytest.mark.parametrize("present", [False, True])
def test_whether_an_entity_is_there_is_as_it_was_judged_and_not_read_from_its_regions(cosine, present):
    (hit,) = ground_stored(PHOTO, stored(cosine), [asked(present)])
    assert (hit.grounding.present, hit.grounding.probability) == (present, 0.75 if present else 0.25)
    assert hit.score == hit.grounding.score == pytest.approx(cosine)


def test_an_absent_entity_shows_its_best_guess_alone_and_says_so():
    present, absent = (ground_stored(PHOTO, stored(0.42, 0.40, 0, 0), [asked(there)])[0] for there in (True, False))
    assert [region.region_id for region in present.regions] == [region_id(5, 0), region_id(5, 1)]
    assert not absent.grounding.present and absent.grounding.source == "stored"
    assert [region.region_id for region in absent.regions] == [region_id(5, 0)]


def test_a_negative_shows_only_what_speaks_against_the_photo():
    present, absent = (ground_stored(PHOTO, stored(0.42), [asked(there, "negative")])[0] for there in (True, False))
    assert present.negative and present.grounding.present and len(present.regions) == 1
    assert absent.negative and not absent.grounding.present and absent.regions == ()
    assert absent.score == pytest.approx(0.42)


def test_a_photo_without_regions_is_grounded_by_nothing():
    def never() -> tuple[()]:
        raise AssertionError("masks were fetched")

    bare = StoredRegions(AXES[0], AXES[:0], BOXES[:0], np.zeros(0, np.float32), never, 3.0)
    text, picture = ground_stored(PHOTO, bare, [asked(), asked(kind="picture")])
    assert (text.grounding.source, text.grounding.present, text.regions, text.score) == ("none", True, (), 0)
    assert (picture.grounding.source, picture.regions, picture.score) == ("none", (), 1)


def test_a_whole_picture_answered_by_the_whole_photo_is_the_whole_photo():
    (hit,) = ground_stored(PHOTO, stored(0.2, image=0.8), [asked(kind="picture")])
    assert hit.score == pytest.approx(0.8)
    assert (hit.regions[0].region_id, hit.regions[0].box) == (None, (0, 0, 80, 40))
    assert hit.regions[0].rle.decode().all()
    (part,) = ground_stored(PHOTO, stored(0.9, image=0.8), [asked(kind="picture")])
    assert part.regions[0].region_id == region_id(5, 0)


def test_regions_without_masks_show_their_box():
    (hit,) = ground_stored(PHOTO, stored(0.2, 0.9, masks=False), [asked()])
    assert np.array_equal(hit.regions[0].rle.decode(), box_mask((40, 0, 80, 40), (40, 80)))


SMALL = box_mask((0, 0, 10, 10), (20, 40))  # half the photo's size


def looked(
    entity: int,
    score: float,
    present: bool | None = None,
    mask: BoolMask = SMALL,
    rung: str = "",
) -> GroundedMask:
    return GroundedMask(entity, encode_rle(mask), box_of(mask), score, rung, present)


def test_an_exact_look_replaces_masks_and_leaves_scores_and_negatives():
    parts = [asked(role="negative"), asked(), asked(False)]
    before = ground_stored(PHOTO, stored(0.9), parts)
    after = ground_exact(PHOTO, before, parts, [looked(1, 0.8), looked(0, 0.6), looked(0, 0.7, mask=~SMALL)])
    assert after[0] == before[0]
    assert [hit.score for hit in after] == [hit.score for hit in before]
    assert [(hit.grounding.source, hit.grounding.score) for hit in after[1:]] == [("exact", 0.7), ("exact", 0.8)]
    assert [len(hit.regions) for hit in after[1:]] == [1, 1]  # 0.6 lies more than 0.05 under 0.7
    assert after[2].regions[0].box == (0, 0, 20, 20) and after[2].regions[0].region_id is None
    assert mask_iou(after[2].regions[0].rle.decode(), box_mask((0, 0, 20, 20), (40, 80))) == 1


@pytest.mark.parametrize("score", [-0.9, 0.0, 0.99])
def test_a_look_that_does_not_judge_leaves_the_verdict(score):
    parts = [asked(), asked(False)]
    before = ground_stored(PHOTO, stored(0.4), parts)
    after = ground_exact(PHOTO, before, parts, [looked(0, score), looked(1, score)])
    assert [(hit.grounding.present, hit.grounding.probability) for hit in after] == [(True, 0.75), (False, 0.25)]


def test_a_look_that_judges_is_believed():
    parts = [asked(), asked(False)]
    before = ground_stored(PHOTO, stored(0.4), parts)
    after = ground_exact(PHOTO, before, parts, [looked(0, 0.9, present=False), looked(1, 0.1, present=True)])
    assert [(hit.grounding.present, hit.grounding.probability) for hit in after] == [(False, 0), (True, 1)]


def test_masks_of_a_look_stand_by_their_score_but_where_a_judge_ordered_them():
    one = [asked()]
    before = ground_stored(PHOTO, stored(0.4), one)
    for present, first in ((None, ~SMALL), (True, SMALL)):
        found = [looked(0, 0.50, present), looked(0, 0.52, present, ~SMALL)]
        (hit,) = ground_exact(PHOTO, before, one, found)
        assert len(hit.regions) == 2
        assert np.array_equal(hit.regions[0].rle.decode()[::2, ::2], first)
        assert hit.grounding.score == hit.regions[0].score


def test_all_that_a_judge_found_is_shown_whatever_the_space_scores_it():
    one, columns = [asked()], [box_mask((4 * n, 0, 4 * n + 3, 20), (20, 40)) for n in range(9)]
    found = [replace(looked(0, 0.9 - 0.1 * n, True, mask), confidence=0.8) for n, mask in enumerate(columns)]
    (hit,) = ground_exact(PHOTO, ground_stored(PHOTO, stored(0.4), one), one, found)
    assert [region.box[0] for region in hit.regions] == [8 * n for n in range(9)]
    assert hit.grounding.confidence == 0.8 and hit.grounding.to_json()["confidence"] == 0.8


def test_a_look_that_found_nothing_shows_nothing_and_leaves_the_verdict():
    nothing = looked(0, 0.3, mask=np.zeros((20, 40), bool))
    (hit,) = ground_exact(PHOTO, ground_stored(PHOTO, stored(0.9), [asked()]), [asked()], [nothing])
    assert (hit.regions, hit.grounding.source, hit.grounding.present) == ((), "exact", True)


def test_a_picture_whose_pixels_are_lost_is_not_looked_for_by_its_name():
    lost = asked(kind="region")
    shown = replace(lost, part=replace(lost.part, photo=np.zeros((4, 4, 3), np.uint8)))
    before = ground_stored(PHOTO, stored(0.9), [lost, shown])
    after = ground_exact(PHOTO, before, [lost, shown], [looked(0, 0.8), looked(1, 0.8)])
    assert after[0] == before[0]
    assert after[1].grounding.source == "exact"


def test_an_entity_that_the_look_did_not_find_keeps_its_stored_region():
    before = ground_stored(PHOTO, stored(0.9), [asked()])
    assert ground_exact(PHOTO, before, [asked()], []) == before


# --- marks on the photo itself ---------------------------------------------------------------


def parts_of(*terms):
    return resolve(Query(*terms), None, 0, as_it_is).parts


def test_what_is_marked_in_this_very_photo_is_what_lies_under_the_marks(drawn_photos):
    """The disc is red in both photos, and in each its own one is meant; words beside it are looked for as ever."""
    photo, other = drawn_photos.red_disc_and_blue_square, drawn_photos.red_disc
    on_photo = Picture(photo.rgb.copy(), points=((100, 50),))
    on_other = Picture(other.rgb, points=((60, 50),))
    found = look_at(ToyInterface(), photo.rgb, parts_of(Entity("red"), on_photo, on_other, "on white"))
    by_entity = {mask.entity: mask for mask in found}
    assert sorted(by_entity) == [0, 1, 2] and len(found) == 3
    for entity, colour in enumerate(("red", "blue", "red")):
        assert mask_iou(by_entity[entity].mask.decode(), photo.masks[colour]) > 0.98
    assert [by_entity[entity].rung for entity in range(3)] == ["", "marked", ""]
    assert [by_entity[entity].present for entity in range(3)] == [None, True, None]


def test_a_query_of_marks_alone_looks_for_nothing(drawn_photos, monkeypatch):
    monkeypatch.delattr(ToyInterface, "ground")
    photo = drawn_photos.red_disc
    (found,) = look_at(ToyInterface(), photo.rgb, parts_of(Picture(photo.rgb, box=(28, 18, 92, 82))))
    assert mask_iou(found.mask.decode(), photo.mask) > 0.98


def test_a_whole_picture_that_is_this_photo_is_no_mark(drawn_photos):
    photo = drawn_photos.red_disc
    assert [mask.rung for mask in look_at(ToyInterface(), photo.rgb, parts_of(Picture(photo.rgb)))] == [""]
