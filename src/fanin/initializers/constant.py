"""Zeros, Ones, Constant: every entry the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanin.fans import Fans, elementwise, linear
from fanin.initializers._base import Example, number
from fanin.initializers._entrywise import Entrywise
from fanin.keys import Law

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Constant", "Ones", "Zeros"]


class Constant(Entrywise):
    """Every entry is ``value``; as hidden weights, all units of a layer would stay identical for ever.

    Args:
        value: the entry.

    Raises:
        InputError: if ``value`` is not a finite number.

    Example:
        >>> from fanin.fans import elementwise
        >>> Constant(0.1).mean(elementwise((8,)))
        0.1

    Source: practice.
    """

    source = "practice"
    formula = "W = value"

    def __init__(self, value: float = 0.0) -> None:
        super().__init__(value=number("Constant", "value", value))

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(-0.75), (3, 5), linear((3, 5))

    def law(self, fans: Fans) -> Law:
        return Law("constant", self.config["value"])


class Zeros(Entrywise):
    """Every entry is 0: biases, final heads, the last map of a residual branch, LoRA's B.

    As hidden weights nothing but the last bias receives a gradient wherever f(0) = 0.

    Example:
        >>> from fanin.fans import elementwise
        >>> Zeros().std(elementwise((8,)))
        0.0

    Source: practice.
    """

    source = "practice"
    formula = "W = 0"

    def __init__(self) -> None:
        super().__init__()

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(), (7,), elementwise((7,))

    def law(self, fans: Fans) -> Law:
        return Law("constant", 0.0)


class Ones(Entrywise):
    """Every entry is 1: the gain of a normalization, D of a state-space layer.

    Example:
        >>> from fanin.fans import elementwise
        >>> Ones().mean(elementwise((8,)))
        1.0

    Source: Ioffe & Szegedy, 2015 (gain of a normalization).
    """

    source = "Ioffe & Szegedy, 2015 (gain of a normalization)"
    formula = "W = 1"

    def __init__(self) -> None:
        super().__init__()

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(), (7,), elementwise((7,))

    def law(self, fans: Fans) -> Law:
        return Law("constant", 1.0)
