"""The constants α, β, δ, γ of a shaped activation γ·(f(αx + β) + δ): root finding on averages over a Gaussian.

With z ~ N(0, 1), f̂ the shaped function and Q(1) = E f̂² = 1 by the choice of γ,

    Q′(1) = E f̂² (z² − 1)/2     C′(1) = E f̂′²     C″(1) = E f̂″²     C(0) = (E f̂)²

Q′ needs no derivative of f (Stein's lemma), so kinks do it no harm.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np

from fanin.errors import InputError
from fanin.theory._quadrature import Array, differentiate, gaussian_weights
from fanin.theory._scalar import Scalar

__all__ = ["Constants", "centred", "curved", "leaky_slope", "rectified"]

Constants = tuple[float, float, float, float]
"""input_scale α, input_shift β, output_shift δ, output_scale γ."""

RADIUS = 10.0
"""|z| beyond which the density is dropped; φ(10) is below 1e-22."""

RELU_MOST = math.pi / (math.pi - 1)
"""C′(1) of the centred ReLU: E f′²/Var f = ½ / (½ − 1/2π)."""

_SCALES = (1.0, 0.1)
_SHIFTS = (0.0, 0.3, -0.3, 1.0, -1.0)
_SOLVED = 1e-10
"""Largest residual of a solution, relative to what the conditions ask of the nonlinearity."""


def _averages(f: Scalar, scale: float, shift: float) -> tuple[Array, Array, Array, Array, Array]:
    """z, weights, and f(αz + β) with its first and second derivative in z at the nodes."""
    cuts = (f.edges(scale * RADIUS + abs(shift)) - shift) / scale
    edges = np.unique(np.concatenate([np.arange(-RADIUS, RADIUS + 1), cuts[np.abs(cuts) < RADIUS]]))
    z, w = gaussian_weights(edges)
    x = scale * z + shift
    values = f._evaluate(x)
    slopes = differentiate(values, edges) if f.slope is None else scale * np.asarray(f.slope(x))
    bends = differentiate(slopes, edges)
    return z.ravel(), w.ravel(), values.ravel(), slopes.ravel(), bends.ravel()


def centred(f: Scalar, slope: float) -> Constants:
    """Q(1) = 1, C(0) = 0, Q′(1) = 1 and C′(1) = ``slope`` (Martens et al., 2021).

    Args:
        f: a function that is not piecewise linear with one kink; those have formulas of their own below.
        slope: C′(1) > 1.

    Raises:
        InputError: if no constants meet the conditions.
    """

    def errors(p: Array) -> tuple[Array, Constants]:
        scale, shift = math.exp(p[0]), float(p[1])
        z, w, values, slopes, _ = _averages(f, scale, shift)
        offset = -float(w @ values)
        square = _positive(w @ np.square(values + offset))
        stretch = float(w @ (np.square(values + offset) * (np.square(z) - 1))) / (2 * square)
        steep = float(w @ np.square(slopes)) / square
        # Relative to the distance of the slope from 1: all conditions hold trivially as f̂ becomes linear.
        error = np.array([stretch - 1, steep - slope]) / (slope - 1)
        return error, (scale, shift, offset, 1 / math.sqrt(square))

    starts = [np.array([math.log(scale), shift]) for scale, shift in product(_SCALES, _SHIFTS)]
    return _best(f, errors, starts, f"Q'(1) = 1, C(0) = 0 and C'(1) = {slope:.6g}")


def curved(f: Scalar, curvature: float) -> Constants:
    """Q(1) = 1, Q′(1) = 1, C′(1) = 1 and C″(1) = ``curvature`` (Zhang et al., 2022).

    Args:
        f: a function whose derivative has no jumps.
        curvature: C″(1) > 0.

    Raises:
        InputError: if no constants meet the conditions.
    """

    def errors(p: Array) -> tuple[Array, Constants]:
        scale, shift, offset = math.exp(p[0]), float(p[1]), float(p[2])
        z, w, values, slopes, bends = _averages(f, scale, shift)
        moved = np.square(values + offset)
        square = _positive(w @ moved)
        stretch = float(w @ (moved * (np.square(z) - 1))) / (2 * square)
        steep, bent = (float(w @ np.square(g)) / square for g in (slopes, bends))
        error = np.array([stretch - 1, steep - 1, bent - curvature]) / curvature
        return error, (scale, shift, offset, 1 / math.sqrt(square))

    starts = [
        np.array([math.log(scale), shift, offset])
        for scale, shift in product(_SCALES, _SHIFTS)
        for offset in _offsets(f, scale, shift)
    ]
    return _best(f, errors, starts, f"Q'(1) = 1, C'(1) = 1 and C''(1) = {curvature:.6g}")


def _offsets(f: Scalar, scale: float, shift: float) -> Iterator[float]:
    """−E f, and one standard deviation to either side."""
    _, w, values, _, _ = _averages(f, scale, shift)
    mean = float(w @ values)
    spread = math.sqrt(float(w @ np.square(values - mean)))
    yield from (-mean, spread - mean, -spread - mean)


def leaky_slope(slope: float) -> tuple[float, Constants]:
    """Negative slope a of the leaky ReLU with C′(1) = ``slope`` at β = 0, and the constants.

    C′(1) = (1 + a²)/2 / V, V = (1 + a²)/2 − (1 − a)²/2π. Q′(1) = 1 holds for every a, as f is homogeneous.

    Raises:
        InputError: if the slope is above what a in [−1, 1] reaches.
    """

    def variance(a: float) -> float:
        return (1 + a * a) / 2 - (1 - a) ** 2 / (2 * math.pi)

    if slope > 1 / variance(-1.0):
        raise InputError.of("slope", slope, f"at most {1 / variance(-1.0):.6g}, that of |x|", "leaky_relu")
    low, high = -1.0, 1.0
    for _ in range(100):
        a = (low + high) / 2
        low, high = (a, high) if (1 + a * a) / 2 / variance(a) > slope else (low, a)
    return a, (1.0, 0.0, -(1 - a) / math.sqrt(2 * math.pi), 1 / math.sqrt(variance(a)))


def rectified(f: Scalar, slope: float) -> Constants:
    """ReLU with C(0) = 0 and C′(1) = ``slope``: β = ±1 and α free; Q′(1) is what comes of it.

    Raises:
        InputError: if the slope is not reached.
    """
    shift = 1.0 if slope < RELU_MOST else -1.0

    def measure(scale: float) -> tuple[float, Constants]:
        _, w, values, slopes, _ = _averages(f, scale, shift)
        mean = float(w @ values)
        square = _positive(w @ np.square(values - mean))
        return float(w @ np.square(slopes)) / square, (scale, shift, -mean, 1 / math.sqrt(square))

    low, high = math.log(1e-3 if shift > 0 else 0.2), math.log(1e3)
    for _ in range(100):
        middle = (low + high) / 2
        # With β = 1 the function bends more as α grows, with β = −1 less.
        below = (measure(math.exp(middle))[0] < slope) == (shift > 0)
        low, high = (middle, high) if below else (low, middle)
    found, constants = measure(math.exp(middle))
    if abs(found - slope) > 1e-8 * slope:
        raise InputError.of("slope", slope, "a slope that ReLU reaches with a shift of 1 or -1", "relu")
    return constants


def _positive(square: Any) -> float:
    return max(float(square), 1e-280)


Errors = Callable[[Array], tuple[Array, Constants]]


def _best(f: Scalar, errors: Errors, starts: list[Array], wanted: str) -> Constants:
    """Of all solutions found: curvature spread most evenly, then the smallest α·γ, then the largest shift.

    Where the curvature sits in the tails, or a nearly flat piece of f is blown up by γ, widths that follow the Gaussian
    limit elsewhere do not; Zhang et al. (2022) reject such solutions (α·γ >= 2) too.
    """
    found: dict[tuple[float, ...], tuple[float, Constants]] = {}
    for start in starts:
        solution = _solved(errors, start)
        if solution is not None:
            key = tuple(round(value, 5) for value in solution)
            if key not in found:
                found[key] = (_unevenness(f, solution), solution)
    if not found:
        raise InputError(f"fn: no input_scale, shifts and output_scale give {f.name} {wanted}.")
    evenest = min(uneven for uneven, _ in found.values())
    close = [solution for uneven, solution in found.values() if uneven <= 1.25 * evenest]
    return min(close, key=lambda c: (round(c[0] * c[3], 6), -c[1]))


def _unevenness(f: Scalar, constants: Constants) -> float:
    """E f̂″⁴ / (E f̂″²)², >= 1; for a piecewise linear f, which has no f″, 1 + |Q″(1)| = 1 + |E f̂² (z⁴ − 6z² + 3)|/4."""
    scale, shift, offset, gain = constants
    z, w, values, _, bends = _averages(f, scale, shift)
    square = float(w @ np.square(bends))
    if square * gain**2 > 1e-9:
        return float(w @ np.square(np.square(bends))) / square**2
    return 1 + abs(float(w @ (np.square(gain * (values + offset)) * (z**4 - 6 * z**2 + 3)))) / 4


def _solved(errors: Errors, start: Array) -> Constants | None:
    """Where Levenberg–Marquardt with differences ends; None where an error is left."""
    step, damping, p = 1e-7, 1e-3, start
    try:
        error, constants = errors(p)
        for _ in range(60):
            if float(np.abs(error).max()) < 1e-12:
                break
            moves = step * np.eye(len(p))
            jacobian = np.stack([(errors(p + h)[0] - error) / step for h in moves], axis=1)
            normal, accepted = jacobian.T @ jacobian, False
            while not accepted and damping < 1e12:
                move = np.linalg.solve(normal + damping * np.diag(np.diag(normal) + 1e-30), -jacobian.T @ error)
                trial = p + np.clip(move, -1.0, 1.0)
                trial_error, trial_constants = errors(trial)
                accepted = bool(trial_error @ trial_error < error @ error)
                damping = max(damping / 10, 1e-15) if accepted else damping * 10
            if not accepted:
                break
            p, error, constants = trial, trial_error, trial_constants
    except (InputError, np.linalg.LinAlgError, OverflowError):  # it left the region where f can be evaluated
        return None
    return constants if float(np.abs(error).max()) < _SOLVED else None
