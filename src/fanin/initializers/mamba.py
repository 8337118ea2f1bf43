"""Mamba's parameters: A_log, the head-wise A_log of Mamba-2, the step's bias and projection."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np

from fanin.fans import Fans, elementwise, linear
from fanin.initializers._base import Example, Initializer, number
from fanin.initializers._entrywise import Scaled
from fanin.initializers._fixed import Fixed, along_last
from fanin.keys import Key, Law, sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["Mamba2ALog", "MambaALog", "MambaStepBias", "MambaStepWeight"]


class MambaALog(Fixed):
    """A_log of Mamba along the last axis: log 1 … log N, so that A = −1 … −N in every channel (S4D-real).

    Example:
        >>> from fanin.fans import elementwise
        >>> from fanin.keys import Key
        >>> MambaALog().draw(Key(0), (1, 3), elementwise((1, 3))).round(4).tolist()
        [[0.0, 0.6930..., 1.0986...]]

    Source: Gu & Dao, 2023.
    """

    source = "Gu & Dao, 2023"
    formula = "A_log[…, n] = log(n + 1)"

    def __init__(self) -> None:
        super().__init__()

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(), (24, 16), elementwise((24, 16))

    def values(self, shape: tuple[int, ...]) -> np.ndarray:
        return along_last(np.log(np.arange(shape[-1]) + 1.0), shape)


class _LogUniform(Initializer):
    """Entries f(u), u uniform on an interval: moments by quadrature, since f is smooth."""

    min_rank = 1

    def interval(self) -> tuple[float, float]:
        """Ends of the uniform u."""
        raise NotImplementedError

    def kinks(self) -> tuple[float, ...]:
        """Points inside the interval where f is not smooth."""
        return ()

    def transform(self, u: np.ndarray) -> np.ndarray:
        """f, increasing, in float64."""
        raise NotImplementedError

    def draw(self, key: Key, shape: Sequence[int], fans: Fans) -> np.ndarray:
        self.validate(shape, fans)
        low, high = self.interval()
        u = sample(Law("uniform", low, high - low), key, math.prod(shape)).astype(np.float64)
        return self.transform(u).astype(np.float32).reshape(tuple(shape))

    def mean(self, fans: Fans, shape: Sequence[int] | None = None) -> float:
        return self._expectation(lambda values: values)

    def std(self, fans: Fans, shape: Sequence[int] | None = None) -> float:
        mean = self.mean(fans)
        return math.sqrt(self._expectation(lambda values: (values - mean) ** 2))

    def support(self, fans: Fans, shape: Sequence[int] | None = None) -> tuple[float, float]:
        low, high = self.transform(np.array(self.interval()))
        return float(low), float(high)

    def _expectation(self, of: Callable[[np.ndarray], np.ndarray]) -> float:
        low, high = self.interval()
        if low == high:
            return float(of(self.transform(np.array([low])))[0])
        points, weights = np.polynomial.legendre.leggauss(64)
        edges = [low, *(kink for kink in self.kinks() if low < kink < high), high]
        total = 0.0
        for left, right in itertools.pairwise(edges):
            half = (right - left) / 2
            total += float((weights * of(self.transform(left + half * (points + 1)))).sum()) * half
        return total / (high - low)


class Mamba2ALog(_LogUniform):
    """A_log of Mamba-2, one per head: log u, u ~ U(low, high).

    Args:
        low: smallest |A|; > 0.
        high: largest; >= ``low``.

    Raises:
        InputError: if the bounds are not positive or out of order.

    Example:
        >>> from fanin.fans import elementwise
        >>> round(Mamba2ALog().support(elementwise((8,)))[1], 6)
        2.772589

    Source: Dao & Gu, ICML 2024.
    """

    source = "Dao & Gu, ICML 2024"
    formula = "A_log = log u, u ~ U(low, high)"

    def __init__(self, low: float = 1.0, high: float = 16.0) -> None:
        bottom = number("Mamba2ALog", "low", low, low=0, strict=True)
        super().__init__(low=bottom, high=number("Mamba2ALog", "high", high, low=bottom))

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(), (500,), elementwise((500,))

    def interval(self) -> tuple[float, float]:
        return self.config["low"], self.config["high"]

    def transform(self, u: np.ndarray) -> np.ndarray:
        logs: np.ndarray = np.log(u)
        return logs


class MambaStepBias(_LogUniform):
    """The bias of Mamba's step projection: softplus⁻¹(Δ), Δ log-uniform in [minimum, maximum], at least ``floor``.

    softplus⁻¹(Δ) = Δ + log(−expm1(−Δ)), so that softplus(bias) = Δ at the start. A generic rule that zeroes biases
    destroys this one.

    Args:
        minimum: smallest Δ; > 0.
        maximum: largest Δ; >= ``minimum``.
        floor: Δ is raised to this; >= 0.

    Raises:
        InputError: if the bounds are not positive or out of order.

    Example:
        >>> from fanin.fans import elementwise
        >>> tuple(round(bound, 3) for bound in MambaStepBias().support(elementwise((8,))))
        (-6.907, -2.252)

    Source: Gu & Dao, 2023.
    """

    source = "Gu & Dao, 2023"
    formula = "b = Δ + log(−expm1(−Δ)), log Δ ~ U(log minimum, log maximum), Δ ≥ floor"

    def __init__(self, minimum: float = 0.001, maximum: float = 0.1, floor: float = 1e-4) -> None:
        low = number("MambaStepBias", "minimum", minimum, low=0, strict=True)
        super().__init__(
            minimum=low,
            maximum=number("MambaStepBias", "maximum", maximum, low=low),
            floor=number("MambaStepBias", "floor", floor, low=0),
        )

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(), (800,), elementwise((800,))
        yield cls(floor=0.01), (800,), elementwise((800,))

    def interval(self) -> tuple[float, float]:
        return math.log(self.config["minimum"]), math.log(self.config["maximum"])

    def kinks(self) -> tuple[float, ...]:
        return (math.log(self.config["floor"]),) if self.config["floor"] else ()

    def transform(self, u: np.ndarray) -> np.ndarray:
        step = np.maximum(np.exp(u), self.config["floor"])
        bias: np.ndarray = step + np.log(-np.expm1(-step))
        return bias


class MambaStepWeight(Scaled):
    """The step projection dt_proj of Mamba: U(±scale/√dt_rank), dt_rank its fan_in.

    Args:
        scale: multiplies the bound; >= 0.

    Raises:
        InputError: if ``scale`` is negative; on use, if fan_in is 0.

    Example:
        >>> from fanin.fans import linear
        >>> round(MambaStepWeight().support(linear((64, 4)))[1], 12)
        0.5

    Source: Gu & Dao, 2023.
    """

    source = "Gu & Dao, 2023"
    formula = "W ~ U(±scale/√fan_in)"
    min_rank = 1
    kind = "uniform"

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__(scale=number("MambaStepWeight", "scale", scale, low=0))

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(), (300, 20), linear((300, 20))

    def variance(self, fans: Fans) -> float:
        return float(self.config["scale"]) ** 2 * self.over(fans.fan_in, "fan_in") / 3
