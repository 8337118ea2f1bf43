"""rl: policy gradients, orthogonal bodies with a quiet policy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from fanin.errors import InputError
from fanin.initializers import Orthogonal, VarianceScaling
from fanin.initializers._base import number
from fanin.schemes._base import Choice, Context, Scheme, filled
from fanin.schemes._gains import recurrent

if TYPE_CHECKING:
    from fanin.schemes._base import Example
    from fanin.slots import Slot

__all__ = ["RL"]


class RL(Scheme):
    """Orthogonal with gain √2 in the body, 0.01 for the policy head, 1 for the value head; biases 0.

    A policy that starts near uniform explores. Of several heads those with one output count as values; a lone head
    counts as a policy unless it has one output.

    Args:
        body: gain of the maps that are no heads.
        policy: gain of policy heads.
        value: gain of value heads.
        values: names or patterns of the weights that are value heads, where the number of outputs does not tell.

    Source: Raffin et al. (Stable-Baselines3), 2021; Andrychowicz et al., ICLR 2021 (the policy's scale).
    """

    name = "rl"
    title = "policy gradients: orthogonal, gain √2 in the body, 0.01 for the policy head, 1 for the value head"
    source = "Raffin et al. (Stable-Baselines3), 2021; Andrychowicz et al., ICLR 2021"
    looks_for = "a head (a map whose output leaves the network)"

    def __init__(
        self, body: float = math.sqrt(2), policy: float = 0.01, value: float = 1.0, values: Sequence[str] | str = ()
    ) -> None:
        place = "scheme 'rl'"
        self.body = number(place, "body", body, low=0)
        self.policy = number(place, "policy", policy, low=0)
        self.value = number(place, "value", value, low=0)
        self.values = [values] if isinstance(values, str) else list(values)
        if not all(isinstance(name, str) for name in self.values):
            raise InputError.of("values", values, "names or patterns of weights", place)

    @classmethod
    def example(cls) -> Example:
        """See :class:`Scheme`."""
        from fanin.schemes._examples import actor_critic

        return actor_critic()

    def fit(self, context: Context) -> None:
        """See :class:`Scheme`."""
        super().fit(context)
        heads = [slot.name for slot in context.slots.values() if slot.is_head and slot.role == "weight"]
        if not heads:
            raise self.missing("none" + self.hint(context))
        for pattern in self.values:
            if not any(fnmatchcase(name, pattern) for name in heads):
                raise InputError.of("values", pattern, f"a name or pattern of a head: {', '.join(heads)}", "'rl'")

    def weight(self, slot: Slot, context: Context) -> Choice:
        """See :class:`Scheme`."""
        if slot.kind == "recurrent":
            return recurrent(slot)
        gain, what = self.body, "body"
        if slot.is_head:
            gain, what = (self.value, "value head") if self._is_value(slot) else (self.policy, "policy head")
        assert slot.fans is not None
        if not slot.fans.out_axes or not slot.fans.in_axes:
            return Choice(VarianceScaling(gain**2, "fan_in", "normal"), f"{what}: gain {gain:.4g}, a single output")
        return Choice(filled(slot, Orthogonal(gain)), f"{what}: orthogonal, gain {gain:.4g}")

    def _is_value(self, slot: Slot) -> bool:
        if self.values:
            return any(fnmatchcase(slot.name, pattern) for pattern in self.values)
        assert slot.fans is not None
        return math.prod(slot.shape[axis] for axis in slot.fans.out_axes) == 1
