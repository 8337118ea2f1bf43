"""Composite Gauss–Legendre quadrature: panels, nodes, and the differentiation of a function given at the nodes."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["ORDER", "Array", "differentiate", "ends", "gaussian_weights", "legendre_tail", "nodes"]

Array = NDArray[np.float64]

ORDER = 16
"""Nodes of a panel: exact to degree 31, so a smooth f on a panel it varies over by O(1) is integrated to rounding."""


@cache
def _rule() -> tuple[Array, Array, Array, Array]:
    """Nodes and weights on [−1, 1], the matrix values → Legendre coefficients, the matrix values → derivatives."""
    x, w = np.polynomial.legendre.leggauss(ORDER)
    vandermonde = np.polynomial.legendre.legvander(x, ORDER - 1)
    degree = np.arange(ORDER)
    coefficients = (vandermonde * w[:, None]).T * ((2 * degree + 1) / 2)[:, None]
    slopes = np.stack(
        [np.polynomial.legendre.legval(x, np.polynomial.legendre.legder(np.eye(ORDER)[k])) for k in degree], axis=1
    )
    return x, w, coefficients, slopes @ coefficients


def nodes(edges: Array) -> tuple[Array, Array]:
    """Nodes and weights of every panel between neighbouring edges.

    Args:
        edges: (…, panels + 1), ascending; panels of width 0 are harmless.

    Returns:
        Nodes and weights, each (…, panels, ORDER).
    """
    x, w, _, _ = _rule()
    middle = (edges[..., 1:] + edges[..., :-1])[..., None] / 2
    half = (edges[..., 1:] - edges[..., :-1])[..., None] / 2
    return middle + half * x, half * w


def gaussian_weights(edges: Array) -> tuple[Array, Array]:
    """Nodes z and weights such that Σ weight·g(z) = E g(z) for z ~ N(0, 1)."""
    z, w = nodes(edges)
    return z, w * np.exp(-np.square(z) / 2) / math.sqrt(2 * math.pi)


def differentiate(values: Array, edges: Array) -> Array:
    """Derivative at the nodes of the polynomial through the values (…, panels, ORDER); 0 on panels of width 0."""
    half = (edges[..., 1:] - edges[..., :-1])[..., None] / 2
    slopes = values @ _rule()[3].T
    return np.asarray(np.divide(slopes, half, out=np.zeros_like(slopes), where=half > 0))


def legendre_tail(values: Array) -> Array:
    """Size of the last quarter of the Legendre coefficients of each panel: rounding where f is smooth on it."""
    coefficients = values @ _rule()[2].T
    return np.asarray(np.abs(coefficients[..., -ORDER // 4 :]).max(axis=-1))


def ends(values: Array, edges: Array) -> tuple[Array, Array]:
    """f, f′ and f″ extrapolated to the ends of each panel: (left, right), each (3, panels)."""
    coefficients = np.atleast_2d(values) @ _rule()[2].T
    k = np.arange(ORDER)
    # At 1: P_k = 1, P_k′ = k(k+1)/2, P_k″ = (k−1)k(k+1)(k+2)/8; at −1 with sign (−1)^k, −(−1)^k, (−1)^k.
    at_one = np.stack([np.ones(ORDER), k * (k + 1) / 2, (k - 1) * k * (k + 1) * (k + 2) / 8])
    sign = (-1.0) ** k * np.array([[1.0], [-1.0], [1.0]])
    scale = ((edges[1:] - edges[:-1]) / 2) ** np.array([[0.0], [1.0], [2.0]])
    return (at_one * sign) @ coefficients.T / scale, at_one @ coefficients.T / scale
