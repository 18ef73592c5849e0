"""Photos into classes by every way that a model can: by regions, by FIND's proposals, by a universal segmenter."""

from dataclasses import replace

import numpy as np
import pytest

from interleave_index.errors import ConfigError, ModelError
from interleave_index.geometry import mask_iou
from interleave_index.interface.protocol import Capabilities
from interleave_index.interface.toy import ToyInterface
from interleave_index.segmentation.classes import coco_classes, read_classes
from interleave_index.segmentation.segmenters import DECIDED_SIDE, PublishedSegmenter, RegionSegmenter, load_segmenter
from tests.models import tiny_universal

PHOTO = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)


def colours(tmp_path, text="red\nblue\nstuff:\nwhite\n"):
    (tmp_path / "colours.txt").write_text(text)
    return read_classes(tmp_path / "colours.txt")


def masks_of(found, classes):
    return {classes[one.category].name: found.ids == one.id for one in found.segments}


def test_regions_are_named_by_the_nearest_class(tmp_path, drawn_photos):
    classes, photo = colours(tmp_path), drawn_photos.red_disc_and_blue_square
    found = RegionSegmenter(ToyInterface(), classes).segment(photo.rgb)
    masks = masks_of(found, classes)
    assert set(masks) == {"red", "blue", "white"}
    for colour in ("red", "blue"):
        assert mask_iou(masks[colour], photo.masks[colour]) > 0.95
    assert {classes[one.category].name for one in found.segments if one.thing} == {"red", "blue"}
    assert all(0.1 <= one.score <= 1 for one in found.segments)


def test_what_is_nearer_to_a_name_of_cocos_than_to_the_classes_is_no_segment(tmp_path, drawn_photos):
    """The toy reads names without a colour as a faint grey, which is nearer to red than white is."""
    photo = drawn_photos.red_disc
    segmenter = RegionSegmenter(ToyInterface(), colours(tmp_path, "white\n"))
    (region,) = segmenter.segment(photo.rgb).segments
    assert segmenter.classes[region.category].name == "white"
    assert not (segmenter.segment(photo.rgb).ids[photo.mask] > 0).any()


def test_names_that_mean_what_a_class_means_do_not_stand_against_it(tmp_path, drawn_photos):
    segmenter = RegionSegmenter(ToyInterface(), colours(tmp_path, "thing\nwhite\n"))  # `thing` means what COCO's do
    found = segmenter.segment(drawn_photos.red_disc.rgb)
    assert set(masks_of(found, segmenter.classes)) == {"thing", "white"}


def test_a_large_photo_is_decided_smaller_and_has_its_own_size_all_the_same(tmp_path, drawn_photos):
    photo = drawn_photos.red_disc
    large = np.kron(photo.rgb, np.ones((11, 11, 1), np.uint8))
    assert max(large.shape) > DECIDED_SIDE
    classes = colours(tmp_path)
    found = RegionSegmenter(ToyInterface(), classes).segment(large)
    assert found.ids.shape == large.shape[:2]
    assert mask_iou(masks_of(found, classes)["red"], np.kron(photo.mask, np.ones((11, 11), bool))) > 0.95


def test_a_photo_without_regions_has_no_segments(tmp_path, monkeypatch, drawn_photos):
    bare = ToyInterface()
    (encoding,) = bare.encode_photos([drawn_photos.red_disc.rgb])
    nothing = np.zeros((0, 16), np.float32)
    none = replace(encoding, regions=nothing, scores=nothing[:, 0], masks=(), boxes=nothing[:, :4], areas=nothing[:, 0])
    monkeypatch.setattr(bare, "encode_photos", lambda photos: [none], raising=False)
    found = RegionSegmenter(bare, colours(tmp_path)).segment(drawn_photos.red_disc.rgb)
    assert found.segments == () and found.ids.shape == (96, 128) and not found.ids.any()


@pytest.mark.parametrize("kind", ["mask2former", "maskformer", "oneformer", "eomt"])
def test_a_universal_segmenter_brings_its_classes(tmp_path, kind):
    pytest.importorskip("transformers")
    folder = getattr(tiny_universal, kind)(tmp_path / kind)
    segmenter = load_segmenter(str(folder), device="cpu")
    assert [one.name for one in segmenter.classes] == ["LABEL_0", "LABEL_1", "LABEL_2"]
    assert segmenter.name.startswith(f"{kind} ")
    found = segmenter.segment(PHOTO)
    assert found.segments and found.ids.shape == (60, 80)
    assert set(np.unique(found.ids).tolist()) - {0} == {one.id for one in found.segments}
    with pytest.raises(ConfigError, match="the classes that it was trained with"):
        load_segmenter(str(folder), device="cpu", classes=coco_classes())


def test_a_published_checkpoint_reads_the_names_of_the_classes(tmp_path, toys):
    from interleave_index.interface.published.segmentation import panoptic

    folder = toys.imported_model(tmp_path / "home")
    segmenter = load_segmenter(str(folder), device="cpu")
    assert segmenter.classes == coco_classes()
    found = segmenter.segment(PHOTO)
    assert found.ids.shape == (60, 80)
    dogs = load_segmenter(str(folder), device="cpu", classes=colours(tmp_path, "dog\nstuff:\nsky\n"))
    assert isinstance(dogs, PublishedSegmenter)
    model = dogs._model  # asked by hand, as the published evaluation asks it
    logits, masks = model.logits(model.view(PHOTO), model.class_table(["dog", "sky"]))
    by_hand = panoptic(logits, masks, {0})
    assert np.array_equal(dogs.segment(PHOTO).ids, by_hand.ids) and dogs.segment(PHOTO).segments == by_hand.segments


def test_find_mini_names_a_drawn_thing_with_classes_of_cocos():
    segmenter = load_segmenter(device="cpu", name="find-mini")
    assert isinstance(segmenter, RegionSegmenter) and segmenter.classes == coco_classes()
    assert segmenter.name.startswith("find-mini")


def test_a_model_that_only_grounds_segments_nothing(monkeypatch):
    monkeypatch.setattr(ToyInterface, "capabilities", property(lambda self: Capabilities(encodes=False)))
    with pytest.raises(ModelError, match="only grounds"):
        load_segmenter("toy", device="cpu")
