"""READ's points with gradients, against those without."""

import numpy as np
import pytest
import torch

from interleave_index.grounding.compatible import ReadSettings, read_points
from interleave_index.interface.read.soft_points import soft_points

SIZES = [(60, 90), (333, 500), (367, 500), (500, 376)]  # at the third, a row or column is cut off


@pytest.mark.parametrize("size", SIZES)
def test_values_are_those_of_the_points_without_gradients(size):
    similarity = np.random.default_rng(1).normal(size=576).astype(np.float32)
    expected = read_points(similarity, size, ReadSettings())
    points, labels = soft_points(torch.from_numpy(similarity), size, ReadSettings())
    assert np.array_equal(labels.numpy(), expected.labels)
    assert np.abs(points.numpy() - expected.soft).max() < 1e-3
    assert np.abs(points.numpy() - expected.whole).max() > 1e-3  # they were moved at all


def test_a_point_follows_the_slope_of_the_map():
    similarity = torch.linspace(0, 1, 144).reshape(12, 12).T.flatten().requires_grad_()  # rises downwards
    points, _ = soft_points(similarity, (120, 120), ReadSettings(downsample=1))
    rise = torch.autograd.grad(points[0, 1], similarity)[0].reshape(12, 12)
    row = int(points[0, 1] // 10)
    assert rise[min(row + 1, 11)].sum() >= 0 and rise[max(row - 1, 0)].sum() < 0 and rise.abs().sum() > 0


def test_a_constant_map_gives_neutral_points_and_no_error():
    points, labels = soft_points(torch.ones(144), (40, 40), ReadSettings())
    assert torch.isfinite(points).all() and set(labels.tolist()) == {-1}
