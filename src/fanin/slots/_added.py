"""Parameters that rewiring brought: what a module multiplies its output or its weight by, or adds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanin.fans import elementwise
from fanin.slots._base import Place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

__all__ = ["added"]

_WHY = {
    "gain": "a learned factor that belongs to no norm",
    "bias": "a learned number, added to what the module reads or returns",
}


def added(module: nn.Module, name: str, shape: Sequence[int]) -> Place | None:
    """What the parameter ``name`` of ``module`` is where a hook (or the class of the module) says so; else None.

    They say so by an attribute ``slot_roles``: parameter name → "gain" or "bias".
    """
    for user in (type(module), *module._forward_pre_hooks.values(), *module._forward_hooks.values()):
        role = getattr(user, "slot_roles", {}).get(name)
        if role in _WHY:
            return Place(role, elementwise(tuple(shape)), _WHY[role])
    return None
