"""Marks on a photo into masks: by the regions of a model, by a promptable segmenter, by a universal one, by FIND."""

from __future__ import annotations

import numpy as np
import pytest

from interleave_index.errors import ModelError
from interleave_index.geometry import box_mask, mask_iou, point_mask
from interleave_index.grammar import Query
from interleave_index.interface.marked import meant_by
from interleave_index.interface.points import PointsInterface
from interleave_index.interface.registry import load, load_marker
from interleave_index.interface.toy import ToyInterface
from interleave_index.models.segmenters.grounders import Grounders
from interleave_index.models.segmenters.sam import SamSegmenter
from interleave_index.models.segmenters.universal import UniversalSegmenter
from interleave_index.query.resolve import resolve
from interleave_index.records import RGB, Picture, ResolvedPart
from tests.models import tiny_prompted, tiny_universal

PHOTO = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)


def part(photo: RGB, **marks: object) -> ResolvedPart:
    """A marked part as a query has it."""
    (made,) = resolve(Query(Picture(photo, **marks)), None, 0, lambda source: source).parts  # type: ignore
    return made


# --- which mask is meant ---------------------------------------------------------------------

SIZE = (40, 80)
LEFT, RIGHT, ALL = (box_mask(box, SIZE) for box in ((0, 0, 40, 40), (40, 0, 80, 40), (0, 0, 80, 40)))
GROUND = np.zeros((*SIZE, 3), np.uint8)


def test_points_mean_the_first_mask_that_holds_most_of_them():
    on_left = part(GROUND, points=((10, 10), (20, 30)))
    assert meant_by(on_left, [RIGHT, LEFT, ALL]) == 1
    assert meant_by(on_left, [RIGHT, ALL, LEFT]) == 1
    on_both = part(GROUND, points=((10, 10), (70, 30)))
    assert meant_by(on_both, [RIGHT, LEFT, ALL]) == 2


def test_points_beside_the_thing_rule_out_the_masks_that_hold_them():
    marked = part(GROUND, points=((10, 10),), background=((70, 20),))
    assert meant_by(marked, [ALL, RIGHT, LEFT]) == 2
    assert meant_by(marked, [RIGHT, ALL]) == 1  # all that is left
    assert meant_by(marked, [np.zeros_like(ALL), ALL]) == 1


def test_a_box_means_the_mask_whose_box_fits_best():
    assert meant_by(part(GROUND, box=(2, 0, 42, 40)), [ALL, RIGHT, LEFT]) == 2
    assert meant_by(part(GROUND, box=(2, 0, 78, 40)), [LEFT, ALL, RIGHT]) == 1
    disc = point_mask(((20.0, 20.0),), SIZE, 10)
    assert meant_by(part(GROUND, box=(10, 10, 30, 30)), [LEFT, disc]) == 1


def test_masks_may_be_of_another_size_than_the_photo():
    small = [mask[::4, ::4] for mask in (RIGHT, LEFT)]
    assert meant_by(part(GROUND, points=((10, 10),)), small) == 1
    assert meant_by(part(GROUND, box=(0, 0, 40, 40)), small) == 1


def test_where_no_mask_holds_a_mark_none_is_meant():
    for marks in ({"points": ((70, 10),)}, {"box": (50, 0, 70, 10)}):
        assert meant_by(part(GROUND, **marks), [LEFT]) is None and meant_by(part(GROUND, **marks), []) is None


# --- models ----------------------------------------------------------------------------------


def test_an_interface_answers_by_its_regions_and_always_with_a_mask(drawn_photos):
    photo = drawn_photos.red_disc_and_blue_square
    marked = [
        part(photo.rgb, points=((90, 50),)),
        part(photo.rgb, box=(8, 25, 52, 70)),
        part(photo.rgb, mask=np.roll(photo.masks["red"], 3, 0)),
    ]
    found = ToyInterface().interact(photo.rgb, marked)
    assert [mask.entity for mask in found] == [0, 1, 2]
    for mask, colour in zip(found, ("blue", "red", "red"), strict=True):
        assert mask_iou(mask.mask.decode(), photo.masks[colour]) > 0.98
        assert (mask.present, mask.rung) == (True, "marked") and 0 < mask.score <= 1


