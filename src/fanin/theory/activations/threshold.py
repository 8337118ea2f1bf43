"""Threshold: f(x) = x where x > threshold, else value."""

# ruff: noqa: D102  (the methods are documented once, on the base class)

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fanin.theory.activations._base import Activation, Array

__all__ = ["Threshold"]


@dataclass(frozen=True)
class Threshold(Activation):
    """Threshold: f(x) = x where x > threshold, else value.

    Args:
        threshold: where it switches.
        value: what replaces smaller x.
    """

    name = "threshold"
    aliases = ("Threshold",)

    threshold: float = 0.0
    value: float = 0.0

    def function(self, x: Array) -> Array:
        return np.where(np.asarray(x) > self.threshold, x, self.value)

    def derivative(self, x: Array) -> Array:
        return (np.asarray(x) > self.threshold).astype(np.float64)

    @property
    def kinks(self) -> tuple[float, ...]:
        return (self.threshold,)

    @property
    def limits(self) -> tuple[float, float]:
        return (self.value, math.inf)
