"""Logistic function: f(x) = 1/(1 + e^−x)."""

# ruff: noqa: D102  (the methods are documented once, on the base class)

from __future__ import annotations

from dataclasses import dataclass

from fanin.theory.activations._base import Activation, Array, sigmoid

__all__ = ["Sigmoid"]


@dataclass(frozen=True)
class Sigmoid(Activation):
    """Logistic function: f(x) = 1/(1 + e^−x)."""

    name = "sigmoid"
    aliases = (
        "Sigmoid",
        "logistic",
        "expit",
    )

    def function(self, x: Array) -> Array:
        return sigmoid(x)

    def derivative(self, x: Array) -> Array:
        value = sigmoid(x)
        return value * (1 - value)

    @property
    def limits(self) -> tuple[float, float]:
        return (0.0, 1.0)

    def closed_forms(self) -> dict[str, float]:
        return {"mean": 0.5}
