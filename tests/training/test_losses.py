"""The matcher and the losses of both recipes, on cases that are worked by hand."""

from __future__ import annotations

import math

import pytest
import torch

from interleave_index.training import losses
from interleave_index.training.distributed import gather_rows, mean_over_processes
from interleave_index.training.matcher import Assignment, hungarian_match


def square(size: int, rows: slice, columns: slice) -> torch.Tensor:
    mask = torch.zeros(size, size, dtype=torch.bool)
    mask[rows, columns] = True
    return mask


def assigned(*rows: tuple[int, int, int]) -> Assignment:
    table = torch.tensor(rows, dtype=torch.long).reshape(-1, 3)
    return Assignment(table[:, 0], table[:, 1], table[:, 2])


def pairs_of(assignment: Assignment) -> list[tuple[int, int]]:
    return sorted(zip(assignment.target.tolist(), assignment.proposal.tolist(), strict=True))


# --- matching ---------------------------------------------------------------------------------


@pytest.mark.parametrize("points", [None, 256])
def test_proposals_are_matched_to_the_masks_that_they_cover(points: int | None) -> None:
    torch.manual_seed(0)
    left, right = square(32, slice(0, 32), slice(0, 16)), square(32, slice(0, 32), slice(16, 32))
    logits = torch.stack([torch.zeros(32, 32), torch.where(right, 8.0, -8.0), torch.where(left, 8.0, -8.0)])[None]
    matched = hungarian_match(logits, [torch.stack([left, right])], [torch.full((3, 2), 0.5)], points=points)
    assert pairs_of(matched) == [(0, 2), (1, 1)]
    assert len(hungarian_match(logits, [torch.zeros(0, 32, 32)], [torch.zeros(3, 0)], points=points)) == 0


@pytest.mark.parametrize("points", [None, 256])
def test_between_masks_of_one_shape_the_class_decides(points: int | None) -> None:
    torch.manual_seed(0)
    mask = square(32, slice(4, 20), slice(4, 20))
    logits = torch.where(mask, 3.0, -3.0).expand(1, 2, -1, -1)
    matched = hungarian_match(logits, [mask[None]], [torch.tensor([[0.1], [0.9]])], points=points)
    assert matched.proposal.tolist() == [1]


def test_an_assignment_picks_rows_of_both_sides_image_by_image() -> None:
    matched = assigned((0, 1, 1), (2, 0, 0))
    targets = [torch.tensor([10, 11]), torch.tensor([20]), torch.tensor([30])]
    assert matched.of_targets(targets).tolist() == [11, 30]
    assert matched.of_proposals(torch.arange(6).reshape(3, 2)).tolist() == [1, 4]


# --- masks ------------------------------------------------------------------------------------


def test_at_every_pixel_masks_cost_what_is_worked_by_hand() -> None:
    mask = square(2, slice(0, 1), slice(0, 2)).float()  # the upper half of four pixels
    logits = torch.zeros(1, 1, 2, 2)  # a probability of 1/2 everywhere
    bce, dice = losses.mask_losses(logits, [mask[None]], assigned((0, 0, 0)))
    assert float(bce) == pytest.approx(math.log(2))
    assert float(dice) == pytest.approx(1 - (2 * 1 + 1) / (2 + 2 + 1))
    right = losses.mask_losses((mask * 60 - 30)[None, None], [mask[None]], assigned((0, 0, 0)))
    assert [float(value) for value in right] == pytest.approx([0, 0], abs=1e-6)
    assert [float(value) for value in losses.mask_losses(logits, [mask[None][:0]], assigned())] == [0, 0]


def test_at_points_masks_cost_nothing_when_they_are_right_and_much_when_they_are_not() -> None:
    torch.manual_seed(0)
    mask = square(64, slice(8, 40), slice(8, 40))
    right, one = torch.where(mask, 20.0, -20.0)[None, None], assigned((0, 0, 0))
    good = losses.mask_losses(right, [mask[None]], one, points=512)
    bad = losses.mask_losses(-right, [mask[None]], one, points=512)
    assert float(good[0]) < 0.7 and float(good[1]) < 0.05  # points lie where it is unsure: at the edge
    assert float(bad[0]) > 5 and float(bad[1]) > 0.9
    unsure = losses.mask_losses(torch.zeros(1, 1, 64, 64), [mask[None]], one, points=512)
    assert float(unsure[0]) == pytest.approx(math.log(2), rel=1e-4)
    quarter = losses.mask_losses(torch.zeros(1, 1, 64, 64), [mask[None]], one, points=512, over=torch.tensor(4.0))
    assert float(quarter[0]) == pytest.approx(math.log(2) / 4, rel=1e-4)


