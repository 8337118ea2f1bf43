"""sparse: each unit receives a fixed number of non-zero weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanin import initializers
from fanin.schemes._base import Choice, Context, Scheme, filled

if TYPE_CHECKING:
    from fanin.slots import Slot

__all__ = ["Sparse"]


class Sparse(Scheme):
    """Exactly ``nonzeros`` incoming weights of N(0, std²) for each unit, whatever its fan_in.

    Args:
        nonzeros: incoming weights of each unit that are not zero.
        std: their standard deviation.

    Source: Martens, 2010; Sutskever, Martens, Dahl & Hinton, 2013.
    """

    name = "sparse"
    title = "a fixed number of non-zero incoming weights for each unit, whatever its fan_in"
    source = "Martens, ICML 2010; Sutskever et al., ICML 2013"

    def __init__(self, nonzeros: int = 15, std: float = 1.0) -> None:
        self.law = initializers.Sparse(nonzeros, std=std)

    def weight(self, slot: Slot, context: Context) -> Choice:
        """See :class:`Scheme`."""
        assert slot.fans is not None
        if not slot.fans.out_axes or not slot.fans.in_axes:
            law = initializers.VarianceScaling(1.0, "fan_in", "normal")
            return Choice(law, "a single output: no matrix to thin out, so LeCun's scale")
        nonzeros, std = self.law.config["nonzeros"], self.law.config["stddev"]
        return Choice(filled(slot, self.law), f"sparse: {nonzeros} incoming weights of N(0, {std:g}) for each unit")
