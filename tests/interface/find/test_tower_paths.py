"""Embeddings of the towers: what is added to the semantic vectors, and what stays as it was."""

import pytest
import torch
from torch.nn import functional as F

from interleave_index.interface.find.config import FindConfig
from interleave_index.interface.find.network import FindInterface
from interleave_index.interface.find.prompts import InterleavePrompt, MaskPrompt, Prompts, TextTokens
from interleave_index.interface.find.tower_paths import PRIOR_MIX, Head, TowerPaths, pooled

WIDTH, COARSE, FEATURES = 16, 12, 8


@pytest.fixture
def interface():
    torch.manual_seed(0)
    config = FindConfig(
        width=WIDTH, features=FEATURES, heads=2, ffn=32, layers=3, object_queries=6, text_width=WIDTH, memories=2,
        most_points=8, towers=COARSE, seeds=4,
    )  # fmt: skip
    built = FindInterface(config).eval()
    for parameter in (*built.mask_embed.parameters(), *built.paths.part.parameters()):
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return built


@pytest.fixture
def seen():
    generator = torch.Generator().manual_seed(1)
    levels = [torch.randn(2, FEATURES, side, side, generator=generator) for side in (2, 4, 8)]
    return (
        levels,
        torch.randn(2, FEATURES, 16, 16, generator=generator),
        torch.randn(2, COARSE, 2, 2, generator=generator),
    )


def caption(rows=2, tokens=3):
    states = torch.randn(rows, tokens, WIDTH, generator=torch.Generator().manual_seed(2))
    return TextTokens(states, torch.zeros(rows, tokens, dtype=torch.bool))


def sentence(visual):
    text = caption(1, 4)
    index = torch.tensor([[-4, 0, -4, 1]])
    return InterleavePrompt(text, index, torch.tensor([[0, 1]]), torch.zeros(1, 4), visual)


def test_a_head_starts_straight_and_answers_in_unit_length():
    head = Head(5, 7, 3)
    x = torch.randn(4, 5)
    assert torch.allclose(head(x), F.normalize(head.straight(x), dim=-1))
    assert torch.allclose(head(x).norm(dim=-1), torch.ones(4), atol=1e-6)


def test_without_the_interface_the_towers_alone_answer(interface, seen):
    levels, features, deep = seen
    with torch.no_grad():
        interface.class_embed.zero_()
        output = interface(levels, features, Prompts(caption=caption()), deep=deep).final
        photo = F.normalize(output["pred_retrievals"][:, 0], dim=-1)
        text = F.normalize(output["pred_retrievals_lang"][:, 0], dim=-1)
        assert torch.allclose(photo, interface.paths.photo(deep.mean((2, 3))), atol=1e-5)
        assert torch.allclose(text, interface.paths.text(caption().tokens.mean(1)), atol=1e-5)


def test_prompts_still_do_not_reach_the_image(interface, seen):
    levels, features, deep = seen
    with torch.no_grad():
        plain = interface(levels, features, Prompts(), deep=deep).final
        asked = interface(levels, features, Prompts(caption=caption()), deep=deep).final
    for name in ("pred_retrievals", "pred_captions", "pred_masks"):
        assert torch.allclose(plain[name], asked[name], atol=1e-5), name


def test_a_mask_says_what_lies_under_it():
    paths = TowerPaths(COARSE, FEATURES, WIDTH)
    deep = torch.randn(1, COARSE, 2, 2)
    left = torch.zeros(1, 1, 16, 16)
    left[..., :8] = 1
    said = paths.masks(left, deep, torch.randn(1, FEATURES, 16, 16))[0, 0]
    assert torch.allclose(said, paths.region(deep[0, :, :, 0].mean(1)), atol=1e-4)


def test_a_visual_entity_is_what_its_mask_covers_and_a_text_entity_its_words(interface, seen):
    levels, features, deep = seen
    mask = torch.zeros(1, 16, 16, dtype=torch.bool)
    mask[:, :8] = True
    one = interface.sample(
        [level[:1] for level in levels], MaskPrompt([mask]), deep=deep[:1], mask_features=features[:1]
    )
    assert one.vectors is not None
    covered = one.vectors[0, 0]
    one.vectors = torch.stack([covered, torch.zeros_like(covered)])[None]
    with torch.no_grad():
        interface.class_embed.zero_()
        output = interface(None, None, Prompts(interleave=sentence(one))).final
        entities = F.normalize(output["pred_entity_class"][0], dim=-1)
        words = interface.paths.text(sentence(None).text.tokens[0, 3])
    assert torch.allclose(entities[0], covered, atol=1e-4) and torch.allclose(entities[1], words, atol=1e-4)


def test_a_picture_as_entity_is_mixed_with_what_all_parts_have_in_common(interface, seen):
    levels, features, deep = seen
    prompt = MaskPrompt([torch.ones(1, 16, 16, dtype=torch.bool)])
    one = interface.sample([level[:1] for level in levels], prompt, deep=deep[:1], mask_features=features[:1])
    covered = one.vectors[0, 0]
    with torch.no_grad():
        interface.class_embed.zero_()
        interface.paths.common.copy_(F.normalize(torch.ones(WIDTH), dim=0) * 0.8)
        output = interface(None, None, Prompts(interleave=sentence(one))).final
    expected = F.normalize(covered + PRIOR_MIX * interface.paths.common, dim=-1)
    assert torch.allclose(F.normalize(output["pred_entity_class"][0, 0], dim=-1), expected, atol=1e-4)


def test_the_common_part_is_learned_in_training_only(interface, seen):
    levels, features, deep = seen
    prompt = MaskPrompt([torch.ones(1, 16, 16, dtype=torch.bool), torch.zeros(0, 16, 16, dtype=torch.bool)])
    for training in (False, True):
        before = interface.paths.common.clone()
        interface.train(training)
        found = interface.sample(levels, prompt, deep=deep, mask_features=features)
        assert (interface.paths.common != before).any() == training
    assert torch.allclose(interface.paths.common, found.vectors[0, 0].detach() * 0.02, atol=1e-6)


@pytest.mark.parametrize("size", [(12, 8), (4, 4), (5, 3)])
def test_means_over_cells_are_those_of_adaptive_pooling(size):
    maps = torch.rand(2, 3, 12, 8)
    assert torch.allclose(pooled(maps, size), F.adaptive_avg_pool2d(maps, size), atol=1e-6)
