"""Sigmoid linear unit (Swish): f(x) = x·σ(x)."""

# ruff: noqa: D102  (the methods are documented once, on the base class)

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fanin.theory.activations._base import Activation, Array, sigmoid

__all__ = ["SiLU"]


@dataclass(frozen=True)
class SiLU(Activation):
    """Sigmoid linear unit (Swish): f(x) = x·σ(x)."""

    name = "silu"
    aliases = (
        "SiLU",
        "swish",
        "Swish",
        "SiLUActivation",
    )
    source = "Elfwing, Uchibe & Doya, 2017; Ramachandran, Zoph & Le, 2017"

    def function(self, x: Array) -> Array:
        return np.asarray(x) * sigmoid(x)

    def derivative(self, x: Array) -> Array:
        gate = sigmoid(x)
        return gate * (1 + np.asarray(x) * (1 - gate))

    @property
    def limits(self) -> tuple[float, float]:
        return (0.0, math.inf)
