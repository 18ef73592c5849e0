"""Losses of the COCO recipe on cases that are worked by hand."""

from __future__ import annotations

import math

import pytest
import torch

from interleave_index.training.coco import criterion
from interleave_index.training.coco.criterion import Pairs


def _square(size: int, rows: slice, columns: slice) -> torch.Tensor:
    mask = torch.zeros(size, size, dtype=torch.bool)
    mask[rows, columns] = True
    return mask


def _pairs(*rows: tuple[int, int, int]) -> Pairs:
    table = torch.tensor(rows)
    return Pairs(table[:, 0], table[:, 1], table[:, 2])


def test_proposals_are_matched_to_the_masks_that_they_cover() -> None:
    torch.manual_seed(0)
    left, right = _square(32, slice(0, 32), slice(0, 16)), _square(32, slice(0, 32), slice(16, 32))
    logits = torch.stack([torch.zeros(32, 32), torch.where(right, 8.0, -8.0), torch.where(left, 8.0, -8.0)])[None]
    pairs = criterion.match(logits, [torch.stack([left, right])], [torch.full((3, 2), 0.5)], points=256)
    assert sorted(zip(pairs.target.tolist(), pairs.proposal.tolist(), strict=True)) == [(0, 2), (1, 1)]
    assert len(criterion.match(logits, [torch.zeros(0, 32, 32)], [torch.zeros(3, 0)], points=64)) == 0


def test_between_masks_of_one_shape_the_class_decides() -> None:
    torch.manual_seed(0)
    mask = _square(32, slice(4, 20), slice(4, 20))
    logits = torch.where(mask, 3.0, -3.0).expand(1, 2, -1, -1)
    pairs = criterion.match(logits, [mask[None]], [torch.tensor([[0.1], [0.9]])], points=256)
    assert pairs.proposal.tolist() == [1]


def test_masks_cost_nothing_when_they_are_right_and_much_when_they_are_not() -> None:
    torch.manual_seed(0)
    mask = _square(64, slice(8, 40), slice(8, 40))
    right = torch.where(mask, 20.0, -20.0)[None, None]
    good = criterion.mask_losses(right, [mask[None]], _pairs((0, 0, 0)), points=512)
    bad = criterion.mask_losses(-right, [mask[None]], _pairs((0, 0, 0)), points=512)
    assert float(good[0]) < 0.7 and float(good[1]) < 0.05  # points lie where it is unsure: at the edge
    assert float(bad[0]) > 5 and float(bad[1]) > 0.9
    unsure = criterion.mask_losses(torch.zeros(1, 1, 64, 64), [mask[None]], _pairs((0, 0, 0)), points=512)
    assert float(unsure[0]) == pytest.approx(math.log(2), rel=1e-4)
    half = criterion.mask_losses(
        torch.zeros(1, 1, 64, 64), [mask[None]], _pairs((0, 0, 0)), points=512, over=torch.tensor(4.0)
    )
    assert float(half[0]) == pytest.approx(math.log(2) / 4, rel=1e-4)


def test_points_lie_mostly_where_the_logits_are_near_zero() -> None:
    torch.manual_seed(0)
    logits = torch.linspace(-10, 10, 64).expand(1, 64, 64).clone()
    places = criterion.unsure_points(logits, 400)
    near = (places[0, :, 0] - 0.5).abs() < 0.25
    assert places.shape == (1, 400, 2) and float(near.float().mean()) > 0.8


def test_classes_weigh_background_at_a_tenth() -> None:
    logits = torch.zeros(1, 2, 3)
    logits[0, 0, 1] = 2.0
    loss = criterion.class_loss(logits, _pairs((0, 0, 0)), [torch.tensor([1])])
    named = math.log(math.exp(2) + 2) - 2
    assert float(loss) == pytest.approx((named + 0.1 * math.log(3)) / 1.1, rel=1e-5)


def test_a_choice_is_shared_by_all_proposals_of_one_query() -> None:
    scores = torch.tensor([[[2.0], [2.0], [0.0]]])  # (1, 3 proposals, 1 query)
    pairs = _pairs((0, 0, 0), (0, 1, 1))
    loss = criterion.choice_loss(scores, pairs, [torch.tensor([0, 0])])
    assert float(loss) == pytest.approx(math.log(2 * math.exp(2) + 1) - 2, rel=1e-5)
    nothing = criterion.choice_loss(
        scores, Pairs(*(torch.zeros(0, dtype=torch.long) for _ in range(3))), [torch.zeros(0, dtype=torch.long)]
    )
    assert float(nothing) == 0


def test_rows_that_belong_together_are_told_from_the_others() -> None:
    one = torch.eye(3)
    assert float(criterion.contrast(one, one, torch.tensor(100.0))) == pytest.approx(0, abs=1e-4)
    assert float(criterion.contrast(one, one.roll(1, 0), torch.tensor(10.0))) == pytest.approx(10, rel=1e-3)
    empty = torch.zeros(0, 3)
    assert float(criterion.contrast(empty, empty, torch.tensor(1.0))) == 0


def test_fine_contrast_prefers_the_words_of_the_own_caption_and_ignores_padding() -> None:
    objects = torch.eye(2)[:, None].expand(-1, 3, -1)  # photo 0 looks along x, photo 1 along y
    words = torch.eye(2)[:, None].expand(-1, 2, -1).clone()
    pad = torch.tensor([[False, False], [False, True]])
    words[1, 1] = 99.0
    right = criterion.fine_contrast(objects, words, pad, torch.tensor(20.0))
    wrong = criterion.fine_contrast(objects.flip(0), words, pad, torch.tensor(20.0))
    assert float(right) < float(wrong) / 5
    assert float(criterion.fine_contrast(objects[:0], words[:0], pad[:0], torch.tensor(1.0))) == 0


def test_alone_a_number_is_its_own_mean_and_never_below_one() -> None:
    assert float(criterion.mean_over_processes(0, torch.device("cpu"))) == 1
    assert float(criterion.mean_over_processes(6, torch.device("cpu"))) == 6
    rows, first = criterion.gathered(torch.ones(2, 3))
    assert rows.shape == (2, 3) and first == 0
