"""He's initialization: keeps the second moment through ReLU and its leaky relatives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanin.fans import Fans, conv, linear
from fanin.initializers import _entrywise
from fanin.initializers._base import Example, choice, number

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["HeNormal", "HeUniform"]

_SOURCE = "He, Zhang, Ren & Sun, ICCV 2015"


class _He(_entrywise.Scaled):
    """Var W = 2 / ((1 + negative_slope²) · fan)."""

    source = _SOURCE
    min_rank = 1

    def variance(self, fans: Fans) -> float:
        mode = self.config["mode"]
        gain: float = 2.0 / (1.0 + self.config["negative_slope"] ** 2)
        return gain * self.over(fans.fan_in if mode == "fan_in" else fans.fan_out, mode)


class HeNormal(_He):
    """Gaussian entries of variance 2 / ((1 + a²) · fan), exact for leaky ReLU of slope a.

    Args:
        negative_slope: a; 0 for ReLU, 1 for a linear unit.
        mode: "fan_in" keeps activations, "fan_out" keeps gradients; either suffices for a chain.
        distribution: "normal" as in the paper and torch, or "truncated_normal" as in keras (cut at ±2σ, same std).

    Raises:
        InputError: if an argument is not acceptable; on use, if the fan is 0.

    Example:
        >>> from fanin.fans import linear
        >>> HeNormal().std(linear((10, 50)))
        0.2

    Source: He, Zhang, Ren & Sun, ICCV 2015.
    """

    formula = "W ~ N(0, 2/((1 + a²) · fan))"

    def __init__(self, negative_slope: float = 0.0, mode: str = "fan_in", distribution: str = "normal") -> None:
        super().__init__(
            negative_slope=number("HeNormal", "negative_slope", negative_slope),
            mode=choice("HeNormal", "mode", mode, ("fan_in", "fan_out")),
            distribution=_entrywise.distribution("HeNormal", distribution),
        )

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(), (40, 160), linear((40, 160))
        yield cls(0.2, "fan_out"), (64, 1, 3, 3), conv((64, 1, 3, 3), groups=64)
        yield cls(distribution="truncated_normal"), (40, 160), linear((40, 160))


class HeUniform(_He):
    """Uniform entries of variance 2 / ((1 + a²) · fan): U(±√(6/((1 + a²) · fan))).

    Args:
        negative_slope: a; 0 for ReLU. √5 gives U(±1/√fan_in), the default of torch's Linear and Conv layers.
        mode: "fan_in" keeps activations, "fan_out" keeps gradients.

    Raises:
        InputError: if an argument is not acceptable; on use, if the fan is 0.

    Example:
        >>> from fanin.fans import linear
        >>> round(HeUniform().support(linear((10, 6)))[1], 12)
        1.0

    Source: He, Zhang, Ren & Sun, ICCV 2015.
    """

    formula = "W ~ U(±√(6/((1 + a²) · fan)))"
    kind = "uniform"

    def __init__(self, negative_slope: float = 0.0, mode: str = "fan_in") -> None:
        super().__init__(
            negative_slope=number("HeUniform", "negative_slope", negative_slope),
            mode=choice("HeUniform", "mode", mode, ("fan_in", "fan_out")),
        )

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(), (40, 160), linear((40, 160))
        yield cls(5**0.5), (40, 160), linear((40, 160))
