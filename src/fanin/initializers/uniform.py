"""Uniform: independent entries, uniform on a fixed interval."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fanin.errors import InputError
from fanin.fans import Fans, linear
from fanin.initializers._base import Example, number, spread
from fanin.initializers._entrywise import Entrywise
from fanin.keys import Law

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Uniform"]


class Uniform(Entrywise):
    """Independent uniform entries: W ~ U(minval, maxval), std (maxval − minval)/√12.

    Args:
        minval: lower end. Default −0.05, that of keras' RandomUniform (torch's ``uniform_`` has U(0, 1)).
        maxval: upper end; >= ``minval``. Default 0.05.
        stddev: instead of the ends: the standard deviation of U(−√3·stddev, √3·stddev).
        std: another name for ``stddev``.

    Raises:
        InputError: if an end is not finite, ``minval > maxval``, or both ends and ``stddev`` are given.

    Example:
        >>> Uniform(std=1.0)
        Uniform(minval=-1.73205, maxval=1.73205)

    Source: practice.
    """

    source = "practice"
    formula = "W ~ U(minval, maxval)"

    def __init__(
        self,
        minval: float | None = None,
        maxval: float | None = None,
        *,
        stddev: float | None = None,
        std: float | None = None,
    ) -> None:
        if stddev is not None or std is not None:
            if minval is not None or maxval is not None:
                raise InputError("Uniform: pass either the ends (minval, maxval) or the spread (stddev), not both.")
            maxval = math.sqrt(3) * spread("Uniform", stddev, std, 0.05)
            minval = -maxval
        low = number("Uniform", "minval", -0.05 if minval is None else minval)
        super().__init__(minval=low, maxval=number("Uniform", "maxval", 0.05 if maxval is None else maxval, low=low))

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(-0.1, 0.3), (80, 90), linear((80, 90))
        yield cls(std=0.2), (80, 90), linear((80, 90))

    def law(self, fans: Fans) -> Law:
        return Law("uniform", self.config["minval"], self.config["maxval"] - self.config["minval"])

    def support(self, fans: Fans, shape: object = None) -> tuple[float, float]:
        return self.config["minval"], self.config["maxval"]
