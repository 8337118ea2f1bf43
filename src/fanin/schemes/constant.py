"""constant: every weight the same number, to see what symmetry does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanin import initializers
from fanin.schemes._base import Choice, Context, Keep, Scheme, usual

if TYPE_CHECKING:
    from fanin.slots import Slot

__all__ = ["Constant"]


class Constant(Scheme):
    """Every weight and embedding entry is ``value``: all units of a layer stay identical for ever. For teaching.

    Args:
        value: the entry.

    Source: the textbook counter-example (symmetry is not broken).
    """

    name = "constant"
    title = "every weight the same number: the counter-example in which symmetry is never broken"
    source = "textbook counter-example"

    def __init__(self, value: float = 0.0) -> None:
        self.law = initializers.Constant(value)

    def weight(self, slot: Slot, context: Context) -> Choice:
        """See :class:`Scheme`."""
        return Choice(self.law, f"constant {self.law.config['value']:g}: units stay identical")

    def choose(self, slot: Slot, context: Context) -> Choice | Keep | None:
        """See :class:`Scheme`."""
        if slot.role in ("weight", "embedding"):
            return self.weight(slot, context)
        return usual(slot)
