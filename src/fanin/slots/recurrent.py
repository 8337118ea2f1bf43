"""nn.LSTM, nn.GRU, nn.RNN and their cells: gates stacked along axis 0."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from torch import nn

from fanin.fans import elementwise, linear
from fanin.slots._base import Kind, Place, packed

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Recurrent"]

# Order of the blocks as torch's documentation of each class gives it.
_GATES = {
    "LSTM": (("i", "f", "g", "o"), ("sigmoid", "sigmoid", "tanh", "sigmoid")),
    "GRU": (("r", "z", "n"), ("sigmoid", "sigmoid", "tanh")),
}
_NAME = re.compile(r"(weight|bias)_(ih|hh|hr)(_l\d+)?(_reverse)?")


class Recurrent(Kind):
    """Recurrent layers: each gate of ``weight_ih`` and ``weight_hh`` is a map of its own."""

    name = "recurrent"
    modules = (nn.RNNBase, nn.RNNCellBase)

    def place(self, module: nn.Module, name: str, shape: Sequence[int]) -> Place | None:
        """See :class:`Kind`."""
        match = _NAME.fullmatch(name)
        if match is None:
            return None
        what, side = match.group(1), match.group(2)
        if side == "hr":
            return Place("weight", linear(shape), "projection of the hidden state stores (out, hidden)")
        gates, follows = self._gates(module)
        size = shape[0] // len(gates)
        sizes = [size] * len(gates)
        settings = {"side": "input" if side == "ih" else "recurrent", "cell": self._cell(module), "hidden": size}
        if what == "bias":
            parts = packed(gates, elementwise((size,)), axis=0, sizes=sizes, nonlinearities=follows)
            return Place("bias", elementwise(shape), "torch adds bias_ih and bias_hh", parts, settings=settings)
        fans = linear((size, shape[1]))
        parts = packed(gates, fans, axis=0, sizes=sizes, nonlinearities=follows)
        why = f"gates {', '.join(gates)} stacked along the out axis" if len(gates) > 1 else "stores (hidden, in)"
        return Place("weight", fans, why, parts, settings=settings)

    @staticmethod
    def _cell(module: nn.Module) -> str:
        mode = str(getattr(module, "mode", type(module).__name__))
        return next(name for name in ("LSTM", "GRU", "RNN") if name in mode)

    def _gates(self, module: nn.Module) -> tuple[Sequence[str], Sequence[str]]:
        cell = self._cell(module)
        if cell == "RNN":
            return ("h",), (str(getattr(module, "nonlinearity", "tanh")),)
        return _GATES[cell]

    def example(self) -> list[nn.Module]:
        """See :class:`Kind`."""
        return [
            nn.LSTM(3, 4, num_layers=2, bidirectional=True, proj_size=2),
            nn.GRU(3, 4),
            nn.RNN(3, 4, nonlinearity="relu"),
            nn.LSTMCell(3, 4),
            nn.GRUCell(3, 4),
            nn.RNNCell(3, 4),
        ]
