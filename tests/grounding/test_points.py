"""Maps, components and points, on maps whose answer can be read off."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from interleave_index.errors import ShapeError
from interleave_index.grounding.grid import PatchGrid
from interleave_index.grounding.points import components, prompt_of
from interleave_index.grounding.resample import enlarged, resized
from interleave_index.grounding.similarity import factorised, normalised, scene_of
from interleave_index.interface.toy import ToyInterface
from tests.grounding.conftest import cell_of, cropped, letterboxed

ALL = np.ones((12, 12), bool)
NONE = np.zeros((0, 2), np.int64)


def hills(*places, width=1.5):
    rows, columns = np.mgrid[:12, :12]
    return np.max([np.exp(-((rows - r) ** 2 + (columns - c) ** 2) / (2 * width**2)) for r, c in places], axis=0).astype(
        np.float32
    )


def test_two_hills_are_two_components_and_a_lone_cell_is_none():
    values = hills((3, 3), (8, 8))
    values[0, 11] = 0.95
    found = components(values, values, ALL)
    assert sorted(one.peak for one in found) == [(3, 3), (8, 8)]


def test_a_lone_cell_counts_where_there_is_nothing_larger():
    values = np.zeros((12, 12), np.float32)
    values[4, 6] = 1
    assert [one.peak for one in components(values, values, ALL)] == [(4, 6)]


def test_points_on_the_thing_lie_on_it_and_points_beside_it_do_not():
    values = hills((5, 5), width=3.5)
    grid = PatchGrid.whole((120, 240), (12, 12))
    (part,) = components(values, values, ALL)
    prompt = prompt_of(part, values, ALL, grid, NONE)
    cells = np.floor(cell_of(grid, prompt.points)).astype(int)
    on, beside = cells[prompt.labels == 1], cells[prompt.labels == 0]
    assert tuple(on[0]) == (5, 5) and 1 < len(on) <= 5 and 1 < len(beside) <= 10
    assert (values[on[:, 1], on[:, 0]] >= 0.8).all() and (values[beside[:, 1], beside[:, 0]] <= 0.35).all()
    gaps = np.linalg.norm(on[:, None] - on[None], axis=-1)[np.triu_indices(len(on), 1)]
    assert gaps.min() >= 1.5
    assert prompt.box is not None
    x0, y0, x1, y1 = prompt.box
    assert x0 < 5 * 20 < x1 and y0 < 5 * 10 < y1


def test_the_peak_of_another_thing_is_a_point_beside_this_one():
    values = hills((2, 2), (9, 9))
    part = next(one for one in components(values, values, ALL) if one.peak == (2, 2))
    prompt = prompt_of(part, values, ALL, PatchGrid.whole((12, 12), (12, 12)), np.array([[9, 9]]))
    beside = prompt.points[prompt.labels == 0]
    assert [9.5, 9.5] in beside.tolist()


def test_points_keep_two_pixels_from_the_border_of_the_photo():
    values = hills((0, 0))
    (part,) = components(values, values, ALL)
    prompt = prompt_of(part, values, ALL, PatchGrid.whole((24, 24), (12, 12)), NONE)
    assert (prompt.points >= 2).all() and (prompt.points <= 22).all()


@given(height=st.integers(8, 900), width=st.integers(8, 900), data=st.data())
def test_a_cell_comes_back_from_its_pixel_for_every_way_of_seeing(height, width, data):
    shape = data.draw(st.tuples(st.integers(1, 30), st.integers(1, 30)))
    short = 224 / min(height, width)
    long = 224 / max(height, width)
    grid = data.draw(
        st.sampled_from(
            [
                PatchGrid.whole((height, width), shape),
                cropped(
                    (height, width),
                    shape,
                    (max(224, round(height * short)), max(224, round(width * short))),
                    (224, 224),
                ),
                letterboxed(
                    (height, width), shape, (max(1, round(height * long)), max(1, round(width * long))), (224, 224)
                ),
            ]
        )
    )
    columns_rows = cell_of(grid, grid.centres()).reshape(-1, 2)
    numbers = np.stack([np.tile(np.arange(shape[1]), shape[0]), np.repeat(np.arange(shape[0]), shape[1])], 1)
    assert np.abs(columns_rows - 0.5 - numbers).max() < 1e-6


def test_an_enlarged_map_goes_straight_from_centre_to_centre():
    grid = letterboxed((20, 60), (6, 6), (20, 60), (60, 60), pad=(20, 0))
    columns_and_rows = np.arange(6)[None] + 10.0 * np.arange(6)[:, None]
    picture = enlarged(grid, columns_and_rows, (20, 60))
    assert grid.usable().sum() == 2 * 6  # rows 2 and 3 show the photo, each cell is 10 pixels wide
    assert picture.shape == (20, 60)
    assert picture[4:6, 14:16].mean() == pytest.approx(21)  # around the centre of row 2, column 1: x 15, y 5
    assert picture[9:11, 19:21].mean() == pytest.approx(26.5)  # half way to the next row and the next column


def test_what_a_crop_hides_is_not_a_number_in_the_enlarged_map():
    grid = cropped((10, 20), (4, 4), (10, 20), (10, 10))
    picture = enlarged(grid, np.ones((4, 4)), (10, 20))
    assert np.isnan(picture[:, :5]).all() and np.isnan(picture[:, 15:]).all() and (picture[:, 5:15] == 1).all()


def test_resizing_halves_by_the_mean_of_neighbours():
    assert resized(np.array([[1.0, 3.0], [5.0, 7.0]]), (1, 1)).tolist() == [[4.0]]


def test_a_cell_shows_the_regions_that_cover_it():
    coverage = np.zeros((2, 2, 3), np.float32)
    coverage[0, :, 0], coverage[1, :, :2] = 1, 1
    values = factorised(coverage, np.array([0.6, 0.2], np.float32))
    assert values[0].tolist() == pytest.approx([0.5, 0.2, 0.2])  # mean of both is 0.4, the best 0.6
    assert factorised(coverage[:1], np.array([0.6], np.float32))[0].tolist() == pytest.approx([0.6, 0.55, 0.55])


def test_a_constant_map_stretches_to_nothing():
    assert not normalised(np.full((3, 3), 0.4, np.float32), np.ones((3, 3), bool)).any()


def test_a_scene_of_other_regions_is_an_error():
    (encoding,) = ToyInterface().encode_photos([np.zeros((10, 10, 3), np.uint8)])
    other = replace(encoding, regions=np.eye(2, len(encoding.image), dtype=np.float32))
    with pytest.raises(ShapeError, match="photo has 2 regions, 1 masks"):
        scene_of((10, 10), other)


def test_a_map_of_regions_ranks_cells_much_as_a_map_of_patches_does(bench):
    size = bench.SIZES["4:3"]
    drawn = bench.draw(size, (1, bench.ellipse(size, 90, 120, 60, 70)), (2, bench.ellipse(size, 250, 100, 40, 60)))
    grid = bench.grids(size)["stretch"]
    dense, factored = (
        drawn.scene(grid, regions=[1, 2], dense=kind).map_of(bench.axis(1)).ravel() for kind in (True, False)
    )
    assert spearmanr(dense, factored).statistic > 0.5
    assert spearmanr(dense, drawn.scene(grid, regions=[2], dense=False).map_of(bench.axis(1)).ravel()).statistic < 0.3
