"""RandomWalk: Gaussian weights whose gradient norm does not drift at finite width."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fanin.fans import Fans, linear
from fanin.initializers._base import Example, choice
from fanin.initializers._entrywise import Scaled

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["RandomWalk"]


class RandomWalk(Scaled):
    """W ~ N(0, g²/n), with g such that E log‖gradient‖ takes no step from layer to layer.

    He's g = √2 keeps E‖gradient‖², whose logarithm drifts down by about 1/n per ReLU layer. For n = fan_in:
    linear g = e^(1/(2n)), ReLU g = √2 · e^(1.2/(max(n, 6) − 2.4)).

    Args:
        activation: "linear" or "relu".

    Raises:
        InputError: if ``activation`` is another word; on use, if fan_in is 0.

    Example:
        >>> from fanin.fans import linear
        >>> round(RandomWalk("relu").std(linear((64, 64))) * 8, 5)
        1.44203

    Source: Sussillo & Abbott, 2014.
    """

    source = "Sussillo & Abbott, 2014"
    formula = "W ~ N(0, g²/fan_in), g = e^(1/(2n)) (linear) or √2 · e^(1.2/(max(n, 6) − 2.4)) (ReLU)"

    def __init__(self, activation: str = "relu") -> None:
        super().__init__(activation=choice("RandomWalk", "activation", activation, ("relu", "linear")))

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls("relu"), (90, 64), linear((90, 64))
        yield cls("linear"), (90, 64), linear((90, 64))

    def variance(self, fans: Fans) -> float:
        inverse = self.over(fans.fan_in, "fan_in")
        if self.config["activation"] == "linear":
            return math.exp(inverse) * inverse
        return 2 * math.exp(2.4 / (max(fans.fan_in, 6) - 2.4)) * inverse
