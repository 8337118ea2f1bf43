"""Scaled exponential linear unit: f(x) = λx for x > 0, λα(e^x − 1) below, self-normalizing."""

# ruff: noqa: D102  (the methods are documented once, on the base class)

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fanin.theory.activations._base import Activation, Array

__all__ = ["SELU"]

# Solve E f = 0 and E f² = 1 for z ~ N(0, 1): Klambauer et al., 2017, equation 14.
ALPHA = 1.6732632423543772848170429916717
SCALE = 1.0507009873554804934193349852946


@dataclass(frozen=True)
class SELU(Activation):
    """Scaled exponential linear unit: f(x) = λx for x > 0, λα(e^x − 1) below, self-normalizing."""

    name = "selu"
    aliases = ("SELU",)
    source = "Klambauer et al., 2017"

    def function(self, x: Array) -> Array:
        return SCALE * np.where(np.asarray(x) > 0, x, ALPHA * np.expm1(np.minimum(x, 0.0)))

    def derivative(self, x: Array) -> Array:
        return SCALE * np.where(np.asarray(x) > 0, 1.0, ALPHA * np.exp(np.minimum(x, 0.0)))

    @property
    def kinks(self) -> tuple[float, ...]:
        return (0.0,)

    @property
    def limits(self) -> tuple[float, float]:
        return (-SCALE * ALPHA, math.inf)

    def closed_forms(self) -> dict[str, float]:
        return {"mean": 0.0, "second_moment": 1.0, "variance": 1.0}
