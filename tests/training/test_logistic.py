"""Logistic regression finds the curve that drew the labels, and stays finite where classes part wholly."""

import numpy as np
import pytest

from interleave_index.training.logistic import logistic_regression


def test_it_finds_the_curve_that_drew_the_labels():
    rng = np.random.default_rng(0)
    scores = rng.normal(2, 2, (40_000, 1))
    right = rng.random(len(scores)) < 1 / (1 + np.exp(-(1.5 * scores[:, 0] - 3)))
    assert logistic_regression(scores, right, ridge=1e-4) == pytest.approx([1.5, -3], rel=0.05)
    halves = np.where(right, 0.5 / right.sum(), 0.5 / (~right).sum())
    slope, constant = logistic_regression(scores, right, ridge=1e-4, weight=halves)
    odds = right.mean() / (1 - right.mean())  # to let both classes count half moves the constant by their log-odds
    assert slope == pytest.approx(1.5, rel=0.05) and constant == pytest.approx(-3 - np.log(odds), abs=0.1)


def test_where_both_classes_count_half_it_does_not_matter_how_many_there_are():
    rng = np.random.default_rng(1)
    there, absent = rng.normal(2, 1, 500), rng.normal(0, 1, 500)
    few = logistic_regression(np.concatenate([there, absent])[:, None], np.arange(1000) < 500, ridge=1e-4)
    right = np.arange(10_500) < 500
    weight = np.where(right, 1 / 500, 1 / 10_000)
    scores = np.concatenate([there, np.tile(absent, 20)])[:, None]
    many = logistic_regression(scores, right, ridge=1e-4, weight=weight)
    # the ridge goes with the deviation of the scores, which is not the same
    assert few == pytest.approx(many, rel=1e-2) and -few[1] / few[0] == pytest.approx(1, abs=0.1)


def test_the_ridge_hardly_moves_a_curve_that_the_labels_fix():
    rng = np.random.default_rng(2)
    scores = rng.normal(0, 2, (20_000, 1))
    right = rng.random(len(scores)) < 1 / (1 + np.exp(-2 * scores[:, 0]))
    free = logistic_regression(scores, right, ridge=0.0)
    assert logistic_regression(scores, right, ridge=1e-5) == pytest.approx(free, rel=2e-3, abs=2e-3)


def test_scores_that_part_wholly_or_are_all_alike_give_finite_weights():
    for scores in ([0, 1, 9, 10.0], [1, 1, 1, 1.0]):
        assert np.isfinite(logistic_regression(np.array(scores)[:, None], np.arange(4) > 1, ridge=1e-4)).all()


def test_shares_are_fitted_like_labels():
    rng = np.random.default_rng(0)
    inputs = rng.uniform(size=(20_000, 10))
    true = np.linspace(-2, 2, 11)
    chances = 1 / (1 + np.exp(-inputs @ true[:-1] - true[-1]))
    assert np.abs(logistic_regression(inputs, chances, ridge=0.0) - true).max() < 1e-3
    drawn = (rng.random(len(chances)) < chances).astype(float)
    assert np.abs(logistic_regression(inputs, drawn, ridge=1e-3) - true).max() < 0.2
