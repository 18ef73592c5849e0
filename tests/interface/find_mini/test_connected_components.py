"""Which proposals become regions: pieces of masks, and an order in which each says something new."""

import numpy as np
import pytest
import torch

from interleave_index.interface.find_mini.connected_components import APART, SMALLEST_PIECE, pieces, varied


def blocks(*boxes, side=16):
    """(1, side, side) logits, 5 inside the boxes (y0, y1, x0, x1), -5 outside."""
    mask = torch.full((side, side), -5.0)
    for y0, y1, x0, x1 in boxes:
        mask[y0:y1, x0:x1] = 5.0
    return mask


def test_a_mask_in_two_pieces_is_told_apart_and_one_in_one_piece_is_not():
    whole, torn = blocks((0, 4, 0, 8)), blocks((0, 4, 0, 6), (8, 16, 8, 9), (15, 16, 15, 16))
    parents, found, shares = pieces(torch.stack([whole, torn, whole]))
    assert parents.tolist() == [1, 1]  # the single cell is too small to count
    assert torch.equal(found[0] > 0, blocks((0, 4, 0, 6)) > 0) and torch.equal(found[1] > 0, blocks((8, 16, 8, 9)) > 0)
    cells = 24 + 8 + 1
    assert SMALLEST_PIECE <= 8 and shares.tolist() == pytest.approx([n / cells for n in (24, 8)])
    assert torch.equal(found[0].abs(), torn.abs())  # edges stay as soft as they were


def test_masks_that_follow_each_other_never_join():
    torn = blocks((0, 4, 0, 8), (8, 16, 8, 16))
    parents, found, _ = pieces(torch.stack([torn, blocks(), torn, torn]))
    assert parents.tolist() == [0, 0, 2, 2, 3, 3]
    assert torch.equal(found[:2], found[2:4]) and torch.equal(found[:2], found[4:])


def test_nothing_in_pieces_gives_nothing():
    parents, found, shares = pieces(torch.stack([blocks((0, 4, 0, 8)), blocks()]))
    assert len(parents) == len(found) == len(shares) == 0 and found.shape == (0, 16, 16)


def test_what_lies_on_a_better_mask_comes_later_and_what_is_the_same_never():
    masks = torch.stack([blocks((0, 8, 0, 16)), blocks((0, 8, 0, 15)), blocks((0, 8, 0, 10)), blocks((9, 16, 0, 16))])
    quality = np.array([0.9, 0.89, 0.8, 0.5], np.float32)
    worth = 0.8 * np.exp(-(0.625**2) / APART)
    assert worth < 0.5  # why the third waits for the fourth
    kept, worths = varied(masks, quality, most=9, same=0.8, smallest=0.0)
    assert kept == [0, 3, 2] and worths == pytest.approx([0.9, 0.5, worth])
    assert varied(masks, quality, most=9, same=1.0, smallest=0.0)[0] == [0, 3, 2, 1]
    assert varied(masks, quality, most=2, same=0.8, smallest=0.0)[0] == [0, 3]


def test_empty_and_tiny_masks_are_left_out():
    masks = torch.stack([blocks(), blocks((0, 1, 0, 2)), blocks((0, 4, 0, 4))])
    assert varied(masks, np.ones(3, np.float32), most=9, same=0.8, smallest=0.01)[0] == [2]
    assert varied(masks[:1], np.ones(1, np.float32), most=9, same=0.8, smallest=0.0) == ([], [])
