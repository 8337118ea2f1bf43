"""Leaky rectifier: f(x) = x for x > 0, negative_slope·x below."""

# ruff: noqa: D102  (the methods are documented once, on the base class)

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fanin.theory.activations._base import Activation, Array

__all__ = ["LeakyReLU"]


@dataclass(frozen=True)
class LeakyReLU(Activation):
    """Leaky rectifier: f(x) = x for x > 0, negative_slope·x below.

    Args:
        negative_slope: slope for x < 0.
    """

    name = "leaky_relu"
    aliases = ("LeakyReLU",)
    source = "Maas, Hannun & Ng, 2013"

    negative_slope: float = 0.01

    def function(self, x: Array) -> Array:
        return np.where(np.asarray(x) > 0, x, self.negative_slope * np.asarray(x))

    def derivative(self, x: Array) -> Array:
        return np.where(np.asarray(x) > 0, 1.0, self.negative_slope)

    @property
    def kinks(self) -> tuple[float, ...]:
        return (0.0,)

    def closed_forms(self) -> dict[str, float]:
        square = (1 + self.negative_slope**2) / 2
        mean = (1 - self.negative_slope) / math.sqrt(2 * math.pi)
        return {
            "mean": mean,
            "second_moment": square,
            "variance": square - mean**2,
            "derivative_second_moment": square,
        }
