"""Preprocessing read from the files that checkpoints come with, old and new."""

import json

import numpy as np
import pytest

from interleave_index.errors import ModelError
from interleave_index.models.hub.pixels import CLIP_MEAN, HALF, Preprocessing, read_preprocessing

CLIP = {"model_type": "clip", "vision_config": {"image_size": 224, "patch_size": 32}}
SIGLIP = {"model_type": "siglip", "vision_config": {"image_size": 384, "patch_size": 14}}
NAFLEX = {"model_type": "siglip2", "vision_config": {"num_patches": 256, "patch_size": 16}}


@pytest.mark.parametrize(
    ("config_json", "config", "words", "mean"),
    [
        (
            {
                "do_resize": True,
                "size": 224,
                "do_center_crop": True,
                "crop_size": 224,
                "resample": 3,
                "image_mean": list(CLIP_MEAN),
            },
            CLIP,
            "crop 224 of short side 224, pillow bicubic",
            CLIP_MEAN,
        ),
        (
            {"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}, "do_center_crop": True},
            CLIP,
            "crop 224 of short side 256, pillow bicubic",
            CLIP_MEAN,
        ),
        (
            {"size": {"height": 384, "width": 384}, "resample": 2, "image_std": [0.5, 0.5, 0.5]},
            SIGLIP,
            "stretch 384, pillow bilinear",
            HALF,
        ),
        ({"max_num_patches": 1024, "resample": 2}, NAFLEX, "native 1024, pillow bilinear", HALF),
        (None, CLIP, "crop 224 of short side 224, pillow bicubic", CLIP_MEAN),
        (None, SIGLIP, "stretch 384, pillow bicubic", HALF),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_every_form_of_the_file_is_understood(tmp_path, config_json, config, words, mean, nested):
    if config_json is not None:
        name = "processor_config.json" if nested else "preprocessor_config.json"
        (tmp_path / name).write_text(json.dumps({"image_processor": config_json} if nested else config_json))
    found = read_preprocessing(tmp_path, config)
    assert isinstance(found, Preprocessing)
    assert str(found) == words and found.mean == mean and found.patch == config["vision_config"]["patch_size"]


@pytest.mark.parametrize(
    ("config_json", "words"),
    [
        ({"do_resize": False}, "without resizing"),
        ({"rescale_factor": 1.0}, "rescaling by 1/255"),
        ({"do_normalize": False}, "normalising"),
        ({"size": {"shortest_edge": 200}, "crop_size": 224, "do_center_crop": True}, "short side of 200"),
    ],
)
def test_a_preprocessing_that_no_such_model_has_is_refused(tmp_path, config_json, words):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config_json))
    with pytest.raises(ModelError, match=words):
        read_preprocessing(tmp_path, CLIP)


def test_a_file_that_is_no_json_is_one_clear_error(tmp_path):
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(ModelError, match="is not JSON"):
        read_preprocessing(tmp_path, CLIP)


@pytest.mark.parametrize("size", [(480, 640), (640, 480), (100, 300), (7, 2000), (224, 224)])
def test_what_is_prepared_has_the_size_of_the_grid(size):
    photo = np.zeros((*size, 3), np.uint8)
    crop = Preprocessing("crop", (224, 224), 32, 224)
    assert crop.prepare(photo).shape == (224, 224, 3) and crop.grid(size) == (7, 7)
    assert crop.whole().mode == "stretch" and crop.whole().prepare(photo).shape == (224, 224, 3)
    native = Preprocessing("native", (0, 0), 16, max_patches=256)
    rows, columns = native.grid(size)
    assert native.prepare(photo).shape == (16 * rows, 16 * columns, 3) and rows * columns <= 256
    assert native.whole() == native


def test_the_whole_photo_is_in_the_second_view_and_its_sides_are_not_in_the_first():
    photo = np.zeros((100, 200, 3), np.uint8)
    photo[:, :40] = 255
    crop = Preprocessing("crop", (50, 50), 10, 50)
    assert crop.prepare(photo).max() == 0 and crop.whole().prepare(photo)[:, :9].min() > 200


@pytest.mark.parametrize(
    ("model_type", "kind", "settings"),
    [
        ("owlvit", "OwlViT", {"size": [48, 48], "do_center_crop": False}),
        ("flava", "Flava", {"size": 48, "crop_size": 48, "do_center_crop": True}),
        ("chinese_clip", "ChineseCLIP", {"size": 48, "crop_size": 48, "do_center_crop": True}),
        ("chinese_clip", "ChineseCLIP", {"size": {"height": 48, "width": 48}, "do_center_crop": False}),
        ("clipseg", "ViT", {"size": 48, "image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.4], "resample": 2}),
        ("blip", "Blip", {"size": 48}),
    ],
)
def test_pixels_of_an_old_file_are_those_of_the_librarys_processor(tmp_path, model_type, kind, settings):
    """Sizes stand in old files as a number or as two; what a number means differs between the families."""
    import torch
    import transformers

    kept = {"feature_extractor_type": f"{kind}FeatureExtractor", "do_normalize": True, **settings}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(kept))
    found = read_preprocessing(tmp_path, {"model_type": model_type, "vision_config": {"image_size": 48}})
    photo = np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8)
    ours = found.tensors([found.prepare(photo)], torch.device("cpu"))["pixel_values"]
    processor = getattr(transformers, f"{kind}ImageProcessorPil").from_pretrained(tmp_path)
    theirs = processor(photo, return_tensors="pt")["pixel_values"]
    assert isinstance(found, Preprocessing) and ours.shape == theirs.shape
    assert float((ours - theirs).abs().max()) < 1e-5
