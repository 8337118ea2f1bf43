"""LoRA's two factors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanin.fans import Fans, elementwise, linear
from fanin.initializers._base import Example, choice
from fanin.initializers._entrywise import Entrywise, Scaled
from fanin.keys import Law

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LoRAA", "LoRAB"]


class LoRAA(Scaled):
    """The down projection A (rank, in) of LoRA: U(±1/√fan_in), or peft's "gaussian" N(0, 1/rank²).

    Args:
        distribution: "uniform" (``kaiming_uniform_(a=√5)``, peft's default) or "normal" (peft's "gaussian").

    Raises:
        InputError: if ``distribution`` is another word; on use, if the fan is 0.

    Example:
        >>> from fanin.fans import linear
        >>> round(LoRAA().support(linear((8, 64)))[1], 12), LoRAA("normal").std(linear((8, 64)))
        (0.125, 0.125)

    Source: Hu et al., ICLR 2022; peft.
    """

    source = "Hu et al., ICLR 2022; peft"
    formula = "A ~ U(±1/√fan_in), or N(0, 1/rank²) with rank = fan_out"
    min_rank = 2

    def __init__(self, distribution: str = "uniform") -> None:
        aliases = {"gaussian": "normal"}
        super().__init__(distribution=choice("LoRAA", "distribution", distribution, ("uniform", "normal"), aliases))

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(), (16, 300), linear((16, 300))
        yield cls("normal"), (16, 300), linear((16, 300))

    def variance(self, fans: Fans) -> float:
        if self.config["distribution"] == "uniform":
            return self.over(fans.fan_in, "fan_in") / 3
        return self.over(fans.fan_out, "fan_out") ** 2


class LoRAB(Entrywise):
    """The up projection B (out, rank) of LoRA: zeros, so that the adapter starts as the identity.

    A must then be random: with both zero neither ever receives a gradient. (LoRA of an embedding swaps the roles:
    A zeros, B Normal(std=1).)

    Example:
        >>> from fanin.fans import linear
        >>> LoRAB().std(linear((64, 8)))
        0.0

    Source: Hu et al., ICLR 2022.
    """

    source = "Hu et al., ICLR 2022"
    formula = "B = 0"

    def __init__(self) -> None:
        super().__init__()

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(), (64, 8), linear((64, 8))
        yield cls(), (8,), elementwise((8,))

    def law(self, fans: Fans) -> Law:
        return Law("constant", 0.0)
