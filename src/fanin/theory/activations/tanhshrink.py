"""Tanhshrink: f(x) = x − tanh(x)."""

# ruff: noqa: D102  (the methods are documented once, on the base class)

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fanin.theory.activations._base import Activation, Array

__all__ = ["Tanhshrink"]


@dataclass(frozen=True)
class Tanhshrink(Activation):
    """Tanhshrink: f(x) = x − tanh(x)."""

    name = "tanhshrink"
    aliases = ("Tanhshrink",)

    def function(self, x: Array) -> Array:
        return np.asarray(x) - np.tanh(x)

    def derivative(self, x: Array) -> Array:
        return np.square(np.tanh(x))

    def closed_forms(self) -> dict[str, float]:
        return {"mean": 0.0}
