"""full_megatron: GPT-2's rule, truncated, with a head of its own."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fanin.initializers import TruncatedNormal
from fanin.initializers._base import number
from fanin.schemes._base import Choice, Context, Keep, usual
from fanin.schemes._blocks import TransformerScheme, exact

if TYPE_CHECKING:
    from fanin.schemes._architecture import Branch
    from fanin.slots import Slot

__all__ = ["FullMegatron"]

CUT = 3.0
"""Where OLMo truncates, in standard deviations of the parent."""


class FullMegatron(TransformerScheme):
    """Truncated at ±3σ: σ = std, std/√(2L) at the ends of the 2L residual branches, 1/√d for the head.

    Args:
        std: of the maps and the embeddings, before the cut.

    Source: Groeneveld et al. (OLMo), 2024, who name Llama 2 as its origin.
    """

    name = "full_megatron"
    title = "0.02, ends of the 2L residual branches 0.02/√(2L), head 1/√d, cut at ±3σ"
    source = "Groeneveld et al. (OLMo), 2024; Shoeybi et al. (Megatron-LM), 2019"

    def __init__(self, std: float = 0.02) -> None:
        self.std = number("scheme 'full_megatron'", "std", std, low=0)

    def law(self, role: str, slot: Slot, branch: Branch | None, context: Context) -> Choice:
        """See :class:`TransformerScheme`."""
        assert slot.fans is not None
        std, reason = self.std, f"{self.std:g}"
        if role == "head":
            std = 1 / math.sqrt(max(slot.fans.fan_in, 1))
            reason = f"head: 1/√{slot.fans.fan_in:g}"
        elif branch is not None and slot.name in branch.ends:
            std = self.std / math.sqrt(branch.terms)
            reason = f"ends one of {branch.terms} residual branches: {self.std:g}/√{branch.terms} = {exact(std)}"
        return Choice(TruncatedNormal.of_parent(std, CUT), f"{reason}, cut at ±3σ")

    def choose(self, slot: Slot, context: Context) -> Choice | Keep | None:
        """See :class:`Scheme`."""
        if slot.role == "embedding":
            return Choice(TruncatedNormal.of_parent(self.std, CUT), f"embedding: {self.std:g}, cut at ±3σ")
        return self.weight(slot, context) if slot.role == "weight" else usual(slot)
