"""nfnet: the numbers of normalizer-free networks with scaled weight standardization."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fanin import theory
from fanin.errors import PlanError
from fanin.initializers import Normal, Ones, VarianceScaling, Zeros
from fanin.initializers._base import number
from fanin.schemes._base import Choice, Context, Keep, fan, filled, usual
from fanin.schemes._blocks import BlockScheme, exact, norms_inside
from fanin.schemes._changes import Change, submodule
from fanin.schemes._edits import (
    bare,
    constants,
    factors,
    first_maps,
    norms_option,
    own_call,
    rewire_hint,
    skip_factor,
    without_norms,
)
from fanin.schemes._standardized import standardized
from fanin.theory.activations import of_op

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fanin.graph import Node
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
        alpha: α of the forward x + α·F(x/β): the variance grows by α² per block.
        norms: what ``fanin.rewire_`` does with norms: "remove", as published, or "keep".

    Source: Brock, De & Smith, ICLR 2021; Brock, De, Smith & Simonyan, ICML 2021.
    """

    name = "nfnet"
    title = "normalizer-free ResNets: γ/√fan_in with the variance-keeping γ of the activation; α = 0.2 and β in notes"
    source = "Brock, De & Smith, ICLR 2021; Brock et al., ICML 2021"

    def __init__(self, alpha: float = 0.2, norms: str = "remove") -> None:
        self.norms = norms_option(self.name, norms)
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
        if slot.role == "gain" and slot.owner_type.startswith("Standardized"):
            return Choice(Ones(), "gain of a standardized weight: 1")
        return self.weight(slot, context) if slot.role == "weight" else usual(slot)

    def betas(self, context: Context) -> list[float]:
        """β of each branch in order: the std that its input has, √(1 + i·α²), back to its start at a transition."""
        found, variance = [], 1.0
        for branch in self.blocks(context).branches:
            found.append(math.sqrt(variance))
            variance = (1.0 if branch.projected else variance) + self.alpha**2
        return found

    def changes(self, context: Context) -> tuple[Change, ...]:
        """Standardized maps, β before and α with a learned factor behind each branch; no norms."""
        blocks, model = self.blocks(context), context.model
        assert model is not None
        left_out = without_norms(self.name, context) if self.norms == "remove" else ()
        maps: dict[str, Change] = {}
        for node in blocks.graph.nodes:
            if not self.standardizes(node, context):
                continue
            path = own_call(self.name, context, node).path
            gamma, reads = self.gamma(node, context)
            what = f"weight standardized to γ(W − mean)/(std·√fan_in) with a gain for each output; {reads}"
            build = standardized(path, submodule(model, path), gamma)
            maps[path] = Change(path, what, "replace", {"build": build})
        ends = factors(self.name, context, bare(context), "NFNets add SkipInit's factor, which starts at 0")
        return (*left_out, *maps.values(), *self._constants(context), *ends)

    def _constants(self, context: Context) -> Iterator[Change]:
        """α·F(x/β): α behind each branch, 1/β before its first maps, which is after its first activation."""
        graph = self.blocks(context).graph
        pairs = zip(self.blocks(context).branches, self.betas(context), strict=True)
        bare = [pair for pair in pairs if not math.isclose(skip_factor(graph, pair[0]) * self.alpha, 1, rel_tol=1e-3)]
        values = [(branch, self.alpha) for branch, _ in bare]
        yield from constants(self.name, context, values, f"α = {self.alpha:g} of NFNet")
        betas = [(own_call(self.name, context, n).path, beta) for b, beta in bare for n in first_maps(graph, b)]
        for path, beta in dict(betas).items():
            if any(other != beta for where, other in betas if where == path):
                raise PlanError(f"scheme 'nfnet': {path!r} is called in branches of different β; it cannot have one.")
            if beta != 1:
                what = f"input × {1 / beta:.6g}, the constant 1/β in the buffer input_factor: std β of the stream"
                given = {"name": "input_factor", "value": 1 / beta, "learned": False}
                yield Change(path, what, "multiply_before", given)

    def standardizes(self, node: Node, context: Context) -> bool:
        """Whether a node is a convolution, or a linear map of a residual branch, that is not standardized yet."""
        weight = next((use.name for use in node.params if context.slots[use.name].role == "weight"), None)
        if weight is None or node.kind != "linear" or context.slots[weight].owner_type.startswith("Standardized"):
            return False
        return not context.slots[weight].is_head and (
            node.op.startswith("conv") or self.blocks(context).branch(weight) is not None
        )

    def gamma(self, node: Node, context: Context) -> tuple[float, str]:
        """γ of what a map reads, and the words for it."""
        weight = next(context.slots[use.name] for use in node.params if context.slots[use.name].role == "weight")
        before = self.blocks(context).activation_before(weight)
        found = None if before is None else of_op(before.op, before.attrs)
        if found is None:
            return 1.0, "γ = 1"
        value = theory.gain(found, "variance")
        return value, f"γ = {exact(value)} of {found}"

    def notes(self, context: Context) -> tuple[str, ...]:
        """See :class:`Scheme`."""
        blocks = self.blocks(context)
        found = []
        plain = [node for node in blocks.graph.nodes if self.standardizes(node, context)]
        if plain:
            betas = ", ".join(f"{beta:.4f}" for beta in self.betas(context))
            found.append(
                f"NFNet's forward is x + α·F(x/β) with α = {self.alpha:g} and β = {betas} for the branches in order, "
                f"and each of {len(plain)} maps uses (W − mean)/(std·√fan_in)·γ, recomputed at each step. "
                f"{rewire_hint(self.name)}"
            )
        if norms_inside(blocks):
            found.append(f"Remove the {len(norms_inside(blocks))} norms inside the residual branches.")
        return tuple(found)
