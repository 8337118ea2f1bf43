"""Parametric rectifier at its start: f(x) = x for x > 0, weight·x below."""

# ruff: noqa: D102  (the methods are documented once, on the base class)

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fanin.theory.activations._base import Activation, Array

__all__ = ["PReLU"]


@dataclass(frozen=True)
class PReLU(Activation):
    """Parametric rectifier at its start: f(x) = x for x > 0, weight·x below.

    Args:
        weight: learned slope for x < 0, the mean where there are several.
    """

    name = "prelu"
    aliases = ("PReLU",)
    source = "He et al., 2015"

    weight: float = 0.25

    def function(self, x: Array) -> Array:
        return np.where(np.asarray(x) > 0, x, self.weight * np.asarray(x))

    def derivative(self, x: Array) -> Array:
        return np.where(np.asarray(x) > 0, 1.0, self.weight)

    @property
    def kinks(self) -> tuple[float, ...]:
        return (0.0,)

    def closed_forms(self) -> dict[str, float]:
        square = (1 + self.weight**2) / 2
        mean = (1 - self.weight) / math.sqrt(2 * math.pi)
        return {
            "mean": mean,
            "second_moment": square,
            "variance": square - mean**2,
            "derivative_second_moment": square,
        }
