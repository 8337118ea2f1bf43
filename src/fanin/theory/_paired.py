"""Long chains: the function that a layer passes on, of one unit or of a mirrored pair, and the gain that keeps it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from fanin.errors import InputError
from fanin.theory._mean_field import averages, elementwise
from fanin.theory._quadrature import Array
from fanin.theory._roots import roots
from fanin.theory._scalar import Scalar

__all__ = ["Paired", "paired"]

GROWTH = 2.0
"""Growth of the gradient's second moment over the whole chain, in nats: with larger gains the gradient gets loud before
the signal gets strong, with smaller ones the signal fades. Among gains tried on chains of tanh (200 layers), sigmoid
(20) and ELU (200), those that learned MNIST fastest gave 2.0, 1.9 and 2.6."""

SHALLOW = 20
"""Chains shorter than this take the gain of this length: at 2 nats over few layers the units would saturate."""

_GRID: Array = np.geomspace(1e-6, 1e3, 55)


@dataclass(frozen=True)
class Paired:
    """The working point of a chain whose layers pass g on.

    Args:
        name: the activation f.
        pairs: g(z) = f(z) − f(−z), from pairs of units that see z and −z and are subtracted by the next layer; False
            where f is odd by itself, or its own chain holds that deep: then g = f.
        linear: g is linear, as for ReLU, leaky ReLU, GELU, SiLU, softplus: orthogonal weights then make the whole
            chain an isometry.
        q: second moment of pre-activations that is kept.
        square: E g(√q z)².
        gain: √(q / E g²): weights of standard deviation gain/√(number of pairs).
        chi_perp: gain² E g′², the factor of the gradient's second moment per layer.
    """

    name: str
    pairs: bool
    linear: bool
    q: float
    square: float
    gain: float
    chi_perp: float


def paired(fn: Any, depth: int = SHALLOW) -> Paired | None:
    """The gain of a chain of ``depth`` layers, with units in mirrored pairs where f itself does not pass signals on.

    f itself does at q = 1 where the gain (E f²)^−½ makes that point stable and gradients change by e² at most over
    the chain: ELU to 56 layers, SELU to 28. Else pairs are taken: g(z) = f(z) − f(−z) is odd whatever f is, so that
    means cancel exactly, and for ReLU, GELU or SiLU it is linear. Where it saturates, the second moment q is the
    smallest at which χ⊥ = q E g′²/E g² makes the gradient's second moment grow by e² over the chain.

    Args:
        fn: a name, module or callable.
        depth: layers of the chain, >= 1.

    Returns:
        The point; None where g has no stable one (relu², whose pairs pass z·abs(z), and even functions, whose pairs
        cancel).

    Raises:
        InputError: if ``depth`` is not positive or fn not elementwise.

    Example:
        >>> relu, tanh = paired("relu", 100), paired("tanh", 200)
        >>> relu.linear, relu.gain, round(tanh.gain, 2), tanh.pairs
        (True, 1.0, 1.1, False)
        >>> paired("elu", 20).pairs, paired("elu", 200).pairs
        (False, True)

    Source: Balduzzi et al., 2017 (looks-linear); Saxe et al., 2013; Pennington et al., 2017.
    """
    if isinstance(depth, bool) or not isinstance(depth, int) or depth < 1:
        raise InputError.of("depth", depth, "an integer >= 1, the layers of the chain")
    return _paired(fn, max(depth, SHALLOW))


@dataclass(frozen=True, eq=False)
class _Map:
    """g and what a layer of it does over a grid of q.

    Args:
        source: g.
        odd: g is f itself.
        slope: g(1), which is the slope where g is linear.
        linear: E g² is proportional to q.
        growth: ln χ⊥ with the gain that keeps q; None where no q is kept.
    """

    source: Scalar
    odd: bool
    slope: float
    linear: bool
    growth: Array | None


@lru_cache(maxsize=256)
def _map(fn: Any) -> _Map:
    f = elementwise(fn)
    probe = np.array([0.3, 1.0, 2.5])
    values, mirror = f.value(probe), f.value(-probe)
    odd = bool(np.allclose(values, -mirror, rtol=1e-12, atol=1e-12))
    source = f if odd else _difference(f)
    slope = float(values[1] if odd else values[1] - mirror[1])
    table = averages(source, _GRID)
    factor = table.square / _GRID
    if not (table.square > 0).all() or not np.isfinite(table.slope_square).all():
        return _Map(source, odd, slope, False, None)
    if np.allclose(factor, factor[0], rtol=1e-9):
        return _Map(source, odd, slope, True, np.zeros_like(_GRID))
    growth = np.log(table.slope_square / factor)
    kept = growth[0] < 1e-2 and bool(np.all(np.diff(factor) <= 1e-9 * factor[:-1]))
    # Else a jump at 0, or growing faster than z: no q is kept.
    return _Map(source, odd, slope, False, growth if kept else None)


@lru_cache(maxsize=512)
def _paired(fn: Any, depth: int) -> Paired | None:
    found, name = _map(fn), elementwise(fn).name
    if not found.odd:
        own = averages(elementwise(fn), np.ones(1))
        square, chi = float(own.square[0]), float(own.slope_square[0] / own.square[0])
        stable = float(own.length_slope[0]) < 0.999 * square
        if square > 0 and chi > 0 and stable and depth * abs(math.log(chi)) <= GROWTH:
            return Paired(name, False, False, 1.0, square, 1 / math.sqrt(square), chi)
    if found.growth is None:
        return None
    if found.linear:
        return Paired(name, not found.odd, True, 1.0, found.slope**2, 1 / abs(found.slope), 1.0)
    q = _working_point(found.growth, GROWTH / depth, found.source)
    at = averages(found.source, np.array([q]))
    square, slopes = float(at.square[0]), float(at.slope_square[0])
    return Paired(name, not found.odd, False, q, square, math.sqrt(q / square), q * slopes / square)


def _difference(f: Scalar) -> Scalar:
    """g(z) = f(z) − f(−z)."""

    def value(x: Array) -> Array:
        return np.asarray(f.value(x) - f.value(-x))

    def slope(x: Array) -> Array:
        assert f.slope is not None
        return np.asarray(f.slope(x) + f.slope(-x))

    kinks = {*f.known_kinks, *(-kink for kink in f.known_kinks)}
    return Scalar(f"pairs of {f.name}", value, slope if f.slope is not None else None, tuple(sorted(kinks)))


def _working_point(growth: Array, wanted: float, source: Scalar) -> float:
    """The smallest q whose ln χ⊥ is the wanted; 1 where none reaches it."""
    above = np.nonzero(growth >= wanted)[0]
    if not len(above) or above[0] == 0:
        return 1.0
    bracket = _GRID[above[0] - 1 : above[0] + 1]

    def miss(q: Array) -> Array:
        table = averages(source, q)
        return np.asarray(np.log(q * table.slope_square / table.square) - wanted)

    found = roots(miss, bracket)
    return float(found[0]) if len(found) else float(bracket[1])
