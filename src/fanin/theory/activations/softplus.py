"""Smooth rectifier: f(x) = ln(1 + e^(beta·x))/beta."""

# ruff: noqa: D102  (the methods are documented once, on the base class)

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fanin.theory.activations._base import Activation, Array, sigmoid

__all__ = ["Softplus"]


@dataclass(frozen=True)
class Softplus(Activation):
    """Smooth rectifier: f(x) = ln(1 + e^(beta·x))/beta.

    Args:
        beta: sharpness.
    """

    name = "softplus"
    aliases = ("Softplus",)
    source = "Dugas et al., 2001"

    beta: float = 1.0

    def function(self, x: Array) -> Array:
        return np.logaddexp(0.0, self.beta * np.asarray(x)) / self.beta

    def derivative(self, x: Array) -> Array:
        return sigmoid(self.beta * np.asarray(x))

    @property
    def limits(self) -> tuple[float, float]:
        return (0.0, math.inf)
