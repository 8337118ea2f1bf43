"""nn.Conv1d/2d/3d: W of shape (out, in/groups, *window)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from fanin.fans import conv
from fanin.slots._base import Kind, Place, bias

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Conv"]


class Conv(Kind):
    """Convolutions of 1 to 3 dimensions, grouped and depthwise ones included."""

    name = "conv"
    modules = (nn.Conv1d, nn.Conv2d, nn.Conv3d, _ConvNd)

    def claims(self, module: nn.Module) -> bool:
        """See :class:`Kind`."""
        return super().claims(module) and not isinstance(module, _ConvTransposeNd)

    def place(self, module: nn.Module, name: str, shape: Sequence[int]) -> Place | None:
        """See :class:`Kind`."""
        if name == "weight":
            groups = int(module.groups)  # type: ignore[arg-type]
            note = f" in {groups} groups" if groups > 1 else ""
            return Place("weight", conv(shape, groups=groups), f"convolution{note} stores (out, in/groups, *window)")
        return bias(shape) if name == "bias" else None

    def example(self) -> list[nn.Module]:
        """See :class:`Kind`."""
        return [nn.Conv1d(4, 6, 3), nn.Conv2d(4, 8, (3, 1), groups=4), nn.Conv3d(2, 3, 2)]
