"""Scalar: an elementwise function cut into panels on which it is smooth; kinks are found by bisection."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fanin.errors import InputError
from fanin.theory._quadrature import Array, differentiate, ends, gaussian_weights, legendre_tail, nodes

if TYPE_CHECKING:
    from collections.abc import Callable

    from fanin.theory.activations import Activation

__all__ = ["Scalar", "expectation_grid", "scalar_of"]

REACH = 16.0
"""|x| up to which every function is searched for kinks; further out only when a larger q asks for it."""

MOST_PANELS = 8192
"""Above this a function is so irregular that quadrature cannot promise digits."""


@dataclass
class Scalar:
    """An elementwise function f and where it is not smooth.

    Args:
        name: for messages.
        value: f on a float64 array.
        slope: f′ on a float64 array, or None: then f is differentiated as a polynomial on each panel.
        known_kinks: points that are panel edges from the start.
        limits: limits of f at −∞ and +∞ (infinite or NaN where there are none).
        rounding: relative rounding error of the values.
    """

    name: str
    value: Callable[[Array], Array]
    slope: Callable[[Array], Array] | None = None
    known_kinks: tuple[float, ...] = ()
    limits: tuple[float, float] = (-math.inf, math.inf)
    rounding: float = 2.3e-16
    _edges: dict[float, Array] = field(default_factory=dict)

    def edges(self, reach: float = REACH) -> Array:
        """Ascending edges of panels that cover [−reach, reach]; f is smooth inside each."""
        reach = max(REACH, 2.0 ** math.ceil(math.log2(max(reach, 1e-300))))
        if reach not in self._edges:
            start = self._start(reach)
            edges = self._refine(start)
            if self.slope is None:
                kinks = _narrow_clusters(edges)
                for _ in range(4):  # each round squares the distance to the true kink
                    edges = self._refine(_joined(start, kinks))
                    before, kinks = kinks, self._sharpened(edges)
                    if len(before) == len(kinks) and np.array_equal(before, kinks):
                        break
                edges = self._refine(_joined(start, kinks))
            self._edges[reach] = edges
        return self._edges[reach]

    @property
    def kinks(self) -> tuple[float, ...]:
        """Points of |x| <= 16 where f or f′ jumps, found at the edges of the panels."""
        edges = self.edges()
        return tuple(float(k) for k in edges[1:-1][self._jumps(edges)[0]])

    def _jumps(self, edges: Array) -> tuple[NDArray[np.bool_], Array, Array]:
        """Which inner edges f or f′ jumps at; the jumps of f, f′, f″ there, and the noise each carries."""
        values = self._evaluate(nodes(edges)[0])
        left, right = ends(values, edges)
        scale = max(float(np.abs(values[np.abs(edges[:-1]) < 4]).max()), 1e-300)
        size = np.maximum(np.abs(values).max(axis=-1), scale)
        width = np.diff(edges)
        # Extrapolated slopes carry the rounding of f, magnified by the width of the panel.
        noise = np.stack([(1e-8 + 1e3 * self.rounding) * size, 1e5 * self.rounding * size / width + 1e-7 * size])
        noise = noise[:, 1:] + noise[:, :-1]
        jump = left[:, 1:] - right[:, :-1]
        return np.asarray((np.abs(jump[:2]) > noise).any(axis=0)), jump, noise

    def _sharpened(self, edges: Array) -> Array:
        """Every edge where f or f′ jumps, moved to where the polynomials of both sides meet."""
        found, jumps, noise = self._jumps(edges)
        kinks = []
        for i in np.nonzero(found)[0]:
            gap, turn, bend = jumps[:, i]
            reach = 0.01 * (edges[i + 2] - edges[i])
            if abs(gap) > 1e3 * noise[0, i]:
                shift = self._switch(edges[i : i + 3], reach)
            elif abs(turn) > 1e-3 * abs(bend) * reach and abs(gap) <= abs(turn) * reach:
                shift = -gap / turn
            else:
                shift = -turn / bend if bend and abs(turn) <= abs(bend) * reach else 0.0
            # Below 1e-11 the shift is rounding: an edge that was exactly right must stay so.
            moved = 1e-11 * max(1.0, abs(edges[i + 1])) < abs(shift) < reach
            kinks.append(edges[i + 1] + (shift if moved else 0.0))
        return np.array(kinks)

    def _switch(self, edges: Array, reach: float) -> float:
        """Distance from the middle edge to where f leaves its left polynomial for its right one, by bisection."""
        values = self._evaluate(nodes(edges)[0])
        left, right = ends(values, edges)
        before, after = right[:, 0], left[:, 1]
        low, high = -reach, reach
        for _ in range(60):
            x = (low + high) / 2
            at = float(self._evaluate(np.array([edges[1] + x]))[0])
            power = np.array([1.0, x, x * x / 2])
            low, high = (x, high) if abs(at - before @ power) < abs(at - after @ power) else (low, x)
        return (low + high) / 2

    def _start(self, reach: float) -> Array:
        fine = np.arange(-REACH, REACH + 0.5) if self.slope else np.arange(-REACH, REACH + 0.25, 0.5)
        outer = [2.0**k for k in range(5, int(math.log2(reach)) + 1)]
        kinks = [k for k in self.known_kinks if abs(k) < reach]
        return np.unique(np.concatenate([fine, outer, [-x for x in outer], kinks]))

    def _evaluate(self, x: Array) -> Array:
        with np.errstate(all="ignore"):
            values = np.asarray(self.value(x.reshape(-1)), dtype=np.float64).reshape(x.shape)
        if not np.isfinite(values).all():
            worst = float(x.flat[int(np.argmax(~np.isfinite(values.reshape(-1))))])
            if np.isnan(values).any():
                worst = float(x[np.isnan(values)][0])
                raise InputError(f"fn: {self.name} returns NaN at x = {worst:.6g}; expected a function of all reals.")
            raise InputError(
                f"fn: {self.name} is infinite at x = {worst:.6g}: it grows too fast, or has a pole, so that its "
                "Gaussian moments cannot be integrated."
            )
        return values

    def _refine(self, edges: Array) -> Array:
        """Bisect panels until f is a polynomial to rounding on each, or the panel is as narrow as rounding allows."""
        scale = float(np.abs(self._evaluate(np.linspace(-4, 4, 65))).max())
        tolerance = 2000 * self.rounding
        panels = np.stack([edges[:-1], edges[1:]], axis=-1)
        finished: list[Array] = []
        count = 0
        while len(panels):
            values = self._evaluate(nodes(panels)[0][:, 0])
            size = np.maximum(np.abs(values).max(axis=-1), scale)
            rough = legendre_tail(values) > tolerance * size
            width = panels[:, 1] - panels[:, 0]
            tiny = width <= 4 * max(self.rounding, 1e-13) * np.maximum(1.0, np.abs(panels).max(axis=-1))
            finished.append(panels[~rough | tiny])
            count += len(finished[-1])
            panels = panels[rough & ~tiny]
            if count + 2 * len(panels) > MOST_PANELS:
                raise InputError(
                    f"fn: {self.name} is too irregular to integrate: it has jumps or kinks wherever it is looked at."
                )
            middle = panels.mean(axis=-1)
            panels = np.concatenate([np.stack([panels[:, 0], middle], -1), np.stack([middle, panels[:, 1]], -1)])
        return np.unique(np.concatenate([panel.reshape(-1) for panel in finished]))


def _joined(start: Array, kinks: Array) -> Array:
    """Both, ascending; a starting edge next to a kink gives way to it."""
    if len(kinks):
        start = start[np.abs(start[:, None] - kinks[None, :]).min(axis=1) > 1e-7]
    return np.unique(np.concatenate([start, kinks]))


def _narrow_clusters(edges: Array) -> Array:
    """Where bisection ended in panels below 1e-4: the middle of the narrowest of each cluster."""
    narrow = np.diff(edges) < 1e-4
    starts = np.nonzero(narrow & ~np.concatenate([[False], narrow[:-1]]))[0]
    stops = np.nonzero(narrow & ~np.concatenate([narrow[1:], [False]]))[0] + 1
    at = [start + int(np.argmin(np.diff(edges[start : stop + 1]))) for start, stop in zip(starts, stops)]
    return np.array([(edges[i] + edges[i + 1]) / 2 for i in at])


def scalar_of(activation: Activation) -> Scalar:
    """The panels of a registered activation; cached, since activations are frozen values."""
    if activation not in _CACHE:
        _CACHE[activation] = Scalar(
            str(activation), activation.function, activation.derivative, activation.kinks, activation.limits
        )
    return _CACHE[activation]


_CACHE: dict[Activation, Scalar] = {}


def expectation_grid(f: Scalar, q: Array, radius: float = 14.0) -> tuple[Array, Array, Array, Array]:
    """Values and slopes of f(√q z) at nodes of a quadrature over z ~ N(0, 1).

    Args:
        f: the function.
        q: (Q,) second moments of the pre-activation; > 0.
        radius: |z| beyond which the density is dropped.

    Returns:
        z, weights, f(√q z), f′(√q z), each (Q, nodes); Σ weights·g estimates E g(z).
    """
    root = np.sqrt(np.asarray(q, dtype=np.float64))[:, None]
    base = np.arange(-radius, radius + 1)
    cuts = np.clip(f.edges(radius * float(root.max())) / root, -radius, radius)
    edges = np.sort(np.concatenate([np.broadcast_to(base, (len(root), len(base))), cuts], axis=1), axis=1)
    if len(root) == 1:
        edges = np.unique(edges)[None, :]
    z, weights = gaussian_weights(edges)
    x = root[:, :, None] * z
    with np.errstate(over="ignore"):
        values = f._evaluate(x)
        slopes = differentiate(values, edges * root) if f.slope is None else np.asarray(f.slope(x))
    flat = (len(root), -1)
    return z.reshape(flat), weights.reshape(flat), values.reshape(flat), slopes.reshape(flat)
