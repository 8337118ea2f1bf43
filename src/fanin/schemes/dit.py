"""dit: diffusion transformers whose conditioning starts as none."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fanin.initializers import GlorotUniform, Normal, Uniform, Zeros
from fanin.schemes._base import Choice, Context, Keep, fan, filled, usual
from fanin.schemes._blocks import BlockScheme
from fanin.schemes._gains import recurrent

if TYPE_CHECKING:
    from fanin.schemes._base import Example
    from fanin.slots import Slot

__all__ = ["DiT"]

STD = 0.02
"""Of the maps and tables that make the condition (the authors' code)."""


class DiT(BlockScheme):
    """adaLN-zero: maps that modulate 0, head 0, maps of the condition N(0, 0.02²), all others Glorot-uniform.

    Each block starts as the identity, and the condition has no effect yet. A convolution that cuts patches counts as
    the linear map of a patch.

    Source: Peebles & Xie (DiT), ICCV 2023.
    """

    name = "dit"
    title = "diffusion transformers: modulating maps and head 0 (adaLN-zero), condition N(0, 0.02²), Glorot elsewhere"
    source = "Peebles & Xie (DiT), ICCV 2023"
    looks_for = "maps that modulate a signal (multiply it by 1 + s)"

    @classmethod
    def example(cls) -> Example:
        """See :class:`Scheme`."""
        from fanin.schemes._examples import modulated

        return modulated()

    def fit(self, context: Context) -> None:
        """See :class:`Scheme`."""
        super().fit(context)
        if not any(slot.settings.get("modulates") for slot in context.slots.values()):
            raise self.missing("none")

    def weight(self, slot: Slot, context: Context) -> Choice:
        """See :class:`Scheme`."""
        if slot.kind == "recurrent":
            return recurrent(slot)
        if slot.settings.get("modulates"):
            return Choice(Zeros(), "modulates a signal: 0, so that the condition starts without effect (adaLN-zero)")
        if slot.is_head:
            return Choice(Zeros(), "head: 0")
        if slot.name in self._condition(context):
            return Choice(Normal(std=STD), f"makes the condition: N(0, {STD:g}²)")
        fans = slot.fans
        assert fans is not None
        if fans.window_axes and fans.groups == 1:
            out = math.prod(slot.shape[axis] for axis in fans.out_axes)
            bound = math.sqrt(6 / (fans.fan_in + out))
            reason = f"patches as a linear map: Glorot, {fan(slot)}, fan_out {out}"
            return Choice(Uniform(-bound, bound), reason)
        return Choice(filled(slot, GlorotUniform()), f"Glorot: {fan(slot)}, {fan(slot, 'fan_out')}")

    def choose(self, slot: Slot, context: Context) -> Choice | Keep | None:
        """See :class:`Scheme`."""
        if slot.role == "embedding":
            return Choice(Normal(std=STD), f"embedding: N(0, {STD:g}²)")
        return self.weight(slot, context) if slot.role == "weight" else usual(slot)

    def _condition(self, context: Context) -> set[str]:
        """Weights above a modulating map that stand in no residual branch."""
        if "condition" not in context.memo:
            graph, blocks = context.graph, self.blocks(context)
            assert graph is not None
            modulating = [s.name for s in context.slots.values() if s.settings.get("modulates")]
            stack = [i for name in modulating for node, _ in graph.uses(name) for i in node.inputs]
            seen: set[int] = set()
            while stack:
                current = stack.pop()
                if current not in seen:
                    seen.add(current)
                    stack.extend(graph.nodes[current].inputs)
            names = {use.name for i in seen for use in graph.nodes[i].params if use.name in context.slots}
            context.memo["condition"] = {context.slots[n].name for n in names if blocks.branch(n) is None}
        found: set[str] = context.memo["condition"]
        return found
