"""nn.MultiheadAttention: q, k, v packed in one tensor, or separate where their widths differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from fanin.fans import elementwise, linear
from fanin.slots._base import Kind, Place, bias, packed

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Attention"]

_QKV = ("q", "k", "v")


class Attention(Kind):
    """``nn.MultiheadAttention``; its ``out_proj`` is an ``nn.Linear`` of its own."""

    name = "attention"
    modules = (nn.MultiheadAttention,)

    def place(self, module: nn.Module, name: str, shape: Sequence[int]) -> Place | None:
        """See :class:`Kind`."""
        if name == "in_proj_weight":
            width = shape[0] // 3
            fans = linear((width, shape[1]))
            parts = packed(_QKV, fans, axis=0, sizes=[width] * 3)
            return Place("weight", fans, "q, k, v stacked along the out axis; each is a map of its own", parts)
        if name == "in_proj_bias":
            width = shape[0] // 3
            return bias(shape, packed(_QKV, elementwise((width,)), axis=0, sizes=[width] * 3))
        if name in ("q_proj_weight", "k_proj_weight", "v_proj_weight"):
            return Place("weight", linear(shape), f"{name[0]} projection stores (out, in)")
        if name in ("bias_k", "bias_v"):
            return Place("token", elementwise(shape), f"one more {name[-1]} appended to the sequence")
        return None

    def example(self) -> list[nn.Module]:
        """See :class:`Kind`."""
        return [
            nn.MultiheadAttention(4, 2, add_bias_kv=True),
            nn.MultiheadAttention(4, 2, kdim=3, vdim=5),
        ]
