"""READ's own points, against a plain restatement in torch that lays out every pixel, and against hand-made maps."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from interleave_index.errors import ShapeError
from interleave_index.grounding.compatible import ReadSettings, read_points, read_similarity

AWKWARD = [(333, 500), (367, 500), (500, 367), (376, 1241), (120, 101), (97, 291)]
SOFTENED = 3  # points that the restatement moves: it looks at every pixel for each


def blob(row: float, column: float, side: int = 24) -> np.ndarray:
    rows, columns = np.mgrid[:side, :side]
    noise = np.random.default_rng(7).normal(size=side * side) * 0.01  # no two cells alike
    made: np.ndarray = (np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 18).ravel() + noise).astype(np.float32)
    return made


def reference(similarity: np.ndarray, size: tuple[int, int], downsample: int, count: int) -> tuple[torch.Tensor, ...]:
    """Cells, labels, points and soft points with whole-photo tensors, thresholds 0.8 and 0.2."""
    height, width = size

    def stretched(values):
        return (values - values.min()) / (values.max() - values.min())

    def padded(values, filler):
        side = values.shape[-1]
        across, down = (int(length * (side / min(size))) - side for length in (width, height))
        return F.pad(values, (across // 2, across // 2, down // 2, down // 2), value=filler)

    square = torch.from_numpy(similarity).reshape(1, 1, 24, 24)
    small = F.interpolate(square, (24 // downsample,) * 2, mode="bilinear", align_corners=False)
    values = padded(stretched(small), -1.0)[0, 0]
    flat, columns_of_grid = values.flatten(), values.shape[1]
    falling, rising = flat.argsort(descending=True), flat.argsort()
    cells = [int(n) for n in falling if flat[n] >= 0.8]
    labels = [1] * len(cells)
    beside = [int(n) for n in rising if 0 <= flat[n] <= 0.2]
    neutral = [n for n in range(len(flat)) if 0.2 < flat[n] < 0.8]
    cells, labels = (cells + beside + neutral)[:count], (labels + [0] * len(beside) + [-1] * len(neutral))[:count]
    points = torch.tensor(
        [
            [
                min((n % columns_of_grid + 0.5) * width / columns_of_grid, width - 1),
                min((n // columns_of_grid + 0.5) * height / values.shape[0], height - 1),
            ]
            for n in cells
        ]
    ).int()
    picture = padded(F.interpolate(stretched(square), (336, 336), mode="bilinear", align_corners=False), 0.0)
    weights = F.interpolate(picture, size, mode="bilinear", align_corners=False)[0, 0].double().flatten().softmax(0)
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = torch.stack([columns, rows], -1).reshape(-1, 2).double()
    soft = []
    for point in points[:SOFTENED]:
        near = weights * torch.exp(-((places - point) ** 2).sum(1))
        soft.append((near[:, None] * places).sum(0) / near.sum())
    return torch.tensor(cells), torch.tensor(labels), points, torch.stack(soft)


@pytest.mark.parametrize("size", AWKWARD)
@pytest.mark.parametrize(("downsample", "count"), [(2, 30), (1, 60)])
def test_points_are_those_of_the_plain_restatement_where_its_padding_truncates(size, downsample, count):
    for similarity in (blob(12, 10), blob(2, 21) * 7 - 3):
        cells, labels, points, soft = reference(similarity, size, downsample, count)
        found = read_points(similarity, size, ReadSettings(downsample, count))
        assert found.cells.tolist() == cells.tolist() and found.labels.tolist() == labels.tolist()
        assert np.array_equal(found.whole, points.numpy())
        assert np.abs(found.soft[:SOFTENED] - soft.numpy()).max() < 1e-3


def test_a_cell_is_cut_off_where_the_truncation_goes_below_the_grid():
    assert read_points(blob(12, 12), (367, 500)).padding[0] == -1
    assert read_points(blob(12, 12), (480, 640)).padding == (0, 2)


def test_a_constant_map_raises_nothing_and_says_nothing():
    found = read_points(np.full(576, 3.0, np.float32), (480, 640))
    assert set(found.labels.tolist()) == {-1} and np.isfinite(found.soft).all()


def test_one_query_is_a_plain_product_and_equal_queries_share_its_weight():
    tokens = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    query = np.array([1, 0, -1, 2], np.float32)
    assert np.allclose(read_similarity(tokens, query), tokens @ query)
    assert np.allclose(read_similarity(tokens, np.stack([query, query])), (tokens @ query)[:, None], atol=1e-5)


def test_a_map_that_is_no_square_is_an_error():
    with pytest.raises(ShapeError, match=r"\(g \* g,\) of a square grid"):
        read_points(np.zeros(575, np.float32), (480, 640))
