"""t5: unit-scale signals with the attention's 1/√d_kv folded into the queries."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fanin.initializers import Normal
from fanin.schemes._base import Choice, Context, Keep, usual
from fanin.schemes._blocks import TransformerScheme, exact
from fanin.schemes._surroundings import surroundings

if TYPE_CHECKING:
    from fanin.schemes._architecture import Branch
    from fanin.slots import Slot

__all__ = ["T5"]


class T5(TransformerScheme):
    """q (d·d_kv)^-½, every other map fan_in^-½, token embedding N(0, 1), relative positions d^-½.

    Where the attention multiplies the logits by s already, q starts at d^-½/(s·√d_kv), so that logits have std 1
    either way.

    Source: Raffel et al., JMLR 2020 (mesh-tensorflow's code).
    """

    name = "t5"
    title = "q (d·d_kv)^-½ (the attention does not scale), other maps fan_in^-½, embedding N(0, 1)"
    source = "Raffel et al. (T5), JMLR 2020"

    def law(self, role: str, slot: Slot, branch: Branch | None, context: Context) -> Choice:
        """See :class:`TransformerScheme`."""
        assert slot.fans is not None
        wide = max(slot.fans.fan_in, 1)
        attention = self.blocks(context).attention_of(slot)
        if role != "q" or attention is None or attention.scale is None:
            return Choice(Normal(std=1 / math.sqrt(wide)), f"1/√{wide:g}")
        std = 1 / (math.sqrt(wide * attention.head_dim) * attention.scale)
        if attention.scale == 1:
            return Choice(Normal(std=std), f"q: (d·d_kv)^-½ = 1/√({wide:g}·{attention.head_dim}) = {exact(std)}")
        reason = f"q: the attention multiplies by {attention.scale:.4g}: 1/√({wide:g}·{attention.head_dim})/that"
        return Choice(Normal(std=std), f"{reason} = {exact(std)}")

    def choose(self, slot: Slot, context: Context) -> Choice | Keep | None:
        """See :class:`Scheme`."""
        if slot.role != "embedding":
            return self.weight(slot, context) if slot.role == "weight" else usual(slot)
        branches = self.blocks(context).branches
        started = {name for b in branches for end in b.ends for name in surroundings(context).stream(end).lookups}
        if slot.name in started or slot.is_head or not started:
            return Choice(Normal(std=1.0), "embedding: N(0, 1), the stream starts at unit scale")
        std = 1 / math.sqrt(branches[0].width)
        return Choice(Normal(std=std), f"embedding that starts no stream (relative positions): 1/√{branches[0].width}")

    def notes(self, context: Context) -> tuple[str, ...]:
        """See :class:`Scheme`."""
        found = []
        if any(a.scale is not None and a.scale != 1 for a in self.blocks(context).attentions):
            found.append("T5's attention does not multiply its logits by 1/√d_kv; here q makes up for the factor.")
        if any(slot.role == "embedding" and slot.is_head for slot in context.slots.values()):
            found.append("The head is the embedding, of std 1: the forward must multiply the head's input by d^-½.")
        return tuple(found)
