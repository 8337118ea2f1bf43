"""Clipped identity: f(x) = min(max(x, min_val), max_val)."""

# ruff: noqa: D102  (the methods are documented once, on the base class)

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fanin.theory.activations._base import Activation, Array

__all__ = ["Hardtanh"]


@dataclass(frozen=True)
class Hardtanh(Activation):
    """Clipped identity: f(x) = min(max(x, min_val), max_val).

    Args:
        min_val: lower limit.
        max_val: upper limit.
    """

    name = "hardtanh"
    aliases = (
        "Hardtanh",
        "hard_tanh",
    )
    source = "Collobert, 2004"

    min_val: float = -1.0
    max_val: float = 1.0

    def function(self, x: Array) -> Array:
        return np.clip(x, self.min_val, self.max_val)

    def derivative(self, x: Array) -> Array:
        return ((np.asarray(x) > self.min_val) & (np.asarray(x) < self.max_val)).astype(np.float64)

    @property
    def kinks(self) -> tuple[float, ...]:
        return (self.min_val, self.max_val)

    @property
    def limits(self) -> tuple[float, float]:
        return (self.min_val, self.max_val)

    def closed_forms(self) -> dict[str, float]:
        if (self.min_val, self.max_val) != (-1.0, 1.0):
            return {}
        # E min(z², 1) = P(|z| < 1) − 2φ(1) + P(|z| > 1) = 1 − 2φ(1)
        square = 1 - math.sqrt(2 / math.pi) * math.exp(-0.5)
        return {
            "mean": 0.0,
            "second_moment": square,
            "variance": square,
            "derivative_second_moment": math.erf(1 / math.sqrt(2)),
        }
