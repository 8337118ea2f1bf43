"""Gaussian error linear unit: f(x) = x·Φ(x)."""

# ruff: noqa: D102  (the methods are documented once, on the base class)

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fanin.theory.activations._base import Activation, Array, normal_cdf, normal_pdf

__all__ = ["GELU"]


@dataclass(frozen=True)
class GELU(Activation):
    """Gaussian error linear unit: f(x) = x·Φ(x)."""

    name = "gelu"
    aliases = ("GELU",)
    source = "Hendrycks & Gimpel, 2016"

    def function(self, x: Array) -> Array:
        return np.asarray(x) * normal_cdf(x)

    def derivative(self, x: Array) -> Array:
        return normal_cdf(x) + np.asarray(x) * normal_pdf(x)

    @property
    def limits(self) -> tuple[float, float]:
        return (0.0, math.inf)

    def closed_forms(self) -> dict[str, float]:
        mean = 1 / (2 * math.sqrt(math.pi))
        square = 1 / 3 + 1 / (2 * math.sqrt(3) * math.pi)
        return {
            "mean": mean,
            "second_moment": square,
            "variance": square - mean**2,
            "derivative_second_moment": 1 / 3 + 2 / (3 * math.sqrt(3) * math.pi),
        }
