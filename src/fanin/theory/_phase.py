"""The phase diagram of an activation over (σ_w², σ_b²): ordered, critical, chaotic."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fanin.errors import InputError
from fanin.theory._fixed_points import length_grid
from fanin.theory._mean_field import averages, elementwise
from fanin.theory._scalar import Scalar, expectation_grid

if TYPE_CHECKING:
    from fanin.theory._quadrature import Array

__all__ = ["PhaseDiagram", "phase_diagram"]

DEGREE = 48
"""Hermite coefficients kept of f(√q z); what lies beyond is known in sum and placed on the next degree."""


@dataclass(frozen=True)
class PhaseDiagram:
    """Mean field over a grid of (σ_b², σ_w²); every array is (bias_var, weight_var).

    Args:
        name: the activation.
        weight_var: (W,) values of σ_w².
        bias_var: (B,) values of σ_b².
        q: fixed point that q = 1 flows to; 0 where the signal dies, infinite where it grows without bound.
        chi_par: slope of the length map there.
        chi_perp: factor of the gradient; 1 is the edge of chaos, below it order, above it chaos.
        c: the correlation that pairs of samples settle at.
        length_depth: ξ_q in layers.
        correlation_depth: ξ_c in layers.
    """

    name: str
    weight_var: Array
    bias_var: Array
    q: Array
    chi_par: Array
    chi_perp: Array
    c: Array
    length_depth: Array
    correlation_depth: Array

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; infinities become None."""
        data: dict[str, Any] = {"name": self.name}
        for key in ("weight_var", "bias_var", "q", "chi_par", "chi_perp", "c", "length_depth", "correlation_depth"):
            array = getattr(self, key)
            plain = array.astype(object)
            plain[~np.isfinite(array)] = None
            data[key] = plain.tolist()
        return data


def phase_diagram(fn: Any, weight_var: Any = None, bias_var: Any = None) -> PhaseDiagram:
    """q*, χ∥, χ⊥, c* and both depth scales over a grid, vectorised; to about 1e-6.

    Args:
        fn: a name, module or callable.
        weight_var: (W,) values of σ_w², > 0; default 60 from 0.05 to 4 (for f′(0) = 1).
        bias_var: (B,) values of σ_b², >= 0; default 60 from 0 to 0.3.

    Returns:
        The diagram.

    Raises:
        InputError: for empty, negative or non-finite axes.

    Example:
        >>> p = phase_diagram("tanh", [1.0, 1.7609546, 3.0], [0.05])
        >>> p.chi_perp.round(4)
        array([[0.759 , 1.    , 1.2089]])

    Source: Poole et al., 2016, figure 1; Schoenholz et al., 2017, figure 1.
    """
    f = elementwise(fn)
    widths = _axis("weight_var", np.linspace(0.05, 4.0, 60) if weight_var is None else weight_var)
    biases = _axis("bias_var", np.linspace(0.0, 0.3, 60) if bias_var is None else bias_var)
    w, b = np.meshgrid(widths, biases)
    table = _Table(f)
    q = _settled(table, w, b)
    live = (q > 0) & np.isfinite(q)
    at = table(np.where(live, q, table.q[0]))
    known = live | (q == 0)
    chi_par = np.where(known, w * at[..., 1], np.nan)
    chi_perp = np.where(known, w * at[..., 2], np.nan)
    c, slope = _correlation(at[..., 3:], w, b, q, chi_perp)
    return PhaseDiagram(f.name, widths, biases, q, chi_par, chi_perp, c, _depth(chi_par), _depth(slope))


