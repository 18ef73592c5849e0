"""Segmenters and detectors of today through their real loading path, tiny and random: masks, boxes, who takes what."""

import json

import numpy as np
import pytest

pytest.importorskip("transformers")

from interleave_index.errors import BackendMissing, ConfigError, WeightsMissing
from interleave_index.models.segmenters import detectors, universal
from interleave_index.models.segmenters.grounders import load_grounders
from interleave_index.models.segmenters.sam import SamSegmenter
from interleave_index.models.segmenters.table import PARTS, settings_for
from interleave_index.models.segmenters.universal import UniversalSegmenter
from interleave_index.records import Prompt
from tests.models import tiny_universal as tiny

PHOTO = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
UNIVERSAL = ("mask2former", "maskformer", "oneformer", "eomt", "eomt_dinov3")


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    root, made = tmp_path_factory.mktemp("models"), {}

    def folder(name):
        if name not in made:
            made[name] = getattr(tiny, name)(root / name)
        return made[name]

    return folder


@pytest.mark.parametrize("name", UNIVERSAL)
def test_masks_of_everything_do_not_overlap_and_come_best_first(name, folder_of):
    segmenter = UniversalSegmenter(folder_of(name))
    found = segmenter.segment(PHOTO)
    assert found and all(one.mask.shape == (60, 80) and one.mask.any() for one in found)
    assert np.sum([one.mask for one in found], axis=0).max() == 1
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert all(universal.THRESHOLD <= one.score <= 1 and one.label.startswith("LABEL_") for one in found)
    smaller = segmenter.segment(PHOTO, (30, 40))
    assert {one.mask.shape for one in smaller} == {(30, 40)}


@pytest.mark.parametrize("name", UNIVERSAL)
def test_a_mask_is_where_its_query_is_the_likeliest(name, folder_of):
    """By hand from the raw answer, at the size that the model draws in: the greatest chance of mask times class."""
    import torch

    segmenter = UniversalSegmenter(folder_of(name))
    given = segmenter._processor(PHOTO, return_tensors="pt")
    with torch.inference_mode():
        output = segmenter._model(pixel_values=given["pixel_values"], **segmenter._task)
    scores = output.class_queries_logits[0].softmax(-1)
    assert bool((scores[:, :-1].max(-1).values > universal.THRESHOLD).all())  # every query of the tiny heads counts
    drawn = output.masks_queries_logits
    if name.startswith("eomt"):  # the photo lies in the upper left of a square
        drawn = torch.nn.functional.interpolate(drawn, (64, 64), mode="bilinear")[:, :, :48]
        chances = torch.nn.functional.interpolate(drawn, (60, 80), mode="bilinear").sigmoid()[0]
    else:
        chances = torch.nn.functional.interpolate(drawn.sigmoid(), (60, 80), mode="bilinear", align_corners=False)[0]
    winners = (chances * scores.max(-1).values[:, None, None]).argmax(0).numpy()
    for one in segmenter.segment(PHOTO):
        values, counts = np.unique(winners[one.mask], return_counts=True)
        assert counts.max() / counts.sum() > 0.97, values


def test_no_file_of_a_hub_is_asked_for(folder_of, monkeypatch):
    """OneFormer's preprocessor file names a list of classes that lies on a hub."""
    import huggingface_hub

    def refused(*_, **__):
        raise AssertionError("a connection would be opened")

    for name in ("hf_hub_download", "snapshot_download"):
        monkeypatch.setattr(huggingface_hub, name, refused)
    assert UniversalSegmenter(folder_of("oneformer")).segment(PHOTO)


@pytest.mark.parametrize("name", ["sam_hq", "sam3_tracker", "sam3_video", "edgetam"])
def test_every_promptable_segmenter_gives_a_mask_a_prompt(name, folder_of):
    segment = SamSegmenter(folder_of(name)).bind(PHOTO)
    point = Prompt(np.array([[30, 40]], np.float32), np.array([1], np.int8))
    box = Prompt(np.zeros((0, 2), np.float32), np.zeros(0, np.int8), (10, 10, 50, 50))
    found = segment([point, box])
    assert [one.mask.shape for one in found] == [(60, 80)] * 2
    assert np.array_equal(segment([box])[0].mask, found[1].mask)


def test_sam_hq_gives_what_its_model_gives_for_pixels(folder_of):
    """The halfway states of its encoder reach the decoder: with them it says the same as when it is shown the photo."""
    import torch

    segmenter = SamSegmenter(folder_of("sam_hq"))
    frame, embedded = segmenter._embed(PHOTO)
    pixels = frame.pixels(PHOTO, *segmenter._kind.normal, "cpu")
    points = torch.tensor([[[[20.0, 30.0]]]])
    with torch.inference_mode():
        shown = segmenter._model(pixel_values=pixels, input_points=points, multimask_output=False)
        kept = segmenter._model(input_points=points, multimask_output=False, **embedded)
    assert torch.allclose(shown.pred_masks, kept.pred_masks, atol=1e-5)


