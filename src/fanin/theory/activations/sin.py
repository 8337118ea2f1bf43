"""Sine: f(x) = sin(x)."""

# ruff: noqa: D102  (the methods are documented once, on the base class)

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fanin.theory.activations._base import Activation, Array

__all__ = ["Sin"]


@dataclass(frozen=True)
class Sin(Activation):
    """Sine: f(x) = sin(x)."""

    name = "sin"
    aliases = ("Sin",)
    source = "Parascandolo, Huttunen & Virtanen, 2016"

    def function(self, x: Array) -> Array:
        return np.sin(x)

    def derivative(self, x: Array) -> Array:
        return np.cos(x)

    @property
    def limits(self) -> tuple[float, float]:
        return (math.nan, math.nan)

    def closed_forms(self) -> dict[str, float]:
        square = -math.expm1(-2.0) / 2
        return {
            "mean": 0.0,
            "second_moment": square,
            "variance": square,
            "derivative_second_moment": (1 + math.exp(-2.0)) / 2,
        }
