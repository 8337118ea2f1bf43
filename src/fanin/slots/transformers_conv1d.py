"""transformers' Conv1D: a linear map that stores W of shape (in, out), the transpose of nn.Linear."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanin.fans import linear
from fanin.slots._base import Kind, Place, bias

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

__all__ = ["TransformersConv1D"]


class TransformersConv1D(Kind):
    """``transformers.pytorch_utils.Conv1D``, recognised by name so that transformers need not be imported."""

    name = "conv1d_transformers"

    def claims(self, module: nn.Module) -> bool:
        """See :class:`Kind`."""
        return any(
            cls.__name__ == "Conv1D" and cls.__module__.startswith("transformers.") for cls in type(module).__mro__
        )

    def place(self, module: nn.Module, name: str, shape: Sequence[int]) -> Place | None:
        """See :class:`Kind`."""
        if name == "weight":
            return Place("weight", linear(shape, out_axis=1, in_axis=0), "transformers' Conv1D stores (in, out)")
        return bias(shape) if name == "bias" else None
