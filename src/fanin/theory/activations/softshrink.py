"""Soft threshold: f(x) = sign(x)·max(0, abs(x) − lambd)."""

# ruff: noqa: D102  (the methods are documented once, on the base class)

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fanin.theory.activations._base import Activation, Array

__all__ = ["Softshrink"]


@dataclass(frozen=True)
class Softshrink(Activation):
    """Soft threshold: f(x) = sign(x)·max(0, abs(x) − lambd).

    Args:
        lambd: half-width of the flat part, >= 0.
    """

    name = "softshrink"
    aliases = ("Softshrink",)
    source = "Donoho, 1995"

    lambd: float = 0.5

    def function(self, x: Array) -> Array:
        return np.sign(x) * np.maximum(np.abs(x) - self.lambd, 0.0)

    def derivative(self, x: Array) -> Array:
        return (np.abs(x) > self.lambd).astype(np.float64)

    @property
    def kinks(self) -> tuple[float, ...]:
        return (-self.lambd, self.lambd)

    def closed_forms(self) -> dict[str, float]:
        tail = math.erfc(self.lambd / math.sqrt(2))
        density = math.exp(-(self.lambd**2) / 2) / math.sqrt(2 * math.pi)
        square = (1 + self.lambd**2) * tail - 2 * self.lambd * density
        return {"mean": 0.0, "second_moment": square, "variance": square, "derivative_second_moment": tail}
