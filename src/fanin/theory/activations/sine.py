"""Sine with a frequency: f(x) = sin(w0·x)."""

# ruff: noqa: D102  (the methods are documented once, on the base class)

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fanin.theory.activations._base import Activation, Array

__all__ = ["Sine"]


@dataclass(frozen=True)
class Sine(Activation):
    """Sine with a frequency: f(x) = sin(w0·x).

    Args:
        w0: frequency in radians per unit of x.
    """

    name = "sine"
    aliases = (
        "Sine",
        "siren",
        "SIREN",
    )
    source = "Sitzmann et al., 2020 (SIREN)"

    w0: float = 30.0

    def function(self, x: Array) -> Array:
        return np.sin(self.w0 * np.asarray(x))

    def derivative(self, x: Array) -> Array:
        return self.w0 * np.cos(self.w0 * np.asarray(x))

    @property
    def limits(self) -> tuple[float, float]:
        return (math.nan, math.nan)

    def closed_forms(self) -> dict[str, float]:
        square = -math.expm1(-2 * self.w0**2) / 2
        return {
            "mean": 0.0,
            "second_moment": square,
            "variance": square,
            "derivative_second_moment": self.w0**2 * (1 + math.exp(-2 * self.w0**2)) / 2,
        }
