"""Normal: independent Gaussian entries of a fixed standard deviation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanin.fans import Fans, linear
from fanin.initializers._base import Example, number, spread
from fanin.initializers._entrywise import Entrywise
from fanin.keys import Law

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Normal"]


class Normal(Entrywise):
    """Independent Gaussian entries: W ~ N(mean, stddev²).

    Args:
        mean: mean of an entry.
        stddev: standard deviation of an entry; >= 0. Default 0.05, that of keras' RandomNormal.
        std: another name for ``stddev``.

    Raises:
        InputError: if ``stddev`` is negative or not finite, or both names are given.

    Example:
        >>> from fanin.fans import linear
        >>> Normal(std=0.02).std(linear((4, 8)))
        0.02

    Source: practice since AlexNet (Krizhevsky, Sutskever & Hinton, 2012); right only for the width it was tuned for.
    """

    source = "Krizhevsky, Sutskever & Hinton, 2012 (fixed std); practice"
    formula = "W ~ N(mean, stddev²)"

    def __init__(self, mean: float = 0.0, stddev: float | None = None, *, std: float | None = None) -> None:
        super().__init__(mean=number("Normal", "mean", mean), stddev=spread("Normal", stddev, std, 0.05))

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(0.3, 0.02), (80, 90), linear((80, 90))

    def law(self, fans: Fans) -> Law:
        return Law("normal", self.config["mean"], self.config["stddev"])
