"""The towers and their attention, against torch's own modules and hand-worked values."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from interleave_index.models.attention import Attention
from interleave_index.models.text.tower import PLACEHOLDER, TextTower, train_tokenizer
from interleave_index.models.vision.conv import MiniBackbone
from interleave_index.models.vision.pixel_decoder import PixelDecoder, channels_of
from interleave_index.models.vision.positions import sine_positions
from interleave_index.models.vision.tower import SQUARE, VisionTower, squashed


def test_attention_equals_torchs_own_module():
    torch.manual_seed(0)
    mine, theirs = Attention(16, 4), nn.MultiheadAttention(16, 4, batch_first=True)
    theirs.load_state_dict(mine.state_dict())
    query, key = torch.randn(2, 5, 16), torch.randn(2, 7, 16)
    blocked = torch.rand(2, 5, 7) < 0.4
    blocked[:, :, 0] = False
    expected, _ = theirs(query, key, key, attn_mask=blocked.repeat_interleave(4, 0))
    assert torch.allclose(mine(query, key, key, blocked), expected, atol=1e-6)


def test_a_row_that_may_see_nothing_answers_the_output_bias():
    torch.manual_seed(0)
    attention = Attention(8, 2)
    nn.init.normal_(attention.out_proj.bias)
    x = torch.randn(1, 3, 8)
    blocked = torch.zeros(1, 3, 3, dtype=torch.bool)
    blocked[0, 1] = True
    assert torch.equal(attention(x, x, x, blocked)[0, 1], attention.out_proj.bias)


def test_a_blocked_row_gives_finite_gradients_in_bfloat16_too():
    attention = Attention(8, 2)
    x = torch.randn(1, 3, 8, requires_grad=True)
    blocked = torch.zeros(1, 3, 3, dtype=torch.bool)
    blocked[0, 1] = True
    with torch.autocast("cpu", torch.bfloat16):
        attention(x, x, x, blocked).float().square().sum().backward()
    assert x.grad is not None and torch.isfinite(x.grad).all()


def test_groups_see_only_themselves():
    torch.manual_seed(0)
    attention = Attention(8, 2)
    x = torch.randn(2, 7, 8)
    together = attention.within(x, x, [(3, None), (4, None)])
    apart = torch.cat([attention(part, part, part) for part in (x[:, :3], x[:, 3:])], 1)
    assert torch.allclose(together, apart, atol=1e-6)


def test_sine_positions_follow_the_formula():
    grid = sine_positions(3, 5, 16)
    y, x, feature = 1, 4, 2  # second row, last column, third feature of an axis (even: sine)
    frequency = 10000 ** (2 * (feature // 2) / 8)
    assert grid[feature, y, x] == pytest.approx(math.sin((y + 1) / (3 + 1e-6) * 2 * math.pi / frequency), abs=1e-6)
    assert grid[8 + feature + 1, y, x] == pytest.approx(
        math.cos((x + 1) / (5 + 1e-6) * 2 * math.pi / frequency), abs=1e-6
    )


def test_backbone_and_decoder_keep_their_strides():
    backbone, decoder = (
        MiniBackbone((32, 32, 64, 64), (1, 1, 1, 1)),
        PixelDecoder((32, 32, 64, 64), 32, heads=4, ffn=32),
    )
    pyramid = decoder(backbone(torch.randn(2, 3, 64, 96)))
    assert pyramid.mask_features.shape == (2, 32, 16, 24)
    assert [tuple(level.shape[-2:]) for level in pyramid.levels] == [(2, 3), (4, 6), (8, 12)]
    assert channels_of(decoder.state_dict()) == (32, 32, 64, 64)


@pytest.fixture(scope="module")
def tower():
    torch.manual_seed(0)
    sentences = ["a dog runs on the beach", "two dogs and a cat", "the cat sleeps on a red chair"] * 3
    return TextTower(train_tokenizer(sentences, size=200), width=16, heads=2, ffn=32, layers=2).eval()


def test_the_same_sentences_give_the_same_vocabulary():
    sentences = ["a dog runs on the beach", "two dogs and a cat", "the cat sleeps on a red chair"] * 3
    first, *others = (train_tokenizer(sentences, size=200) for _ in range(4))
    assert {other.to_str() for other in others} == {first.to_str()}
    assert first.encode("the ##a [INTERACTIVE] dogs").tokens[0] == "the"
    assert "##a" not in first.encode("##a").tokens  # pieces of words are no words of a sentence


def test_tokens_know_the_characters_they_come_from(tower):
    sentence = "a dog near " + PLACEHOLDER
    spans = tower.tokenise([sentence]).spans[0]
    words = {sentence[start:end] for start, end in spans.tolist()[1:]}
    assert {"a", "dog", PLACEHOLDER} <= words


def test_states_do_not_depend_on_padding(tower):
    alone = tower(tower.tokenise(["a dog"]))
    beside = tower(tower.tokenise(["a dog", "the cat sleeps on a red chair and a dog runs"]))
    assert torch.allclose(alone[0], beside[0, : alone.shape[1]], atol=1e-6)


def test_upper_case_and_accents_do_not_matter(tower):
    one, other = (tower.tokenise([text]).ids for text in ("Á Dog", "a dog"))
    assert torch.equal(one, other)


def test_very_long_and_empty_sentences_are_taken(tower):
    batch = tower.tokenise(["dog " * 500, ""])
    assert batch.ids.shape == (2, 64)
    assert torch.isfinite(tower(batch)[~batch.pad]).all()


def test_folded_norms_change_no_answer():
    backbone = MiniBackbone((4, 6, 8, 10), (1, 2, 1, 1))
    pixels = torch.randn(3, 3, 64, 64)
    for _ in range(3):
        backbone.train()(pixels + 1)  # so that the norms hold something
    for parameter in backbone.parameters():
        if parameter.ndim == 1:
            torch.nn.init.uniform_(parameter, -1, 1)
    with torch.no_grad():
        before = backbone.eval()(pixels)
        backbone.fold_norms()
        after = backbone(pixels)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in backbone.modules())
    for one, other in zip(before, after, strict=True):
        assert torch.allclose(one, other, atol=1e-4)


def test_deep_maps_keep_the_mean_of_the_last_one():
    tower = VisionTower(widths=(4, 6, 8, 10), depths=(1, 1, 1, 1), width=32, heads=2, ffn=16, layers=1)
    maps = tower.backbone(torch.randn(2, 3, 64, 64))
    deep = tower.deep(maps)
    assert deep.shape == (2, 18, 4, 4)
    assert torch.allclose(deep[:, :10].mean((2, 3)), maps[3].mean((2, 3)), atol=1e-5)


def test_photos_of_any_shape_become_the_same_square():
    for height, width in ((30, 500), (1200, 800)):
        photo = np.full((height, width, 3), 7, np.uint8)
        photo[:, width // 2 :] = 200
        square = squashed(photo)
        assert square.shape == (SQUARE, SQUARE, 3)
        assert (square[:, : SQUARE * 5 // 11] == 7).all() and (square[:, SQUARE * 6 // 11 :] == 200).all()
