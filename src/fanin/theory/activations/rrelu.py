"""Randomized leaky rectifier as evaluated: f(x) = x for x > 0, (lower + upper)/2·x below."""

# ruff: noqa: D102  (the methods are documented once, on the base class)

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fanin.theory.activations._base import Activation, Array

__all__ = ["RReLU"]


@dataclass(frozen=True)
class RReLU(Activation):
    """Randomized leaky rectifier as evaluated: f(x) = x for x > 0, (lower + upper)/2·x below.

    Args:
        lower: smallest slope drawn in training.
        upper: largest slope drawn in training.
    """

    name = "rrelu"
    aliases = ("RReLU",)
    source = "Xu et al., 2015"

    lower: float = 1 / 8
    upper: float = 1 / 3

    def function(self, x: Array) -> Array:
        return np.where(np.asarray(x) > 0, x, self.slope * np.asarray(x))

    def derivative(self, x: Array) -> Array:
        return np.where(np.asarray(x) > 0, 1.0, self.slope)

    @property
    def kinks(self) -> tuple[float, ...]:
        return (0.0,)

    def closed_forms(self) -> dict[str, float]:
        square = (1 + self.slope**2) / 2
        mean = (1 - self.slope) / math.sqrt(2 * math.pi)
        return {
            "mean": mean,
            "second_moment": square,
            "variance": square - mean**2,
            "derivative_second_moment": square,
        }

    @property
    def slope(self) -> float:
        """Slope for x < 0 outside training."""
        return (self.lower + self.upper) / 2
