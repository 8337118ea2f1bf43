"""Flow: what theory knows of the values at one place, and Grad: what it knows of the loss gradient there."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CAUSAL",
    "CROSS",
    "FAR",
    "NEAR",
    "SAMPLE",
    "Array",
    "Flow",
    "Form",
    "Grad",
    "alike",
    "gaussian_image",
    "gaussian_nodes",
    "relations",
]

Array = NDArray[np.float64]

SAMPLE, NEAR, FAR, CROSS, CAUSAL = range(5)
"""Entries of a kernel: E x x′ for the same unit in another sample at the same position; in the same sample at a
neighbouring position; at any other one; in another sample at another position; and in the same sample averaged over the
pairs j, k <= i that row i of causal attention mixes."""


def relations(sample: float, near: float, far: float, cross: float, causal: float | None = None) -> Array:
    """A kernel from its entries; causal pairs are like any others unless said otherwise."""
    return np.array([sample, near, far, cross, far if causal is None else causal], dtype=np.float64)


def alike(value: float) -> Array:
    """A kernel with equal entries."""
    return np.full(5, float(value))


DEGREE = 32
"""Hermite coefficients of a nonlinearity; what lies beyond is known in sum and put on the next degree."""


@dataclass(frozen=True)
class Form:
    """How values arise: x = f(u) with Gaussian u; lets a second pointwise op, or a maximum, be computed from u.

    Args:
        value: f.
        mean: E u.
        variance: Var u.
        correlation: (5,) correlations of u, ordered as a kernel.
    """

    value: Callable[[Array], Array]
    mean: float
    variance: float
    correlation: Array


@dataclass(frozen=True)
class Flow:
    """Statistics of the values at one place over weights, units, samples and positions.

    Args:
        mean: E x.
        second: E x².
        kernel: (5,) E x x′ of one unit: see SAMPLE, NEAR, FAR, CROSS, CAUSAL.
        unit: axis of the units (channels, features), whose entries have independent weights.
        last: E x x′ of two entries of the last axis, where that is not mean² (attention logits and weights).
        form: how the values arise from a Gaussian, or None for a Gaussian itself.
        masked: logits of which a causal half is masked out.
        exact: False after an estimate.
    """

    mean: float
    second: float
    kernel: Array
    unit: int = -1
    last: float | None = None
    form: Form | None = None
    masked: bool = False
    exact: bool = True

    @property
    def variance(self) -> float:
        """Second moment less mean squared; >= 0."""
        return max(0.0, self.second - self.mean**2)

    def gaussian(self) -> Form:
        """The form, or the Gaussian with these moments."""
        if self.form is not None:
            return self.form
        v = self.variance
        correlation = (self.kernel - self.mean**2) / v if v > 1e-300 else alike(0.0)
        return Form(lambda x: x, self.mean, v, np.clip(correlation, -1.0, 1.0))

    def affine(self, factor: float, addend: float = 0.0) -> Flow:
        """factor·x + addend."""
        cross = 2 * factor * addend * self.mean + addend**2
        form = self.form
        if form is not None:
            inner = form.value
            form = replace(form, value=lambda u: factor * inner(u) + addend)
        return replace(
            self,
            mean=factor * self.mean + addend,
            second=factor**2 * self.second + cross,
            kernel=factor**2 * self.kernel + cross,
            last=None if self.last is None else factor**2 * self.last + cross,
            form=form,
        )

    def plus_units(self, mean: float, second: float) -> Flow:
        """Add to every unit its own independent constant of that mean and second moment, such as a bias."""
        if second == 0:
            return self
        cross = 2 * self.mean * mean + second
        return replace(
            self, mean=self.mean + mean, second=self.second + cross, kernel=self.kernel + cross, last=None, form=None
        )

    def times_units(self, mean: float, second: float) -> Flow:
        """Multiply every unit by its own independent constant, such as the gain of a norm."""
        if mean == 1 and abs(second - 1) < 1e-12:
            return self
        return replace(
            self, mean=self.mean * mean, second=self.second * second, kernel=self.kernel * second, last=None, form=None
        )


@dataclass(frozen=True)
class Grad:
    """The loss gradient at one place.

    Args:
        second: E g².
        far: E g g′ of one unit at two positions of a sample.
        tilt: how much larger f′² is, on average, at the entries that receive gradient than at all entries; a maximum
            picks entries where a rectifier is open.
    """

    second: float
    far: float = 0.0
    tilt: float = 1.0

    def __add__(self, other: Grad) -> Grad:
        total = self.second + other.second
        tilt = (self.second * self.tilt + other.second * other.tilt) / total if total else 1.0
        return Grad(total, self.far + other.far, tilt)

    def times(self, factor: float, far: float | None = None) -> Grad:
        """Scaled by the mean square of what multiplies it; ``far`` where two positions are scaled otherwise."""
        return Grad(self.second * factor, self.far * (factor if far is None else far))


@cache
def gaussian_nodes() -> tuple[Array, Array, Array]:
    """Nodes, weights of N(0, 1) and orthonormal Hermite polynomials there: to 1e-5 even across a kink."""
    x, w = np.polynomial.legendre.leggauss(8)
    edges = np.linspace(-9, 9, 73)
    half = np.diff(edges)[:, None] / 2
    z = ((edges[1:] + edges[:-1])[:, None] / 2 + half * x).reshape(-1)
    weights = (half * w).reshape(-1) * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    rows = [np.ones_like(z), z]
    for k in range(1, DEGREE):
        rows.append((z * rows[-1] - math.sqrt(k) * rows[-2]) / math.sqrt(k + 1))
    return z, weights, np.stack(rows)


def gaussian_image(value: Callable[[Array], Array], mean: float, variance: float, correlation: Array) -> Flow:
    """The flow of value(u) for Gaussian u: moments by quadrature, kernels by the Hermite expansion Σ a_k² c^k."""
    z, w, hermite = gaussian_nodes()
    with np.errstate(all="ignore"):
        values = np.nan_to_num(np.asarray(value(mean + math.sqrt(variance) * z), dtype=np.float64))
    values = np.clip(values, -1e140, 1e140)  # squares stay finite
    coefficients = np.square(hermite @ (w * values))
    second = float(w @ np.square(values))
    rest = max(0.0, second - float(coefficients.sum()))
    powers = np.power(correlation[:, None], np.arange(DEGREE + 2)[None, :])
    kernel = powers @ np.append(coefficients, rest)
    return Flow(float(w @ values), second, kernel)
