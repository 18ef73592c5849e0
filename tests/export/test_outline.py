import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageDraw

from interleave_index.export.outline import border_loops, label_point, simplify, svg_path


def area(loop):
    x, y = loop.T
    return float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2)


def test_a_rectangle_becomes_its_border_with_cut_corners():
    mask = np.zeros((10, 12), bool)
    mask[2:8, 3:9] = True
    (loop,) = border_loops(mask)
    assert abs(area(loop)) == 36 - 4 / 8
    assert loop.min(0).tolist() == [3, 2] and loop.max(0).tolist() == [9, 8]


def test_a_hole_is_a_loop_of_its_own_that_turns_the_other_way():
    mask = np.ones((9, 9), bool)
    mask[3:6, 3:6] = False
    areas = sorted(area(loop) for loop in border_loops(mask))
    assert len(areas) == 2 and areas[0] < 0 < areas[1]


@given(arrays(bool, (7, 6)))
def test_signed_areas_of_all_loops_add_up_to_the_mask_within_the_cut_corners(mask):
    loops = border_loops(mask)
    points = sum(len(loop) for loop in loops)
    assert abs(sum(area(loop) for loop in loops) - mask.sum()) <= points / 8
    assert (
        points
        == np.abs(np.diff(np.pad(mask, 1).astype(int), axis=0)).sum()
        + np.abs(np.diff(np.pad(mask, 1).astype(int), axis=1)).sum()
    )


@given(st.floats(0.1, 3), st.integers(0, 1000))
def test_simplified_lines_stay_within_the_tolerance(tolerance, seed):
    angles = np.sort(np.random.default_rng(seed).uniform(0, 6.28, 60))
    loop = np.stack([10 * np.cos(angles), 8 * np.sin(angles)], 1)
    short = simplify(loop, tolerance)
    ends = np.roll(short, -1, axis=0)
    for point in loop:
        along = ends - short
        share = np.clip(((point - short) * along).sum(1) / np.maximum((along**2).sum(1), 1e-12), 0, 1)
        assert np.linalg.norm(short + share[:, None] * along - point, axis=1).min() <= tolerance + 1e-9


def test_the_path_painted_again_covers_the_disc():
    y, x = np.mgrid[:200, :200]
    disc = (x - 90) ** 2 + (y - 110) ** 2 < 60**2
    line = svg_path(disc)
    corners = [tuple(map(float, pair.split())) for pair in line.strip("MZ").split("L")]
    canvas = Image.new("1", (200, 200))
    ImageDraw.Draw(canvas).polygon(corners, fill=1)
    painted = np.asarray(canvas)
    assert (painted & disc).sum() / (painted | disc).sum() > 0.97 and len(corners) < 80


def test_specks_are_dropped_unless_they_are_all_there_is():
    mask = np.zeros((40, 40), bool)
    mask[0, 0] = True
    assert svg_path(mask).count("M") == 1
    mask[10:30, 10:30] = True
    assert svg_path(mask).count("M") == 1 and svg_path(np.zeros((4, 4), bool)) == ""


def test_the_label_stands_inside_the_thick_part():
    mask = np.zeros((50, 50), bool)
    mask[10:41, 10:41] = True
    mask[25, :] = True
    x, y = label_point(mask)
    assert (x, y) == (25.5, 25.5)
