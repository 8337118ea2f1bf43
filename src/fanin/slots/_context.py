"""What the graph tells of the surroundings of each slot: the op, the nonlinearity after it, norm, residual, head."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fanin.graph import following, heads, is_normalized, residual_ends
from fanin.slots._base import packed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fanin.graph import Following, Graph, Node
    from fanin.slots._slot import Part, Slot

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
    """The slots with what the graph tells of their surroundings."""
    ends = {node.id for node in residual_ends(graph)}
    outlets = {node.id for node in heads(graph)}
    return [_filled(slot, graph, ends, outlets) for slot in slots]


def _filled(slot: Slot, graph: Graph, ends: set[int], outlets: set[int]) -> Slot:
    nodes = _users(slot, graph)
    if not nodes:
        return slot
    if slot.role not in ("weight", "embedding", "bias"):
        return replace(slot, op=nodes[0].op)
    node = nodes[0]
    # A weight that is used several times follows the first use that meets a nonlinearity.
    follows = next((f for f in (following(graph, n) for n in nodes) if f.activation is not None), None)
    follows = follows or following(graph, node)
    settings = dict(slot.settings)
    name, args = "linear", {}
    if follows.activation is not None and follows.gated:
        settings["gated_by"] = _named(follows.activation)
    elif follows.activation is not None:
        name, args = follows.activation.op, dict(follows.activation.attrs)
        if _is_gate(graph, follows.activation):
            settings["gate"] = True
        factor = _factor(graph, follows)
        if factor != 1:
            settings["factor"] = factor
    elif any(graph.nodes[stop].kind == "softmax" for stop in follows.stops):
        name = "softmax"
    if _modulates(graph, node):
        settings["modulates"] = True
    if slot.kind in ("recurrent", "attention"):
        name, args = slot.nonlinearity or "linear", {}
    return replace(
        slot,
        op=node.op,
        nonlinearity=None if slot.kind == "recurrent" else name,
        nonlinearity_args={key: value for key, value in args.items() if isinstance(value, (int, float, str))},
        normalized=all(is_normalized(graph, n) for n in nodes),
        ends_residual=any(n.id in ends for n in nodes),
        is_head=any(n.id in outlets and n.kind != "embedding" for n in nodes),
        settings=settings,
        **_packed(slot, graph, node),
    )


def _users(slot: Slot, graph: Graph) -> list[Node]:
    """Nodes that act with this parameter on the signal, in execution order."""
    found = [node for name in (slot.name, *slot.ties) for node, _ in graph.uses(name)]
    maps = slot.role in ("weight", "embedding")
    telling = [node for node in found if not node.attrs.get("parameter_only") and (node.kind in _MAPS or not maps)]
    return list({node.id: node for node in telling}.values())


def _factor(graph: Graph, follows: Following) -> float:
    """What constant numbers multiply the output by on its way to the activation (30 in SIREN)."""
    factor = 1.0
    for passed in follows.via:
        attrs = graph.nodes[passed].attrs
        if graph.nodes[passed].kind == "scale" and not attrs.get("addend"):
            factor *= abs(float(attrs.get("factor", 1.0)))
    return factor or 1.0


def _modulates(graph: Graph, node: Node) -> bool:
    """Whether the output (or a piece of it) multiplies another signal as 1 + s: adaptive norms, FiLM."""
    stack, seen = [node.id], set()
    while stack:
        current = stack.pop()
        for reader in graph.consumers[current]:
            after = graph.nodes[reader]
            if reader in seen or "part_of" in after.attrs:
                continue
            seen.add(reader)
            if after.kind in _TRANSPARENT:
                stack.append(reader)
            elif after.kind == "scale" and after.attrs.get("factor") == 1 and after.attrs.get("addend") == 1:
                readers = [graph.nodes[r] for r in graph.consumers[reader]]
                if any(r.kind == "mul" and len(set(r.inputs)) > 1 for r in readers):
                    return True
    return False


def _named(activation: Node) -> list[object]:
    args = {key: value for key, value in activation.attrs.items() if isinstance(value, (int, float, str))}
    return [activation.op, args]


def _is_gate(graph: Graph, activation: Node) -> bool:
    """Whether the output of an activation multiplies another signal rather than going on by itself."""
    stack, seen = [activation.id], set()
    while stack:
        current = stack.pop()
        for reader in graph.consumers[current]:
            after = graph.nodes[reader]
            if reader in seen or "part_of" in after.attrs:
                continue
            seen.add(reader)
            if after.kind == "mul" and (len(set(after.inputs)) > 1 or "derived" in after.attrs):
                return True
            if after.kind in _TRANSPARENT or (activation.op == "softplus" and after.op in ("clamp", "relu")):
                stack.append(reader)
    return False


def _packed(slot: Slot, graph: Graph, node: Node) -> dict[str, Any]:
    """The fields that change where the graph shows several maps in one tensor."""
    parts = () if slot.parts else _split_parts(slot, graph, node)
    if not parts:
        return {}
    why = f"{slot.why}; the output is cut in {len(parts)}, each a map of its own"
    return {"parts": parts, "fans": parts[0].fans, "why": why}


def _split_parts(slot: Slot, graph: Graph, node: Node) -> tuple[Part, ...]:
    """The maps packed in one tensor, where the output is cut in pieces along the feature axis (chunk, split)."""
    if slot.fans is None or slot.role != "weight" or len(slot.fans.out_axes) != 1 or slot.fans.window_axes:
        return ()
    axis = slot.fans.out_axes[0]
    current = node
    while len(graph.consumers[current.id]) == 1:
        reader = graph.nodes[graph.consumers[current.id][0]]
        if reader.kind not in _TRANSPARENT or reader.shape[-1:] != node.shape[-1:]:
            return ()
        current = reader
    pieces = [graph.nodes[reader] for reader in graph.consumers[current.id]]
    pieces = [p for p in pieces if p.op in ("chunk", "split", "tensor_split") and p.shape[:-1] == current.shape[:-1]]
    pieces.sort(key=lambda piece: int(piece.attrs.get("index", 0)))
    sizes = [piece.shape[-1] for piece in pieces]
    if len(pieces) < 2 or sum(sizes) != slot.shape[axis]:
        return ()
    attends = any(_reaches_attention(graph, piece) for piece in pieces)
    names = ("q", "k", "v") if attends and len(pieces) == 3 else tuple(str(i) for i in range(len(pieces)))
    fans = [replace(slot.fans, fan_out=size) for size in sizes]
    follows = [following(graph, piece) for piece in pieces]
    plain = [f.activation.op if f.activation is not None and not f.gated else None for f in follows]
    return packed(names, fans, axis=axis, sizes=sizes, nonlinearities=plain)


def _reaches_attention(graph: Graph, node: Node) -> bool:
    """Whether a signal enters a fused attention, or a product whose result goes through a softmax."""
    for stop in following(graph, node).stops:
        if graph.nodes[stop].kind == "attention":
            return True
        if graph.nodes[stop].kind == "matmul":
            after = following(graph, graph.nodes[stop]).stops
            if any(graph.nodes[reader].kind == "softmax" for reader in after):
                return True
    return False
