"""What a scheme asks of the whole network: residual branches and the scale of their stream, depth without norm."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fanin.graph import Graph
    from fanin.slots import Slot, Slots

__all__ = ["Surroundings"]


class Surroundings:
    """Answers about the whole network, from the graph where there is one, else from the slots.

    Args:
        slots: all slots.
        graph: the traced run, or None.
    """

    def __init__(self, slots: Slots, graph: Graph | None) -> None:
        self.slots = slots
        self.graph = graph

    @cached_property
    def normalized_ends(self) -> frozenset[str]:
        return frozenset()

    def branches(self, name: str) -> tuple[int, float]:
        return 1, 1.0

    def depth(self, name: str) -> int:
        slot = self.slots[name]
        return sum(
            o.role == "weight" and o.nonlinearity == slot.nonlinearity and not o.normalized for o in self.slots.values()
        )

    def feeds_map(self, name: str) -> bool:
        return True

    def embedding_std(self, slot: Slot, head_std: float) -> tuple[float, str]:
        return 1 / math.sqrt(slot.shape[-1]), ""
