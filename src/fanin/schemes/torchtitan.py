"""torchtitan: its Llama 3, scaled by the depth of each block."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fanin.initializers import Normal, TruncatedNormal
from fanin.initializers._base import number
from fanin.schemes._base import Choice, Context, Keep, usual
from fanin.schemes._blocks import TransformerScheme, exact

if TYPE_CHECKING:
    from fanin.schemes._architecture import Branch
    from fanin.slots import Slot

__all__ = ["TorchTitan"]


class TorchTitan(TransformerScheme):
    """N(0, 0.02²); wo, w2 and w3 (output, down and up) 0.02/√(2(l+1)) in block l; embedding N(0, 1); head d^-½, ±3σ.

    torchtitan cuts at ±2, which at 100 standard deviations cuts nothing: a plain normal is the same law.

    Args:
        std: of q, k, v and the gate.

    Source: Liang et al. (TorchTitan), 2024.
    """

    name = "torchtitan"
    title = "Llama 3 in torchtitan: N(0, 0.02²); output, down and up maps 0.02/√(2(l+1)) in block l; embedding N(0, 1)"
    source = "Liang et al. (TorchTitan), 2024"

    def __init__(self, std: float = 0.02) -> None:
        self.std = number("scheme 'torchtitan'", "std", std, low=0)

    def law(self, role: str, slot: Slot, branch: Branch | None, context: Context) -> Choice:
        """See :class:`TransformerScheme`."""
        assert slot.fans is not None
        if role == "head":
            law = TruncatedNormal.of_parent(1 / math.sqrt(max(slot.fans.fan_in, 1)), 3.0)
            return Choice(law, f"head: 1/√{slot.fans.fan_in:g}, cut at ±3σ")
        if branch is None or not (slot.name in branch.ends or role == "up"):
            return Choice(Normal(std=self.std), f"N(0, {self.std:g}²)")
        std = self.std / math.sqrt(2 * (branch.layer + 1))
        what = "multiplied by the gate" if role == "up" else "ends a residual branch"
        reason = f"{what} in block {branch.layer}: {self.std:g}/√(2·{branch.layer + 1}) = {exact(std)}"
        return Choice(Normal(std=std), reason)

    def choose(self, slot: Slot, context: Context) -> Choice | Keep | None:
        """See :class:`Scheme`."""
        if slot.role == "embedding":
            return Choice(Normal(std=1.0), "embedding: N(0, 1)")
        return self.weight(slot, context) if slot.role == "weight" else usual(slot)
