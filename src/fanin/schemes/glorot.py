"""glorot: Glorot's initialization on every weight."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanin.errors import InputError
from fanin.initializers import GlorotNormal, GlorotUniform
from fanin.schemes._base import Choice, Context, Scheme, fan, filled

if TYPE_CHECKING:
    from fanin.slots import Slot

__all__ = ["Glorot"]


class Glorot(Scheme):
    """Var W = 2/(fan_in + fan_out) on every weight; made for tanh, halves the variance at each ReLU.

    Args:
        distribution: "uniform" or "normal".

    Source: Glorot & Bengio, 2010.
    """

    name = "glorot"
    title = "Glorot's initialization on every weight, with fans from use"
    source = "Glorot & Bengio, AISTATS 2010"

    def __init__(self, distribution: str = "uniform") -> None:
        if distribution not in ("uniform", "normal"):
            raise InputError.of("distribution", distribution, "'uniform' or 'normal'", "scheme 'glorot'")
        self.law = GlorotUniform() if distribution == "uniform" else GlorotNormal()

    def weight(self, slot: Slot, context: Context) -> Choice:
        """See :class:`Scheme`."""
        return Choice(filled(slot, self.law), f"Glorot: {fan(slot)}, {fan(slot, 'fan_out')}")
