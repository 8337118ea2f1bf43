"""orthogonal: every weight a uniformly random orthogonal matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanin import initializers
from fanin.schemes._base import Choice, Context, Scheme, filled

if TYPE_CHECKING:
    from fanin.slots import Slot

__all__ = ["Orthogonal"]


class Orthogonal(Scheme):
    """Orthogonal weights of singular value ``gain``, one matrix for each gate, group, expert and projection.

    Args:
        gain: the singular values.

    Source: Saxe, McClelland & Ganguli, 2013.
    """

    name = "orthogonal"
    title = "every weight a uniformly random orthogonal matrix, one for each gate, group and expert"
    source = "Saxe, McClelland & Ganguli, 2013"

    def __init__(self, gain: float = 1.0) -> None:
        self.law = initializers.Orthogonal(gain)

    def weight(self, slot: Slot, context: Context) -> Choice:
        """See :class:`Scheme`."""
        assert slot.fans is not None
        if not slot.fans.out_axes or not slot.fans.in_axes:
            std = self.law.config["gain"]
            law = initializers.VarianceScaling(std**2, "fan_in", "normal")
            return Choice(law, "a single output: no matrix to make orthogonal, so LeCun's scale")
        return Choice(filled(slot, self.law), f"orthogonal, gain {self.law.config['gain']:g}")
