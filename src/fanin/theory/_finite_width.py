"""Finite width: how far single networks stray from the mean field, which grows with depth over width."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fanin.errors import InputError
from fanin.theory._mean_field import averages, elementwise, variance_arguments
from fanin.theory._moments import moments

if TYPE_CHECKING:
    from fanin.theory._quadrature import Array

__all__ = ["finite_width_spread"]


def finite_width_spread(fn: Any, widths: Any, *, weight_var: float, bias_var: float = 0.0, q: float = 1.0) -> Array:
    """Relative variance, over random networks, of the second moment of each layer's pre-activations.

    With independent Gaussian weights the n pre-activations of a layer are independent given the layer before, so
    q̂ = (σ_w²/n) Σ f(h_i)² + σ_b² has variance σ_w⁴ (E f⁴ − (E f²)²)/n around V(q), and an earlier deviation is passed
    on with χ∥. To first order in 1/n:

        v_{l+1} = χ∥² v_l + σ_w⁴ (E f⁴ − (E f²)²)/n_l

    For ReLU at σ_w² = 2 this is the well-known Σ 5/n_l: depth over width.

    Args:
        fn: a name, module or callable.
        widths: (L,) units of each hidden layer.
        weight_var: σ_w².
        bias_var: σ_b².
        q: second moment of the first pre-activations.

    Returns:
        (L,) Var(q̂)/q² of the pre-activations that each hidden layer feeds.

    Raises:
        InputError: for a width below 1, or where E f⁴ diverges.

    Example:
        >>> finite_width_spread("relu", [100] * 20, weight_var=2.0).round(3)[[0, -1]]
        array([0.05, 1.  ])

    Source: Hanin & Rolnick, 2018 (How to start training), theorem 6; Hanin & Nica, 2018.
    """
    weight_var, bias_var = variance_arguments(weight_var, bias_var)
    f = elementwise(fn)
    units = np.asarray(widths, dtype=np.float64)
    if units.ndim != 1 or not len(units) or not (units >= 1).all():
        raise InputError.of("widths", widths, "a list of numbers of units, each >= 1")
    deviation, result = 0.0, []
    for n in units:
        here, at = moments(f, q), averages(f, np.array([q]))
        if not np.isfinite(here.fourth_moment):
            raise InputError(f"fn: {here.name} has an infinite fourth moment; the spread is not defined.")
        noise = weight_var**2 * (here.fourth_moment - here.second_moment**2) / n
        deviation = (weight_var * float(at.length_slope[0])) ** 2 * deviation + noise
        q = weight_var * here.second_moment + bias_var
        result.append(deviation / q**2)
    return np.array(result)
