"""Attention, found in the graph: which maps make queries, keys, values and the output, and what scales the logits."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fanin.graph import Graph, Node
    from fanin.slots import Slot

__all__ = ["Attention", "attentions", "packing"]

_MAPS = ("linear", "embedding", "recurrent")
_LOOKING = ("shape", "cast", "dropout", "scale", "norm", "add", "mul", "concat", "activation", "reduce")


@dataclass(frozen=True)
class Attention:
    """One product of queries and keys, softmax, product with values.

    Args:
        node: id of the fused call or of the softmax.
        query: ids of the weight ops that make the queries; key, value likewise.
        out: ids of the weight ops that read the result.
        head_dim: length over which queries and keys are multiplied.
        scale: constant that multiplies their product; None where a norm or a learned factor sets it instead.
        crossed: True where keys come from another signal than queries.
    """

    node: int
    query: frozenset[int]
    key: frozenset[int]
    value: frozenset[int]
    out: frozenset[int]
    head_dim: int
    scale: float | None
    crossed: bool


def attentions(graph: Graph) -> tuple[Attention, ...]:
    """Every attention of a run, in execution order."""
    found = [_fused(graph, node) if node.kind == "attention" else _written_out(graph, node) for node in graph.nodes]
    return tuple(attention for attention in found if attention is not None)


def _fused(graph: Graph, node: Node) -> Attention | None:
    if len(node.inputs) < 3:
        return None
    query, key, value = node.inputs[:3]
    head_dim = graph.nodes[query].shape[-1]
    given = node.attrs.get("scale")
    scale = float(given) if isinstance(given, (int, float)) else 1 / math.sqrt(max(head_dim, 1))
    return _attention(graph, node.id, (query, key, value), node.id, head_dim, scale)


def _written_out(graph: Graph, softmax: Node) -> Attention | None:
    """matmul(q, kᵀ) → softmax → matmul(·, v), or einsum in their place."""
    if softmax.kind != "softmax" or "part_of" in softmax.attrs:
        return None
    logits, scale = _product_above(graph, softmax)
    mixed = _product_below(graph, softmax.id)
    if logits is None or mixed is None or len(logits.inputs) < 2:
        return None
    values = [i for i in mixed.inputs if softmax.id not in _ancestors(graph, i, softmax.id)]
    if len(values) != 1:
        return None
    query, key = logits.inputs[-2:]
    return _attention(graph, softmax.id, (query, key, values[0]), mixed.id, _contracted(graph, logits), scale)


def _attention(
    graph: Graph, node: int, operands: tuple[int, int, int], result: int, head_dim: int, scale: float | None
) -> Attention:
    sides = [_maps_above(graph, operand) for operand in operands]
    for _, factor in sides[:2]:
        scale = None if scale is None or factor is None else scale * factor
    query, key, value = (maps for maps, _ in sides)
    crossed = query != key and _sources(graph, query) != _sources(graph, key)
    return Attention(node, query, key, value, _maps_below(graph, result), head_dim, scale, crossed)


def _contracted(graph: Graph, product: Node) -> int:
    """The length that queries and keys share: of the operands' axes the one that the logits lack."""
    left = graph.nodes[product.inputs[-2]].shape
    if product.op == "einsum":
        equation = str(product.attrs.get("equation", "")).replace(" ", "")
        terms, _, result = equation.partition("->")
        letters = [set(term) for term in terms.split(",")]
        summed = sorted(set.intersection(*letters) - set(result)) if len(letters) == 2 and "." not in equation else []
        if len(summed) == 1:
            return left[terms.split(",")[0].index(summed[0])]
    return left[-1] if left else 1


def _maps_above(graph: Graph, start: int) -> tuple[frozenset[int], float | None]:
    """Nearest weight ops above a node, and the constant on the way; None for it where a norm or a gain is met."""
    found: set[int] = set()
    factor: float | None = 1.0
    stack, seen = [start], set()
    while stack:
        current = stack.pop()
        if current in seen:
            continue
        seen.add(current)
        node = graph.nodes[current]
        if node.kind in _MAPS and node.params:
            found.add(current)
            continue
        if node.kind in ("matmul", "attention", "softmax"):
            continue
        if node.kind == "norm" or (node.kind == "mul" and node.params):
            factor = None
        elif node.kind == "scale" and factor is not None:
            factor *= abs(float(node.attrs.get("factor", 1.0)))
        stack.extend(node.inputs)
    return frozenset(found), factor


