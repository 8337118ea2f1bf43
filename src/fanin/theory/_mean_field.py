"""Mean field of an infinitely wide random network: how second moments and correlations pass one layer.

Weights W ~ N(0, σ_w²/fan_in), biases b ~ N(0, σ_b²), pre-activations Gaussian with second moment q:

    length       V(q) = σ_w² E f(√q z)² + σ_b²
    correlation  C(c) = (σ_w² E f(u₁) f(u₂) + σ_b²) / V(q),  u₁, u₂ ~ N(0, q) with correlation c
    χ∥ = dV/dq = σ_w² E f² (z² − 1)/(2q)                     (Stein's lemma: no derivative, so kinks do no harm)
    χ⊥ = dC/dc at c = 1 and V(q) = q: σ_w² E f′²             (also the factor of the gradient's second moment)

Source: Poole et al., 2016; Schoenholz et al., 2017.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from fanin.errors import InputError
from fanin.theory._callable import resolve
from fanin.theory._quadrature import Array, gaussian_weights
from fanin.theory._scalar import Scalar, expectation_grid, scalar_of
from fanin.theory.activations import Activation

__all__ = [
    "LayerAverages",
    "averages",
    "chi_par",
    "chi_perp",
    "correlation_map",
    "elementwise",
    "length_map",
    "pair_average",
    "variance_arguments",
]

CHUNK = 512
"""Values of q in one vectorised evaluation: about a thousand nodes each, so some tens of megabytes."""


@dataclass(frozen=True)
class LayerAverages:
    """What one layer does at each q, per unit of σ_w².

    Args:
        q: second moments of the pre-activation, (Q,).
        square: E f².
        length_slope: d E f²/dq = E f² (z² − 1)/(2q).
        slope_square: E f′².
    """

    q: Array
    square: Array
    length_slope: Array
    slope_square: Array


def elementwise(fn: Any) -> Scalar:
    """The function behind fn; a gated unit has two inputs and no scalar mean field.

    Raises:
        InputError: for a gated unit.
    """
    found = resolve(fn)
    if isinstance(found, Scalar):
        return found
    if isinstance(found, Activation):
        return scalar_of(found)
    raise InputError(f"fn: {found.name} has two inputs; the mean field of one layer needs its gate, {found.gate!r}.")


def variance_arguments(weight_var: float, bias_var: float) -> tuple[float, float]:
    """Validate σ_w² and σ_b².

    Raises:
        InputError: if either is negative or not finite; the text says what the number means.
    """
    for name, value, meaning in (
        ("weight_var", weight_var, "a finite number >= 0, fan_in times the variance of a weight"),
        ("bias_var", bias_var, "a finite number >= 0: a variance; a negative σ_b² is inadmissible"),
    ):
        if isinstance(value, bool) or not isinstance(value, (int, float, np.floating, np.integer)):
            raise InputError.of(name, value, meaning)
        if not 0 <= value < math.inf:
            raise InputError.of(name, value, meaning)
    return float(weight_var), float(bias_var)


def averages(fn: Any, q: Array) -> LayerAverages:
    """E f², its slope and E f′² at many q at once.

    Args:
        fn: a name, module or callable, or an analysed :class:`Scalar`.
        q: (Q,) second moments, > 0.

    Returns:
        The three averages, each (Q,).

    Raises:
        InputError: if fn grows too fast to integrate at the largest q.
    """
    f = fn if isinstance(fn, Scalar) else elementwise(fn)
    q = np.atleast_1d(np.asarray(q, dtype=np.float64))
    parts = []
    for start in range(0, len(q), CHUNK):
        piece = q[start : start + CHUNK]
        z, w, values, slopes = expectation_grid(f, piece)
        square = w * np.square(values)
        total = square.sum(-1)
        outside = np.where(np.abs(z) > 12, square, 0.0).sum(-1)
        if ((outside > 1e-9 * total) & (outside > 1e-20 * piece)).any():  # not a dead zone's far edge
            worst = float(piece[np.argmax(outside / np.maximum(total, 1e-300))])
            raise InputError(f"fn: {f.name} grows too fast to integrate at q = {worst:.4g}.")
        parts.append(
            np.stack([total, (square * (np.square(z) - 1)).sum(-1) / (2 * piece), (w * np.square(slopes)).sum(-1)])
        )
    return LayerAverages(q, *np.concatenate(parts, axis=1))


def length_map(fn: Any, q: float, weight_var: float, bias_var: float = 0.0) -> float:
    """V(q) = σ_w² E f(√q z)² + σ_b²: the second moment of the next layer's pre-activations.

    Args:
        fn: a name, module or callable.
        q: second moment now, > 0.
        weight_var: σ_w² = fan_in · Var W.
        bias_var: σ_b².

    Returns:
        V(q).

    Raises:
        InputError: for a negative variance or a function that cannot be integrated.

    Example:
        >>> round(length_map("relu", 3.0, weight_var=2.0), 12)
        3.0

    Source: Poole et al., 2016, equation 3.
    """
    weight_var, bias_var = variance_arguments(weight_var, bias_var)
    return weight_var * float(averages(fn, np.array([q])).square[0]) + bias_var


def chi_perp(fn: Any, q: float, weight_var: float) -> float:
    """χ⊥ = σ_w² E f′(√q z)²: the factor of the gradient's second moment, and of a small angle squared, per layer.

    Example:
        >>> round(chi_perp("tanh", 0.56946, 1.76), 4)
        0.9998

    Source: Poole et al., 2016; Schoenholz et al., 2017, equation 9.
    """
    weight_var, _ = variance_arguments(weight_var, 0.0)
    return weight_var * float(averages(fn, np.array([q])).slope_square[0])


def chi_par(fn: Any, q: float, weight_var: float) -> float:
    """χ∥ = dV/dq: the factor of a small error in the second moment, per layer.

    Example:
        >>> round(chi_par("gelu", 1.0, 1 / 0.42522148261762), 4)
        1.1441

    Source: Schoenholz et al., 2017, equation 8; Roberts, Yaida & Hanin, 2022, chapter 5.
    """
    weight_var, _ = variance_arguments(weight_var, 0.0)
    return weight_var * float(averages(fn, np.array([q])).length_slope[0])


def pair_average(f: Scalar, q: float, c: float, *, slopes: bool = False) -> float:
    """E f(u₁) f(u₂), or E f′(u₁) f′(u₂), for u₁, u₂ ~ N(0, q) with correlation c in (−1, 1].

    u₂ = √q (c z₁ + √(1−c²) z₂); the kinks of u₂ are panel edges in z₂ for every z₁.
    """
    z, w, values, derivatives = (part[0] for part in expectation_grid(f, np.array([q]), 9.0))
    outer = w * (derivatives if slopes else values)
    sine = math.sqrt(max(0.0, 1.0 - c * c))
    if sine < 1e-12:
        return float(outer @ (derivatives if slopes else values))
    root, radius = math.sqrt(q), 9.0
    cuts = f.edges(2 * radius * root) / root
    cuts = cuts[np.abs(cuts) < 2 * radius]
    base = np.arange(-radius, radius + 1)
    total = 0.0
    for start in range(0, len(z), CHUNK):
        part = slice(start, start + CHUNK)
        inner = np.clip((cuts[None, :] - c * z[part, None]) / sine, -radius, radius)
        edges = np.sort(np.concatenate([np.broadcast_to(base, (len(inner), len(base))), inner], axis=1), axis=1)
        z2, w2 = gaussian_weights(edges)
        x = root * (c * z[part, None, None] + sine * z2)
        total += float(outer[part] @ (w2 * _at(f, x, slopes)).sum((1, 2)))
    return total


def _at(f: Scalar, x: Array, slopes: bool) -> Array:
    if not slopes:
        return f._evaluate(x)
    if f.slope is not None:
        return np.asarray(f.slope(x))
    step = 1e-5 * np.maximum(1.0, np.abs(x))
    return (f._evaluate(x + step) - f._evaluate(x - step)) / (2 * step)


def correlation_map(fn: Any, c: float, q: float, weight_var: float, bias_var: float = 0.0) -> float:
    """C(c): correlation of two samples' pre-activations after a layer, where it was c before.

    Args:
        fn: a name, module or callable.
        c: correlation now, in (−1, 1].
        q: second moment of both samples now, > 0.
        weight_var: σ_w².
        bias_var: σ_b².

    Returns:
        (σ_w² E f(u₁) f(u₂) + σ_b²) / V(q).

    Raises:
        InputError: if c is outside (−1, 1] or a variance is negative.

    Example:
        >>> round(correlation_map("relu", 0.0, 1.0, 2.0), 8)  # 1/π: Cho & Saul, 2009
        0.31830989

    Source: Poole et al., 2016, equation 5.
    """
    weight_var, bias_var = variance_arguments(weight_var, bias_var)
    if not -1 < c <= 1:
        raise InputError.of("c", c, "a correlation in (-1, 1]")
    f = elementwise(fn)
    return (weight_var * pair_average(f, q, c) + bias_var) / length_map(f, q, weight_var, bias_var)
