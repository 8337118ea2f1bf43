"""Piecewise linear sigmoid: f(x) = min(max(0, x/6 + 1/2), 1)."""

# ruff: noqa: D102  (the methods are documented once, on the base class)

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fanin.theory.activations._base import Activation, Array

__all__ = ["Hardsigmoid"]


@dataclass(frozen=True)
class Hardsigmoid(Activation):
    """Piecewise linear sigmoid: f(x) = min(max(0, x/6 + 1/2), 1)."""

    name = "hardsigmoid"
    aliases = (
        "Hardsigmoid",
        "hard_sigmoid",
    )
    source = "Courbariaux, Bengio & David, 2015; scale of Howard et al., 2019"

    def function(self, x: Array) -> Array:
        return np.clip(np.asarray(x) / 6 + 0.5, 0.0, 1.0)

    def derivative(self, x: Array) -> Array:
        return (np.abs(x) < 3) / 6.0

    @property
    def kinks(self) -> tuple[float, ...]:
        return (-3.0, 3.0)

    @property
    def limits(self) -> tuple[float, float]:
        return (0.0, 1.0)

    def closed_forms(self) -> dict[str, float]:
        return {"mean": 0.5}
