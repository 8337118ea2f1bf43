"""he_out: He's initialization on every weight, by fan_out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanin.initializers import HeNormal
from fanin.schemes._base import Choice, Context, Scheme, fan, filled

if TYPE_CHECKING:
    from fanin.slots import Slot

__all__ = ["HeOut"]


class HeOut(Scheme):
    """Var W = 2/fan_out on every weight: keeps the second moment of gradients through ReLU.

    Source: He, Zhang, Ren & Sun, 2015; torchvision's ResNets.
    """

    name = "he_out"
    title = "He's initialization by fan_out on every weight, with fans from use"
    source = "He, Zhang, Ren & Sun, ICCV 2015 (backward form)"

    def weight(self, slot: Slot, context: Context) -> Choice:
        """See :class:`Scheme`."""
        return Choice(filled(slot, HeNormal(mode="fan_out")), f"He, backward: {fan(slot, 'fan_out')}, gain √2")
