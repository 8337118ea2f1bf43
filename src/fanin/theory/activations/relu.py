"""Rectified linear unit: f(x) = max(0, x)."""

# ruff: noqa: D102  (the methods are documented once, on the base class)

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fanin.theory.activations._base import Activation, Array

__all__ = ["ReLU"]


@dataclass(frozen=True)
class ReLU(Activation):
    """Rectified linear unit: f(x) = max(0, x)."""

    name = "relu"
    aliases = ("ReLU",)
    source = "Nair & Hinton, 2010"

    def function(self, x: Array) -> Array:
        return np.maximum(x, 0.0)

    def derivative(self, x: Array) -> Array:
        return (np.asarray(x) > 0).astype(np.float64)

    @property
    def kinks(self) -> tuple[float, ...]:
        return (0.0,)

    @property
    def limits(self) -> tuple[float, float]:
        return (0.0, math.inf)

    def closed_forms(self) -> dict[str, float]:
        return {
            "mean": 1 / math.sqrt(2 * math.pi),
            "second_moment": 0.5,
            "variance": 0.5 - 1 / (2 * math.pi),
            "derivative_second_moment": 0.5,
        }
