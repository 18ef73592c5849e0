"""The FIND interface: equal to the published modules, and what its description promises."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from interleave_index.interface.find import tasks
from interleave_index.interface.find.config import FindConfig
from interleave_index.interface.find.network import FindInterface
from interleave_index.interface.find.nms import soft_nms
from interleave_index.interface.find.prompter import Sentence, compose
from interleave_index.interface.find.prompts import MaskPrompt, Prompts, SpatialPrompt, TextTokens, VisualTokens
from interleave_index.interface.find.sampler import gather_visual, mask_points
from interleave_index.interface.find_mini.blend import blend
from interleave_index.interface.find_mini.model import MiniConfig, MiniModel
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


def test_the_unicl_tower_equals_the_published_one():
    file = ROOT / "tests" / "data" / "find-unicl-tiny.pt"
    run = subprocess.run([sys.executable, ROOT / "benchmarks" / "parity.py", file], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "text.token_hidden" in run.stdout and "text.class_emb_norm" in run.stdout


def test_files_of_the_family_are_compared_by_the_same_command():
    file = ROOT / "tests" / "data" / "seem-deform-pixel-decoder.pt"
    run = subprocess.run([sys.executable, ROOT / "benchmarks" / "parity.py", file], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "pixel decoder.mask_features" in run.stdout


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


def test_image_outputs_do_not_move_when_prompts_are_there(interface, reference, prompts_from_published):
    prompts = prompts_from_published(reference["extra"])
    alone = interface(reference["x"], reference["mask_features"], Prompts()).final
    among = interface(reference["x"], reference["mask_features"], prompts).final
    for name in ("pred_captions", "pred_retrievals", "pred_masks"):
        assert torch.allclose(alone[name], among[name], atol=2e-6), name


def test_a_caption_depends_neither_on_the_image_nor_on_padding(interface, reference, prompts_from_published):
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


def test_a_previous_mask_changes_interactive_masks_only(interface, reference, prompts_from_published):
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
    tokens = VisualTokens(levels, pad, torch.zeros(2, 3, dtype=torch.long))
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
            "towers": 64,
            "seeds": 4,
        },
    )
    tokenizer = train_tokenizer(["a dog on a beach", "a cat near a dog"] * 3, size=120)
    return MiniModel(config, tokenizer).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def pyramid(mini):
    return mini.pyramid(torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255)


def one_of(pyramid, n):
    return type(pyramid)(
        pyramid.mask_features[n : n + 1],
        pyramid.encoded[n : n + 1],
        tuple(level[n : n + 1] for level in pyramid.levels),
        pyramid.deep[n : n + 1],
    )


def test_a_batch_answers_what_its_images_answer_alone(mini, pyramid):
    together = tasks.propose(mini, pyramid)
    alone = tasks.propose(mini, one_of(pyramid, 1))
    assert torch.allclose(together.vectors[1], alone.vectors[0], atol=1e-4)
    assert torch.allclose(together.image[1], alone.image[0], atol=1e-4)
    assert (together.quality() >= 0).all() and (together.quality() <= 1).all()


def test_without_a_predicted_quality_a_proposal_is_as_good_as_it_is_named_and_certain():
    nothing = torch.zeros(1, 2, 3)
    masks, logits = torch.tensor([[[[9.0, -9.0]], [[0.1, 9.0]]]]), torch.tensor([[[9.0, 0.0], [0.0, 9.0]]])
    quality = tasks.Proposals(nothing[:, 0], nothing, masks, logits, None, None).quality()[0]
    assert quality.tolist() == pytest.approx([1.0, 0.0], abs=1e-3)
    with pytest.raises(TypeError, match="class table"):
        tasks.Proposals(nothing[:, 0], nothing, masks, None, None, None).quality()


def test_expressions_of_different_number_share_a_prompt(mini):
    prompt = mini.prompter.expressions([["a dog", "a cat"], ["a beach"]])
    assert prompt.query_index.tolist() == [[0, 1], [0, -3]]
    alone = mini.prompter.expressions([["a beach"]])
    count = alone.text.tokens.shape[1]
    assert torch.allclose(prompt.text.tokens[1, :count], alone.text.tokens[0], atol=1e-5)
    assert prompt.text.pad[1, count:].all() and not prompt.text.pad[1, :count].any()


def test_tokens_of_overlapping_entities_belong_to_the_last_or_are_summed_as_published(mini):
    sentence = Sentence("a dog cat", ((2, 5), (0, 9)), (True, False))
    prompt = mini.prompter.sentences([sentence])
    own = [index for index in prompt.token_index[0].tolist() if index != -4]
    assert set(own) == {1} and prompt.visual.sum() > 0
    nested = Sentence("a dog cat", ((2, 5), (2, 9), (2, 5)), (True, False, False))
    mini.prompter.published = True
    try:
        summed = mini.prompter.sentences([nested]).token_index[0]
    finally:
        mini.prompter.published = False
    assert {3, 1} <= set(summed.tolist())  # 0 + 1 + 2 on the dog, 1 on the cat


def test_every_expression_gets_scores_of_all_proposals(mini, pyramid):
    grounding = tasks.ground_expressions(mini, one_of(pyramid, 0), ["a dog", "a cat"])
    assert grounding.masks.shape == (6, 16, 16) and grounding.scores.shape == grounding.cosines.shape == (6, 2)


def test_interaction_answers_one_mask_a_prompt(mini, pyramid):
    prompt = torch.zeros(2, 16, 16, dtype=torch.bool)
    prompt[0, 3:6, 3:6] = prompt[1, 9:12, 9:12] = True
    first = tasks.interact(mini, one_of(pyramid, 0), MaskPrompt([prompt]))
    again = tasks.interact(mini, one_of(pyramid, 0), MaskPrompt([prompt]), first)
    assert first.shape == again.shape == (1, 2, 16, 16) and not torch.equal(first, again)


def test_a_sentence_with_a_picture_depends_on_that_picture_and_always_the_same_way(mini, pyramid):
    sentence = compose([("a dog near", None, False), ("", 0, True)])
    whole = torch.ones(16, 16, dtype=torch.bool)
    references = [tasks.Reference(one_of(pyramid, n), whole) for n in (0, 1, 0)]
    first, second, again = (
        tasks.encode_legend(mini, sentence, tasks.sample_references(mini, [reference])) for reference in references
    )
    assert torch.equal(first, again) and not torch.allclose(first, second)


def test_grounding_a_sentence_gives_scores_of_every_entity(mini, pyramid):
    sentence = compose([("a dog", 0, False), ("near", None, False), ("", 1, True)])
    mask = torch.zeros(16, 16, dtype=torch.bool)
    mask[2:9, 2:9] = True
    tokens = tasks.sample_references(mini, [None, tasks.Reference(one_of(pyramid, 1), mask)])
    grounding = tasks.ground_interleaved(mini, one_of(pyramid, 0), sentence, tokens)
    assert grounding.scores.shape == (6, 2) and grounding.cosines.abs().max() <= 1.001


def test_references_are_numbered_by_their_entities(mini, pyramid):
    mask = torch.zeros(16, 16, dtype=torch.bool)
    mask[2:4, 2:4] = True
    reference = tasks.Reference(one_of(pyramid, 0), mask)
    tokens = tasks.sample_references(mini, [None, reference, reference])
    assert tokens is not None and tokens.index.tolist() == [[1] * 4 + [2] * 4]
    assert tokens.vectors is not None and tokens.vectors.shape == (1, 3, 32) and not tokens.vectors[0, 0].any()
    assert tasks.sample_references(mini, [None]) is None


def blocks(*boxes, side=16):
    """(side, side) logits, 5 inside the boxes (y0, y1, x0, x1), -5 outside."""
    mask = torch.full((side, side), -5.0)
    for y0, y1, x0, x1 in boxes:
        mask[y0:y1, x0:x1] = 5.0
    return mask


def test_what_lies_on_a_better_mask_comes_later_and_what_is_the_same_never():
    masks = torch.stack([blocks((0, 8, 0, 16)), blocks((0, 8, 0, 15)), blocks((0, 8, 0, 10)), blocks((9, 16, 0, 16))])
    quality = np.array([0.9, 0.89, 0.8, 0.5], np.float32)
    worth = 0.8 * np.exp(-(0.625**2) / 0.25)
    assert worth < 0.5  # why the third waits for the fourth
    kept, worths = soft_nms(masks, quality, most=9, same_iou=0.8, smallest=0.0, sigma=0.25)
    assert kept == [0, 3, 2] and worths == pytest.approx([0.9, 0.5, worth])
    assert soft_nms(masks, quality, most=9, same_iou=1.0, smallest=0.0, sigma=0.25)[0] == [0, 3, 2, 1]
    assert soft_nms(masks, quality, most=2, same_iou=0.8, smallest=0.0, sigma=0.25)[0] == [0, 3]
    greedy = soft_nms(masks > 0, quality, most=9, same_iou=0.8, smallest=0.0)
    assert greedy[0] == [0, 2, 3] and greedy[1] == pytest.approx([0.9, 0.8, 0.5])


def test_empty_and_tiny_masks_are_left_out():
    masks = torch.stack([blocks(), blocks((0, 1, 0, 2)), blocks((0, 4, 0, 4))])
    assert soft_nms(masks, np.ones(3, np.float32), most=9, same_iou=0.8, smallest=0.01)[0] == [2]
    assert soft_nms(masks[:1], np.ones(1, np.float32), most=9, same_iou=0.8, smallest=0.0) == ([], [])


def test_a_blend_lies_where_good_proposals_agree_and_is_cut_where_its_overlap_is_best():
    masks = torch.full((1, 3, 1, 4), -20.0)
    masks[0, 0, 0, :2] = masks[0, 1, 0, :3] = masks[0, 2, 0, 3] = 20.0
    scores = torch.tensor([[[3.0], [3.0], [-9.0]]])
    even = blend(masks, scores, torch.full((1, 3), 2.0))[0, 0]
    assert even.tolist()[0] == pytest.approx([1, 1, 0.5, 0], abs=1e-3)
    unsure = blend(masks, scores, torch.tensor([[2.0, -2.0, 2.0]]))[0, 0]
    assert float(unsure[0, 2]) < 0.1
