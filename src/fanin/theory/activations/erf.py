"""Error function: f(x) = erf(x)."""

# ruff: noqa: D102  (the methods are documented once, on the base class)

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fanin.theory.activations._base import Activation, Array, erf

__all__ = ["Erf"]


@dataclass(frozen=True)
class Erf(Activation):
    """Error function: f(x) = erf(x)."""

    name = "erf"
    aliases = ("Erf",)
    source = "Williams, 1997"

    def function(self, x: Array) -> Array:
        return erf(x)

    def derivative(self, x: Array) -> Array:
        return 2 / math.sqrt(math.pi) * np.exp(-np.square(x))

    @property
    def limits(self) -> tuple[float, float]:
        return (-1.0, 1.0)

    def closed_forms(self) -> dict[str, float]:
        square = 2 / math.pi * math.asin(2 / 3)
        return {
            "mean": 0.0,
            "second_moment": square,
            "variance": square,
            "derivative_second_moment": 4 / (math.pi * math.sqrt(5)),
        }
