"""delta_orthogonal: plain convolutional networks of any depth, as isometries at the edge of chaos."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fanin import theory
from fanin.errors import InputError
from fanin.initializers import DeltaOrthogonal as Delta
from fanin.initializers import Normal, Orthogonal, VarianceScaling, Zeros
from fanin.initializers._base import number
from fanin.schemes._base import Choice, Context, Keep, Scheme, activation, fan, filled, usual
from fanin.schemes._gains import recurrent
from fanin.theory.activations import Activation

if TYPE_CHECKING:
    from fanin.schemes._base import Example
    from fanin.slots import Slot

__all__ = ["DeltaOrthogonal"]


class DeltaOrthogonal(Scheme):
    """Convolutions zero but for an orthogonal centre tap, gain √σ_w² of the critical point of the activation.

    Each layer is then an isometry of its input's image, and gradients keep their length over thousands of layers.

    Args:
        bias_var: σ_b² of the critical point; small for near-linear signals, which tanh carries furthest.

    Source: Xiao et al., ICML 2018; Pennington, Schoenholz & Ganguli, 2017.
    """

    name = "delta_orthogonal"
    title = "plain CNNs of any depth: orthogonal centre taps with the critical gain of the activation"
    source = "Xiao et al., ICML 2018"
    looks_for = "convolutions"

    def __init__(self, bias_var: float = 2e-5) -> None:
        self.bias_var = number("scheme 'delta_orthogonal'", "bias_var", bias_var, low=0)
        self._points: dict[object, tuple[float, float, str]] = {}

    @classmethod
    def example(cls) -> Example:
        """See :class:`Scheme`."""
        from fanin.schemes._examples import plain_cnn

        return plain_cnn()

    def fit(self, context: Context) -> None:
        """See :class:`Scheme`."""
        super().fit(context)
        if not any(self._windows(slot) for slot in context.slots.values()):
            raise self.missing("none")

    @staticmethod
    def _windows(slot: Slot) -> bool:
        return slot.role == "weight" and slot.fans is not None and bool(slot.fans.window_axes)

    def _point(self, slot: Slot) -> tuple[float, float, str]:
        """(σ_w², σ_b², words) for the activation that follows."""
        found = activation(slot)
        if not isinstance(found, Activation) or slot.normalized:
            return 1.0, 0.0, "a norm follows" if slot.normalized else "no activation with a critical point follows"
        if found not in self._points:
            try:
                point = theory.critical(found, bias_var=self.bias_var)
                self._points[found] = point.weight_var, point.bias_var, f"critical for {found}"
            except InputError:
                try:
                    point = theory.critical(found)
                    self._points[found] = point.weight_var, point.bias_var, f"critical for {found}"
                except InputError:
                    self._points[found] = theory.gain(found) ** 2, 0.0, f"{found} has no critical point: its gain"
        return self._points[found]

    def weight(self, slot: Slot, context: Context) -> Choice:
        """See :class:`Scheme`."""
        assert slot.fans is not None
        if slot.kind == "recurrent":
            return recurrent(slot)
        variance, _, why = self._point(slot)
        gain = math.sqrt(variance)
        if self._windows(slot):
            law = Delta(gain, scaled=True)
            return Choice(filled(slot, law), f"delta-orthogonal, gain {gain:.6g} ({why}: σ_w² = {variance:.6g})")
        if not slot.fans.out_axes or not slot.fans.in_axes:
            return Choice(VarianceScaling(variance, "fan_in", "normal"), f"{fan(slot)}, gain {gain:.6g} ({why})")
        return Choice(filled(slot, Orthogonal(gain)), f"orthogonal, gain {gain:.6g} ({why})")

    def choose(self, slot: Slot, context: Context) -> Choice | Keep | None:
        """See :class:`Scheme`."""
        if slot.role == "weight":
            return self.weight(slot, context)
        weight = context.weight_of(slot) if slot.role == "bias" else None
        if weight is None or weight.role != "weight":
            return usual(slot)
        _, variance, why = self._point(weight)
        if variance <= 0:
            return Choice(Zeros(), f"bias: 0 ({why})")
        return Choice(Normal(std=math.sqrt(variance)), f"bias: σ_b² = {variance:.4g}, {why}")

    def notes(self, context: Context) -> tuple[str, ...]:
        """See :class:`Scheme`."""
        convolutions = [slot for slot in context.slots.values() if self._windows(slot)]
        narrow = [s for s in convolutions if s.fans is not None and s.fans.fan_out < s.fans.fan_in]
        found = []
        if narrow:
            found.append(
                f"{len(narrow)} convolutions have fewer outputs than inputs, such as {narrow[0].name}: no isometry; "
                "their gain keeps the second moment instead."
            )
        if any(slot.nonlinearity in ("relu", "leaky_relu", "gelu", "silu") for slot in convolutions):
            found.append("Only near-linear functions such as tanh reach dynamical isometry; ReLU's kind cannot.")
        return tuple(found)
