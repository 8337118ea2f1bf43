"""nn.Embedding and nn.EmbeddingBag: one row per index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from fanin.fans import embedding
from fanin.slots._base import Kind, Place

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Embedding"]


class Embedding(Kind):
    """Lookup tables (rows, width): an output is one stored entry, so its fan_in is 1."""

    name = "embedding"
    modules = (nn.Embedding, nn.EmbeddingBag)

    def place(self, module: nn.Module, name: str, shape: Sequence[int]) -> Place | None:
        """See :class:`Kind`."""
        if name != "weight":
            return None
        padding = getattr(module, "padding_idx", None)
        index = None if padding is None else int(padding) % shape[0]
        return Place("embedding", embedding(shape), "a lookup picks rows; nothing is summed", padding_index=index)

    def example(self) -> list[nn.Module]:
        """See :class:`Kind`."""
        return [nn.Embedding(7, 3, padding_idx=-1), nn.EmbeddingBag(7, 3)]
