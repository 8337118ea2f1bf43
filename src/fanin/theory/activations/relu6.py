"""Rectifier clipped at six: f(x) = min(max(0, x), 6)."""

# ruff: noqa: D102  (the methods are documented once, on the base class)

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fanin.theory.activations._base import Activation, Array

__all__ = ["ReLU6"]


@dataclass(frozen=True)
class ReLU6(Activation):
    """Rectifier clipped at six: f(x) = min(max(0, x), 6)."""

    name = "relu6"
    aliases = ("ReLU6",)
    source = "Krizhevsky, 2010"

    def function(self, x: Array) -> Array:
        return np.clip(x, 0.0, 6.0)

    def derivative(self, x: Array) -> Array:
        return ((np.asarray(x) > 0) & (np.asarray(x) < 6)).astype(np.float64)

    @property
    def kinks(self) -> tuple[float, ...]:
        return (0.0, 6.0)

    @property
    def limits(self) -> tuple[float, float]:
        return (0.0, 6.0)