def test_points_lie_mostly_where_the_logits_are_near_zero() -> None:
    torch.manual_seed(0)
    logits = torch.linspace(-10, 10, 64).expand(1, 64, 64).clone()
    places = losses.uncertain_points(logits, 400)
    near = (places[0, :, 0] - 0.5).abs() < 0.25
    assert places.shape == (1, 400, 2) and float(near.float().mean()) > 0.8


def test_ious_are_those_of_masks_cut_at_one_half() -> None:
    upper, quarter = square(4, slice(0, 2), slice(0, 4)), square(4, slice(0, 1), slice(0, 4))
    lower = square(4, slice(2, 4), slice(0, 4))
    logits, masks = torch.stack([upper, quarter]).float() * 2 - 1, torch.stack([upper, lower]).float()
    assert torch.allclose(losses.mask_ious(logits, masks), torch.tensor([[1.0, 0.0], [0.5, 0.0]]))


# --- classes and choices ----------------------------------------------------------------------


def test_classes_weigh_background_at_a_tenth() -> None:
    logits = torch.zeros(1, 2, 3)
    logits[0, 0, 1] = 2.0
    loss = losses.class_loss(logits, assigned((0, 0, 0)), [torch.tensor([1])])
    named = math.log(math.exp(2) + 2) - 2
    assert float(loss) == pytest.approx((named + 0.1 * math.log(3)) / 1.1, rel=1e-5)


