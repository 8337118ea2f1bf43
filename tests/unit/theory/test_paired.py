"""paired: odd parts are odd, linear where f(z) − f(−z) is, and the working point solves its two equations."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fanin import theory
from fanin.errors import InputError
from fanin.theory import ACTIVATIONS
from fanin.theory.activations import Activation

SCALAR = [n for n in ACTIVATIONS.names() if issubclass(ACTIVATIONS[n], Activation) and n not in ("sine", "shaped")]


def difference(name, z):
    f = ACTIVATIONS[name]()
    return f.function(z) - f.function(-z) if theory.paired(name, 60).pairs else f.function(z)


def average(values):
    return float(np.mean(values))


@pytest.mark.parametrize("name", SCALAR)
def test_the_point_is_one_by_sampling(name):
    point = theory.paired(name, 60)
    if point is None:
        assert name in ("relu_squared", "hardshrink", "softshrink", "tanhshrink")
        return
    # Quantiles of N(0, 1) at the middle of 200,001 equal shares: error of the means below about 1e-4.
    share = (np.arange(200_001) + 0.5) / 200_001
    z = math.sqrt(point.q) * np.asarray([math.sqrt(2) * _erfinv(2 * p - 1) for p in share[::50]])
    g, h = difference(name, z), 1e-5
    slope = (difference(name, z + h) - difference(name, z - h)) / (2 * h)
    assert average(g**2) == pytest.approx(point.square, rel=0.01)
    assert point.gain**2 * point.square == pytest.approx(point.q)
    assert point.gain**2 * average(slope**2) == pytest.approx(point.chi_perp, rel=0.01)


def _erfinv(x):
    low, high = -6.0, 6.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if math.erf(middle) < x else (low, middle)
    return (low + high) / 2


@pytest.mark.parametrize("name", ["relu", "gelu", "silu", "softplus", "hardswish", "leaky_relu"])
def test_pairs_of_these_are_linear(name):
    point, z = theory.paired(name), np.linspace(-4, 4, 41)
    assert point.linear
    assert point.chi_perp == 1
    assert point.gain * difference(name, z) == pytest.approx(z)


def test_others_are_not():
    assert not any(theory.paired(name).linear for name in ("elu", "selu", "sigmoid", "mish", "tanh"))


@pytest.mark.parametrize("name", ["tanh", "erf", "sigmoid", "softsign", "hardtanh"])
@pytest.mark.parametrize("depth", [25, 100, 1000])
def test_the_gradient_grows_by_e_squared_over_the_chain(name, depth):
    point = theory.paired(name, depth)
    assert depth * math.log(point.chi_perp) == pytest.approx(2, rel=1e-6)
    assert theory.paired(name, 10 * depth).gain < point.gain


def test_pairs_are_taken_where_the_functions_own_chain_does_not_hold():
    # methods of mean field at q = 1: χ⊥ of ELU 1.0359, of SELU 1.0716, both stable in q
    for name, chi in (("elu", 1.0359), ("selu", 1.0716)):
        last = int(2 / math.log(chi))
        assert not theory.paired(name, last - 1).pairs
        assert theory.paired(name, last + 1).pairs
        assert theory.paired(name, 20).gain == pytest.approx(theory.gain(name))
    assert all(theory.paired(name, 20).pairs for name in ("relu", "gelu", "silu", "sigmoid", "softplus", "mish"))
    assert not any(theory.paired(name, 500).pairs for name in ("tanh", "erf", "softsign", "sin"))


def test_a_short_chain_takes_the_point_of_twenty_layers():
    assert theory.paired("tanh", 3) == theory.paired("tanh", 20)


def test_refusals():
    for depth in (0, -1, 2.5, True):
        with pytest.raises(InputError, match="depth"):
            theory.paired("tanh", depth)
    assert theory.paired("relu_squared") is None
