"""Fixed points of the length and correlation maps, their stability, and the depth over which signals live."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fanin.errors import InputError
from fanin.theory._mean_field import averages, elementwise, pair_average, variance_arguments
from fanin.theory._roots import roots

if TYPE_CHECKING:
    from fanin.theory._quadrature import Array
    from fanin.theory._scalar import Scalar

__all__ = ["CorrelationPoint", "DepthScale", "FixedPoint", "depth_scale", "fixed_points", "length_grid"]

Stability = Literal["stable", "unstable", "half-stable", "marginal"]

MARGINAL = 1e-9
"""|χ − 1| below which a fixed point is called marginal: a hundred times the rounding of the averages."""


@dataclass(frozen=True)
class CorrelationPoint:
    """A fixed point of the correlation map: c, the slope dC/dc there, and whether it attracts."""

    c: float
    slope: float
    stability: Stability


@dataclass(frozen=True)
class FixedPoint:
    """A fixed point q* of the length map.

    Args:
        q: second moment that a layer reproduces.
        chi_par: dV/dq there; below 1 the length is attracted.
        chi_perp: factor of the gradient's second moment; below 1 nearby samples merge and gradients vanish.
        stability: of the length.
        correlation: fixed points of the correlation map at this q; c = 1 is always one.
        any_q: True where every q is a fixed point (f positively homogeneous at σ_w² = q/E f²); q is then 1.
    """

    q: float
    chi_par: float
    chi_perp: float
    stability: Stability
    correlation: tuple[CorrelationPoint, ...] = ()
    any_q: bool = False


@dataclass(frozen=True)
class DepthScale:
    """Layers over which perturbations shrink (or grow) by e; infinite at criticality.

    Args:
        q: the fixed point.
        length: ξ_q = −1/ln χ∥.
        correlation: ξ_c = −1/ln (dC/dc at the stable c*).
        c: the stable c*.
        gradient: 1/|ln χ⊥|: layers over which the gradient's second moment changes by e.
    """

    q: float
    length: float
    correlation: float
    c: float
    gradient: float


def length_grid(f: Scalar) -> Array:
    """q from 1e-8 up to as far as f can be integrated, 24 to a decade."""
    for top in (4, 2, 0):  # an oscillating f needs more panels the further out it is followed
        try:
            panels = len(f.edges(14 * 10 ** (top / 2)))
        except InputError:
            continue
        if panels < 300 or top == 0:
            return np.logspace(-8, top, 24 * (8 + top) + 1)
    raise InputError(f"fn: {f.name} cannot be integrated at q = 1.")


def _stability(slope: float) -> Stability:
    if abs(slope - 1) <= MARGINAL:
        return "marginal"
    return "stable" if abs(slope) < 1 else "unstable"


def fixed_points(
    fn: Any, weight_var: float, bias_var: float = 0.0, *, correlations: bool = True
) -> tuple[FixedPoint, ...]:
    """All fixed points of the length map, q* = σ_w² E f(√q* z)² + σ_b², ascending, with their stability.

    Searched up to q* = 1e4, or 100 or 1 where f oscillates too fast to be integrated further out.

    Args:
        fn: a name, module or callable.
        weight_var: σ_w².
        bias_var: σ_b².
        correlations: also find the fixed points of the correlation map at each.

    Returns:
        The fixed points; empty where the length grows without bound.

    Raises:
        InputError: for a negative variance or a function that cannot be integrated.

    Example:
        >>> [(round(p.q, 5), p.stability) for p in fixed_points("tanh", 1.76, 0.05)]
        [(0.56946, 'stable')]

    Source: Poole et al., 2016; half-stable points: Roberts, Yaida & Hanin, 2022, §5.3.
    """
    weight_var, bias_var = variance_arguments(weight_var, bias_var)
    f = elementwise(fn)
    grid = length_grid(f)
    table = averages(f, grid)
    ratio = table.square / grid
    at_zero = float(np.abs(f._evaluate(np.zeros(1)))[0])
    if np.ptp(ratio) < 1e-10 * ratio[0] and bias_var == 0:
        return _homogeneous(f, weight_var, float(ratio[0]), correlations)
    found = []
    if bias_var == 0 and (at_zero == 0 or weight_var == 0):
        slope = weight_var * float(ratio[0])
        found.append(FixedPoint(0.0, slope, weight_var * float(table.slope_square[0]), _stability(slope)))

    def excess(q: Array) -> Array:
        return (weight_var * averages(f, q).square + bias_var) / q - 1

    values = weight_var * ratio + bias_var / grid - 1
    candidates = [(float(q), False) for q in roots(excess, grid, values) if q > 0]
    candidates += [(q, True) for q in _tangents(f, grid, table.length_slope, weight_var, bias_var)]
    for q, tangent in sorted(candidates):
        if any(abs(q / other - 1) < 1e-2 for other, is_tangent in candidates if is_tangent and not tangent):
            continue  # two roots that rounding made of one tangent
        at = averages(f, np.array([q]))
        slope = weight_var * float(at.length_slope[0])
        found.append(
            FixedPoint(
                q,
                slope,
                weight_var * float(at.slope_square[0]),
                "half-stable" if tangent else _stability(slope),
                _correlations(f, q, weight_var, bias_var) if correlations else (),
            )
        )
    return tuple(found)


def _homogeneous(f: Scalar, weight_var: float, ratio: float, correlations: bool) -> tuple[FixedPoint, ...]:
    """f(λx) = λf(x): V(q) = σ_w² ratio q, so either no q > 0 is fixed or every one is."""
    slope = weight_var * ratio
    perp = weight_var * float(averages(f, np.array([1.0])).slope_square[0])
    if abs(slope - 1) > MARGINAL:
        return (FixedPoint(0.0, slope, perp, _stability(slope)),)
    points = _correlations(f, 1.0, weight_var, 0.0) if correlations else ()
    return (FixedPoint(1.0, slope, perp, "marginal", points, any_q=True),)


def _tangents(f: Scalar, grid: Array, slope: Array, weight_var: float, bias_var: float) -> list[float]:
    """Points where V touches the diagonal without crossing it: χ∥ = 1 and V = q."""
    touching = roots(lambda q: weight_var * averages(f, q).length_slope - 1, grid, weight_var * slope - 1)
    touching = touching[touching > 1e-4]
    if not len(touching):
        return []
    gap = weight_var * averages(f, touching).square + bias_var - touching
    # 1e-7: parameters that a user copies from a table carry eight digits.
    return [float(q) for q, miss in zip(touching, gap) if abs(miss) < 1e-7 * max(1.0, q)]


def _correlations(f: Scalar, q: float, weight_var: float, bias_var: float) -> tuple[CorrelationPoint, ...]:
    def rise(c: float) -> float:
        return (weight_var * pair_average(f, q, c) + bias_var) / q - c

    perp = weight_var * float(averages(f, np.array([q])).slope_square[0])
    points = []
    grid = np.array([-0.999, -0.9, -0.6, -0.3, 0.0, 0.3, 0.6, 0.9, 0.99, 0.999])
    vectorised = np.vectorize(rise, otypes=[float])
    # C is convex on [0, 1], so that below 1 it crosses the diagonal exactly where its slope at 1 exceeds 1.
    crossing = roots(vectorised, grid if perp > 1 + MARGINAL else grid[:5], steps=12)
    for c in crossing:
        if abs(rise(float(c))) < 1e-6:
            slope = weight_var * pair_average(f, q, float(c), slopes=True)
            points.append(CorrelationPoint(float(c), slope, _stability(slope)))
    points.append(CorrelationPoint(1.0, perp, _stability(perp)))
    return tuple(points)


def _scale(slope: float) -> float:
    if abs(abs(slope) - 1) <= MARGINAL:
        return math.inf
    return 0.0 if slope == 0 else abs(1 / math.log(abs(slope)))


def depth_scale(fn: Any, weight_var: float, bias_var: float = 0.0) -> DepthScale:
    """ξ_q and ξ_c: over how many layers lengths and correlations settle; deeper than a few ξ_c cannot train.

    ξ_q = −1/ln χ∥ at the fixed point that q = 1 flows to, ξ_c = −1/ln C′(c*) at the stable correlation c*.

    Args:
        fn: a name, module or callable.
        weight_var: σ_w².
        bias_var: σ_b².

    Returns:
        Both scales in layers, with the fixed point.

    Raises:
        InputError: if no fixed point attracts q = 1 (the signal grows without bound or dies out).

    Example:
        >>> d = depth_scale("tanh", 1.5, 0.05)
        >>> round(d.length, 2), round(d.correlation, 2), d.c
        (1.68, 15.79, 1.0)

    Source: Schoenholz et al., 2017, equations 8 and 9.
    """
    points = [p for p in fixed_points(fn, weight_var, bias_var) if p.q > 0 and p.stability != "unstable"]
    if not points:
        raise InputError(
            f"weight_var = {weight_var:g}, bias_var = {bias_var:g}: no fixed point q* > 0 attracts the signal; "
            "it grows without bound or dies out."
        )
    point = min(points, key=lambda p: abs(math.log(p.q)))
    settled = [c for c in point.correlation if c.stability != "unstable"] or list(point.correlation[-1:])
    return DepthScale(point.q, _scale(point.chi_par), _scale(settled[0].slope), settled[0].c, _scale(point.chi_perp))
