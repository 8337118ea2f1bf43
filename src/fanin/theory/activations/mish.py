"""Mish: f(x) = x·tanh(ln(1 + e^x))."""

# ruff: noqa: D102  (the methods are documented once, on the base class)

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fanin.theory.activations._base import Activation, Array, sigmoid

__all__ = ["Mish"]


@dataclass(frozen=True)
class Mish(Activation):
    """Mish: f(x) = x·tanh(ln(1 + e^x))."""

    name = "mish"
    aliases = (
        "Mish",
        "MishActivation",
    )
    source = "Misra, 2019"

    def function(self, x: Array) -> Array:
        return np.asarray(x) * np.tanh(np.logaddexp(0.0, x))

    def derivative(self, x: Array) -> Array:
        inner = np.tanh(np.logaddexp(0.0, x))
        return np.asarray(inner + x * (1 - inner**2) * sigmoid(x))

    @property
    def limits(self) -> tuple[float, float]:
        return (0.0, math.inf)
