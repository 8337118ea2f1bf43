"""siren: networks of sines over coordinates."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fanin.errors import InputError
from fanin.initializers import SirenFirst, SirenHidden, Uniform, Zeros
from fanin.schemes._base import Choice, Context, Keep, Scheme, fan, usual
from fanin.schemes._surroundings import surroundings

if TYPE_CHECKING:
    from fanin.schemes._base import Example
    from fanin.slots import Slot

__all__ = ["Siren"]


class Siren(Scheme):
    """sin(ω₀(Wx + b)): the first map U(±1/fan_in), all others U(±√(6/fan_in)/ω₀), ω₀ read from the forward.

    The pre-activations' variance then goes to the root of q = 1 − e^(−2q), 0.797, and not to 1.

    Args:
        bias: "torch" for U(±1/√fan_in), which the authors' code leaves, or "zero".

    Source: Sitzmann et al., NeurIPS 2020.
    """

    name = "siren"
    title = "networks of sin(ω₀·(Wx+b)): U(±1/fan_in) first, then U(±√(6/fan_in)/ω₀), ω₀ read from the forward"
    source = "Sitzmann et al., NeurIPS 2020"
    needs = ("graph",)
    looks_for = "maps followed by a sine"

    def __init__(self, bias: str = "torch") -> None:
        if bias not in ("torch", "zero"):
            raise InputError.of("bias", bias, "'torch' or 'zero'", "scheme 'siren'")
        self.bias = bias

    @classmethod
    def example(cls) -> Example:
        """See :class:`Scheme`."""
        from fanin.schemes._examples import sines

        return sines()

    def fit(self, context: Context) -> None:
        """See :class:`Scheme`."""
        super().fit(context)
        if not self._omegas(context):
            follows = sorted({str(s.nonlinearity) for s in context.slots.values() if s.role == "weight"})
            raise self.missing(f"maps followed by {', '.join(follows) or 'nothing'}")

    @staticmethod
    def _omegas(context: Context) -> list[float]:
        sines = [s for s in context.slots.values() if s.role == "weight" and s.nonlinearity in ("sin", "cos")]
        return [float(slot.settings.get("factor", 1.0)) for slot in sines]

    def weight(self, slot: Slot, context: Context) -> Choice:
        """See :class:`Scheme`."""
        sine = slot.nonlinearity in ("sin", "cos")
        if sine and surroundings(context).is_first(slot.name):
            return Choice(SirenFirst(), f"first map, on coordinates in [−1, 1]: U(±1/{fan(slot).split()[-1]})")
        omega = float(slot.settings.get("factor", 1.0)) if sine else self._omegas(context)[-1]
        what = "sine" if sine else "no sine follows; as the hidden maps"
        return Choice(SirenHidden(omega), f"{what}, ω₀ = {omega:g}: {fan(slot)}, U(±√(6/fan_in)/{omega:g})")

    def choose(self, slot: Slot, context: Context) -> Choice | Keep | None:
        """See :class:`Scheme`."""
        if slot.role == "weight":
            return self.weight(slot, context)
        weight = context.weight_of(slot) if slot.role == "bias" else None
        if weight is None or weight.fans is None:
            return usual(slot)
        if self.bias == "zero":
            return Choice(Zeros(), "bias: 0")
        bound = 1 / math.sqrt(max(weight.fans.fan_in, 1))
        return Choice(Uniform(-bound, bound), f"bias: U(±{bound:.4g}), torch's default, as the authors' code leaves it")
