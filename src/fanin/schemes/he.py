"""he: He's initialization on every weight, by fan_in."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fanin.errors import InputError
from fanin.initializers import HeNormal
from fanin.schemes._base import Choice, Context, Scheme, fan, filled

if TYPE_CHECKING:
    from fanin.slots import Slot

__all__ = ["He"]


class He(Scheme):
    """Var W = 2/((1 + a²) · fan_in) on every weight: keeps the second moment of activations through ReLU.

    Args:
        negative_slope: a of leaky ReLU.

    Source: He, Zhang, Ren & Sun, 2015.
    """

    name = "he"
    title = "He's initialization on every weight, with fan_in from use"
    source = "He, Zhang, Ren & Sun, ICCV 2015"

    def __init__(self, negative_slope: float = 0.0) -> None:
        if isinstance(negative_slope, bool) or not isinstance(negative_slope, (int, float)):
            raise InputError.of("negative_slope", negative_slope, "a finite number", "scheme 'he'")
        self.law = HeNormal(negative_slope)
        self.gain = "√2" if negative_slope == 0 else f"{math.sqrt(2 / (1 + negative_slope**2)):.4g}"

    def weight(self, slot: Slot, context: Context) -> Choice:
        """See :class:`Scheme`."""
        return Choice(filled(slot, self.law), f"He: {fan(slot)}, gain {self.gain}")
