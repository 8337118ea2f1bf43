"""Scaled hyperbolic tangent: f(x) = alpha·tanh(beta·x), by default 1.7159·tanh(2x/3) with f(±1) = ±1."""

# ruff: noqa: D102  (the methods are documented once, on the base class)

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fanin.theory.activations._base import Activation, Array

__all__ = ["ScaledTanh"]


@dataclass(frozen=True)
class ScaledTanh(Activation):
    """Scaled hyperbolic tangent: f(x) = alpha·tanh(beta·x), by default 1.7159·tanh(2x/3) with f(±1) = ±1.

    Args:
        alpha: limit at +∞.
        beta: slope of the argument.
    """

    name = "scaled_tanh"
    aliases = (
        "lecun_tanh",
        "LeCunTanh",
        "ScaledTanH",
    )
    source = "LeCun, Bottou, Orr & Müller, 1998"

    alpha: float = 1.7159
    beta: float = 2 / 3

    def function(self, x: Array) -> Array:
        return self.alpha * np.tanh(self.beta * np.asarray(x))

    def derivative(self, x: Array) -> Array:
        return self.alpha * self.beta * (1.0 - np.square(np.tanh(self.beta * np.asarray(x))))

    @property
    def limits(self) -> tuple[float, float]:
        return (-self.alpha, self.alpha)

    def closed_forms(self) -> dict[str, float]:
        return {"mean": 0.0}
