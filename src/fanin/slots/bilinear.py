"""nn.Bilinear: y_k = Σ_ij W_kij x_i z_j + b_k."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from fanin.fans import Fans
from fanin.slots._base import Kind, Place, bias

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Bilinear"]


class Bilinear(Kind):
    """``nn.Bilinear``: each output sums in1 · in2 products."""

    name = "bilinear"
    modules = (nn.Bilinear,)

    def place(self, module: nn.Module, name: str, shape: Sequence[int]) -> Place | None:
        """See :class:`Kind`."""
        if name == "weight":
            # An entry of x meets all outputs and all entries of z.
            fans = Fans(shape[1] * shape[2], shape[0], out_axes=(0,), in_axes=(1, 2))
            return Place("weight", fans, "Bilinear stores (out, in1, in2) and sums over both inputs")
        return bias(shape) if name == "bias" else None

    def example(self) -> list[nn.Module]:
        """See :class:`Kind`."""
        return [nn.Bilinear(3, 4, 5)]
