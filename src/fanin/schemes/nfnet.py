"""nfnet: the numbers of normalizer-free networks with scaled weight standardization."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fanin import theory
from fanin.initializers import Normal, VarianceScaling, Zeros
from fanin.initializers._base import number
from fanin.schemes._base import Choice, Context, Keep, fan, filled, usual
from fanin.schemes._blocks import BlockScheme, exact, norms_inside
from fanin.theory.activations import of_op

if TYPE_CHECKING:
    from fanin.schemes._base import Example
    from fanin.slots import Slot

__all__ = ["NFNet"]

HEAD_STD = 0.01
"""Of the last linear layer, as in the authors' code."""


class NFNet(BlockScheme):
    """N(0, γ²/fan_in) with γ = (Var f)^-½ of the activation that a map reads; α of each branch at 0; a small head.

    γ keeps the variance where weights have mean 0, which standardization in the forward makes exact. The γ are the
    exact ones; the published constants are 0.02 % to 0.09 % higher.

    Args:
        alpha: growth of the variance per block, α², enters the notes as the forward's constants.

    Source: Brock, De & Smith, ICLR 2021; Brock, De, Smith & Simonyan, ICML 2021.
    """

    name = "nfnet"
    title = "normalizer-free ResNets: γ/√fan_in with the variance-keeping γ of the activation; α = 0.2 and β in notes"
    source = "Brock, De & Smith, ICLR 2021; Brock et al., ICML 2021"

    def __init__(self, alpha: float = 0.2) -> None:
        self.alpha = number("scheme 'nfnet'", "alpha", alpha, low=0)

    @classmethod
    def example(cls) -> Example:
        """See :class:`Scheme`."""
        from fanin.schemes._examples import resnet

        return resnet(norm=False, scalar=True)

    def weight(self, slot: Slot, context: Context) -> Choice:
        """See :class:`Scheme`."""
        if slot.is_head:
            return Choice(Normal(std=HEAD_STD), f"head: N(0, {HEAD_STD:g}²)")
        node = self.blocks(context).activation_before(slot)
        found = None if node is None else of_op(node.op, node.attrs)
        if node is None or found is None:
            what = "no activation before it" if node is None else f"no gain is known of {node.op} before it"
            return Choice(filled(slot, VarianceScaling(1.0, "fan_in", "normal")), f"{fan(slot)}, {what}; γ = 1")
        value = theory.gain(found, "variance")
        law = VarianceScaling(value**2, "fan_in", "normal")
        return Choice(filled(slot, law), f"{fan(slot)}, reads {found}: γ = (Var f)^-½ = {exact(value)}")

    def choose(self, slot: Slot, context: Context) -> Choice | Keep | None:
        """See :class:`Scheme`."""
        if any(slot.name == branch.multiplier for branch in self.blocks(context).branches):
            return Choice(Zeros(), "learned multiplier of a residual branch: 0 (SkipInit)")
        return self.weight(slot, context) if slot.role == "weight" else usual(slot)

    def betas(self, context: Context) -> list[float]:
        """β of each branch in order: the std that its input has, √(1 + i·α²), back to its start at a transition."""
        found, variance = [], 1.0
        for branch in self.blocks(context).branches:
            found.append(math.sqrt(variance))
            variance = (1.0 if branch.projected else variance) + self.alpha**2
        return found

    def notes(self, context: Context) -> tuple[str, ...]:
        """See :class:`Scheme`."""
        blocks = self.blocks(context)
        betas = ", ".join(f"{beta:.4f}" for beta in self.betas(context))
        found = [
            f"NFNet's forward is x + α·F(x/β) with α = {self.alpha:g} and β = {betas} for the branches in order, and "
            "every convolution uses (W − mean)/(std·√fan_in)·γ, recomputed at each step."
        ]
        if norms_inside(blocks):
            found.append(f"Remove the {len(norms_inside(blocks))} norms inside the residual branches.")
        return tuple(found)
