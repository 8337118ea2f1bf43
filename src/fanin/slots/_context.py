"""What the graph tells of the surroundings of each slot: the op, the nonlinearity after it, norm, residual, head."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fanin.graph import Graph
    from fanin.slots._slot import Slot

__all__ = ["fill", "is_normalizing", "origin"]

_TRANSPARENT = ("cast", "shape", "dropout")
_STATISTICS = ("mean", "var", "std", "var_mean", "std_mean", "norm", "sum")
_MAPS = ("linear", "embedding", "recurrent", "attention", "matmul")


def origin(graph: Graph, node: int) -> int:
    """The node that made the values of ``node``, past casts, views and dropout."""
    while graph.nodes[node].kind in _TRANSPARENT and graph.nodes[node].inputs:
        node = graph.nodes[node].inputs[0]
    return node


def is_normalizing(graph: Graph, node: int) -> bool:
    """Whether a node is a norm, or multiplies (divides) by what comes of a mean, variance or norm of its own input.

    This is how a norm written by hand looks: x * rsqrt(mean(x²) + eps), (x - mean) / sqrt(var + eps).
    """
    found = graph.nodes[origin(graph, node)]
    if found.kind == "norm":
        return True
    if found.kind not in ("mul", "scale") or len(found.inputs) < 2:
        return False
    return any(_comes_of_statistic(graph, source) for source in found.inputs)


def _comes_of_statistic(graph: Graph, node: int, steps: int = 8) -> bool:
    current = graph.nodes[node]
    for _ in range(steps):  # rsqrt ← add eps ← mean ← pow: a handful of elementwise steps
        if current.op in _STATISTICS:
            return True
        if current.kind not in ("activation", "scale", "cast", "shape", "add") or len(current.inputs) != 1:
            return False
        current = graph.nodes[current.inputs[0]]
    return False


def fill(slots: Iterable[Slot], graph: Graph) -> list[Slot]:
    return list(slots)
