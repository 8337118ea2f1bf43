"""irnn: recurrent networks of ReLU units that copy their state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanin import initializers
from fanin.initializers import Normal
from fanin.initializers._base import number
from fanin.schemes._base import Choice, Context, Scheme

if TYPE_CHECKING:
    from fanin.schemes._base import Example
    from fanin.slots import Slot

__all__ = ["IRNN"]


class IRNN(Scheme):
    """W_hh = εI, other maps N(0, std²), biases 0, ReLU units: a non-negative state is copied for ever.

    Args:
        epsilon: on the diagonal; below 1 the state is forgotten.
        std: of all other maps.

    Source: Le, Jaitly & Hinton, 2015.
    """

    name = "irnn"
    title = "ReLU recurrent networks: W_hh = identity, other maps N(0, 0.001²), biases 0"
    source = "Le, Jaitly & Hinton, 2015"
    looks_for = "recurrent layers with ReLU units (nn.RNN(…, nonlinearity='relu'))"

    def __init__(self, epsilon: float = 1.0, std: float = 0.001) -> None:
        self.law = initializers.IRNN(epsilon)
        self.std = number("scheme 'irnn'", "std", std, low=0)

    @classmethod
    def example(cls) -> Example:
        """See :class:`Scheme`."""
        from fanin.schemes._examples import rectified

        return rectified()

    def fit(self, context: Context) -> None:
        """See :class:`Scheme`."""
        super().fit(context)
        if not any(self._copies(slot) for slot in context.slots.values()):
            cells = sorted({str(s.settings["cell"]) for s in context.slots.values() if "cell" in s.settings})
            raise self.missing(f"recurrent layers of kind {', '.join(cells)} without ReLU" if cells else "none")

    @staticmethod
    def _copies(slot: Slot) -> bool:
        follows = slot.parts[0].nonlinearity if slot.parts else None
        return slot.role == "weight" and slot.settings.get("side") == "recurrent" and follows == "relu"

    def weight(self, slot: Slot, context: Context) -> Choice:
        """See :class:`Scheme`."""
        if self._copies(slot):
            return Choice(self.law, f"recurrent, ReLU follows: {self.law.config['epsilon']:g}·I, the state is copied")
        return Choice(Normal(std=self.std), f"N(0, {self.std:g}²)")

    def notes(self, context: Context) -> tuple[str, ...]:
        """See :class:`Scheme`."""
        return ("An IRNN is unstable without gradient clipping.",)
