"""nn.PReLU: a learned slope for negative values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from fanin.fans import elementwise
from fanin.slots._base import Kind, Place

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["PReLU"]


class PReLU(Kind):
    """``nn.PReLU``."""

    name = "prelu"
    modules = (nn.PReLU,)

    def place(self, module: nn.Module, name: str, shape: Sequence[int]) -> Place | None:
        """See :class:`Kind`."""
        if name != "weight":
            return None
        settings = {"init": float(module.init)}  # type: ignore[arg-type]
        return Place("slope", elementwise(shape), "slope of a PReLU for negative values", settings=settings)

    def example(self) -> list[nn.Module]:
        """See :class:`Kind`."""
        return [nn.PReLU(3)]
