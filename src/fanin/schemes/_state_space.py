"""What the parameters of a selective state space start as: shared by the schemes that plan them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fanin.initializers import Blocks, Constant, Mamba2ALog, MambaALog, MambaStepBias, MambaStepWeight, Ones
from fanin.schemes._base import Choice, Keep, fan, filled

if TYPE_CHECKING:
    from fanin.initializers import Initializer
    from fanin.schemes._selective import Selective
    from fanin.slots import Slot

__all__ = ["each", "state_space"]


def state_space(slot: Slot, found: Selective, step: MambaStepBias) -> Choice | Keep | None:
    """The start of a parameter in ``found.own``; None where no rule covers it.

    Args:
        slot: the parameter.
        found: what the run showed of it.
        step: what the bias of the step starts as.

    Source: Gu & Dao (Mamba), 2023; Dao & Gu (Mamba-2), ICML 2024.
    """
    if slot.name in found.rates:
        return _rate(slot, found.rates[slot.name])
    if slot.name in found.biases:
        low, high, floor = (step.config[name] for name in ("minimum", "maximum", "floor"))
        floored = f", at least {floor:g}" if floor > low else ""
        return Choice(step, f"step: softplus⁻¹(Δ), Δ log-uniform on [{low:g}, {high:g}]{floored}")
    if slot.name in found.skips:
        return Choice(Ones(), "D, which multiplies the input that skips the states: 1")
    return Choice(each(slot, MambaStepWeight()), f"makes the step Δ: U(±1/√dt_rank), {fan(slot)}")


def _rate(slot: Slot, axis: int | None) -> Choice | Keep | None:
    if axis is None:
        return Choice(Mamba2ALog(), "rate of each head: A_log = log u, u ~ U(1, 16), so A in [−16, −1]")
    if axis < 0:  # where its values are not finite either, nothing is there to keep
        why = f"{slot.why}; it sets rates, but which of its axes counts the states is not known"
        return None if slot.settings.get("nonfinite") else Keep(why)
    states = slot.shape[axis]
    reason = f"rates of each channel: A_log = log 1 … log {states}, so A = −1 … −{states}"
    if axis == len(slot.shape) - 1:
        return Choice(MambaALog(), reason)
    parts = [(str(n + 1), 1, Constant(math.log(n + 1))) for n in range(states)]
    return Choice(Blocks(axis, parts), f"{reason}, along axis {axis}")


def each(slot: Slot, law: Initializer) -> Initializer:
    """``law``, which reads fan_in alone, for a tensor that may pack maps: blocks only where their fan_in differs."""
    return law if len({part.fans.fan_in for part in slot.parts}) < 2 else filled(slot, law)
