"""Glorot's initialization: the average of what forward and backward passes ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanin.fans import Fans, linear
from fanin.initializers import _entrywise
from fanin.initializers._base import Example, number

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["GlorotLogistic", "GlorotNormal", "GlorotUniform"]

_SOURCE = "Glorot & Bengio, AISTATS 2010"


class GlorotNormal(_entrywise.Scaled):
    """Gaussian entries of variance gain² · 2/(fan_in + fan_out).

    For odd activations with f′(0) = 1 (tanh), in their linear range; ReLU halves the variance at each layer.

    Args:
        gain: multiplies the std; >= 0.
        distribution: "normal" as in the paper and torch, or "truncated_normal" as in keras (cut at ±2σ, same std).

    Raises:
        InputError: if ``gain`` is negative; on use, if both fans are 0.

    Example:
        >>> from fanin.fans import linear
        >>> GlorotNormal().std(linear((20, 30)))
        0.2

    Source: Glorot & Bengio, AISTATS 2010.
    """

    source = _SOURCE
    formula = "W ~ N(0, gain² · 2/(fan_in + fan_out))"
    min_rank = 1

    def __init__(self, gain: float = 1.0, distribution: str = "normal") -> None:
        super().__init__(
            gain=number("GlorotNormal", "gain", gain, low=0),
            distribution=_entrywise.distribution("GlorotNormal", distribution),
        )

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(), (40, 160), linear((40, 160))
        yield cls(0.5, "truncated_normal"), (40, 160), linear((40, 160))

    def variance(self, fans: Fans) -> float:
        return float(self.config["gain"]) ** 2 * self.over(fans.average, "fan_in + fan_out")


class GlorotUniform(_entrywise.Scaled):
    """Uniform entries of variance gain² · 2/(fan_in + fan_out): U(±gain·√(6/(fan_in + fan_out))).

    Args:
        gain: multiplies the std; >= 0.

    Raises:
        InputError: if ``gain`` is negative; on use, if both fans are 0.

    Example:
        >>> from fanin.fans import linear
        >>> round(GlorotUniform().support(linear((3, 3)))[1], 12)
        1.0

    Source: Glorot & Bengio, AISTATS 2010.
    """

    source = _SOURCE
    formula = "W ~ U(±gain · √(6/(fan_in + fan_out)))"
    min_rank = 1
    kind = "uniform"

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__(gain=number("GlorotUniform", "gain", gain, low=0))

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(), (40, 160), linear((40, 160))

    def variance(self, fans: Fans) -> float:
        return float(self.config["gain"]) ** 2 * self.over(fans.average, "fan_in + fan_out")


class GlorotLogistic(_entrywise.Scaled):
    """Glorot's uniform times 4, for logistic sigmoid units: U(±4·√(6/(fan_in + fan_out))).

    σ′(0) = 1/4 and σ(x) = 1/2 + tanh(x/2)/2, so the linearised gradient gain is 16/16 = 1.

    Example:
        >>> from fanin.fans import linear
        >>> round(GlorotLogistic().support(linear((3, 3)))[1], 12)
        4.0

    Source: Deep Learning Tutorials (LISA lab, 2010), after Glorot & Bengio, 2010.
    """

    source = "Deep Learning Tutorials (LISA lab, 2010), after Glorot & Bengio, 2010"
    formula = "W ~ U(±4 · √(6/(fan_in + fan_out)))"
    min_rank = 1
    kind = "uniform"

    def __init__(self) -> None:
        super().__init__()

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(), (40, 160), linear((40, 160))

    def variance(self, fans: Fans) -> float:
        return 16 * self.over(fans.average, "fan_in + fan_out")
