"""Identity: f(x) = x."""

# ruff: noqa: D102  (the methods are documented once, on the base class)

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fanin.theory.activations._base import Activation, Array

__all__ = ["Linear"]


@dataclass(frozen=True)
class Linear(Activation):
    """Identity: f(x) = x."""

    name = "linear"
    aliases = (
        "identity",
        "Identity",
        "none",
    )

    def function(self, x: Array) -> Array:
        return np.asarray(x, dtype=np.float64)

    def derivative(self, x: Array) -> Array:
        return np.ones_like(x, dtype=np.float64)

    def closed_forms(self) -> dict[str, float]:
        return {"mean": 0.0, "second_moment": 1.0, "derivative_second_moment": 1.0, "variance": 1.0}
