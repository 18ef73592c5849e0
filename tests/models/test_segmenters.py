"""Segmenters and detectors through their real loading path, with tiny random weights; frames against known numbers."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("transformers")
sys.path.insert(0, str(Path(__file__).parent))

import tiny_prompted as tiny

from interleave_index.errors import ConfigError, ShapeError, WeightsMissing
from interleave_index.models.segmenters import detectors, sam3
from interleave_index.models.segmenters.dense import ClipSeg
from interleave_index.models.segmenters.framing import HALF, IMAGENET, Frame
from interleave_index.models.segmenters.grounders import load_grounders
from interleave_index.models.segmenters.sam import SamSegmenter
from interleave_index.records import Prompt

PHOTO = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)


def point(x, y, label=1):
    return Prompt(np.array([[x, y]], np.float32), np.array([label], np.int8))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {name: getattr(tiny, name)(root / name) for name in ("sam", "sam2", "sam3", "owl", "dino")}


# --- frames ----------------------------------------------------------------------------------


def test_a_photo_keeps_its_aspect_in_the_upper_left_of_the_square():
    frame = Frame((427, 640), 1024, True)
    assert frame.inner == (683, 1024)
    assert frame.points(np.array([[640, 427], [320, 0]])).tolist() == [[1024, 683], [512, 0]]


def test_a_pressed_photo_scales_each_axis_by_itself():
    assert Frame((427, 640), 1008, False).points(np.array([[320.0, 427.0]])).tolist() == [[504, 1008]]


@pytest.mark.parametrize("keep_aspect", [True, False])
def test_a_mask_drawn_in_the_square_comes_back_where_its_thing_is(keep_aspect):
    import torch

    photo = np.zeros((90, 120, 3), np.uint8)
    photo[30:60, 40:100] = 255
    frame = Frame((90, 120), 64, keep_aspect)
    values = frame.pixels(photo, *HALF, "cpu")
    assert values.shape == (1, 3, 64, 64) and values.dtype == torch.float32
    (mask,) = frame.masks(values[0, :1])
    expected = photo[..., 0] > 0
    assert mask.shape == (90, 120)
    assert (mask & expected).sum() / (mask | expected).sum() > 0.93


def test_pixels_are_those_of_the_librarys_own_processor():
    import torch
    import transformers

    processor = transformers.SamImageProcessorPil(size={"longest_edge": 64}, pad_size={"height": 64, "width": 64})
    theirs = processor(PHOTO, return_tensors="pt")["pixel_values"]
    ours = Frame((90, 120), 64, True).pixels(PHOTO, *IMAGENET, "cpu")
    assert theirs.shape == ours.shape and float((theirs - ours).abs().max()) < 0.03
    assert torch.equal(ours[..., 48:, :], torch.zeros(1, 3, 16, 64))  # below the photo there is nothing


def test_a_photo_of_another_form_is_an_error():
    with pytest.raises(ShapeError, match=r"expected \(H, W, 3\) uint8"):
        Frame((4, 4), 64, True).pixels(np.zeros((4, 4), np.uint8), *HALF, "cpu")


# --- SAM and SAM 2 ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sam", "sam2"])
def test_every_prompt_gets_a_mask_of_the_photos_size(folders, name):
    segment = SamSegmenter(folders[name]).bind(PHOTO)
    both = Prompt(np.array([[30, 40], [5, 5]], np.float32), np.array([1, 0], np.int8), (10, 10, 50, 60))
    box = Prompt(np.zeros((0, 2), np.float32), np.zeros(0, np.int8), (10, 10, 50, 60))
    found = segment([point(30, 40), both, box])
    assert [one.mask.shape for one in found] == [(90, 120)] * 3 and all(one.mask.dtype == bool for one in found)
    assert all((one.object_score is None) == (name == "sam") for one in found)
    assert segment([]) == []


@pytest.mark.parametrize("name", ["sam", "sam2"])
def test_a_prompt_alone_answers_as_it_does_among_others(folders, name):
    segmenter = SamSegmenter(folders[name])
    alone, among = segmenter.bind(PHOTO)([point(80, 20)])[0], segmenter.bind(PHOTO)([point(1, 1), point(80, 20)])[1]
    assert np.array_equal(alone.mask, among.mask) and alone.quality == among.quality


def test_a_box_prompt_gives_what_the_library_gives_through_its_own_processor(folders):
    import torch
    import transformers

    model = transformers.SamModel.from_pretrained(folders["sam"]).eval()
    images = transformers.SamImageProcessorPil(size={"longest_edge": 64}, pad_size={"height": 64, "width": 64})
    processor = transformers.SamProcessor(images)
    inside = [20.0, 10.0, 99.0, 70.0]
    given = processor(PHOTO, input_boxes=[[inside]], return_tensors="pt")
    pixels = Frame((90, 120), 64, True).pixels(PHOTO, *IMAGENET, "cpu")
    with torch.inference_mode():
        embedded = model.get_image_embeddings(pixels)
        boxes = given["input_boxes"].float()
        first = model(image_embeddings=embedded, input_boxes=boxes, multimask_output=False)
        second = model(
            image_embeddings=embedded,
            input_boxes=boxes,
            multimask_output=False,
            input_masks=first.pred_masks[:, 0].clamp(-32, 32),
        )
    (expected,) = processor.post_process_masks(
        second.pred_masks, given["original_sizes"], given["reshaped_input_sizes"]
    )
    # their boxes count from the centre of the first pixel of the square, ours from the corner of the photo
    half = 0.5 * 120 / 64
    x0, y0, x1, y1 = (value + half for value in inside)
    ours = SamSegmenter(folders["sam"]).bind(PHOTO)(
        [Prompt(np.zeros((0, 2), np.float32), np.zeros(0, np.int8), (x0, y0, x1, y1))]
    )
    assert np.mean(ours[0].mask == expected[0, 0].numpy()) > 0.99
    assert ours[0].quality == pytest.approx(float(second.iou_scores[0, 0, 0]), abs=1e-5)


def test_a_photo_is_embedded_once_however_often_it_is_bound(folders, monkeypatch):
    segmenter = SamSegmenter(folders["sam2"])
    embed, photos = segmenter._embed, []

    def counted(photo):
        photos.append(photo)
        return embed(photo)

    monkeypatch.setattr(segmenter, "_embed", counted)
    segmenter.bind(PHOTO)
    segmenter.bind(PHOTO.copy())
    segmenter.bind(PHOTO[::-1])
    assert len(photos) == 2


def test_a_prompt_of_nothing_is_an_error(folders):
    with pytest.raises(ShapeError, match="expected a label a point, and a point or a box"):
        SamSegmenter(folders["sam"]).bind(PHOTO)([Prompt(np.zeros((0, 2), np.float32), np.zeros(0, np.int8))])


# --- models that read ------------------------------------------------------------------------


def test_sam3_gives_masks_and_boxes_of_a_phrase_best_first(folders, monkeypatch):
    monkeypatch.setattr(sam3, "THRESHOLD", 0.0)
    found = sam3.Sam3(folders["sam3"]).find(PHOTO, "a red cat")
    assert len(found) == 6 and {one.mask.shape for one in found if one.mask is not None} == {(90, 120)}
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is not None, reason="torchvision takes the boxes")
def test_sam3_without_torchvision_cannot_be_asked_by_boxes_alone(folders):
    assert sam3.Sam3(folders["sam3"]).find(PHOTO, None, [(1, 2, 30, 40)]) == []


def test_a_missing_sam3_says_that_it_is_guarded_and_how_it_is_got(tmp_path, monkeypatch):
    monkeypatch.setenv("INTERLEAVE_MODELS", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "none"))
    with pytest.raises(WeightsMissing, match=r"facebook/sam3 is not on this machine.*licence.*models pull"):
        load_grounders(["facebook/sam3"])


@pytest.mark.parametrize("phrase", ["a red cat", None])
def test_owl_boxes_lie_in_the_photo_by_phrase_and_by_picture(folders, monkeypatch, phrase):
    monkeypatch.setattr(detectors, "OWL_THRESHOLD", 0.0)
    monkeypatch.setattr(detectors, "OWL_PICTURE_THRESHOLD", 0.0)
    found = detectors.Owl(folders["owl"]).find(PHOTO, phrase, PHOTO[:40, :40])
    assert found
    for one in found:
        x0, y0, x1, y1 = one.box
        assert 0 <= x0 < x1 <= 120 and 0 <= y0 < y1 <= 90 and one.mask is None


def test_dino_reads_phrases_and_cannot_be_shown_pictures(folders, monkeypatch):
    monkeypatch.setattr(detectors, "DINO_THRESHOLD", 0.0)
    dino = detectors.GroundingDino(folders["dino"])
    assert dino.find(PHOTO, "A red cat.") and dino.find(PHOTO, None, PHOTO) == []


# --- by name ---------------------------------------------------------------------------------


def test_models_are_told_apart_by_their_folders(folders):
    found = load_grounders([str(folders[name]) for name in ("sam2", "owl", "dino")])
    assert isinstance(found.segmenter, SamSegmenter) and isinstance(found.pictures, detectors.Owl)
    assert isinstance(found.phrases, detectors.Owl) and found.concept is None  # the first that reads
    assert found and not load_grounders([])


def test_a_folder_of_another_model_is_an_error(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ConfigError, match="type 'bert', expected one of sam, sam2"):
        load_grounders([str(tmp_path)])


def test_weights_that_lack_a_part_are_an_error_that_names_it(folders, tmp_path):
    from safetensors.torch import load_file, save_file

    weights = load_file(folders["sam"] / "model.safetensors")
    gone = next(name for name in weights if name.startswith("mask_decoder"))
    del weights[gone]
    (tmp_path / "config.json").write_text((folders["sam"] / "config.json").read_text())
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(WeightsMissing, match=r"lacks .* weights of SamModel, the first is mask_decoder"):
        SamSegmenter(tmp_path)


# --- CLIPSeg ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clipseg(tmp_path_factory):
    from tests.models import tiny_families

    return tiny_families.save(tmp_path_factory.mktemp("clipseg"), "clipseg")


def drawer(folder):
    """Draws the map of a phrase or a crop over a photo."""
    maps = load_grounders([str(folder)]).maps
    assert maps is not None

    def draw(photo, phrase, exemplar=None):
        drawn = maps.draw(photo, phrase, exemplar)
        assert drawn is not None
        return drawn

    return draw


def own_map(folder, *, text=None, picture=None):
    """The map of the library's own call, with its own image processor and tokenizer."""
    import torch
    import transformers

    model = transformers.CLIPSegForImageSegmentation.from_pretrained(folder).eval()
    images = transformers.AutoImageProcessor.from_pretrained(folder)
    given = dict(images(PHOTO, return_tensors="pt"))
    if text is not None:
        given |= dict(transformers.AutoTokenizer.from_pretrained(folder)([text], return_tensors="pt"))
    else:
        given["conditional_pixel_values"] = images(picture, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        return model(**given).logits.sigmoid().numpy().squeeze()


def test_a_clipseg_draws_the_map_of_the_models_own_call_by_words_and_by_a_picture(clipseg):
    draw = drawer(clipseg)
    crop = np.random.default_rng(5).integers(0, 255, (40, 30, 3), dtype=np.uint8)
    by_words, by_picture = draw(PHOTO, "a red dog"), draw(PHOTO, None, crop)
    assert by_words.dtype == np.float32 and by_words.shape == own_map(clipseg, text="a red dog").shape
    assert np.abs(by_words - own_map(clipseg, text="a red dog")).max() < 1e-4
    assert np.abs(by_picture - own_map(clipseg, picture=crop)).max() < 1e-4
    assert np.ptp(by_words) > 0.01 and np.abs(by_words - by_picture).max() > 1e-3
    assert np.array_equal(draw(PHOTO, "a red dog", crop), by_words)  # a phrase wins
    assert ClipSeg(clipseg).draw(PHOTO, None) is None
    other = np.random.default_rng(6).integers(0, 255, PHOTO.shape, dtype=np.uint8)
    assert np.abs(draw(other, "a red dog") - by_words).max() > 1e-3  # another photo is encoded anew


def test_a_phrase_longer_than_a_clipseg_reads_is_cut(clipseg):
    assert np.isfinite(drawer(clipseg)(PHOTO, "a red dog " * 50)).all()


def test_a_clipseg_beside_others_is_the_grounder_that_draws(clipseg, folders):
    found = load_grounders([str(clipseg), str(folders["sam"])])
    assert found and found.maps is not None and found.segmenter is not None and found.phrases is None


def test_a_folder_of_another_model_is_no_clipseg(folders):
    with pytest.raises(WeightsMissing, match=r"holds a model of type 'sam', expected clipseg"):
        ClipSeg(folders["sam"])