def test_without_any_region_the_marks_themselves_are_the_mask(drawn_photos, monkeypatch):
    photo, interface = drawn_photos.red_disc, ToyInterface()
    made = interface.encode_photos([photo.rgb])[0]
    bare = type(made)(made.image, made.regions[:0], made.boxes[:0], made.areas[:0], made.scores[:0], ())
    monkeypatch.setattr(ToyInterface, "encode_photos", lambda self, photos: [bare])
    marked = part(photo.rgb, points=((10, 10),))
    (found,) = interface.interact(photo.rgb, [marked])
    assert marked.mask is not None and np.array_equal(found.mask.decode(), marked.mask)
    assert found.present and found.score == 0


def test_a_promptable_segmenter_is_shown_the_marks_as_they_are(tmp_path):
    pytest.importorskip("transformers")
    segmenter = SamSegmenter(tiny_prompted.sam2(tmp_path / "sam2"))
    marks = [
        part(PHOTO, points=((40, 20), (50, 30)), background=((5, 6),)),
        part(PHOTO, box=(10, 5, 60, 50)),
        part(PHOTO, mask=box_mask((20, 20, 60, 24), (60, 80))),
    ]
    points, box, stroke = (one.prompt for one in marks)
    assert points is not None and box is not None and stroke is not None
    assert points.points.tolist() == [[40, 20], [50, 30], [5, 6]] and points.labels.tolist() == [1, 1, 0]
    assert box.box == (10, 5, 60, 50) and len(box.points) == 0
    assert 2 < len(stroke.points) <= 5 and stroke.labels.all() and np.ptp(stroke.points[:, 0]) > 35
    assert (np.abs(stroke.points - [40, 22]) <= [20, 2]).all()
    by_hand = segmenter.bind(PHOTO)([points, box, stroke])
    inner = ToyInterface()
    found = PointsInterface(inner, lambda: Grounders(segmenter)).interact(PHOTO, marks)
    for mask, wanted in zip(found, by_hand, strict=True):
        assert mask.score == wanted.quality or not wanted.mask.any()
        assert not wanted.mask.any() or np.array_equal(mask.mask.decode(), wanted.mask)
        assert mask.present
    without = PointsInterface(inner).interact(PHOTO, marks)
    assert [mask.mask for mask in without] == [mask.mask for mask in inner.interact(PHOTO, marks)]


@pytest.mark.parametrize("kind", ["sam2", "mask2former"])
def test_a_segmenter_alone_masks_marks_and_nothing_else(tmp_path, kind):
    pytest.importorskip("transformers")
    folder = (tiny_prompted.sam2 if kind == "sam2" else tiny_universal.mask2former)(tmp_path / kind)
    marker = load_marker(str(folder), device="cpu")
    assert marker is not None and not marker.capabilities.encodes
    (found,) = marker.interact(PHOTO, [part(PHOTO, points=((40, 20),))])
    if kind == "mask2former":
        segments = UniversalSegmenter(folder).segment(PHOTO)
        (wanted,) = (one for one in segments if one.mask[20, 40])
        assert np.array_equal(found.mask.decode(), wanted.mask) and found.score == pytest.approx(wanted.score)
    assert found.mask.size == (60, 80) and found.present
    for ask in (lambda: marker.ground(PHOTO, ()), lambda: marker.encode_photos([PHOTO]), lambda: marker.calibration):
        with pytest.raises(ModelError, match="reads no words; expected marks such as"):
            ask()


def test_models_that_are_no_segmenters_are_no_markers(tmp_path):
    assert load_marker("toy", device="cpu") is None and load_marker("find-mini", device="cpu") is None


def test_a_published_checkpoint_answers_by_its_own_spatial_prompts(tmp_path, toys):
    interface = load(str(toys.imported_model(tmp_path / "home")), device="cpu", grounding="own")
    marks = [part(PHOTO, points=((40, 20),), background=((5, 6),)), part(PHOTO, box=(10, 5, 60, 50))]
    found = interface.interact(PHOTO, marks)
    model = interface.model  # type: ignore[attr-defined]
    nothing = np.zeros((60, 80), bool)
    by_hand = model.interact(model.view(PHOTO), [one.mask for one in marks], [marks[0].background, nothing])
    for number, mask in enumerate(found):
        wanted = by_hand.masks[number] if by_hand.masks[number].any() else marks[number].mask
        assert wanted is not None and np.array_equal(mask.mask.decode(), wanted)
        assert (mask.entity, mask.rung, mask.present) == (number, "marked", True) and 0 <= mask.score <= 1
