"""mitchell: OLMo's first rule, by fan_in and by the layer's own depth."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fanin.initializers import TruncatedNormal
from fanin.schemes._base import Choice, Context, Keep, usual
from fanin.schemes._blocks import TransformerScheme, exact

if TYPE_CHECKING:
    from fanin.schemes._architecture import Branch
    from fanin.slots import Slot

__all__ = ["Mitchell"]

CUT = 3.0
"""Where OLMo truncates, in standard deviations of the parent."""


class Mitchell(TransformerScheme):
    """Truncated at ±3σ: σ = 1/√fan_in, and 1/√(2 · fan_in · (l + 1)) at the ends of the branches of block l.

    Source: Groeneveld et al. (OLMo), 2024.
    """

    name = "mitchell"
    title = "1/√fan_in, and 1/√(2·fan_in·(l+1)) at the ends of block l's residual branches, cut at ±3σ"
    source = "Groeneveld et al. (OLMo), 2024"

    def law(self, role: str, slot: Slot, branch: Branch | None, context: Context) -> Choice:
        """See :class:`TransformerScheme`."""
        assert slot.fans is not None
        wide = max(slot.fans.fan_in, 1)
        if branch is None or slot.name not in branch.ends:
            return Choice(TruncatedNormal.of_parent(1 / math.sqrt(wide), CUT), f"1/√{wide:g}, cut at ±3σ")
        std = 1 / math.sqrt(2 * wide * (branch.layer + 1))
        reason = f"ends a residual branch of block {branch.layer}: 1/√(2·{wide:g}·{branch.layer + 1}) = {exact(std)}"
        return Choice(TruncatedNormal.of_parent(std, CUT), f"{reason}, cut at ±3σ")

    def choose(self, slot: Slot, context: Context) -> Choice | Keep | None:
        """See :class:`Scheme`."""
        if slot.role == "embedding":
            width = slot.shape[-1]
            law = TruncatedNormal.of_parent(1 / math.sqrt(width), CUT)
            return Choice(law, f"embedding: 1/√{width}, cut at ±3σ")
        return self.weight(slot, context) if slot.role == "weight" else usual(slot)
