"""Continuously differentiable exponential linear unit: f(x) = x for x > 0, alpha·(e^(x/alpha) − 1) below."""

# ruff: noqa: D102  (the methods are documented once, on the base class)

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fanin.theory.activations._base import Activation, Array

__all__ = ["CELU"]


@dataclass(frozen=True)
class CELU(Activation):
    """Continuously differentiable exponential linear unit: f(x) = x for x > 0, alpha·(e^(x/alpha) − 1) below.

    Args:
        alpha: minus the limit at −∞.
    """

    name = "celu"
    aliases = ("CELU",)
    source = "Barron, 2017"

    alpha: float = 1.0

    def function(self, x: Array) -> Array:
        return np.where(np.asarray(x) > 0, x, self.alpha * np.expm1(np.minimum(x, 0.0) / self.alpha))

    def derivative(self, x: Array) -> Array:
        return np.where(np.asarray(x) > 0, 1.0, np.exp(np.minimum(x, 0.0) / self.alpha))

    @property
    def kinks(self) -> tuple[float, ...]:
        return (0.0,)

    @property
    def limits(self) -> tuple[float, float]:
        return (-self.alpha, math.inf)
