"""What find-mini adds to the losses of FIND, on cases small enough to work out by hand."""

import math

import numpy as np
import pytest
import torch

from interleave_index.interface.find.config import FindConfig
from interleave_index.interface.find.network import FindInterface
from interleave_index.interface.find.prompts import Prompts
from interleave_index.training.find_mini.cell_losses import cell_losses, owners
from interleave_index.training.find_mini.extra_losses import name_loss, quality_loss, search_score_loss
from interleave_index.training.losses import blend_loss
from interleave_index.training.matcher import Assignment


def half(side, rows):
    mask = torch.zeros(side, side)
    mask[rows] = 1
    return mask


def test_the_score_of_a_sentence_is_that_of_a_search():
    axes = torch.eye(4)
    legends, entities = axes[:1], axes[None, [1, 3]]
    images, objects = axes[[0, 2]], torch.stack([axes[[1, 2]], axes[[2, 1]]])
    there = torch.tensor([[True, False]])
    loss = search_score_loss(legends, entities, there, images, objects, torch.tensor([0]), torch.tensor(2.0))
    first, second = 2 * (1 + 0.5), 2 * (0 + 0.5)  # legend and the one entity that is there; the entity alone
    assert float(loss) == pytest.approx(-first + math.log(math.exp(first) + math.exp(second)), abs=1e-5)


def test_a_fine_cell_belongs_to_the_smallest_mask_and_a_coarse_one_to_the_largest():
    everything, corner, dot = torch.ones(8, 8), torch.zeros(8, 8), torch.zeros(8, 8)
    corner[:4, :4], dot[7, 7] = 1, 1
    owner = owners(torch.stack([everything, corner, dot]), ((2, 2), (4, 4)))
    coarse, fine = owner[:4], owner[4:].reshape(4, 4)
    assert coarse.tolist() == [0, 0, 0, 0]
    assert fine[:2, :2].eq(1).all() and fine[0, 2] == 0
    assert fine[3, 3] == 2  # covers a quarter of its only cell


def test_cells_of_the_mask_features_belong_to_small_masks_alone():
    everything, corner, dot = torch.ones(16, 16), torch.zeros(16, 16), torch.zeros(16, 16)
    corner[:4, :4], dot[7, 7] = 1, 1
    owner = owners(torch.stack([everything, corner, dot]), ((1, 1), (4, 4), (16, 16)))
    assert owner[0] == 0 and owner[1:17].reshape(4, 4)[0].tolist() == [1, 0, 0, 0]
    finest = owner[17:].reshape(16, 16)
    assert finest[7, 7] == 2 and finest.eq(-1).sum() == 255  # the corner is 6 % of the picture


def test_cells_of_nothing_belong_to_nobody():
    owner = owners(half(8, slice(0, 4))[None], ((2, 2), (4, 4)))
    assert owner.tolist() == [0, 0, -1, -1] + [0] * 8 + [-1] * 8


@pytest.fixture
def run():
    torch.manual_seed(0)
    config = FindConfig(width=16, features=8, heads=2, ffn=32, layers=1, object_queries=4, text_width=16, seeds=3)
    interface = FindInterface(config)
    levels = [torch.randn(2, 8, side, side) for side in (2, 4, 8)]
    return interface, interface(levels, torch.randn(2, 8, 16, 16), Prompts())


def test_cells_learn_the_mask_they_lie_in(run):
    interface, made = run
    masks = [torch.stack([half(16, slice(0, 8)), half(16, slice(8, 16))]), torch.zeros(0, 16, 16)]
    rng = np.random.default_rng(0)
    losses = cell_losses(interface, made.cells, made.mask_features, masks, torch.tensor([True, False]), rng)
    assert set(losses) == {"cell_bce", "cell_dice", "cell_score"}
    torch.stack(list(losses.values())).sum().backward()
    for weight in (interface.seeds.start[0].weight, interface.seeds.waves.weight, interface.seeds.score.weight):
        assert weight.grad.abs().sum() > 0


def test_without_masks_cells_learn_nothing(run):
    interface, made = run
    masks = [torch.zeros(0, 16, 16)] * 2
    losses = cell_losses(
        interface, made.cells, made.mask_features, masks, torch.tensor([False, False]), np.random.default_rng(0)
    )
    assert all(float(loss.detach()) == 0 for loss in losses.values())


def test_quality_is_best_when_it_says_the_iou():
    logits = torch.stack([half(4, slice(0, 2)), half(4, slice(0, 1))])[None] * 2 - 1
    masks = [half(4, slice(0, 2))[None]]
    right = torch.tensor([[9.0, 0.0]])
    assert quality_loss(right, logits, masks) < quality_loss(right.flip(1), logits, masks)
    assert float(quality_loss(right, logits, [torch.zeros(0, 4, 4)])) == 0


def test_a_blend_is_right_when_it_covers_all_that_answers_a_query():
    top, bottom = half(4, slice(0, 1)), half(4, slice(3, 4))
    queries = [torch.tensor([0, 0]), torch.zeros(0, dtype=torch.long)]
    masks = [torch.stack([top, bottom]), torch.zeros(0, 4, 4)]
    both = torch.stack([top + bottom, top])[:, None]
    assert float(blend_loss(both, masks, queries)) == pytest.approx(0)
    # half of it: 1 - (2 * 4 + 1) / (4 + 8 + 1)
    assert float(blend_loss(torch.stack([top, top])[:, None], masks, queries)) == pytest.approx(4 / 13)
    assert float(blend_loss(both, [masks[1], masks[1]], [queries[1], queries[1]])) == 0


def test_names_are_learned_by_the_proposals_that_were_matched_to_named_masks():
    names, scale = torch.eye(3), torch.tensor(2.0)
    vectors = torch.stack([names[0], names[1], names[2]])[None]
    matched = Assignment(*torch.tensor([[0, 0, 0], [0, 1, 1]]).T)  # proposals 0 and 1 for masks 0 and 1
    loss = name_loss(vectors, matched, [torch.tensor([0, -1])], names, scale)
    assert float(loss) == pytest.approx(math.log(math.exp(2) + 2) - 2, rel=1e-5)
    assert float(name_loss(vectors, matched, [torch.tensor([-1, -1])], names, scale)) == 0
    assert float(name_loss(vectors, matched, [torch.tensor([0, 1])], names[:0], scale)) == 0
