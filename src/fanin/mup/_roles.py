"""Which axes of each parameter grow with width, and what that makes of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fanin.errors import InputError

if TYPE_CHECKING:
    from fanin.slots import Slot, Slots

__all__ = ["Scaling", "scalings", "shapes_of"]


@dataclass(frozen=True)
class Scaling:
    """How one parameter scales with width.

    Args:
        role: "input" (its inputs do not grow: first maps, embeddings, biases, gains), "hidden" (both sides grow),
            "output" (only its inputs grow).
        fan_in: terms summed in one output; base_fan_in: the same in the base model.
        fan_out: outputs that one input feeds; base_fan_out: the same in the base model.
    """

    role: str
    fan_in: float
    base_fan_in: float
    fan_out: float
    base_fan_out: float

    @property
    def wider(self) -> float:
        """fan_in over that of the base model."""
        return self.fan_in / self.base_fan_in

    def rate(self, optimizer: str) -> float:
        """Factor of the base model's learning rate.

        Adam: 1 for inputs, 1/wider for hidden and outputs. SGD: the growth of fan_out for inputs, 1 for hidden,
        1/wider for outputs.

        Source: Yang et al. (Tensor Programs V), 2022, Table 3.
        """
        if optimizer == "adam":
            return 1.0 if self.role == "input" else 1 / self.wider
        return {"input": self.fan_out / self.base_fan_out, "hidden": 1.0, "output": 1 / self.wider}[self.role]


def shapes_of(base: Any) -> dict[str, tuple[int, ...]]:
    """Name → shape of a base model, given as a module (meta is enough) or as such a mapping.

    Raises:
        InputError: if it is neither.
    """
    if hasattr(base, "named_parameters"):
        return {name: tuple(p.shape) for name, p in base.named_parameters(remove_duplicate=False)}
    if isinstance(base, Mapping) and all(isinstance(name, str) for name in base):
        return {name: tuple(int(size) for size in shape) for name, shape in base.items()}
    raise InputError.of("base", type(base).__name__, "a narrower copy of the model, or a mapping from name to shape")


def scalings(slots: Slots, base: Any) -> dict[str, Scaling]:
    """Parameter name → how it scales between a base model and this one.

    Args:
        slots: the places of the model's parameters.
        base: the same model at its base width (on meta is enough), or a mapping from parameter name to shape.

    Returns:
        One entry for each parameter; an axis grows where its length differs from the base model's.

    Raises:
        InputError: if a parameter is missing in the base model or has another number of axes there.
    """
    shapes = shapes_of(base)
    return {slot.name: _scaling(slot, shapes) for slot in slots.values()}


def _scaling(slot: Slot, shapes: Mapping[str, tuple[int, ...]]) -> Scaling:
    before = shapes.get(slot.name)
    if before is None:
        raise InputError.of("base", f"no parameter {slot.name!r}", "the same parameters as the model")
    if len(before) != len(slot.shape):
        raise InputError.of("base", f"{slot.name} of shape {before}", f"as many axes as {slot.shape}")
    fans = slot.fans
    if fans is None or slot.role != "weight":
        ratio = math.prod(slot.shape) / max(math.prod(before), 1)
        return Scaling("input", 1.0, 1.0, ratio, 1.0)
    inner = _growth(slot.shape, before, fans.in_axes)
    outer = _growth(slot.shape, before, fans.out_axes)
    role = "input" if inner == 1 else "output" if outer == 1 else "hidden"
    return Scaling(role, fans.fan_in, fans.fan_in / inner, fans.fan_out, fans.fan_out / outer)


def _growth(shape: tuple[int, ...], before: tuple[int, ...], axes: tuple[int, ...]) -> float:
    return math.prod(shape[a] for a in axes) / max(math.prod(before[a] for a in axes), 1)
