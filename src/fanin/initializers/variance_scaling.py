"""VarianceScaling: a variance divided by a fan, the general form of LeCun's, Glorot's and He's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanin.fans import Fans, conv, conv_transpose, linear
from fanin.initializers import _entrywise
from fanin.initializers._base import Example, choice, number

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["VarianceScaling"]

_MODES = ("fan_in", "fan_out", "fan_avg", "fan_geo_avg")
_ALIASES = {"average": "fan_avg", "geometric": "fan_geo_avg"}


class VarianceScaling(_entrywise.Scaled):
    """Var W = scale / fan, with the std exact for every distribution.

    Args:
        scale: numerator; >= 0. A gain g enters as scale = g².
        mode: "fan_in" (keeps the forward signal), "fan_out" (keeps the gradient), "fan_avg" (alias "average"),
            "fan_geo_avg" (alias "geometric").
        distribution: "truncated_normal" (cut at ±2σ and rescaled, so max |W| = 2.2737 std: the default of keras and
            jax), "normal" (keras' "untruncated_normal") or "uniform".

    Raises:
        InputError: if ``scale`` is negative or a word unknown; on use, if the fan is 0.

    Example:
        >>> from fanin.fans import linear
        >>> VarianceScaling(2.0, "fan_in", "normal").std(linear((10, 50)))
        0.2

    Source: He et al., 2015, and Glorot & Bengio, 2010, in the general form of keras and jax.
    """

    source = "general form (keras, jax) of LeCun 1998, Glorot & Bengio 2010, He et al. 2015"
    formula = "Var W = scale / fan"
    min_rank = 1

    def __init__(self, scale: float = 1.0, mode: str = "fan_in", distribution: str = "truncated_normal") -> None:
        super().__init__(
            scale=number("VarianceScaling", "scale", scale, low=0),
            mode=choice("VarianceScaling", "mode", mode, _MODES, _ALIASES),
            distribution=_entrywise.distribution("VarianceScaling", distribution),
        )

    @classmethod
    def examples(cls) -> Iterator[Example]:
        for mode in _MODES:
            yield cls(2.0, mode, "normal"), (40, 160), linear((40, 160))
        yield cls(1.0, "fan_in", "truncated_normal"), (32, 8, 3, 3), conv((32, 8, 3, 3), groups=4)
        yield cls(1 / 3, "fan_in", "uniform"), (24, 8, 4, 4), conv_transpose((24, 8, 4, 4), stride=(2, 2))

    def variance(self, fans: Fans) -> float:
        fan = {
            "fan_in": fans.fan_in,
            "fan_out": fans.fan_out,
            "fan_avg": fans.average,
            "fan_geo_avg": fans.geometric,
        }[self.config["mode"]]
        return float(self.config["scale"]) * self.over(fan, self.config["mode"])
