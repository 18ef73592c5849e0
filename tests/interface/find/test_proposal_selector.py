"""Proposals that start from cells: which are chosen, where they stand, and that masks know where they are."""

from dataclasses import replace

import pytest
import torch

from interleave_index.interface.find.config import FindConfig
from interleave_index.interface.find.network import FindInterface
from interleave_index.interface.find.prompts import Prompts
from interleave_index.interface.find.proposal_selector import Cells, ProposalSelector, waves

WIDTH, FEATURES, SEEDS, OBJECTS = 16, 8, 4, 6


@pytest.fixture
def interface():
    torch.manual_seed(0)
    config = FindConfig(
        width=WIDTH, features=FEATURES, heads=2, ffn=32, layers=3, object_queries=OBJECTS, text_width=WIDTH, memories=2,
        most_points=8, seeds=SEEDS,
    )  # fmt: skip
    return FindInterface(config).eval()


@pytest.fixture
def seen():
    generator = torch.Generator().manual_seed(1)
    levels = [torch.randn(2, FEATURES, side, side, generator=generator) for side in (2, 4, 8)]
    return levels, torch.randn(2, FEATURES, 16, 16, generator=generator)


def squares(score):
    """Cells of a 1 x 1 and a 2 x 2 level whose contents are one-hot, and masks to go with them by hand."""
    content = torch.eye(5)[None]
    return Cells(content, content * 0, torch.tensor([score]), ((1, 1), (2, 2)))


def test_cells_are_those_of_the_coarsest_and_the_finest_level(interface, seen):
    levels, _ = seen
    cells = interface.seeds.cells(interface.features(levels))
    assert cells.sizes == ((2, 2), (8, 8))
    assert cells.content.shape == (2, 4 + 64, WIDTH) and cells.score.shape == (2, 68)


def test_the_best_cells_come_first_and_the_same_mask_once():
    masks = torch.full((1, 5, 8, 8), -1.0)
    masks[0, 0], masks[0, 1, :4], masks[0, 2, :4], masks[0, 3, 4:] = 1, 1, 1, 1  # cells 1 and 2 agree, 4 is empty
    cells = squares([0.0, 2.0, 1.9, -1.0, 3.0])
    top = ProposalSelector(5, 4).select(
        cells, 3, lambda rows: rows, masks
    )  # contents are one-hot: each cell draws its own mask
    assert top.rows.tolist() == [[4, 1, 2, 0, 3]]
    chosen = top.rows[0, top.selected[0]].tolist()
    assert chosen in ([1, 3, 0], [1, 0, 3])
    assert top.on.shape == (1, 5, 16) and top.on.sum(-1).tolist() == [[0, 8, 8, 16, 8]]
    assert top.score[0].tolist() == pytest.approx(sorted(cells.score[0].sigmoid().tolist(), reverse=True))


def test_more_cells_are_not_chosen_than_there_are():
    top = ProposalSelector(5, 4).select(
        squares([0.0, 2.0, 1.9, -1.0, 3.0]), 80, lambda rows: rows, torch.ones(1, 5, 8, 8)
    )
    assert top.selected.shape == (1, 5)


def test_the_first_proposals_are_the_chosen_cells_and_the_rest_are_learned(interface, seen):
    levels, features = seen
    placed = interface.seeds.placed(features)
    cells = interface.seeds.cells(interface.features(levels))
    start = interface._selected(cells, placed)
    chosen = cells.top.rows.gather(1, cells.top.selected)
    proposals, _ = interface._variables(interface.features(levels), Prompts(), start)
    assert proposals.name == "proposals_vision_object"
    for image in range(2):
        assert torch.equal(proposals.content[image, :SEEDS], cells.content[image, chosen[image, :SEEDS]])
    assert torch.equal(proposals.content[0, SEEDS:], interface.query_feat.weight[SEEDS:OBJECTS])


def test_the_first_masks_are_those_of_the_cells(interface, seen):
    levels, features = seen
    with torch.no_grad():
        run = interface(levels, features, Prompts(), earlier=(0,))
        top = run.cells.top
        chosen = top.rows.gather(1, top.selected[:, :SEEDS])
        rows = run.cells.content.gather(1, chosen[..., None].expand(-1, -1, WIDTH))
        expected = torch.einsum("bnc,bchw->bnhw", interface.pixel(rows), run.mask_features)
    assert torch.allclose(run.earlier[0]["pred_masks"][:, :SEEDS], expected, atol=1e-5)


def test_every_proposal_says_how_good_it_is(interface, seen):
    levels, features = seen
    output = interface(levels, features, Prompts()).final
    assert output["pred_quality"].shape == (2, OBJECTS)


def test_cells_of_the_mask_features_are_read_too_where_they_are_wanted(interface, seen):
    levels, features = seen
    finer = FindInterface(replace(interface.config, fine_cells=True)).eval()
    run = finer(levels, features, Prompts())
    assert run.cells.sizes == ((2, 2), (8, 8), (16, 16)) and run.cells.content.shape[1] == 4 + 64 + 256
    assert run.cells.top.on.shape[-1] == 256  # masks of a cell or two are compared as they are
    moved = features.clone()
    moved[:, :, 3, 5] += 5
    before, after = (finer.seeds.cells(finer.features(levels), finer._finest(f)).content for f in (features, moved))
    assert (before - after).abs().sum(-1).nonzero()[:, 1].tolist() == [68 + 3 * 16 + 5] * 2


def test_finer_octaves_tell_neighbours_apart():
    four, six = (waves(48, 48, octaves) for octaves in (4, 6))
    assert six.shape == (48 * 48, 24)
    assert (four[100] - four[101]).norm() < 0.7 < 1.4 < (six[100] - six[101]).norm()


def test_without_seeds_nothing_is_added(interface, seen):
    levels, features = seen
    plain = FindInterface(replace(interface.config, seeds=0)).eval()
    run = plain(levels, features, Prompts())
    assert run.cells is None and "pred_quality" not in run.final and run.mask_features is features


def test_waves_tell_every_cell_from_every_other():
    places = waves(8, 6, 4)
    assert places.shape == (48, 16)
    apart = torch.cdist(places, places) + 10 * torch.eye(48)
    assert apart.min() > 0.3


def test_only_wanted_predictions_are_kept(interface, seen):
    levels, features = seen
    every = interface(levels, features, Prompts(), earlier=True)
    some = interface(levels, features, Prompts(), earlier=(2,))
    assert len(every.earlier) == 3 and len(some.earlier) == 1
    assert torch.equal(some.earlier[0]["pred_masks"], every.earlier[2]["pred_masks"])
    assert torch.equal(some.final["pred_captions"], every.final["pred_captions"])
