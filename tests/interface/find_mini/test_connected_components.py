"""Masks in several parts, part by part."""

import pytest
import torch

from interleave_index.interface.find_mini.connected_components import SMALLEST_COMPONENT, connected_components


def blocks(*boxes, side=16):
    """(1, side, side) logits, 5 inside the boxes (y0, y1, x0, x1), -5 outside."""
    mask = torch.full((side, side), -5.0)
    for y0, y1, x0, x1 in boxes:
        mask[y0:y1, x0:x1] = 5.0
    return mask


def test_a_mask_in_two_pieces_is_told_apart_and_one_in_one_piece_is_not():
    whole, torn = blocks((0, 4, 0, 8)), blocks((0, 4, 0, 6), (8, 16, 8, 9), (15, 16, 15, 16))
    parents, found, shares = connected_components(torch.stack([whole, torn, whole]))
    assert parents.tolist() == [1, 1]  # the single cell is too small to count
    assert torch.equal(found[0] > 0, blocks((0, 4, 0, 6)) > 0) and torch.equal(found[1] > 0, blocks((8, 16, 8, 9)) > 0)
    cells = 24 + 8 + 1
    assert SMALLEST_COMPONENT <= 8 and shares.tolist() == pytest.approx([n / cells for n in (24, 8)])
    assert torch.equal(found[0].abs(), torn.abs())  # edges stay as soft as they were


def test_masks_that_follow_each_other_never_join():
    torn = blocks((0, 4, 0, 8), (8, 16, 8, 16))
    parents, found, _ = connected_components(torch.stack([torn, blocks(), torn, torn]))
    assert parents.tolist() == [0, 0, 2, 2, 3, 3]
    assert torch.equal(found[:2], found[2:4]) and torch.equal(found[:2], found[4:])


def test_nothing_in_pieces_gives_nothing():
    parents, found, shares = connected_components(torch.stack([blocks((0, 4, 0, 8)), blocks()]))
    assert len(parents) == len(found) == len(shares) == 0 and found.shape == (0, 16, 16)
