"""t_fixup: transformers without layer norm and warm-up."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fanin.initializers import GlorotUniform, Normal
from fanin.schemes._base import Choice, Context, Keep, fan, filled, usual
from fanin.schemes._blocks import TransformerScheme, exact, norms_inside, paired_layers, sides
from fanin.schemes._edits import rewire_hint, without_norms

if TYPE_CHECKING:
    from fanin.schemes._architecture import Branch
    from fanin.schemes._base import Example
    from fanin.schemes._changes import Change
    from fanin.slots import Slot

__all__ = ["TFixup"]

ENCODER = 0.67
"""0.67 N^-¼ for the encoder (Huang et al., 2020, §3.2)."""


class TFixup(TransformerScheme):
    """Glorot; v, o, fc1, fc2 of the encoder × 0.67 N^-¼, of the decoder × (9N)^-¼; embeddings d^-½ × (9N)^-¼.

    N counts the blocks of the side. Derived for encoder–decoder models with Adam; a lone stream counts as an encoder.

    Source: Huang, Perez, Ba & Volkovs, ICML 2020.
    """

    name = "t_fixup"
    title = "Glorot with v, o, fc1, fc2 × 0.67 N^-¼ (encoder) or (9N)^-¼ (decoder): no layer norm, no warm-up"
    source = "Huang, Perez, Ba & Volkovs, ICML 2020"

    @classmethod
    def example(cls) -> Example:
        """See :class:`Scheme`."""
        from fanin.schemes._examples import transformer

        return transformer()

    def law(self, role: str, slot: Slot, branch: Branch | None, context: Context) -> Choice:
        """See :class:`TransformerScheme`."""
        plain = f"Glorot: {fan(slot)}, {fan(slot, 'fan_out')}"
        if branch is None or role in ("q", "k"):
            return Choice(filled(slot, GlorotUniform()), plain)
        side, layers = sides(self.blocks(context)).get(branch.stream, ("only", branch.layers))
        decodes = side == "decoder"
        gain = (9 * layers) ** -0.25 if decodes else ENCODER * layers**-0.25
        formula = f"(9·{layers})^-¼" if decodes else f"{ENCODER}·{layers}^-¼"
        return Choice(filled(slot, GlorotUniform(gain)), f"{role}: {plain}, times {formula} = {exact(gain)}")

    def choose(self, slot: Slot, context: Context) -> Choice | Keep | None:
        """See :class:`Scheme`."""
        if slot.role != "embedding":
            return self.weight(slot, context) if slot.role == "weight" else usual(slot)
        layers, width = max(paired_layers(self.blocks(context))), slot.shape[-1]
        std = (9 * layers) ** -0.25 / math.sqrt(width)
        return Choice(Normal(std=std), f"embedding: {width}^-½ times (9·{layers})^-¼ = {exact(std)}")

    def changes(self, context: Context) -> tuple[Change, ...]:
        """See :class:`Scheme`."""
        return without_norms(self.name, context)

    def notes(self, context: Context) -> tuple[str, ...]:
        """See :class:`Scheme`."""
        blocks = self.blocks(context)
        hint = rewire_hint(self.name)
        found = [f"T-Fixup's forward has no layer norm: remove every one. {hint} Train with Adam and without warm-up."]
        if not norms_inside(blocks):
            found = ["Train with Adam; no warm-up is needed."]
        if paired_layers(blocks)[1] == 0:
            found.append("T-Fixup was derived for encoder–decoder models; this one stream is treated as an encoder.")
        return tuple(found)
