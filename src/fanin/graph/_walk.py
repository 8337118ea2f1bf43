"""Questions about a graph."""
from __future__ import annotations
from fanin.graph._graph import Graph, Node

def activation_after(graph: Graph, node: Node) -> Node | None:
    raise NotImplementedError
heads = is_normalized = residual_adds = residual_ends = activation_after
