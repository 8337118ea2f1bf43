"""lstm: gated recurrent layers that remember."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanin.initializers import ChronoBias, ForgetBias, LecunNormal, Zeros
from fanin.initializers._base import number
from fanin.schemes._base import Choice, Context, Keep, Scheme, fan, filled, usual
from fanin.schemes._gains import recurrent

if TYPE_CHECKING:
    from fanin.schemes._base import Example
    from fanin.slots import Slot

__all__ = ["LSTM"]


class LSTM(Scheme):
    """Each gate's recurrent matrix orthogonal, its input matrix Glorot, forget gate 1, or chrono biases.

    torch adds two biases: the second starts at 0.

    Args:
        forget_bias: of the LSTM's forget gate.
        max_time: T, the longest dependency in steps; given, b_f = log U(1, T−1) and b_i = −b_f (GRU: the update
            gate), so that memories span 1 to T steps.

    Source: Gers et al., 2000; Jozefowicz et al., ICML 2015; Saxe et al., 2013; Tallec & Ollivier, ICLR 2018 (chrono).
    """

    name = "lstm"
    title = "LSTM and GRU: orthogonal recurrence and Glorot input per gate, forget bias 1, or chrono with max_time=T"
    source = "Gers et al., 2000; Jozefowicz et al., 2015; Saxe et al., 2013; Tallec & Ollivier (chrono), 2018"
    looks_for = "gated recurrent layers (LSTM, GRU and their cells)"

    def __init__(self, forget_bias: float = 1.0, max_time: float | None = None) -> None:
        self.forget = ForgetBias(number("scheme 'lstm'", "forget_bias", forget_bias))
        self.max_time = None if max_time is None else ChronoBias(max_time).config["max_time"]

    @classmethod
    def example(cls) -> Example:
        """See :class:`Scheme`."""
        from fanin.schemes._examples import gated

        return gated()

    def fit(self, context: Context) -> None:
        """See :class:`Scheme`."""
        super().fit(context)
        cells = {str(s.settings["cell"]) for s in context.slots.values() if "cell" in s.settings}
        if not cells & {"LSTM", "GRU"}:
            raise self.missing("plain recurrent layers" if cells else "none")

    def weight(self, slot: Slot, context: Context) -> Choice:
        """See :class:`Scheme`."""
        if slot.kind == "recurrent":
            return recurrent(slot)
        return Choice(filled(slot, LecunNormal()), f"no recurrent map: LeCun, {fan(slot)}")

    def choose(self, slot: Slot, context: Context) -> Choice | Keep | None:
        """See :class:`Scheme`."""
        cell = slot.settings.get("cell")
        if slot.role == "weight":
            return self.weight(slot, context)
        if slot.role != "bias" or cell not in ("LSTM", "GRU"):
            return usual(slot)
        if slot.settings["side"] == "recurrent":
            return Choice(Zeros(), "torch adds both biases: this one 0")
        if self.max_time is not None:
            gates = "b_f = log u, b_i = −b_f" if cell == "LSTM" else "b_z = log u"
            reason = f"chrono: {gates}, u ~ U(1, {self.max_time - 1:g}), memories of 1 to {self.max_time:g} steps"
            return Choice(ChronoBias(self.max_time, str(cell).lower()), reason)
        if cell == "GRU":
            return Choice(Zeros(), "gates of a GRU: 0")
        value = self.forget.config["value"]
        return Choice(self.forget, f"forget gate {value:g}, so that the cell remembers; other gates 0")
