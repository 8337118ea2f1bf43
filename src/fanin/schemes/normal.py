"""normal: one fixed standard deviation for every weight."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanin import initializers
from fanin.schemes._base import Choice, Context, Keep, Scheme, usual

if TYPE_CHECKING:
    from fanin.slots import Slot

__all__ = ["Normal"]


class Normal(Scheme):
    """N(0, std²) on every weight and embedding whatever its fans; biases 0, norms 1 and 0.

    Args:
        std: standard deviation.

    Source: practice (GPT-2 and BERT use 0.02).
    """

    name = "normal"
    title = "N(0, std) on every weight and embedding, whatever its fans"
    source = "practice: Krizhevsky et al., 2012 (0.01); Radford et al., 2019 (0.02)"

    def __init__(self, std: float = 0.02) -> None:
        self.law = initializers.Normal(std=std)

    def weight(self, slot: Slot, context: Context) -> Choice:
        """See :class:`Scheme`."""
        return Choice(self.law, f"fixed std {self.law.config['stddev']:g}, whatever the fans")

    def choose(self, slot: Slot, context: Context) -> Choice | Keep | None:
        """See :class:`Scheme`."""
        if slot.role in ("weight", "embedding", "token"):
            return self.weight(slot, context)
        return usual(slot)
