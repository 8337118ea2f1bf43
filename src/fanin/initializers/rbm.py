"""RBMNormal: the small Gaussian for machines trained by contrastive divergence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanin.fans import Fans, linear
from fanin.initializers._base import Example, spread
from fanin.initializers._entrywise import Entrywise
from fanin.keys import Law

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["RBMNormal"]


class RBMNormal(Entrywise):
    """Weights of a restricted Boltzmann machine: N(0, 0.01²); hidden biases 0 (about −4 for sparse units).

    Not for networks trained by backpropagation: each layer would shrink the signal.

    Args:
        stddev: standard deviation; >= 0.
        std: another name for ``stddev``.

    Raises:
        InputError: if ``stddev`` is negative.

    Example:
        >>> from fanin.fans import linear
        >>> RBMNormal().std(linear((500, 784)))
        0.01

    Source: Hinton, A Practical Guide to Training RBMs, 2010.
    """

    source = "Hinton, A Practical Guide to Training RBMs, 2010"
    formula = "W ~ N(0, 0.01²)"

    def __init__(self, stddev: float | None = None, *, std: float | None = None) -> None:
        super().__init__(stddev=spread("RBMNormal", stddev, std, 0.01))

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(), (50, 80), linear((50, 80))

    def law(self, fans: Fans) -> Law:
        return Law("normal", 0.0, self.config["stddev"])
