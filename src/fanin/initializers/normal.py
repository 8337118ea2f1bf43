"""Normal: independent Gaussian entries of a fixed standard deviation."""

from __future__ import annotations

import math

from fanin.errors import InputError
from fanin.fans import Fans
from fanin.initializers._base import Initializer, number
from fanin.keys import Law

__all__ = ["Normal"]


class Normal(Initializer):
    """Independent Gaussian entries: W ~ N(mean, stddev²).

    Args:
        mean: mean of an entry.
        stddev: standard deviation of an entry; >= 0.
        std: another name for ``stddev``.

    Raises:
        InputError: if ``stddev`` is negative or not finite, or both names are given.

    Example:
        >>> from fanin.fans import linear
        >>> Normal(std=0.02).std(linear((4, 8)))
        0.02

    Source: practice since AlexNet (Krizhevsky, Sutskever & Hinton, 2012); right only for the width it was tuned for.
    """

    source = "Krizhevsky, Sutskever & Hinton, 2012 (fixed std); practice"
    formula = "W ~ N(mean, stddev^2)"

    def __init__(self, mean: float = 0.0, stddev: float | None = None, *, std: float | None = None) -> None:
        if stddev is not None and std is not None:
            raise InputError("Normal: stddev and std are the same argument; pass one.")
        chosen = stddev if stddev is not None else std if std is not None else 0.05  # keras' RandomNormal default
        super().__init__(mean=number("Normal", "mean", mean), stddev=number("Normal", "stddev", chosen, low=0))

    def mean(self, fans: Fans) -> float:
        return float(self.config["mean"])

    def std(self, fans: Fans) -> float:
        return float(self.config["stddev"])

    def support(self, fans: Fans) -> tuple[float, float]:
        return (-math.inf, math.inf) if self.config["stddev"] > 0 else (self.config["mean"], self.config["mean"])

    def law(self, fans: Fans) -> Law:
        return Law("normal", self.config["mean"], self.config["stddev"])
