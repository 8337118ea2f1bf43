"""lecun: LeCun's initialization on every weight."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanin.initializers import LecunNormal
from fanin.schemes._base import Choice, Context, Scheme, fan, filled

if TYPE_CHECKING:
    from fanin.slots import Slot

__all__ = ["Lecun"]


class Lecun(Scheme):
    """Var W = 1/fan_in on every weight: an input of unit second moment gives an output of unit second moment.

    Source: LeCun, Bottou, Orr & Müller, 1998; for SELU: Klambauer et al., 2017.
    """

    name = "lecun"
    title = "LeCun's initialization on every weight, with fan_in from use"
    source = "LeCun, Bottou, Orr & Müller, 1998"

    def weight(self, slot: Slot, context: Context) -> Choice:
        """See :class:`Scheme`."""
        return Choice(filled(slot, LecunNormal()), f"LeCun: {fan(slot)}")
