"""The FIND interface: equal to the published modules, and what its description promises."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from interleave_index.interface.find import tasks
from interleave_index.interface.find.config import FindConfig
from interleave_index.interface.find.model import FindModel, MiniConfig, compose, gather_visual
from interleave_index.interface.find.network import FindInterface
from interleave_index.interface.find.prompts import MaskPrompt, Prompts, SpatialPrompt, TextTokens, VisualTokens
from interleave_index.interface.find.published_inputs import prompts_from_published
from interleave_index.interface.find.sampler import mask_points
from interleave_index.interface.find_mini.blend import best_cut, blend
from interleave_index.models.text.tower import train_tokenizer

ROOT = Path(__file__).parents[3]
FIXTURE = ROOT / "tests" / "data" / "find-interface.pt"


@pytest.fixture(scope="module")
def reference():
    return torch.load(FIXTURE, weights_only=True)


@pytest.fixture(scope="module")
def interface(reference):
    torch.manual_seed(0)
    config = FindConfig(width=32, features=32, heads=4, ffn=64, layers=9, object_queries=10, text_width=48)
    network = FindInterface(config).eval().requires_grad_(False)
    network.load_state_dict(reference["state_dict"])
    return network


def test_every_output_equals_the_published_modules():
    run = subprocess.run([sys.executable, ROOT / "benchmarks" / "parity.py", FIXTURE], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "out_all.pred_entity_pixel" in run.stdout and "aux_first.pred_masks" in run.stdout


def test_parity_fails_when_a_weight_is_changed(reference, tmp_path):
    changed = dict(reference)
    changed["state_dict"] = dict(reference["state_dict"], class_embed=reference["state_dict"]["class_embed"] * 1.01)
    torch.save(changed, tmp_path / "changed.pt")
    run = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "parity.py", tmp_path / "changed.pt"], capture_output=True, text=True
    )
    assert run.returncode == 1 and "ABOVE" in run.stdout


def test_full_size_has_the_published_keys_and_shapes():
    with torch.device("meta"):
        mine = {name: tuple(value.shape) for name, value in FindInterface(FindConfig()).state_dict().items()}
    lines = (ROOT / "tests" / "data" / "find-interface-keys.txt").read_text().splitlines()
    published = {name: eval(shape) for name, shape in (line.split(" ", 1) for line in lines)}
    assert mine == published and len(mine) == 182


def test_image_outputs_do_not_move_when_prompts_are_there(interface, reference):
    prompts = prompts_from_published(reference["extra"])
    alone = interface(reference["x"], reference["mask_features"], Prompts()).final
    among = interface(reference["x"], reference["mask_features"], prompts).final
    for name in ("pred_captions", "pred_retrievals", "pred_masks"):
        assert torch.allclose(alone[name], among[name], atol=2e-6), name


def test_a_caption_depends_neither_on_the_image_nor_on_padding(interface, reference):
    caption = prompts_from_published(reference["extra"]).caption
    assert caption is not None
    wider = TextTokens(
        torch.cat([caption.tokens, torch.randn(2, 3, 32)], 1),
        torch.cat([caption.pad, torch.ones(2, 3, dtype=torch.bool)], 1),
    )
    with_image = interface(reference["x"], reference["mask_features"], Prompts(caption=caption)).final
    without = interface(None, None, Prompts(caption=wider)).final
    assert torch.allclose(with_image["pred_retrievals_lang"], without["pred_retrievals_lang"], atol=1e-6)


def test_without_points_a_spatial_prompt_still_answers(interface, reference):
    nothing = MaskPrompt([torch.zeros(1, 32, 32, dtype=torch.bool)] * 2)
    prompts = Prompts(spatial=SpatialPrompt(nothing, torch.zeros(2, 1, dtype=torch.long)))
    final = interface(reference["x"], reference["mask_features"], prompts).final
    assert torch.isfinite(final["pred_smasks"]).all()


def test_a_previous_mask_changes_interactive_masks_only(interface, reference):
    extra = {key: value for key, value in reference["extra"].items() if key.startswith("spatial")}
    before = interface(reference["x"], reference["mask_features"], prompts_from_published(extra)).final
    extra["prev_mask"] = torch.where(torch.arange(32) < 16, 5.0, -5.0).expand(2, 1, 32, 32)
    after = interface(reference["x"], reference["mask_features"], prompts_from_published(extra)).final
    assert torch.allclose(before["pred_masks"], after["pred_masks"], atol=1e-5)
    assert not torch.allclose(before["pred_smasks"], after["pred_smasks"])


def test_points_share_their_budget_between_masks():
    masks = torch.zeros(2, 40, 40, dtype=torch.bool)
    masks[0] = True
    masks[1, 3:8, 3:8] = True
    points = mask_points(masks, 40, torch.Generator().manual_seed(0))
    assert len(points) == 40
    assert 10 <= int((points[:, 0] == 1).sum()) <= 25  # 25 of 1,625 pixels, yet near half of the points
    assert torch.equal(points, mask_points(masks, 40, torch.Generator().manual_seed(0)))


def test_points_are_divided_by_the_size_of_the_mask():
    mask = torch.zeros(1, 4, 10, dtype=torch.bool)
    mask[0, 1, 5] = True
    assert mask_points(mask, 5)[0].tolist() == pytest.approx([0, 0.25, 0.5])


def test_repeated_words_are_replaced_by_span_and_not_by_search():
    sentence = compose([("a cat and a", None, False), ("cat", 0, True), ("on a caterpillar", None, False)])
    assert sentence.text == "a cat and a [INTERACTIVE] on a caterpillar"
    assert sentence.text[slice(*sentence.spans[0])] == "[INTERACTIVE]"


def test_gathered_tokens_carry_the_number_of_their_entity():
    levels = tuple(torch.arange(6.0).reshape(2, 3, 1) + 10 * n for n in range(3))
    pad = torch.tensor([[False, False, True], [False, True, True]])
    tokens = VisualTokens(levels, pad, torch.zeros(2, 3, dtype=torch.long))  # type: ignore[arg-type]
    gathered = gather_visual(tokens, [[-1, 1, 0], [0]])
    assert gathered.index[0].tolist() == [1, 2, 2] and gathered.levels[0][0, :, 0].tolist() == [3, 0, 1]
    assert gathered.pad[1].tolist() == [False, False, True]


@pytest.fixture(scope="module")
def mini():
    torch.manual_seed(1)
    config = MiniConfig(
        side=64,
        vision={"widths": [32, 32, 32, 32], "depths": [1, 1, 1, 1], "width": 32, "heads": 4, "ffn": 32, "layers": 1},
        text={"width": 32, "heads": 2, "ffn": 32, "layers": 1},
        interface={
            "width": 32,
            "features": 32,
            "heads": 4,
            "ffn": 32,
            "layers": 3,
            "object_queries": 6,
            "text_width": 32,
            "memories": 4,
            "most_points": 16,
        },
    )
    tokenizer = train_tokenizer(["a dog on a beach", "a cat near a dog"] * 3, size=120)
    return FindModel(config, tokenizer).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def pyramid(mini):
    return mini.pyramid(torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255)


def one_of(pyramid, n):
    return type(pyramid)(
        pyramid.mask_features[n : n + 1],
        pyramid.encoded[n : n + 1],
        tuple(level[n : n + 1] for level in pyramid.levels),
    )


def test_a_batch_answers_what_its_images_answer_alone(mini, pyramid):
    table = tasks.encode_names(mini, ["dog", "background"])
    together = tasks.segment(mini, pyramid, table)
    alone = tasks.segment(mini, one_of(pyramid, 1), table)
    assert torch.allclose(together.vectors[1], alone.vectors[0], atol=1e-5)
    assert torch.allclose(together.image[1], alone.image[0], atol=1e-5)
    assert (together.quality >= 0).all() and (together.quality <= 1).all()


def test_expressions_of_different_number_share_a_pass(mini, pyramid):
    found = tasks.ground(mini, pyramid, [["a dog", "a cat"], ["a beach"]])
    assert [len(image) for image in found] == [2, 1]
    assert found[0][0].mask.shape == (16, 16)


def test_interaction_answers_one_mask_a_prompt(mini, pyramid):
    prompt = torch.zeros(2, 16, 16, dtype=torch.bool)
    prompt[0, 3:6, 3:6] = prompt[1, 9:12, 9:12] = True
    masks = tasks.interact(mini, pyramid, [prompt, prompt[:1]])
    assert [tuple(m.shape) for m in masks] == [(2, 16, 16), (1, 16, 16)]


def test_a_sentence_with_a_picture_depends_on_that_picture_and_always_the_same_way(mini, pyramid):
    sentence = compose([("a dog near", None, False), ("", 0, True)])
    whole = torch.ones(16, 16, dtype=torch.bool)
    first, second = (
        tasks.encode_interleaved(mini, sentence, [tasks.Reference(one_of(pyramid, n), whole)]) for n in (0, 1)
    )
    again = tasks.encode_interleaved(mini, sentence, [tasks.Reference(one_of(pyramid, 0), whole)])
    assert torch.equal(first, again) and not torch.allclose(first, second)
    assert float(first.norm()) == pytest.approx(1, abs=1e-5)


def test_grounding_a_sentence_gives_one_mask_an_entity(mini, pyramid):
    sentence = compose([("a dog", 0, False), ("near", None, False), ("", 1, True)])
    mask = torch.zeros(16, 16, dtype=torch.bool)
    mask[2:9, 2:9] = True
    found = tasks.ground_interleaved(
        mini, one_of(pyramid, 0), sentence, [None, tasks.Reference(one_of(pyramid, 1), mask)]
    )
    assert len(found) == 2 and all(-1.001 <= f.score <= 1.001 for f in found)


def test_the_published_score_by_hand():
    legend = torch.tensor([1.0, 0.0])
    entities = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    images = torch.tensor([[0.6, 0.8], [1.0, 0.0]])
    objects = torch.tensor([[[0.0, 1.0], [0.6, 0.8]], [[1.0, 0.0], [1.0, 0.0]]])
    # first: 0.6 + 0.5 * (1 + 0.6) / 2; second: 1 + 0.5 * (0 + 1) / 2
    assert tasks.score_interleaved(legend, entities, images, objects).tolist() == pytest.approx([1.0, 1.25])


def test_a_blend_lies_where_good_proposals_agree_and_is_cut_where_its_overlap_is_best():
    masks = torch.full((1, 3, 1, 4), -20.0)
    masks[0, 0, 0, :2] = masks[0, 1, 0, :3] = masks[0, 2, 0, 3] = 20.0
    scores = torch.tensor([[[3.0], [3.0], [-9.0]]])
    even = blend(masks, scores, torch.full((1, 3), 2.0))[0, 0]
    assert even.tolist()[0] == pytest.approx([1, 1, 0.5, 0], abs=1e-3) and best_cut(even) < 0.5
    unsure = blend(masks, scores, torch.tensor([[2.0, -2.0, 2.0]]))[0, 0]
    assert float(unsure[0, 2]) < 0.1 and best_cut(unsure) > float(unsure[0, 2])
