"""TruncatedInterval: a Gaussian cut at two absolute bounds, which need not be symmetric."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fanin.errors import InputError
from fanin.fans import Fans, linear
from fanin.initializers._base import Example, Initializer, number, spread
from fanin.keys import Key, Law, sample

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["TruncatedInterval"]


class TruncatedInterval(Initializer):
    """N(mean, stddev²) conditioned on low <= W <= high; ``stddev`` is that of the parent, before the cut.

    W = mean + stddev · Φ⁻¹(Φ(α) + u · (Φ(β) − Φ(α))) with u uniform and α, β the bounds in standard deviations,
    computed in float64 in the tail where both lie, so that far intervals keep their digits. This is the meaning of
    torch's ``trunc_normal_``; for bounds in standard deviations and an exact std see TruncatedNormal.

    Args:
        mean: mean of the parent.
        stddev: standard deviation of the parent; > 0.
        low: lower bound.
        high: upper bound; > low.
        std: another name for ``stddev``.

    Raises:
        InputError: if ``stddev`` <= 0, ``low`` >= ``high``, or the interval holds no mass that float64 can tell from 0.

    Example:
        >>> from fanin.fans import linear
        >>> TruncatedInterval(0.0, 1.0, 0.0, 5.0).support(linear((4, 8)))
        (0.0, 5.0)

    Source: Johnson, Kotz & Balakrishnan, 1994 (moments); torch.nn.init.trunc_normal_ (absolute bounds).
    """

    source = "Johnson, Kotz & Balakrishnan, 1994 (moments); torch.nn.init.trunc_normal_ (absolute bounds)"
    formula = "W ~ N(mean, stddev²) given low <= W <= high"

    def __init__(
        self,
        mean: float = 0.0,
        stddev: float | None = None,
        low: float = -2.0,
        high: float = 2.0,
        *,
        std: float | None = None,
    ) -> None:
        name = "TruncatedInterval"
        super().__init__(
            mean=number(name, "mean", mean),
            stddev=number(name, "stddev", spread(name, stddev, std, 1.0), low=0, strict=True),
            low=number(name, "low", low),
            high=number(name, "high", high),
        )
        if low >= high:
            raise InputError.of("low, high", (low, high), "low < high", name)
        if _mass(*self._bounds()) < 1e-300:
            raise InputError.of(
                "low, high", (low, high), f"an interval within 37 stddev ({stddev:g}) of the mean", name
            )

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(0.1, 1.0, 0.5, 2.0), (80, 90), linear((80, 90))
        yield cls(0.0, 0.5, -4.0, -3.0), (80, 90), linear((80, 90))

    def _bounds(self) -> tuple[float, float]:
        mean, stddev = self.config["mean"], self.config["stddev"]
        return (self.config["low"] - mean) / stddev, (self.config["high"] - mean) / stddev

    def mean(self, fans: Fans, shape: Sequence[int] | None = None) -> float:
        alpha, beta = self._bounds()
        return float(self.config["mean"] + self.config["stddev"] * (_pdf(alpha) - _pdf(beta)) / _mass(alpha, beta))

    def std(self, fans: Fans, shape: Sequence[int] | None = None) -> float:
        alpha, beta = self._bounds()
        mass = _mass(alpha, beta)
        ratio = (_pdf(alpha) - _pdf(beta)) / mass
        edge = (alpha * _pdf(alpha) - beta * _pdf(beta)) / mass
        return float(self.config["stddev"] * math.sqrt(max(0.0, 1 + edge - ratio**2)))

    def support(self, fans: Fans, shape: Sequence[int] | None = None) -> tuple[float, float]:
        return self.config["low"], self.config["high"]

    def draw(self, key: Key, shape: Sequence[int], fans: Fans) -> np.ndarray:
        import torch  # for Φ and Φ⁻¹ in float64

        self.validate(shape, fans)
        alpha, beta = self._bounds()
        flipped = alpha > 0  # the left tail, where Φ keeps its relative precision
        if flipped:
            alpha, beta = -beta, -alpha
        u = torch.from_numpy(sample(Law("uniform", 0.0, 1.0), key, math.prod(shape))).double()
        lowest, highest = (float(torch.special.ndtr(torch.tensor(x, dtype=torch.float64))) for x in (alpha, beta))
        # The uniform has 24 bits; the middle of its cell keeps u away from 0, where Φ⁻¹ may be infinite.
        z = torch.special.ndtri(lowest + (u + 2.0**-25) * (highest - lowest)).clamp(alpha, beta)
        values = self.config["mean"] + self.config["stddev"] * (-z if flipped else z)
        drawn: np.ndarray = values.clamp(self.config["low"], self.config["high"]).float().reshape(tuple(shape)).numpy()
        return drawn


def _pdf(x: float) -> float:
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def _mass(alpha: float, beta: float) -> float:
    if alpha > 0:
        alpha, beta = -beta, -alpha
    return (math.erfc(-beta / math.sqrt(2)) - math.erfc(-alpha / math.sqrt(2))) / 2
