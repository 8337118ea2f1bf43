"""Parameters that a hook brought: what a rewired module multiplies its output by, or adds to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanin.fans import elementwise
from fanin.slots._base import Place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

__all__ = ["added"]

_WHY = {
    "gain": "multiplies what the module returns: a learned factor that belongs to no norm",
    "bias": "a learned number added to what the module reads or returns",
}


def added(module: nn.Module, name: str, shape: Sequence[int]) -> Place | None:
    """What the parameter ``name`` of ``module`` is where a forward hook uses it; None where none does.

    Such a hook says so itself, by an attribute ``slot_roles``: parameter name → "gain" or "bias".
    """
    for hook in (*module._forward_pre_hooks.values(), *module._forward_hooks.values()):
        role = getattr(hook, "slot_roles", {}).get(name)
        if role in _WHY:
            return Place(role, elementwise(tuple(shape)), _WHY[role])
    return None