class _Table:
    """E f²/q, χ∥/σ_w², χ⊥/σ_w² and a_k²/q on a fine logarithmic grid, read off by cubic interpolation (to 1e-6)."""

    def __init__(self, f: Scalar) -> None:
        coarse = length_grid(f)
        self.log = np.linspace(np.log(coarse[0]), np.log(coarse[-1]), 2 * len(coarse) - 1)
        self.q = np.exp(self.log)
        at = averages(f, self.q)
        squares = np.concatenate([_hermite(f, part) for part in np.array_split(self.q, 4)])
        squares = np.concatenate([squares, np.maximum(at.square - squares.sum(-1), 0.0)[:, None]], axis=-1)
        self.rows = np.concatenate(
            [np.stack([at.square / self.q, at.length_slope, at.slope_square], -1), squares / self.q[:, None]], axis=-1
        )

    def __call__(self, q: Array, columns: slice = slice(None)) -> Array:
        position = (np.log(q) - self.log[0]) / (self.log[1] - self.log[0])
        start = np.clip(position.astype(int) - 1, 0, len(self.log) - 4)
        t = (position - start)[..., None]
        rows = [self.rows[start + k, columns] for k in range(4)]
        return np.asarray(
            -rows[0] * (t - 1) * (t - 2) * (t - 3) / 6
            + rows[1] * t * (t - 2) * (t - 3) / 2
            - rows[2] * t * (t - 1) * (t - 3) / 2
            + rows[3] * t * (t - 1) * (t - 2) / 6
        )


def _axis(name: str, values: Any) -> Array:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not len(array) or not np.isfinite(array).all() or (array < 0).any():
        raise InputError.of(name, values, "a list of finite numbers >= 0 (a negative variance is inadmissible)")
    return array


def _depth(slope: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = np.abs(1 / np.log(np.abs(slope)))
    return np.asarray(np.where(np.abs(slope - 1) < 1e-9, np.inf, depth))


def _settled(table: _Table, w: Array, b: Array) -> Array:
    """The fixed point that q = 1 flows to: the first sign change of V(q)/q − 1 in the direction V(1) − 1 points."""
    grid = table.q
    excess = w[..., None] * table.rows[:, 0] + b[..., None] / grid - 1
    one = int(np.argmin(np.abs(table.log)))
    up = excess[..., one] > 0
    above, below = excess[..., one:] <= 0, excess[..., one::-1] >= 0
    index = np.where(up, one + above.argmax(-1) - 1, one - below.argmax(-1))
    found = np.where(up, above.any(-1), below.any(-1))
    index = np.clip(index, 0, len(grid) - 2)
    low, high = table.log[index], table.log[index + 1]
    rising = np.take_along_axis(excess, index[..., None], -1)[..., 0] >= 0
    for _ in range(40):
        middle = (low + high) / 2
        q = np.exp(middle)
        same = ((w * table(q, slice(1))[..., 0] + b / q - 1) >= 0) == rising
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    steady = (np.abs(excess[..., one]) < 1e-12) & (np.ptp(excess, axis=-1) < 1e-9)
    q = np.where(steady, 1.0, np.exp(low))
    return np.asarray(np.where(found | steady, q, np.where(up, np.inf, 0.0)))


def _hermite(f: Scalar, q: Array) -> Array:
    """a_k²(q), k = 0 … DEGREE: f(√q z) = Σ a_k h_k(z) with orthonormal h_k."""
    z, w, values, _ = expectation_grid(f, q)
    weighted = w * values
    previous, current = np.zeros_like(z), np.ones_like(z)
    squares = []
    for k in range(DEGREE + 1):
        squares.append(np.square((weighted * current).sum(-1)))
        previous, current = current, (z * current - math.sqrt(k) * previous) / math.sqrt(k + 1)
    return np.stack(squares, axis=-1)


def _correlation(squares: Array, w: Array, b: Array, q: Array, chi_perp: Array) -> tuple[Array, Array]:
    """Stable c* and the slope there: 1 and χ⊥ in the ordered phase, a root of C(c) = c below 1 in the chaotic one."""
    c, slope = np.ones(q.shape), np.array(chi_perp)
    with np.errstate(invalid="ignore"):
        chaotic = (chi_perp > 1 + 1e-6) & (q > 0) & np.isfinite(q)
    if not chaotic.any():
        return c, slope
    powers = squares[chaotic] * w[chaotic][:, None]
    powers[:, 0] += b[chaotic] / q[chaotic]
    k = np.arange(powers.shape[1])
    low, high = np.zeros(len(powers)), np.full(len(powers), 1 - 1e-6)
    for _ in range(40):
        middle = (low + high) / 2
        above = (powers * middle[:, None] ** k).sum(-1) > middle
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    c[chaotic] = low
    slope[chaotic] = (powers[:, 1:] * k[1:] * low[:, None] ** (k[1:] - 1)).sum(-1)
    return c, slope
