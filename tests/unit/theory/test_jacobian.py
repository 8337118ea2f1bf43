"""Squared singular values of the input–output Jacobian: predicted mean and variance against simulated networks."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fanin.errors import InputError
from fanin.theory import critical, jacobian_spectrum, simulate_jacobian

DEPTH, WIDTH, NETS = 6, 200, 6


def measured(name: str, weights: str, **point: float) -> np.ndarray:
    return np.stack(
        [simulate_jacobian(name, DEPTH, WIDTH, weights=weights, seed=seed, **point) ** 2 for seed in range(NETS)]
    )


@pytest.mark.parametrize("weights", ["gaussian", "orthogonal"])
@pytest.mark.parametrize("name", ["linear", "relu", "tanh", "hardtanh"])
def test_mean_and_variance(name: str, weights: str) -> None:
    chosen = critical(name) if name in ("linear", "relu") else critical(name, bias_var=0.05)
    point = {"weight_var": chosen.weight_var, "bias_var": chosen.bias_var, "q": chosen.q}
    predicted = jacobian_spectrum(name, DEPTH, weights=weights, **point)
    squares = measured(name, weights, **point)
    # A network's mean strays by about √(5 L/n); NETS of them are averaged, and the next order is L/n.
    tolerance = 4 * math.sqrt(5 * DEPTH / WIDTH / NETS) + DEPTH / WIDTH
    assert squares.mean() == pytest.approx(predicted.mean, rel=tolerance)
    relative = (squares.var(axis=1) / squares.mean(axis=1) ** 2).mean()
    assert relative == pytest.approx(predicted.relative_variance, rel=2 * tolerance, abs=1e-9)


def test_only_orthogonal_weights_come_near_isometry() -> None:
    small = critical("tanh", q=0.01)
    point = {"weight_var": small.weight_var, "bias_var": small.bias_var, "q": 0.01}
    orthogonal = jacobian_spectrum("tanh", 100, weights="orthogonal", **point).relative_variance
    gaussian = jacobian_spectrum("tanh", 100, weights="gaussian", **point).relative_variance
    assert orthogonal < 0.1
    assert gaussian > 100
    assert jacobian_spectrum("relu", 100, weight_var=2.0, weights="orthogonal").relative_variance == pytest.approx(100)


def test_arguments() -> None:
    with pytest.raises(InputError, match="weights"):
        jacobian_spectrum("relu", 3, weight_var=2.0, weights="cauchy")
    with pytest.raises(InputError, match="depth"):
        jacobian_spectrum("relu", 0, weight_var=2.0)
    with pytest.raises(InputError, match="no fixed point"):
        jacobian_spectrum("relu", 3, weight_var=1.0)
