"""Normalizations of torch: a gain and a shift per feature."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from fanin.fans import elementwise
from fanin.slots._base import Kind, Place

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Norm"]


class Norm(Kind):
    """Batch, instance, layer, group and RMS normalization.

    A subclass with its own forward is left to the trace: some add 1 to the stored weight, and a gain of 1 would
    then double the signal.
    """

    name = "norm"
    modules = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
    layout_survives = False

    def place(self, module: nn.Module, name: str, shape: Sequence[int]) -> Place | None:
        """See :class:`Kind`."""
        if name == "weight":
            return Place("gain", elementwise(shape), "gain of a normalization", settings={"norm": True})
        if name == "bias":
            return Place("shift", elementwise(shape), "shift of a normalization", settings={"norm": True})
        return None

    def example(self) -> list[nn.Module]:
        """See :class:`Kind`."""
        return [
            nn.BatchNorm2d(4),
            nn.InstanceNorm1d(4, affine=True),
            nn.LayerNorm((3, 4)),
            nn.GroupNorm(2, 4),
            nn.RMSNorm(4),
        ]
