"""gpt2: a fixed small Gaussian, smaller at the ends of residual branches."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fanin.initializers import Normal
from fanin.initializers._base import number
from fanin.schemes._base import Choice, Context, Keep, usual
from fanin.schemes._blocks import TransformerScheme, exact

if TYPE_CHECKING:
    from fanin.schemes._architecture import Branch
    from fanin.slots import Slot

__all__ = ["GPT2"]


class GPT2(TransformerScheme):
    """N(0, std²) everywhere, N(0, (std/√(2L))²) at the ends of the 2L residual branches, biases 0.

    The std fits pre-norm models of width 1000 to 2000 (0.02 = 1/√2500) and should shrink for wider ones.

    Args:
        std: 0.02 in GPT-2, nanoGPT and Megatron.
        position_std: of learned positions; 0.02 in transformers, 0.01 in the original code.

    Source: Radford et al., 2019; Shoeybi et al. (Megatron-LM), 2019.
    """

    name = "gpt2"
    title = "N(0, 0.02²); ends of the 2L residual branches divided by √(2L)"
    source = "Radford et al. (GPT-2), 2019; Shoeybi et al. (Megatron-LM), 2019"

    def __init__(self, std: float = 0.02, position_std: float = 0.02) -> None:
        self.std = number("scheme 'gpt2'", "std", std, low=0)
        self.position_std = number("scheme 'gpt2'", "position_std", position_std, low=0)

    def law(self, role: str, slot: Slot, branch: Branch | None, context: Context) -> Choice:
        """See :class:`TransformerScheme`."""
        if branch is None or slot.name not in branch.ends:
            return Choice(Normal(std=self.std), f"N(0, {self.std:g}²)")
        std = self.std / math.sqrt(branch.terms)
        reason = f"ends one of {branch.terms} residual branches: N(0, ({self.std:g}/√{branch.terms})²) = {exact(std)}²"
        return Choice(Normal(std=std), reason)

    def choose(self, slot: Slot, context: Context) -> Choice | Keep | None:
        """See :class:`Scheme`."""
        if slot.role == "token":
            return Choice(Normal(std=self.position_std), f"positions and tokens: N(0, {self.position_std:g}²)")
        if slot.role == "embedding":
            return Choice(Normal(std=self.std), f"embedding: N(0, {self.std:g}²)")
        return self.weight(slot, context) if slot.role == "weight" else usual(slot)
