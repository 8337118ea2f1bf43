"""Singular values of the input–output Jacobian of a deep network, predicted and simulated."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fanin.errors import InputError
from fanin.theory._mean_field import averages, elementwise, variance_arguments
from fanin.theory._moments import moments

if TYPE_CHECKING:
    from fanin.theory._quadrature import Array

__all__ = ["JacobianSpectrum", "jacobian_spectrum", "simulate_jacobian"]

Weights = Literal["gaussian", "orthogonal"]


@dataclass(frozen=True)
class JacobianSpectrum:
    """First two moments of the squared singular values s² of J = Π D_l W_l at infinite width.

    Args:
        depth: layers.
        weights: "gaussian" or "orthogonal".
        q: second moment of the pre-activations.
        mean: E s² = χ⊥^depth.
        variance: Var s².
    """

    depth: int
    weights: Weights
    q: float
    mean: float
    variance: float

    @property
    def relative_variance(self) -> float:
        """Var s² / (E s²)²: 0 is dynamical isometry."""
        return self.variance / self.mean**2


def _depth(depth: Any) -> int:
    if isinstance(depth, bool) or not isinstance(depth, (int, np.integer)) or depth < 1:
        raise InputError.of("depth", depth, "an integer >= 1, the number of layers")
    return int(depth)


def _kind(weights: str) -> Weights:
    if weights == "gaussian":
        return "gaussian"
    if weights == "orthogonal":
        return "orthogonal"
    raise InputError.of("weights", weights, "'gaussian' or 'orthogonal'")


def jacobian_spectrum(
    fn: Any, depth: int, *, weight_var: float, bias_var: float = 0.0, q: float | None = None, weights: str = "gaussian"
) -> JacobianSpectrum:
    """Mean and variance of the squared singular values of the Jacobian of ``depth`` layers at the fixed point.

    E s² = χ^L, Var s² / (E s²)² = L (μ₂/μ₁² − 1 − s₁) with μ_k = E f′^{2k}, s₁ = −1 for Gaussian weights, 0 for
    orthogonal ones: from the S-transform of the free product.

    Args:
        fn: a name, module or callable.
        depth: number of layers, >= 1.
        weight_var: σ_w².
        bias_var: σ_b²; used to find q.
        q: second moment of the pre-activations; by default the fixed point nearest to 1.
        weights: "gaussian" or "orthogonal".

    Returns:
        The record.

    Raises:
        InputError: for an unusable argument, or where there is no fixed point q > 0.

    Example:
        >>> jacobian_spectrum("linear", 10, weight_var=1.0, q=1.0, weights="orthogonal").relative_variance < 1e-12
        True
        >>> round(jacobian_spectrum("relu", 10, weight_var=2.0, q=1.0).relative_variance, 6)
        20.0

    Source: Pennington, Schoenholz & Ganguli, 2017, equations 16–17; Pennington, Schoenholz & Ganguli, 2018.
    """
    weight_var, bias_var = variance_arguments(weight_var, bias_var)
    depth, kind = _depth(depth), _kind(weights)
    if q is None:
        from fanin.theory._fixed_points import fixed_points

        candidates = [p for p in fixed_points(fn, weight_var, bias_var, correlations=False) if p.q > 0]
        if not candidates:
            raise InputError(f"weight_var = {weight_var:g}, bias_var = {bias_var:g}: no fixed point q* > 0; pass q.")
        q = min(candidates, key=lambda p: (p.stability == "unstable", abs(math.log(p.q)))).q
    at = moments(fn, q)
    mean = (weight_var * at.derivative_second_moment) ** depth
    spread = at.derivative_fourth_moment / at.derivative_second_moment**2 - 1
    relative = depth * (spread + (1.0 if kind == "gaussian" else 0.0))
    return JacobianSpectrum(depth, kind, q, mean, relative * mean**2)


def simulate_jacobian(
    fn: Any,
    depth: int,
    width: int,
    *,
    weight_var: float,
    bias_var: float = 0.0,
    q: float = 1.0,
    weights: str = "gaussian",
    seed: int = 0,
) -> Array:
    """Singular values of the Jacobian of one random network of finite width, whose first layer sees |x|² = q·width.

    Args:
        fn: a name, module or callable.
        depth: layers.
        width: units of every layer.
        weight_var: σ_w².
        bias_var: σ_b².
        q: second moment of the first pre-activations.
        weights: "gaussian" or "orthogonal".
        seed: of the generator.

    Returns:
        (width,) singular values, descending.

    Example:
        >>> s = simulate_jacobian("linear", 3, 16, weight_var=1.0, weights="orthogonal")
        >>> bool(abs(s - 1).max() < 1e-12)
        True

    Source: Pennington, Schoenholz & Ganguli, 2017, figure 1.
    """
    weight_var, bias_var = variance_arguments(weight_var, bias_var)
    depth, width, kind = _depth(depth), _depth(width), _kind(weights)
    f = elementwise(fn)
    averages(f, np.array([q]))
    random = np.random.default_rng(seed)
    h = random.normal(0, math.sqrt(q), width)
    jacobian = np.eye(width)
    step = 1e-6
    for _ in range(depth):
        weight = random.normal(size=(width, width)) / math.sqrt(width)
        if kind == "orthogonal":
            orthogonal, triangle = np.linalg.qr(weight)
            weight = orthogonal * np.sign(np.diag(triangle))
        weight *= math.sqrt(weight_var)
        slope = f.slope(h) if f.slope else (f._evaluate(h + step) - f._evaluate(h - step)) / (2 * step)
        jacobian = weight @ (slope[:, None] * jacobian)
        h = weight @ f._evaluate(h) + random.normal(0, math.sqrt(bias_var), width)
    return np.asarray(np.linalg.svd(jacobian, compute_uv=False))