def _product_above(graph: Graph, softmax: Node) -> tuple[Node | None, float | None]:
    """The product of two signals that a softmax is taken of, and the constant between them."""
    factor: float | None = 1.0
    stack, seen = list(softmax.inputs), set()
    while stack:
        node = graph.nodes[stack.pop(0)]
        if node.id in seen:
            continue
        seen.add(node.id)
        if node.kind == "matmul" and not node.params:
            return node, factor
        if node.kind not in _LOOKING:
            continue
        if node.kind == "norm" or (node.kind == "mul" and node.params):
            factor = None
        elif node.kind == "scale" and factor is not None:
            factor *= abs(float(node.attrs.get("factor", 1.0)))
        stack.extend(node.inputs)
    return None, None


def _product_below(graph: Graph, start: int) -> Node | None:
    stack, seen = [start], set()
    while stack:
        for reader in graph.consumers[stack.pop(0)]:
            node = graph.nodes[reader]
            if reader in seen or "part_of" in node.attrs:
                continue
            seen.add(reader)
            if node.kind == "matmul" and not node.params:
                return node
            if node.kind in ("shape", "cast", "dropout", "mul", "scale"):
                stack.append(reader)
    return None


def _maps_below(graph: Graph, start: int) -> frozenset[int]:
    """First weight ops that read a result."""
    found: set[int] = set()
    stack, seen = [start], set()
    while stack:
        for reader in graph.consumers[stack.pop()]:
            node = graph.nodes[reader]
            if reader in seen or "part_of" in node.attrs:
                continue
            seen.add(reader)
            if node.kind == "linear" and node.params:
                found.add(reader)
            elif node.kind in ("shape", "cast", "dropout", "scale", "norm", "mul"):
                stack.append(reader)
    return frozenset(found)


def _ancestors(graph: Graph, start: int, oldest: int) -> set[int]:
    found: set[int] = set()
    stack = [start]
    while stack:
        current = stack.pop()
        if current not in found and current >= oldest:
            found.add(current)
            stack.extend(graph.nodes[current].inputs)
    return found


def _sources(graph: Graph, maps: Iterable[int]) -> set[int]:
    """What weight ops read, past views and casts."""
    found = set()
    for map_ in maps:
        for source in graph.nodes[map_].inputs:
            while graph.nodes[source].kind in ("shape", "cast", "dropout") and graph.nodes[source].inputs:
                source = graph.nodes[source].inputs[0]
            found.add(source)
    return found


def packing(graph: Graph, node: Node, slot: Slot) -> list[tuple[str, int]] | None:
    """How queries, keys and values lie along the out axis of one tensor that makes all three; None where unknown.

    Returns:
        (letter, rows) in order: three blocks, or three for each head where heads are the outer axis.
    """
    if [part.name for part in slot.parts] == ["q", "k", "v"]:
        return [(part.name, part.stop - part.start) for part in slot.parts]
    assert slot.fans is not None
    width = slot.shape[slot.fans.out_axes[0]] if len(slot.fans.out_axes) == 1 else 0
    if not width or width % 3:
        return None
    tail = _tail(graph, node, width)
    if len(tail) >= 2 and tail[0] == 3:
        return [("q", width // 3), ("k", width // 3), ("v", width // 3)]
    heads = tail[0] if len(tail) in (2, 3) and (len(tail) == 2 or tail[1] == 3) else 0
    if heads and width % (3 * heads) == 0:
        return [(letter, width // (3 * heads)) for _ in range(heads) for letter in "qkv"]
    return None


def _tail(graph: Graph, node: Node, width: int) -> tuple[int, ...]:
    """The trailing axes that the first view behind a map cuts its features in."""
    current = node
    while True:
        readers = [graph.nodes[r] for r in graph.consumers[current.id] if "part_of" not in graph.nodes[r].attrs]
        if len(readers) != 1 or readers[0].kind not in ("shape", "cast", "dropout"):
            return ()
        current = readers[0]
        for count in range(2, len(current.shape) + 1):
            if math.prod(current.shape[-count:]) == width and current.shape[-1] != width:
                return current.shape[-count:]
        if current.shape[-1] != width:
            return ()
