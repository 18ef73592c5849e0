"""Backbones and language models of a hub as the frozen pair of an interface: tiny ones, random weights, from disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from interleave_index.errors import ModelError, WeightsMissing
from interleave_index.models.hub.backbones import HubBackbone, HubLanguage, MiniLanguage, llama_layer
from interleave_index.models.text.tower import TextTower, train_tokenizer

transformers = pytest.importorskip("transformers")


def _swin() -> Any:
    config = transformers.SwinConfig(
        image_size=64, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4
    )
    return transformers.SwinBackbone(config)


def _convnext() -> Any:
    return transformers.ConvNextBackbone(transformers.ConvNextConfig(hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1]))


def _dinov2() -> Any:
    config = transformers.Dinov2Config(
        hidden_size=16, num_hidden_layers=6, num_attention_heads=2, image_size=56, patch_size=14
    )
    return transformers.Dinov2Backbone(config)


@pytest.mark.parametrize(
    ("make", "channels"), [(_swin, (8, 16, 32, 64)), (_convnext, (8, 16, 24, 32)), (_dinov2, (16, 16, 16, 16))]
)
def test_any_backbone_gives_four_maps_at_the_four_strides(make: Any, channels: tuple[int, ...], tmp_path: Path) -> None:
    torch.manual_seed(0)
    make().save_pretrained(tmp_path)
    backbone = HubBackbone(tmp_path)
    assert backbone.channels == channels and not any(p.requires_grad for p in backbone.parameters())
    with torch.no_grad():
        maps = backbone(torch.randn(1, 3, 64, 96))
    assert [tuple(one.shape) for one in maps] == [
        (1, width, 64 // stride, 96 // stride) for width, stride in zip(channels, (4, 8, 16, 32), strict=True)
    ]
    if make is _dinov2:  # four layers spread over its depth, not four times the last
        assert not torch.allclose(
            maps[2], torch.nn.functional.interpolate(maps[3], maps[2].shape[2:], mode="bilinear"), atol=1e-2
        )


def test_the_weights_of_a_classifier_are_those_of_its_backbone(tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = transformers.SwinForImageClassification(_swin().config)
    whole.save_pretrained(tmp_path)
    backbone = HubBackbone(tmp_path)
    weights = dict(backbone.net.named_parameters())
    own = {name: value for name, value in whole.named_parameters() if name.startswith("swin.encoder.")}
    assert own and all(torch.equal(weights[name], value) for name, value in own.items())
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(WeightsMissing, match="cannot be loaded as a backbone"):
        HubBackbone(tmp_path)


@pytest.mark.parametrize(
    ("settings", "mean", "std"),
    [
        (None, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
        ({"image_mean": [0.5, 0.4, 0.2], "image_std": [0.5, 0.25, 0.1]}, (127.5, 102.0, 51.0), (127.5, 63.75, 25.5)),
        ({"do_normalize": False}, (0.0, 0.0, 0.0), (255.0, 255.0, 255.0)),
    ],
)
def test_a_pair_normalises_photos_as_its_backbones_own_file_says(
    settings: dict[str, Any] | None, mean: Any, std: Any, tmp_path: Path
) -> None:
    from interleave_index.interface.published.pair import Pair, TrainedNetwork, build_network, write_pair
    from interleave_index.interface.published.preparation import prepare

    torch.manual_seed(0)
    _convnext().save_pretrained(tmp_path)
    if settings is not None:
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    sizes = {"width": 32, "layers": 2, "heads": 4, "ffn": 32, "object_queries": 4, "decoder_width": 32}
    pair = Pair(str(tmp_path), "find-mini", side=64, decoder_layers=1, **sizes)  # type: ignore[arg-type]
    network = build_network(pair, 16)
    assert isinstance(network, TrainedNetwork)
    assert network.pixel_mean == pytest.approx(mean) and network.pixel_std == pytest.approx(std)
    grey = torch.full((1, 3, 8, 8), 100.0)
    wanted = (100 - torch.tensor(mean)) / torch.tensor(std)
    assert torch.allclose(network.normalise(grey, torch.ones(1, 8, 8))[0, :, 0, 0], wanted, atol=1e-5)
    photo = np.full((40, 40, 3), 100, np.uint8)
    pixels, _ = prepare(photo, 32, 32, mean=network.pixel_mean, std=network.pixel_std)
    assert torch.allclose(pixels[0, :, 5, 5], wanted, atol=1e-5)
    write_pair(tmp_path / "made", pair, network, {})
    kept = json.loads((tmp_path / "made" / "config.json").read_text())["pixels"]
    assert kept["mean"] == pytest.approx(list(mean)) and kept["std"] == pytest.approx(list(std))


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    train_tokenizer(["a red thing on white", "the green one"] * 4, size=90).save(str(tmp_path / "tokenizer.json"))
    config = transformers.BertConfig(
        vocab_size=96, hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=24
    )
    transformers.BertModel(config).save_pretrained(tmp_path)
    return tmp_path


def test_a_language_model_gives_the_layer_that_was_asked_for(bert: Path) -> None:
    model = transformers.BertModel.from_pretrained(bert).eval()
    for layer in (-1, -2, 0):
        tower = HubLanguage(bert, layer=layer)
        (found,) = tower.states(["a red thing"], 20)
        ids = tower._tokenizer.encode("a red thing").ids
        with torch.no_grad():
            states = model(torch.tensor([ids]), output_hidden_states=True).hidden_states
        assert tower.width == 16 and torch.allclose(found.states, states[layer][0], atol=1e-5)
        assert ["a red thing"[a:b] for a, b in found.spans.tolist()] == ["a", "red", "thing"]


def _qwen3_vl() -> Any:
    text = {
        "vocab_size": 96,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "rope_parameters": {"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 10000.0},
    }
    vision: dict[str, Any] = {
        "depth": 1,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_heads": 2,
        "out_hidden_size": 16,
    }
    vision |= {"deepstack_visual_indexes": [0], "num_position_embeddings": 16}
    return transformers.Qwen3VLForConditionalGeneration(
        transformers.Qwen3VLConfig(text_config=text, vision_config=vision)
    )


def _t5() -> Any:
    config = transformers.T5Config(vocab_size=96, d_model=16, d_kv=8, d_ff=16, num_layers=3, num_heads=2)
    return transformers.T5Model(config)


@pytest.mark.parametrize(("make", "part"), [(_qwen3_vl, "language_model"), (_t5, "encoder")])
def test_the_language_part_of_a_larger_model_is_taken(make: Any, part: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    train_tokenizer(["a red thing on white"] * 4, size=90).save(str(tmp_path / "tokenizer.json"))
    whole = make().eval()
    whole.save_pretrained(tmp_path)
    tower = HubLanguage(tmp_path, layer=-2)
    (found,) = tower.states(["a red thing"], 20)
    ids = torch.tensor([tower._tokenizer.encode("a red thing").ids])
    with torch.no_grad():
        states = getattr(getattr(whole, "model", whole), part)(ids, output_hidden_states=True).hidden_states
    assert tower.width == 16 and torch.allclose(found.states, states[-2][0], atol=1e-5)


def test_a_model_that_reads_no_text_is_one_clear_error(tmp_path: Path) -> None:
    train_tokenizer(["a red thing on white"] * 4, size=90).save(str(tmp_path / "tokenizer.json"))
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1])
    transformers.ResNetModel(config).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"type 'resnet', expected one that reads text"):
        HubLanguage(tmp_path)


def test_a_layer_that_a_language_model_lacks_is_one_clear_error(bert: Path) -> None:
    for layer in (-5, 4):
        with pytest.raises(WeightsMissing, match=rf"has no layer {layer}, expected -4 to -1 or 0 to 3"):
            HubLanguage(bert, layer=layer)


def test_texts_of_a_batch_do_not_change_each_other(bert: Path) -> None:
    tower = HubLanguage(bert)
    (alone,) = tower.states(["the green one"], 20)
    _, together = tower.states(["a red thing on white", "the green one"], 20)
    assert torch.allclose(alone.states, together.states, atol=1e-5)
    assert len(tower.states(["a red thing on white"], 3)[0].states) == 3


def test_layers_of_a_llama_count_from_the_end_as_the_ablations_do(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"num_hidden_layers": 32}))
    assert [llama_layer(tmp_path, n) for n in (-1, -6, -12, -18, -24, -30, 21)] == [32, 27, 21, 15, 9, 3, 21]
    with pytest.raises(WeightsMissing, match="no layer -34"):
        llama_layer(tmp_path, -34)


def test_the_small_text_tower_is_a_language_model_too() -> None:
    tokenizer = train_tokenizer(["a red thing on white"] * 4, size=90)
    tower = MiniLanguage(TextTower(tokenizer, width=16, heads=2, ffn=16, layers=1))
    (found,) = tower.states(["a [INTERACTIVE] thing"], 77)
    assert found.states.shape[1] == tower.width == 16 and found.spans[2].tolist() == [2, 15]
    assert not found.states.requires_grad
