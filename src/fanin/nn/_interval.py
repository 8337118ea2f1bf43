"""The asymmetric truncated normal that only torch's absolute bounds can ask for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fanin.fans import Fans, linear
from fanin.initializers import Initializer
from fanin.keys import Key, Law, sample

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fanin.initializers._base import Example

__all__ = ["TruncatedInterval"]


class TruncatedInterval(Initializer):
    """N(mean, std²) conditioned on [low, high], by the inverse of the distribution function in float64.

    Entry = mean + std · Φ⁻¹(Φ(α) + u · (Φ(β) − Φ(α))) with α, β the bounds in standard deviations; computed in the
    tail where both lie, so that far intervals keep their digits.
    """

    def __init__(self, mean: float, stddev: float, low: float, high: float) -> None:
        super().__init__(mean=float(mean), stddev=float(stddev), low=float(low), high=float(high))

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(0.0, 1.0, 0.5, 2.0), (80, 90), linear((80, 90))

    def _bounds(self) -> tuple[float, float]:
        c = self.config
        return (c["low"] - c["mean"]) / c["stddev"], (c["high"] - c["mean"]) / c["stddev"]

    def mean(self, fans: Fans, shape: Any = None) -> float:
        alpha, beta = self._bounds()
        return float(self.config["mean"] + self.config["stddev"] * (_pdf(alpha) - _pdf(beta)) / _mass(alpha, beta))

    def std(self, fans: Fans, shape: Any = None) -> float:
        alpha, beta = self._bounds()
        mass = _mass(alpha, beta)
        ratio = (_pdf(alpha) - _pdf(beta)) / mass
        edge = sum(sign * x * _pdf(x) for sign, x in ((1, alpha), (-1, beta)) if math.isfinite(x)) / mass
        return float(self.config["stddev"] * math.sqrt(max(0.0, 1 + edge - ratio**2)))

    def support(self, fans: Fans, shape: Any = None) -> tuple[float, float]:
        return self.config["low"], self.config["high"]

    def draw(self, key: Key, shape: Sequence[int], fans: Fans) -> np.ndarray:
        alpha, beta = self._bounds()
        flipped = alpha > 0  # work in the left tail, where Φ keeps its relative precision
        if flipped:
            alpha, beta = -beta, -alpha
        u = torch.from_numpy(sample(Law("uniform", 0.0, 1.0), key, math.prod(shape))).double()
        lowest, highest = (float(torch.special.ndtr(torch.tensor(x, dtype=torch.float64))) for x in (alpha, beta))
        # The uniform has 24 bits; the middle of its cell keeps u away from 0, where Φ⁻¹ is infinite.
        z = torch.special.ndtri(lowest + (u + 2.0**-25) * (highest - lowest)).clamp(alpha, beta)
        values = self.config["mean"] + self.config["stddev"] * (-z if flipped else z)
        values = values.clamp(self.config["low"], self.config["high"])
        drawn: np.ndarray = values.float().reshape(tuple(shape)).numpy()
        return drawn


def _pdf(x: float) -> float:
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi) if math.isfinite(x) else 0.0


def _mass(alpha: float, beta: float) -> float:
    if alpha > 0:
        alpha, beta = -beta, -alpha
    return (math.erfc(-beta / math.sqrt(2)) - math.erfc(-alpha / math.sqrt(2))) / 2
