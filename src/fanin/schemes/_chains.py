"""Chains without norm or skip: which layers pass one on, and whether their units can come in mirrored pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fanin import theory
from fanin.errors import InputError
from fanin.schemes._base import activation
from fanin.schemes._gains import DEEP
from fanin.schemes._surroundings import surroundings
from fanin.theory.activations import Activation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fanin.graph import Graph, Node
    from fanin.schemes._base import Context
    from fanin.slots import Slot
    from fanin.theory import Paired

__all__ = ["Link", "chains"]

NARROW = 8
"""Units below which half of them are too few to be called an orthogonal matrix."""


@dataclass(frozen=True)
class Link:
    """What a chain asks of one of its layers.

    Args:
        depth: layers of the chain.
        point: working point of what follows this layer; None for the map that ends the chain.
        before: working point of what precedes it; None for the map that begins the chain.
    """

    depth: int
    point: Paired | None = None
    before: Paired | None = None

    @property
    def out(self) -> bool:
        """Outputs come in mirrored pairs."""
        return self.point is not None and self.point.pairs

    @property
    def into(self) -> bool:
        """Inputs come in mirrored pairs."""
        return self.before is not None and self.before.pairs

    @property
    def weight_var(self) -> float:
        """fan_in · Var W (fan_in counts pairs) that takes what arrives to the second moment that this layer keeps."""
        return (1.0 if self.point is None else self.point.q) / (1.0 if self.before is None else self.before.square)


def chains(context: Context) -> dict[str, Link]:
    """Slot name → its place in a chain, for all layers that are in one of more than DEEP layers; worked out once."""
    if "chains" not in context.memo:
        context.memo["chains"] = {} if context.graph is None else _chains(context, context.graph)
    return context.memo["chains"]  # type: ignore[no-any-return]


def _chains(context: Context, graph: Graph) -> dict[str, Link]:
    around = surroundings(context)
    points: dict[str, Paired] = {}
    edges: dict[str, list[str]] = {}
    for slot in context.slots.values():
        node = _only_use(slot, graph, context)
        if node is None or slot.is_head or slot.normalized or slot.ends_residual or around.depth(slot.name) <= DEEP:
            continue
        point = _point(slot, around.depth(slot.name))
        readers = [] if point is None else _readers(slot, node, context, graph, paired=point.pairs)
        if point is not None and readers:
            points[slot.name], edges[slot.name] = point, readers
    before = {reader: points[name] for name, readers in edges.items() for reader in readers}
    depth = {name: around.depth(name) for name in points}
    for name, readers in edges.items():
        for reader in readers:
            depth.setdefault(reader, around.depth(name))
    return {name: Link(depth[name], points.get(name), before.get(name)) for name in depth}


def _point(slot: Slot, depth: int) -> Paired | None:
    found = activation(slot)
    try:
        return theory.paired(found, depth) if isinstance(found, Activation) and found.name != "linear" else None
    except InputError:
        return None


def _only_use(slot: Slot, graph: Graph, context: Context) -> Node | None:
    """The one op that uses a plain weight: not tied, packed, grouped, gated, scaled, stacked or already decided on."""
    fans = slot.fans
    plain = slot.role == "weight" and not slot.parts and not slot.ties and slot.trainable
    if not plain or fans is None or fans.groups != 1 or fans.batch_axes or slot.name in context.fixed:
        return None
    if len(fans.out_axes) != 1 or len(fans.in_axes) != 1 or slot.shape[fans.in_axes[0]] < 1:
        return None
    if {"factor", "gate", "gated_by", "modulates", "norm_of", "through", "form"} & set(slot.settings):
        return None
    uses = graph.uses(slot.name)
    if len(uses) != 1 or uses[0][0].kind != "linear" or len(uses[0][0].inputs) != 1:
        return None
    return uses[0][0]


def _readers(slot: Slot, node: Node, context: Context, graph: Graph, *, paired: bool) -> list[str]:
    """Names of the maps that read the activation after a layer, and nothing else; empty where anything else does.

    Where units come in pairs, all that lies between must keep unit i beside unit i + half: pooling and flattening do.
    """
    assert slot.fans is not None
    units = slot.shape[slot.fans.out_axes[0]]
    following = graph.consumers[node.id]
    if len(following) != 1 or graph.nodes[following[0]].kind != "activation" or (paired and units < NARROW):
        return []
    names: list[str] = []
    axis = 1 if node.op.startswith("conv") else len(node.shape) - 1
    for reader, width in _signals(graph, following[0], axis, units):
        into = next((context.slots[use.name] for use in reader.params if _is_weight(use.name, context)), None)
        if into is None or _only_use(into, graph, context) is not reader or into.ends_residual:
            return []
        assert into.fans is not None
        if width is None or into.shape[into.fans.in_axes[0]] != width or (paired and units % 2 and width != units):
            return []
        names.append(into.name)
    return names


def _is_weight(name: str, context: Context) -> bool:
    return name in context.slots and context.slots[name].role == "weight"


def _signals(graph: Graph, start: int, axis: int, units: int) -> Iterator[tuple[Node, int | None]]:
    """Every reader of a signal past pooling, dropout and flattening, with the width it arrives in; None if mixed up."""
    stack = [(start, axis, units)]
    while stack:
        current, axis, width = stack.pop()
        if current in graph.outputs:
            yield graph.nodes[current], None
        for reader in (graph.nodes[i] for i in graph.consumers[current]):
            if reader.kind in ("pool", "dropout", "cast", "reduce") or reader.kind == "shape":
                passed = _passed(graph.nodes[current], reader, axis, width)
                if passed is None:
                    yield reader, None
                else:
                    stack.append((reader.id, *passed))
            else:
                yield reader, width if reader.kind == "linear" else None


def _passed(source: Node, reader: Node, axis: int, width: int) -> tuple[int, int] | None:
    """Where the units are after an op that arranges or pools; None where they are no longer in order."""
    old, new = source.shape, reader.shape
    if reader.kind in ("pool", "dropout", "cast"):
        return (axis, width) if len(old) == len(new) and new[axis] == old[axis] else None
    if reader.kind == "reduce":  # a mean over positions keeps the units
        kept = reader.op == "mean" and new[-1 if axis == len(old) - 1 else 1 : None][:1] == (old[axis],)
        return (len(new) - 1 if axis == len(old) - 1 else 1, width) if kept and len(new) > 1 else None
    if old == new and reader.op in ("view", "reshape", "flatten"):
        return axis, width
    flat = len(new) == 2 and reader.op in ("view", "reshape", "flatten") and new[0] == old[0] and axis == 1
    if not flat:
        return None
    size = 1
    for length in old[1:]:
        size *= length
    return (1, size) if new[1] == size else None
