"""LeCun's initialization: keeps the second moment through linear, SELU and scaled tanh units."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanin.fans import Fans, linear
from fanin.initializers import _entrywise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fanin.initializers._base import Example

__all__ = ["LecunNormal", "LecunUniform"]


class LecunNormal(_entrywise.Scaled):
    """Gaussian entries of variance 1/fan_in, for linear units, SELU and 1.7159·tanh(2x/3).

    Args:
        distribution: "normal", or "truncated_normal" as in keras (cut at ±2σ, same std).

    Example:
        >>> from fanin.fans import linear
        >>> LecunNormal().std(linear((10, 25)))
        0.2

    Source: LeCun, Bottou, Orr & Müller, Efficient BackProp, 1998.
    """

    source = "LeCun, Bottou, Orr & Müller, 1998"
    formula = "W ~ N(0, 1/fan_in)"
    min_rank = 1

    def __init__(self, distribution: str = "normal") -> None:
        super().__init__(distribution=_entrywise.distribution("LecunNormal", distribution))

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(), (40, 160), linear((40, 160))

    def variance(self, fans: Fans) -> float:
        return self.over(fans.fan_in, "fan_in")


class LecunUniform(_entrywise.Scaled):
    """Uniform entries of variance 1/fan_in: U(±√(3/fan_in)).

    Example:
        >>> from fanin.fans import linear
        >>> round(LecunUniform().support(linear((10, 3)))[1], 12)
        1.0

    Source: LeCun, Bottou, Orr & Müller, Efficient BackProp, 1998.
    """

    source = "LeCun, Bottou, Orr & Müller, 1998"
    formula = "W ~ U(±√(3/fan_in))"
    min_rank = 1
    kind = "uniform"

    def __init__(self) -> None:
        super().__init__()

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(), (40, 160), linear((40, 160))

    def variance(self, fans: Fans) -> float:
        return self.over(fans.fan_in, "fan_in")
