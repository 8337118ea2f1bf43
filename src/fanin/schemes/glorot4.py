"""glorot4: four times Glorot's bound, for networks of logistic units."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanin.initializers import GlorotLogistic
from fanin.schemes._base import Choice, Context, Scheme, fan, filled

if TYPE_CHECKING:
    from fanin.slots import Slot

__all__ = ["Glorot4"]


class Glorot4(Scheme):
    """U(±4·√(6/(fan_in + fan_out))) on every weight, since σ′(0) = 1/4.

    Source: Deep Learning Tutorials (LISA lab, 2010), after Glorot & Bengio, 2010.
    """

    name = "glorot4"
    title = "four times Glorot's bound on every weight, for logistic sigmoid units"
    source = "Deep Learning Tutorials (LISA lab, 2010), after Glorot & Bengio, 2010"

    def weight(self, slot: Slot, context: Context) -> Choice:
        """See :class:`Scheme`."""
        return Choice(filled(slot, GlorotLogistic()), f"4 × Glorot: {fan(slot)}, {fan(slot, 'fan_out')}")
