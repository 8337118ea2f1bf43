"""Piecewise quadratic Swish: f(x) = x·min(max(0, x/6 + 1/2), 1)."""

# ruff: noqa: D102  (the methods are documented once, on the base class)

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fanin.theory.activations._base import Activation, Array

__all__ = ["Hardswish"]


@dataclass(frozen=True)
class Hardswish(Activation):
    """Piecewise quadratic Swish: f(x) = x·min(max(0, x/6 + 1/2), 1)."""

    name = "hardswish"
    aliases = (
        "Hardswish",
        "hard_swish",
    )
    source = "Howard et al., 2019"

    def function(self, x: Array) -> Array:
        return np.asarray(x) * np.clip(np.asarray(x) / 6 + 0.5, 0.0, 1.0)

    def derivative(self, x: Array) -> Array:
        x = np.asarray(x)
        return np.where(x <= -3, 0.0, np.where(x >= 3, 1.0, x / 3 + 0.5))

    @property
    def kinks(self) -> tuple[float, ...]:
        return (-3.0, 3.0)

    @property
    def limits(self) -> tuple[float, float]:
        return (0.0, math.inf)
