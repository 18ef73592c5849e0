"""Logistic regression, as the curves of the judgement and the scorer of regions are fitted by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit


def logistic_regression(
    inputs: NDArray[np.floating],
    target: NDArray[np.floating] | NDArray[np.bool_],
    *,
    ridge: float,
    weight: NDArray[np.floating] | None = None,
) -> NDArray[np.float64]:
    """(k + 1,) slopes, and last the constant, that make `expit(inputs @ slopes + constant)` the likeliest chances.

    Args:
        inputs: (n, k).
        target: (n,) shares in 0..1, or bool.
        ridge: penalty on half the squared slopes, of inputs in units of their root mean square, beside the mean loss.
            It keeps slopes finite where classes part wholly; elsewhere it draws them towards zero a little, 1e-5 by
            about one in a thousand. The constant is not penalised.
        weight: (n,) of the examples, or None where all count alike.

    >>> inputs = np.array([[-2.0], [-1], [1], [2]])
    >>> slope, constant = logistic_regression(inputs, np.array([0, 0, 1, 1]), ridge=1e-4)
    >>> bool(slope > 1), bool(abs(constant) < 1e-3)
    (True, True)
    """
    scale = np.sqrt(np.square(inputs, dtype=np.float64).mean(0)) + 1e-9
    columns = np.column_stack([inputs / scale, np.ones(len(inputs))])
    share = np.full(len(inputs), 1.0) if weight is None else np.asarray(weight, np.float64)
    share = share / share.sum()
    penalty = np.append(np.full(inputs.shape[1], ridge), 0.0)
    true = np.asarray(target, np.float64)

    def loss(theta: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logit = columns @ theta
        value = share @ (np.logaddexp(0, logit) - true * logit) + penalty @ theta**2 / 2
        return float(value), columns.T @ (share * (expit(logit) - true)) + penalty * theta

    theta = minimize(loss, np.zeros(len(penalty)), jac=True, method="BFGS", options={"gtol": 1e-8}).x
    return np.append(theta[:-1] / scale, theta[-1])
