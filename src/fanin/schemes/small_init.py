"""small_init: GPT-NeoX's pair, SmallInit for the maps and Wang's for the ends of residual branches."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fanin.errors import InputError
from fanin.initializers import Normal
from fanin.schemes._base import Choice, Context, Keep, usual
from fanin.schemes._blocks import TransformerScheme, exact

if TYPE_CHECKING:
    from fanin.schemes._architecture import Branch
    from fanin.slots import Slot

__all__ = ["SmallInit"]


class SmallInit(TransformerScheme):
    """N(0, 2/(5d)) on every map, N(0, (2/(L√d))²) at the ends of residual branches; d the width, L blocks.

    2/(5d) is Glorot's variance of the (d, 4d) feed-forward map: the smallest of all maps, taken for all.

    Args:
        ends: "wang" as in GPT-J and GPT-NeoX, or "small" for SmallInit there too, as first published.

    Source: Nguyen & Salazar, 2019; Wang & Komatsuzaki (GPT-J), 2021; Black et al. (GPT-NeoX), 2022.
    """

    name = "small_init"
    title = "N(0, 2/(5d)), and 2/(L√d) at the ends of residual branches (GPT-NeoX: small_init with wang_init)"
    source = "Nguyen & Salazar, 2019; Wang & Komatsuzaki, 2021; Black et al. (GPT-NeoX), 2022"

    def __init__(self, ends: str = "wang") -> None:
        if ends not in ("wang", "small"):
            raise InputError.of("ends", ends, "'wang' or 'small'", "scheme 'small_init'")
        self.ends = ends

    def _small(self, context: Context) -> tuple[float, int]:
        width = self.blocks(context).branches[0].width
        return math.sqrt(2 / (5 * width)), width

    def law(self, role: str, slot: Slot, branch: Branch | None, context: Context) -> Choice:
        """See :class:`TransformerScheme`."""
        std, width = self._small(context)
        if self.ends == "wang" and branch is not None and slot.name in branch.ends:
            std = 2 / (branch.layers * math.sqrt(branch.width))
            reason = f"ends a residual branch of {branch.layers} blocks: 2/({branch.layers}·√{branch.width})"
            return Choice(Normal(std=std), f"{reason} = {exact(std)}")
        return Choice(Normal(std=std), f"SmallInit: √(2/(5·{width})) = {exact(std)}")

    def choose(self, slot: Slot, context: Context) -> Choice | Keep | None:
        """See :class:`Scheme`."""
        if slot.role == "embedding":
            std, width = self._small(context)
            return Choice(Normal(std=std), f"embedding: SmallInit, √(2/(5·{width})) = {exact(std)}")
        return self.weight(slot, context) if slot.role == "weight" else usual(slot)
