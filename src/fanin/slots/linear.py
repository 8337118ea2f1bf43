"""nn.Linear: y = x Wᵀ + b with W of shape (out, in)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from fanin.fans import linear
from fanin.slots._base import Kind, Place, bias

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Linear"]


class Linear(Kind):
    """``nn.Linear`` and its subclasses."""

    name = "linear"
    modules = (nn.Linear,)

    def place(self, module: nn.Module, name: str, shape: Sequence[int]) -> Place | None:
        """See :class:`Kind`."""
        if name == "weight":
            return Place("weight", linear(shape), "Linear stores (out, in)")
        return bias(shape) if name == "bias" else None

    def example(self) -> list[nn.Module]:
        """See :class:`Kind`."""
        return [nn.Linear(3, 5)]
