"""mup: the start that lets a learning rate tuned on a narrow model serve a wide one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fanin.initializers import MuP as Law
from fanin.initializers import Normal, Zeros
from fanin.initializers._base import number
from fanin.mup import Scaling, scalings
from fanin.schemes._architecture import architecture
from fanin.schemes._base import Choice, Context, Keep, Scheme, fan, filled, usual
from fanin.schemes._gains import recurrent

if TYPE_CHECKING:
    from fanin.slots import Slot

__all__ = ["MuP"]


class MuP(Scheme):
    """Input and hidden maps of variance 1/fan_in, output maps base_fan_in/fan_in², embeddings of fixed std.

    With ``base``, the base model itself starts as with LeCun's rule, and the outputs of a wider one are smaller by
    √(fan_in/base_fan_in). Without, outputs have variance 1/fan_in² and the maps' roles follow from the head alone.
    The learning rates must follow: ``fanin.mup.param_groups(model, base=base, lr=…)``.

    Args:
        base: the same model at its base width (on meta is enough), or parameter name → shape.
        gain: factor of the std of input and hidden maps.
        embedding_std: of lookup tables, at every width.
        zero_head: start outputs at 0, which removes their scale from the comparison of widths.

    Source: Yang et al. (Tensor Programs V), 2022.
    """

    name = "mup"
    title = "maximal-update parametrization: hidden 1/fan_in, output 1/fan_in²; with fanin.mup.param_groups"
    source = "Yang et al. (Tensor Programs V), 2022"

    def __init__(
        self, base: Any = None, gain: float = 1.0, embedding_std: float = 1.0, zero_head: bool = False
    ) -> None:
        self.base = base
        self.gain = number("scheme 'mup'", "gain", gain, low=0)
        self.embedding_std = number("scheme 'mup'", "embedding_std", embedding_std, low=0)
        self.zero_head = bool(zero_head)

    def _scaling(self, slot: Slot, context: Context) -> Scaling:
        if self.base is None:
            assert slot.fans is not None
            fan_in = max(slot.fans.fan_in, 1)
            return Scaling("output" if slot.is_head else "hidden", fan_in, 1.0, slot.fans.fan_out, 1.0)
        if "mup" not in context.memo:
            context.memo["mup"] = scalings(context.slots, self.base)
        found: Scaling = context.memo["mup"][slot.name]
        return found

    def weight(self, slot: Slot, context: Context) -> Choice:
        """See :class:`Scheme`."""
        scaling = self._scaling(slot, context)
        if slot.kind == "recurrent":
            return recurrent(slot)
        if scaling.role == "output" and self.zero_head:
            return Choice(Zeros(), "output: 0")
        start = self.gain / max(scaling.base_fan_in, 1e-30) ** 0.5
        role = scaling.role if scaling.role == "output" else "hidden"
        law = filled(slot, Law(role, start, scaling.base_fan_in))
        words = f"μP {scaling.role}: {fan(slot)}"
        if self.base is not None and scaling.wider != 1:
            words += f", {scaling.wider:g} times the base model's"
        formula = "base_fan_in/fan_in²" if self.base is not None else "1/fan_in²"
        return Choice(law, f"{words}; variance {formula if role == 'output' else '1/fan_in'}")

    def choose(self, slot: Slot, context: Context) -> Choice | Keep | None:
        """See :class:`Scheme`."""
        if slot.role == "embedding":
            return Choice(Normal(std=self.embedding_std), f"embedding: N(0, {self.embedding_std:g}²) at every width")
        return self.weight(slot, context) if slot.role == "weight" else usual(slot)

    def notes(self, context: Context) -> tuple[str, ...]:
        """See :class:`Scheme`."""
        base = "base=base" if self.base is not None else "base=the model at its base width"
        found = [f"The learning rates must follow the widths: fanin.mup.param_groups(model, {base}, lr=…)."]
        blocks = architecture(context)
        if blocks is not None and any(a.scale is not None for a in blocks.attentions):
            found.append("μP's attention multiplies q·k by 1/d_head (times √base d_head), not by 1/√d_head.")
        if any(slot.role == "embedding" and slot.is_head for slot in context.slots.values()):
            found.append("The head is the embedding: the forward must multiply its outputs by base width/width.")
        return tuple(found)
