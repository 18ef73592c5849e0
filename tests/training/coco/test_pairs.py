"""The ablation pairs of the paper and FIND (B): trained from the files that others released, tiny, and measured."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from interleave_index.errors import ConfigError, InputError, WeightsMissing
from interleave_index.evaluation.published import Run, generic, grounding, subject_of
from interleave_index.evaluation.published.coco import read_panoptic
from interleave_index.evaluation.published.entity import read_entities
from interleave_index.interface.importing import import_released
from interleave_index.interface.published.folder import load_published
from interleave_index.interface.published.pair import Pair, TrainedNetwork, load_pair
from interleave_index.interface.published.parts import language_of, vision_of
from interleave_index.interface.registry import load
from interleave_index.training.coco import run as module
from interleave_index.training.coco.run import run
from interleave_index.training.coco.settings import coco_settings
from interleave_index.training.loop import update
from tests.training.coco.released import SIDE, Released, write_released

SPLIT, STEPS = "train2017", 20


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory, toys: Any) -> Released:
    return write_released(tmp_path_factory.mktemp("released"), toys)


def _train(coco: Path, out: Path, **more: Any) -> list[float]:
    """Train a pair; the sum of the losses of every step."""
    overrides = {
        "entity": coco / "annotations" / f"entity_{SPLIT}.json",
        "width": 32,
        "layers": 2,
        "heads": 4,
        "ffn": 64,
        "object_queries": 8,
        "decoder_width": 32,
        "decoder_layers": 1,
        "points": 128,
        "batch": 2,
        "steps": STEPS,
        "drawing": {"size": SIDE, "jitter": (1.0, 1.0), "flip": False},
        "rate": 4e-3,
        "limit": 2,
        "clip": 0.5,
        "drawn_classes": 2,
        "drawn_sentences": False,
    }
    sums: list[float] = []

    def watched(optimiser: Any, losses: dict[str, torch.Tensor], *others: Any) -> dict[str, float]:
        sums.append(sum(float(value.detach()) for value in losses.values()))
        return update(optimiser, losses, *others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "update", watched)
        run(coco_settings(coco, out, overrides=overrides | more), progress=lambda line: None)
    return sums


PAIRS = [  # the four of the ablation, and FIND (B) over a DaViT-B
    "sam-unicl",
    "florence-llama",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("sam-llama", "xdecoder-unicl", "xdecoder-llama")),
]


@pytest.fixture(scope="module")
def trained(
    released: Released, drawn_coco: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[Path, list[float]]]:
    """Folder and losses of a pair by its name; each is trained once."""
    home = tmp_path_factory.mktemp("pairs")

    @cache
    def of(name: str) -> tuple[Path, list[float]]:
        return home / name, _train(drawn_coco, home / name, **released.of(name))

    return of


@pytest.mark.parametrize("name", PAIRS)
def test_every_pair_learns_in_twenty_steps_and_is_measured(name: str, trained: Any, drawn_coco: Path) -> None:
    folder, sums = trained(name)
    assert len(sums) == STEPS and sum(sums[-5:]) < 0.9 * sum(sums[:5]), sums
    subject = subject_of(load(str(folder), device="cpu"))
    panoptic = read_panoptic(drawn_coco, SPLIT)
    figures = Run(limit=2)(generic.coco_panoptic(panoptic), subject)["figures"]
    assert figures["n"] == 2 and 0 <= figures["PQ"] <= 100
    sentences = read_entities(drawn_coco / "annotations" / f"entity_{SPLIT}.json")
    assert Run(limit=2)(grounding.find_bench_grounding(sentences, panoptic), subject)["figures"]["n"] > 0


def test_of_a_sam_backbone_only_the_pyramid_that_came_without_weights_learns(trained: Any, released: Released) -> None:
    folder, _ = trained("sam-unicl")
    after, before = load_file(folder / "model.safetensors"), torch.load(released.sam, weights_only=True)
    encoder = {key.replace("image_encoder.", "backbone."): value for key, value in before.items() if "neck" not in key}
    encoder = {key: value for key, value in encoder.items() if key.startswith("backbone.")}
    assert len(encoder) > 20 and all(torch.equal(after[key], value) for key, value in encoder.items())
    model, config = load_pair(folder)
    fresh = vision_of(Pair(str(released.sam), "find-mini", decoder_width=32, decoder_layers=1, heads=4))
    assert not fresh.has_neck and not fresh.has_decoder
    for norm in ("down_4.1", "down_8.3", "down_32.1"):  # they begin at one
        assert not torch.equal(
            after[f"backbone.neck.{norm}.weight"], fresh.backbone.state_dict()[f"neck.{norm}.weight"]
        )
    assert isinstance(model.network, TrainedNetwork) and config["pair"]["vision"] == str(released.sam)
    assert "with xdecoder_focalt_last.pt" in load(str(folder), device="cpu").space.preprocessing  # no path in it


def test_a_pair_with_unicl_is_a_whole_released_file(trained: Any, tmp_path: Path) -> None:
    """The tower is kept under its published names, so that the result asks for nothing but what is inside."""
    folder, _ = trained("sam-unicl")
    model, _ = load_pair(folder)
    found = import_released(
        folder / "model.safetensors", "mine", language=str(folder / "language"), heads=4, home=tmp_path
    )
    assert found.language == "inside" and found.left_out == ()
    again = load_published(found.folder)
    assert np.allclose(again.encode_captions(["a red thing"]), model.encode_captions(["a red thing"]), atol=1e-5)


def test_a_pixel_decoder_that_came_along_stands_still_and_one_of_another_kind_is_made_anew(
    released: Released, tmp_path: Path
) -> None:
    found = vision_of(Pair(str(released.xdecoder), "find-mini", heads=4))
    weights = torch.load(released.xdecoder, weights_only=True)
    assert found.has_decoder and torch.equal(
        found.decoder.layer_2.weight, weights["sem_seg_head.pixel_decoder.layer_2.weight"]
    )
    deformable = {key: value for key, value in weights.items() if ".adapter_3." not in key and ".adapter_2." not in key}
    torch.save(deformable, tmp_path / "seem.pt")
    found = vision_of(Pair(str(tmp_path / "seem.pt"), "find-mini", decoder_width=32, decoder_layers=1, heads=4))
    assert not found.has_decoder and not torch.equal(
        found.decoder.layer_2.weight, weights["sem_seg_head.pixel_decoder.layer_2.weight"]
    )


@pytest.mark.parametrize(
    ("name", "channels"), [("sam-b", 1024), ("davit-d3", 1024), ("davit-d5", 2048), ("focal-t", 768)]
)
def test_published_backbones_are_built_by_name(name: str, channels: int) -> None:
    with torch.device("meta"):
        found = vision_of(Pair(name, "find-mini", vision_weights="random", decoder_layers=1))
    assert found.decoder.input_proj.in_channels == channels and not found.has_decoder
    assert found.has_neck == (name != "sam-b")  # a pyramid that nobody has trained


def test_files_that_are_not_what_was_asked_for_are_named(released: Released, drawn_coco: Path, tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(1)}, tmp_path / "other.pt")
    with pytest.raises(InputError, match=r"other\.pt holds no backbone: no tensor is called backbone\.\*"):
        vision_of(Pair("focal-t", "find-mini", vision_weights=str(tmp_path / "other.pt")))
    torch.save({"backbone.weight": torch.ones(1)}, tmp_path / "stranger.pt")
    with pytest.raises(InputError, match=r"stranger\.pt holds no backbone of a published kind"):
        vision_of(Pair(str(tmp_path / "stranger.pt"), "find-mini"))
    with pytest.raises(WeightsMissing, match="no file"):
        vision_of(Pair("sam-b", "find-mini", vision_weights=str(tmp_path / "nowhere.pt")))
    with pytest.raises(
        InputError, match="does not fit davit-d3: it is of kind sam with 128 to 1024 channels, expected davit"
    ):
        vision_of(Pair("davit-d3", "find-mini", vision_weights=str(released.sam)))
    with pytest.raises(ConfigError, match="brings its own weights, expected no --vision-weights"):
        vision_of(Pair(str(released.sam), "find-mini", vision_weights="random"))
    with pytest.raises(ConfigError, match="davit-d3 has no weights"):
        vision_of(Pair("davit-d3", "find-mini"))
    with pytest.raises(InputError, match=r"sam_vit_b_01ec64\.pth holds no UniCL tower"):
        language_of(Pair("find-mini", str(released.sam), tokenizer=str(released.clip)), "cpu")
    with pytest.raises(WeightsMissing, match=r"brings no tokenizer; name the folder of CLIP's by --tokenizer"):
        language_of(Pair("find-mini", str(released.xdecoder)), "cpu")
    with pytest.raises(ConfigError, match="size is 64, expected 96, the only one"):
        _train(drawn_coco, tmp_path / "out", **released.of("sam-llama"), drawing={"size": 64})
