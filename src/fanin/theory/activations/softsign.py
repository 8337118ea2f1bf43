"""Softsign: f(x) = x/(1 + abs(x))."""

# ruff: noqa: D102  (the methods are documented once, on the base class)

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fanin.theory.activations._base import Activation, Array

__all__ = ["Softsign"]


@dataclass(frozen=True)
class Softsign(Activation):
    """Softsign: f(x) = x/(1 + abs(x))."""

    name = "softsign"
    aliases = ("Softsign",)
    source = "Bergstra et al., 2009"

    def function(self, x: Array) -> Array:
        return np.asarray(x / (1 + np.abs(x)))

    def derivative(self, x: Array) -> Array:
        return np.asarray(1 / np.square(1 + np.abs(x)))

    @property
    def kinks(self) -> tuple[float, ...]:
        return (0.0,)

    @property
    def limits(self) -> tuple[float, float]:
        return (-1.0, 1.0)

    def closed_forms(self) -> dict[str, float]:
        return {"mean": 0.0}
