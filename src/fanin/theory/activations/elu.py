"""Exponential linear unit: f(x) = x for x > 0, alpha·(e^x − 1) below."""

# ruff: noqa: D102  (the methods are documented once, on the base class)

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fanin.theory.activations._base import Activation, Array

__all__ = ["ELU"]


@dataclass(frozen=True)
class ELU(Activation):
    """Exponential linear unit: f(x) = x for x > 0, alpha·(e^x − 1) below.

    Args:
        alpha: minus the limit at −∞.
    """

    name = "elu"
    aliases = ("ELU",)
    source = "Clevert, Unterthiner & Hochreiter, 2015"

    alpha: float = 1.0

    def function(self, x: Array) -> Array:
        return np.where(np.asarray(x) > 0, x, self.alpha * np.expm1(np.minimum(x, 0.0)))

    def derivative(self, x: Array) -> Array:
        return np.where(np.asarray(x) > 0, 1.0, self.alpha * np.exp(np.minimum(x, 0.0)))

    @property
    def kinks(self) -> tuple[float, ...]:
        return (0.0,)

    @property
    def limits(self) -> tuple[float, float]:
        return (-self.alpha, math.inf)

    def closed_forms(self) -> dict[str, float]:
        # E e^{kz}; z < 0 is e^{k²/2} Φ(−k)
        once = math.exp(0.5) * math.erfc(1 / math.sqrt(2)) / 2
        twice = math.exp(2.0) * math.erfc(math.sqrt(2)) / 2
        mean = 1 / math.sqrt(2 * math.pi) + self.alpha * (once - 0.5)
        square = 0.5 + self.alpha**2 * (twice - 2 * once + 0.5)
        return {
            "mean": mean,
            "second_moment": square,
            "variance": square - mean**2,
            "derivative_second_moment": 0.5 + self.alpha**2 * twice,
        }
