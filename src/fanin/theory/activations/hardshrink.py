"""Hard threshold: f(x) = x where abs(x) > lambd, else 0."""

# ruff: noqa: D102  (the methods are documented once, on the base class)

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fanin.theory.activations._base import Activation, Array

__all__ = ["Hardshrink"]


@dataclass(frozen=True)
class Hardshrink(Activation):
    """Hard threshold: f(x) = x where abs(x) > lambd, else 0.

    Args:
        lambd: half-width of the flat part, >= 0.
    """

    name = "hardshrink"
    aliases = ("Hardshrink",)
    source = "Donoho & Johnstone, 1994"

    lambd: float = 0.5

    def function(self, x: Array) -> Array:
        return np.where(np.abs(x) > self.lambd, x, 0.0)

    def derivative(self, x: Array) -> Array:
        return (np.abs(x) > self.lambd).astype(np.float64)

    @property
    def kinks(self) -> tuple[float, ...]:
        return (-self.lambd, self.lambd)

    def closed_forms(self) -> dict[str, float]:
        tail = math.erfc(self.lambd / math.sqrt(2))
        density = math.exp(-(self.lambd**2) / 2) / math.sqrt(2 * math.pi)
        square = tail + 2 * self.lambd * density
        return {"mean": 0.0, "second_moment": square, "variance": square, "derivative_second_moment": tail}
