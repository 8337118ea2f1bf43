"""Hyperbolic tangent: f(x) = tanh(x)."""

# ruff: noqa: D102  (the methods are documented once, on the base class)

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fanin.theory.activations._base import Activation, Array

__all__ = ["Tanh"]


@dataclass(frozen=True)
class Tanh(Activation):
    """Hyperbolic tangent: f(x) = tanh(x)."""

    name = "tanh"
    aliases = ("Tanh",)
    source = "LeCun et al., 1998"

    def function(self, x: Array) -> Array:
        return np.tanh(x)

    def derivative(self, x: Array) -> Array:
        return 1.0 - np.square(np.tanh(x))

    @property
    def limits(self) -> tuple[float, float]:
        return (-1.0, 1.0)

    def closed_forms(self) -> dict[str, float]:
        return {"mean": 0.0}