def test_a_nameless_target_only_has_to_be_no_background_and_unannotated_photos_have_none() -> None:
    logits = torch.log(torch.tensor([[[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]]))  # two proposals, two names, background
    yes, no = torch.tensor([True]), torch.tensor([False])
    loss = losses.class_loss(logits, assigned((0, 0, 0)), [torch.tensor([0])], yes)
    assert float(loss) == pytest.approx((-math.log(0.5) - 0.1 * math.log(0.8)) / 1.1)
    nameless = losses.class_loss(logits, assigned((0, 0, 0)), [torch.tensor([-1])], yes)
    assert float(nameless) == pytest.approx((-math.log(0.75) - 0.1 * math.log(0.8)) / 1.1)
    partly = losses.class_loss(logits, assigned((0, 0, 0)), [torch.tensor([0])], no)
    assert float(partly) == pytest.approx(-math.log(0.5))  # the other may be a thing that nobody drew
    assert float(losses.class_loss(logits, assigned(), [torch.zeros(0, dtype=torch.long)], no)) == 0


def test_a_choice_is_shared_by_all_proposals_of_one_query() -> None:
    scores = torch.tensor([[[2.0], [2.0], [0.0]]])  # (1, 3 proposals, 1 query)
    loss = losses.choice_loss(scores, assigned((0, 0, 0), (0, 1, 1)), [torch.tensor([0, 0])])
    assert float(loss) == pytest.approx(math.log(2 * math.exp(2) + 1) - 2, rel=1e-5)
    assert float(losses.choice_loss(scores, assigned(), [torch.zeros(0, dtype=torch.long)])) == 0


def test_a_choice_is_shared_by_proposals_that_lie_nearly_as_well() -> None:
    scores = torch.tensor([[[1.0], [2.0], [0.0]]])
    one, queries = assigned((0, 0, 0)), [torch.tensor([0])]
    log_odds = scores[0, :, 0].log_softmax(0)
    alone = losses.choice_loss(scores, one, queries)
    both = losses.choice_loss(scores, one, queries, [torch.tensor([[0.8], [0.8], [0.0]])])
    assert float(alone) == pytest.approx(float(-log_odds[0]))
    assert float(both) == pytest.approx(float(-(log_odds[0] + log_odds[1]) / 2))


def test_the_losses_of_a_task_are_those_of_the_proposals_that_answer_its_queries() -> None:
    upper, lower = square(4, slice(0, 2), slice(0, 4)).float(), square(4, slice(2, 4), slice(0, 4)).float()
    logits = torch.stack([lower, upper])[None] * 60 - 30
    scores = torch.zeros(1, 2, 1)
    found, matched = losses.answer_losses("ground", logits, scores, [upper[None]], [torch.tensor([0])])
    assert pairs_of(matched) == [(0, 1)]
    assert {name: round(float(value), 5) for name, value in found.items()} == {
        "ground_choice": round(math.log(2), 5),
        "ground_bce": 0,
        "ground_dice": 0,
    }


# --- contrasts --------------------------------------------------------------------------------


def test_rows_that_belong_together_are_told_from_the_others() -> None:
    rows = torch.eye(3)
    assert float(losses.contrastive_loss(rows, rows, torch.tensor(100.0))) == pytest.approx(0, abs=1e-4)
    assert float(losses.contrastive_loss(rows, rows.roll(1, 0), torch.tensor(10.0))) == pytest.approx(10, rel=1e-3)
    assert float(losses.contrastive_loss(rows[:0], rows[:0], torch.tensor(1.0))) == 0


def test_contrast_by_hand_and_with_further_negatives() -> None:
    rows, scale = torch.eye(2), torch.tensor(3.0)
    two = math.log(1 + math.exp(-3.0))
    assert float(losses.contrastive_loss(rows, rows, scale)) == pytest.approx(two, rel=1e-5)
    more = losses.contrastive_loss(rows, rows, scale, more_one=-torch.eye(2), more_other=-torch.eye(2))
    assert float(more) == pytest.approx(math.log(1 + math.exp(-3.0) + math.exp(-6) + math.exp(-3)), rel=1e-5)


def test_the_fine_contrast_is_a_mean_over_images_one_way_and_over_tokens_the_other() -> None:
    """Both directions of the released loss are soft cross-entropies: a sum over the candidates, then a mean over what
    is asked. From images to tokens that is a mean over the N images, from tokens to images one over the W tokens. To
    sum the second over the tokens and divide by the images instead would count it W / N times, ever more with long
    captions.
    """
    objects = torch.eye(2)[:, None]  # image 0 is along x, image 1 along y
    tokens = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], [[0.0, 1.0], [99.0, 0.0], [99.0, 0.0]]])
    pad = torch.tensor([[False, False, False], [False, True, True]])
    # Four tokens: x, y, x of caption 0 with ranks 1, 2, 3, that is shares 1/6, 2/6, 3/6; and y of caption 1.
    # Similarities: image 0: 1 0 1 0, image 1: 0 1 0 1.
    over_tokens = math.log(2 * math.e + 2)
    image_0 = (1 / 6 + 3 / 6) * (over_tokens - 1) + 2 / 6 * over_tokens
    image_1 = over_tokens - 1
    forth = (image_0 + image_1) / 2
    over_images = math.log(math.e + 1)
    back = (1 / 6 * (over_images - 1) + 2 / 6 * over_images + 3 / 6 * (over_images - 1) + (over_images - 1)) / 4
    loss = losses.fine_contrastive_loss(objects, tokens, pad, torch.tensor(1.0))
    assert float(loss) == pytest.approx(0.7 * forth + 0.3 * back, rel=1e-5)


def test_fine_contrast_prefers_the_words_of_the_own_caption_and_ignores_padding() -> None:
    objects = torch.eye(2)[:, None].expand(-1, 3, -1)  # image 0 is along x, image 1 along y
    words = torch.eye(2)[:, None].expand(-1, 2, -1).clone()
    pad = torch.tensor([[False, False], [False, True]])
    words[1, 1] = 99.0
    right = losses.fine_contrastive_loss(objects, words, pad, torch.tensor(20.0))
    wrong = losses.fine_contrastive_loss(objects.flip(0), words, pad, torch.tensor(20.0))
    assert float(right) < float(wrong) / 5
    assert float(losses.fine_contrastive_loss(objects[:0], words[:0], pad[:0], torch.tensor(1.0))) == 0


def test_alone_a_number_is_its_own_mean_and_never_below_one() -> None:
    assert float(mean_over_processes(0, torch.device("cpu"))) == 1
    assert float(mean_over_processes(6, torch.device("cpu"))) == 6
    rows, first = gather_rows(torch.ones(2, 3))
    assert rows.shape == (2, 3) and first == 0
