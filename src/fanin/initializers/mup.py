"""MuP: variances of the maximal-update parametrization."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanin.fans import Fans, linear
from fanin.initializers._base import Example, choice, number
from fanin.initializers._entrywise import Scaled

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MuP"]


class MuP(Scaled):
    """Initial variance of μP: that of a base model, carried to other widths.

    Input and hidden weights Var = stddev² · base_fan_in/fan_in (an input's fan_in does not grow with width), output
    weights Var = stddev² · (base_fan_in/fan_in)². With base_fan_in = 1 and stddev = 1 these are the 1/fan_in and
    1/fan_in² of the paper. The learning rates must follow too (Adam: hidden and output ∝ 1/fan_in), and attention
    uses q·k/d_head.

    Args:
        role: "input", "hidden" or "output".
        stddev: standard deviation at the base width; >= 0.
        base_fan_in: fan_in of the same tensor in the base model; > 0.

    Raises:
        InputError: if an argument is not acceptable; on use, if fan_in is 0.

    Example:
        >>> from fanin.fans import linear
        >>> MuP("hidden", 0.02, base_fan_in=256).std(linear((1024, 1024))), MuP("output").std(linear((10, 100)))
        (0.01, 0.01)

    Source: Yang et al. (Tensor Programs V), 2022.
    """

    source = "Yang et al. (Tensor Programs V), 2022"
    formula = "Var W = stddev² · base_fan_in/fan_in (input, hidden); stddev² · (base_fan_in/fan_in)² (output)"
    min_rank = 1

    def __init__(self, role: str = "hidden", stddev: float = 1.0, base_fan_in: float = 1.0) -> None:
        super().__init__(
            role=choice("MuP", "role", role, ("input", "hidden", "output")),
            stddev=number("MuP", "stddev", stddev, low=0),
            base_fan_in=number("MuP", "base_fan_in", base_fan_in, low=0, strict=True),
        )

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls("hidden", 0.02, 64), (40, 160), linear((40, 160))
        yield cls("output"), (40, 160), linear((40, 160))

    def variance(self, fans: Fans) -> float:
        ratio = float(self.config["base_fan_in"]) * self.over(fans.fan_in, "fan_in")
        return float(self.config["stddev"]) ** 2 * ratio ** (2 if self.config["role"] == "output" else 1)
