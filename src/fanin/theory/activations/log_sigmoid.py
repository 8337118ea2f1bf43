"""Log-sigmoid: f(x) = −ln(1 + e^−x)."""

# ruff: noqa: D102  (the methods are documented once, on the base class)

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fanin.theory.activations._base import Activation, Array, sigmoid

__all__ = ["LogSigmoid"]


@dataclass(frozen=True)
class LogSigmoid(Activation):
    """Log-sigmoid: f(x) = −ln(1 + e^−x)."""

    name = "log_sigmoid"
    aliases = (
        "LogSigmoid",
        "logsigmoid",
    )

    def function(self, x: Array) -> Array:
        return -np.logaddexp(0.0, -np.asarray(x))

    def derivative(self, x: Array) -> Array:
        return sigmoid(-np.asarray(x))

    @property
    def limits(self) -> tuple[float, float]:
        return (-math.inf, 0.0)
