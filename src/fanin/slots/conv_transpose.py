"""nn.ConvTranspose1d/2d/3d: W of shape (in, out/groups, *window)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from torch.nn.modules.conv import _ConvTransposeNd

from fanin.fans import conv_transpose
from fanin.slots._base import Kind, Place, bias

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ConvTranspose"]


class ConvTranspose(Kind):
    """Transposed convolutions; the stride spreads each window over that many more outputs."""

    name = "conv_transpose"
    modules = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, _ConvTransposeNd)

    def place(self, module: nn.Module, name: str, shape: Sequence[int]) -> Place | None:
        """See :class:`Kind`."""
        if name == "weight":
            groups, stride = int(module.groups), tuple(module.stride)  # type: ignore[arg-type]
            fans = conv_transpose(shape, groups=groups, stride=stride)
            why = f"transposed convolution stores (in, out/groups, *window); stride {stride}, groups {groups}"
            return Place("weight", fans, why)
        return bias(shape) if name == "bias" else None

    def example(self) -> list[nn.Module]:
        """See :class:`Kind`."""
        return [
            nn.ConvTranspose1d(4, 6, 4, stride=2),
            nn.ConvTranspose2d(4, 8, 3, groups=2),
            nn.ConvTranspose3d(2, 3, 2),
        ]
