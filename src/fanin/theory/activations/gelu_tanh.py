"""Gaussian error linear unit by tanh: f(x) = x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))/2."""

# ruff: noqa: D102  (the methods are documented once, on the base class)

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fanin.theory.activations._base import Activation, Array, sigmoid

__all__ = ["GELUTanh"]

SLOPE = math.sqrt(2 / math.pi)
# Hendrycks & Gimpel, 2016, section 2: fitted to x·Φ(x).
CUBIC = 0.044715


@dataclass(frozen=True)
class GELUTanh(Activation):
    """Gaussian error linear unit by tanh: f(x) = x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))/2."""

    name = "gelu_tanh"
    aliases = (
        "gelu_new",
        "gelu_pytorch_tanh",
        "gelu_fast",
        "NewGELUActivation",
        "PytorchGELUTanh",
    )
    source = "Hendrycks & Gimpel, 2016"
    variant_of = ("gelu", {"approximate": "tanh"})

    def function(self, x: Array) -> Array:
        x = np.asarray(x)
        return x * sigmoid(2 * SLOPE * (x + CUBIC * x**3))

    def derivative(self, x: Array) -> Array:
        x = np.asarray(x)
        gate = sigmoid(2 * SLOPE * (x + CUBIC * x**3))
        return gate + x * gate * (1 - gate) * 2 * SLOPE * (1 + 3 * CUBIC * x**2)

    @property
    def limits(self) -> tuple[float, float]:
        return (0.0, math.inf)