def test_sam_3_as_released_gives_its_tracker_and_its_detector(folder_of):
    import torch
    import transformers

    folder = folder_of("sam3_video")
    whole = transformers.Sam3VideoModel.from_pretrained(folder).state_dict()
    tracker = SamSegmenter(folder)._model.state_dict()
    decoder = [name for name in tracker if name.startswith("mask_decoder.")]
    backbone = [name for name in tracker if name.startswith("vision_encoder.backbone.")]
    assert len(decoder) > 50 and all(torch.equal(tracker[name], whole[f"tracker_model.{name}"]) for name in decoder)
    assert backbone and all(torch.equal(tracker[name], whole[f"detector_model.{name}"]) for name in backbone)
    grounders = load_grounders([str(folder)])
    assert grounders.concept is not None and grounders.segmenter is None
    assert isinstance(grounders.concept.find(PHOTO, "a red cat"), list)


@pytest.mark.parametrize("name", ["owlvit", "omdet"])
def test_a_detector_boxes_a_phrase_inside_the_photo_best_first(name, folder_of, monkeypatch):
    monkeypatch.setattr(detectors, "OWL_THRESHOLD", 0.0)
    monkeypatch.setattr(detectors, "OMDET_THRESHOLD", 0.0)
    grounders = load_grounders([str(folder_of(name))])
    assert grounders.phrases is not None and (grounders.pictures is not None) == (name == "owlvit")
    found = grounders.phrases.find(PHOTO, "a red cat")
    assert found and [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    for one in found:
        x0, y0, x1, y1 = one.box
        assert 0 <= x0 < x1 <= 80 and 0 <= y0 < y1 <= 60


def test_omdet_gives_the_boxes_and_scores_of_its_model(folder_of, monkeypatch):
    import torch
    import transformers

    monkeypatch.setattr(detectors, "OMDET_THRESHOLD", 0.0)
    monkeypatch.setattr(detectors, "SAME", 1.0)
    folder = folder_of("omdet")
    model = transformers.OmDetTurboForObjectDetection.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    pixels = transformers.AutoImageProcessor.from_pretrained(folder)(PHOTO, return_tensors="pt")["pixel_values"]
    words, task = (
        tokenizer([text], padding="max_length", max_length=77, return_tensors="pt")
        for text in ("a red dog", "Detect a red dog.")
    )
    with torch.inference_mode():
        output = model(
            pixel_values=pixels,
            classes_input_ids=words["input_ids"],
            classes_attention_mask=words["attention_mask"],
            tasks_input_ids=task["input_ids"],
            tasks_attention_mask=task["attention_mask"],
            classes_structure=torch.tensor([1]),
        )
    best = int(output.decoder_class_logits[0, :, 0].argmax())
    x, y, wide, high = output.decoder_coord_logits[0, best].tolist()
    wanted = [(x - wide / 2) * 80, (y - high / 2) * 60, (x + wide / 2) * 80, (y + high / 2) * 60]
    found = detectors.OmDet(folder).find(PHOTO, "A red dog")
    assert found[0].box == pytest.approx(np.clip(wanted, 0, [80, 60, 80, 60]), abs=1e-3)
    assert found[0].score == pytest.approx(float(output.decoder_class_logits[0, best, 0].sigmoid()), abs=1e-5)
    assert detectors.OmDet(folder).find(PHOTO, None, PHOTO) == []


def test_boxes_that_say_the_same_are_one(monkeypatch):
    from interleave_index.records import Detected

    boxes = [(0, 0, 10, 10), (1, 0, 10, 10), (5, 0, 15, 10), (20, 20, 30, 30)]
    found = [Detected(box, 1 - n / 10) for n, box in enumerate(boxes)]
    assert [one.box for one in detectors._distinct(found)] == [boxes[0], boxes[2], boxes[3]]


# --- who takes what --------------------------------------------------------------------------


def test_every_family_of_the_two_auto_classes_is_taken_as_proposals():
    from transformers.models.auto import modeling_auto as auto

    known = set(auto.MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING_NAMES) | set(auto.MODEL_FOR_MASK_GENERATION_MAPPING_NAMES)
    taken = {name for part in PARTS if part.proposes for name in part.types}
    assert known - taken == {"detr", "videomt"}  # an older form that wants timm, and one for films


def test_a_setting_that_takes_a_model_is_named():
    assert settings_for("sam_hq") == ["models.proposals", "--grounders"]
    assert settings_for("mask2former") == ["models.proposals"]
    assert settings_for("omdet-turbo") == ["--grounders"] and settings_for("bert") == []


def test_a_model_that_only_proposes_is_refused_as_a_grounder_with_the_setting_that_takes_it(folder_of):
    with pytest.raises(ConfigError, match=r"type 'eomt', expected one of .*; it can be named in models\.proposals"):
        load_grounders([str(folder_of("eomt"))])


def test_a_folder_of_another_kind_is_no_universal_segmenter(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(WeightsMissing, match="type 'bert', expected one of mask2former"):
        UniversalSegmenter(tmp_path)


def test_a_checkpoint_over_a_package_that_is_not_here_is_one_clear_error(tmp_path):
    """EdgeTAM's encoder is one of timm, which is not a dependency."""
    import importlib.util

    import torch
    import transformers
    from safetensors.torch import save_file

    if importlib.util.find_spec("timm") is not None:
        pytest.skip("timm is here")
    transformers.EdgeTamConfig().save_pretrained(tmp_path)
    save_file({"one": torch.zeros(1)}, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(BackendMissing, match=r"EdgeTamModel without a package that is not installed.*timm"):
        SamSegmenter(tmp_path)
