"""layerscale: a small learned factor per channel at the end of each branch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanin.initializers import Constant, TruncatedNormal
from fanin.initializers._base import number
from fanin.schemes._base import Choice, Context, Keep, usual
from fanin.schemes._blocks import BlockScheme
from fanin.schemes._edits import bare, factors, rewire_hint

if TYPE_CHECKING:
    from fanin.schemes._base import Example
    from fanin.schemes._changes import Change
    from fanin.slots import Slot

__all__ = ["LayerScale"]

STD = 0.02
"""Of the maps, truncated (DeiT)."""


class LayerScale(BlockScheme):
    """diag(ε) F(x) with ε = 0.1 up to 18 blocks, 1e-5 up to 24, 1e-6 beyond; maps 0.02 cut at ±2σ.

    Args:
        value: ε; by default from the depth.

    Source: Touvron et al. (CaiT), ICCV 2021.
    """

    name = "layerscale"
    title = "pre-norm vision transformers: factors per channel ε = 0.1, 1e-5 or 1e-6 by depth; maps 0.02, cut at ±2σ"
    source = "Touvron et al. (CaiT), ICCV 2021"

    def __init__(self, value: float | None = None) -> None:
        self.value = None if value is None else number("scheme 'layerscale'", "value", value)

    @classmethod
    def example(cls) -> Example:
        """See :class:`Scheme`."""
        from fanin.schemes._examples import transformer

        return transformer(scaled=True)

    def start(self, layers: int) -> float:
        """ε of a stream of so many blocks."""
        if self.value is not None:
            return self.value
        return 0.1 if layers <= 18 else 1e-5 if layers <= 24 else 1e-6

    def weight(self, slot: Slot, context: Context) -> Choice:
        """See :class:`Scheme`."""
        return Choice(TruncatedNormal.of_parent(STD), f"{STD:g}, cut at ±2σ")

    def choose(self, slot: Slot, context: Context) -> Choice | Keep | None:
        """See :class:`Scheme`."""
        for branch in self.blocks(context).branches:
            if slot.name == branch.multiplier:
                value = self.start(branch.layers)
                return Choice(Constant(value), f"factor of a residual branch, {branch.layers} blocks: ε = {value:g}")
        return self.weight(slot, context) if slot.role == "weight" else usual(slot)

    def notes(self, context: Context) -> tuple[str, ...]:
        """See :class:`Scheme`."""
        branches, missing = self.blocks(context).branches, bare(context)
        if not missing:
            return ()
        return (
            f"{len(missing)} of {len(branches)} residual branches have no factor per channel. {rewire_hint(self.name)}",
        )

    def changes(self, context: Context) -> tuple[Change, ...]:
        """See :class:`Scheme`."""
        return factors(self.name, context, bare(context), "LayerScale starts it at ε", vector=True)
