"""Squared rectifier: f(x) = max(0, x)²."""

# ruff: noqa: D102  (the methods are documented once, on the base class)

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fanin.theory.activations._base import Activation, Array

__all__ = ["ReLUSquared"]


@dataclass(frozen=True)
class ReLUSquared(Activation):
    """Squared rectifier: f(x) = max(0, x)²."""

    name = "relu_squared"
    aliases = (
        "relu^2",
        "relu2",
        "squared_relu",
        "ReLUSquared",
        "ReLUSquaredActivation",
    )
    source = "So et al., 2021 (Primer)"

    def function(self, x: Array) -> Array:
        return np.square(np.maximum(x, 0.0))

    def derivative(self, x: Array) -> Array:
        return 2.0 * np.maximum(x, 0.0)

    @property
    def kinks(self) -> tuple[float, ...]:
        return (0.0,)

    @property
    def limits(self) -> tuple[float, float]:
        return (0.0, math.inf)

    def closed_forms(self) -> dict[str, float]:
        return {"mean": 0.5, "second_moment": 1.5, "variance": 1.25, "derivative_second_moment": 2.0}
