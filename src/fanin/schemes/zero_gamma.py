"""zero_gamma: ResNets whose residual branches start at zero through the gain of their last norm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanin.initializers import HeNormal, Normal, Zeros
from fanin.schemes._base import Choice, Context, Keep, fan, filled, usual
from fanin.schemes._blocks import BlockScheme

if TYPE_CHECKING:
    from fanin.schemes._base import Example
    from fanin.slots import Slot

__all__ = ["ZeroGamma"]

HEAD_STD = 0.01
"""Of the last linear layer (Goyal et al., 2017, §5.1)."""


class ZeroGamma(BlockScheme):
    """γ = 0 in the last norm of each residual branch, so that a block starts as the identity; He (fan_out) elsewhere.

    Source: Goyal et al., 2017 (§5.1).
    """

    name = "zero_gamma"
    title = "residual branches that end in a norm start at zero through its gain; He by fan_out elsewhere"
    source = "Goyal et al. (large minibatch SGD), 2017"
    looks_for = "residual branches that end in a norm with a gain"

    @classmethod
    def example(cls) -> Example:
        """See :class:`Scheme`."""
        from fanin.schemes._examples import resnet

        return resnet()

    def fit(self, context: Context) -> None:
        """See :class:`Scheme`."""
        super().fit(context)
        branches = self.blocks(context).branches
        if not any(branch.last_gain for branch in branches):
            raise self.missing(f"{len(branches)} residual branches, none of which ends in a norm with a gain")

    def weight(self, slot: Slot, context: Context) -> Choice:
        """See :class:`Scheme`."""
        if slot.is_head:
            return Choice(Normal(std=HEAD_STD), f"head: N(0, {HEAD_STD:g}²)")
        return Choice(filled(slot, HeNormal(mode="fan_out")), f"He: {fan(slot, 'fan_out')}, gain √2")

    def choose(self, slot: Slot, context: Context) -> Choice | Keep | None:
        """See :class:`Scheme`."""
        if any(slot.name == branch.last_gain for branch in self.blocks(context).branches):
            return Choice(Zeros(), "gain of the norm that ends a residual branch: 0, so that the block is the identity")
        return self.weight(slot, context) if slot.role == "weight" else usual(slot)
