"""Residual branches, their depth and ends, and the role of each map in its block, read off the dataflow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from fanin.graph import residual_adds
from fanin.schemes._attention import Attention, attentions, packing
from fanin.schemes._surroundings import surroundings

if TYPE_CHECKING:
    from fanin.graph import Graph, Node, ResidualAdd
    from fanin.schemes._base import Context
    from fanin.slots import Slot, Slots

__all__ = ["Architecture", "Branch", "architecture"]

_MAPS = ("linear", "embedding", "recurrent")
_CARRYING = ("shape", "cast", "dropout", "scale")


@dataclass(frozen=True)
class Branch:
    """One residual branch: what is computed beside a skip path and added to it.

    Args:
        add: id of the sum.
        stream: number of its stream; a stream is a chain of sums with no map on the skip path between them.
        index: its place on the stream, from 0.
        count: branches on the stream.
        terms: signals added to the stream; more than ``count`` where attention and feed-forward run side by side.
        layer: its block on the stream, from 0; an attention and the feed-forward branch after it are one block.
        layers: blocks on the stream.
        maps: names of the weights it multiplies by, in execution order.
        ends: names of those whose output is added.
        attends: True where it holds an attention; crossed: where that attends to another signal.
        last_gain: the gain of a norm that is the last thing in the branch, or None.
        multiplier: a learned factor of the branch that belongs to no norm (LayerScale, ReZero), or None.
        norms: names of the gains of all norms in it.
        inner_norm: True where a norm stands right before the last map (sub-LN).
        projected: True where the skip path has a map of its own.
        width: features of the stream.
    """

    add: int
    stream: int
    index: int
    count: int
    terms: int
    layer: int
    layers: int
    maps: tuple[str, ...]
    ends: tuple[str, ...]
    attends: bool
    crossed: bool
    last_gain: str | None
    multiplier: str | None
    norms: tuple[str, ...]
    inner_norm: bool
    projected: bool
    width: int


class Architecture:
    """Answers about blocks.

    Args:
        slots: all slots.
        graph: the traced run.
        chain: residual add → first add of its stream.
    """

    def __init__(self, slots: Slots, graph: Graph, chain: dict[int, int]) -> None:
        self.slots, self.graph, self._chain = slots, graph, chain

    def branch(self, name: str) -> Branch | None:
        """The innermost branch that a weight stands in; for keys and values of another signal, the one that attends."""
        slot = self.slots[name]
        if slot.name not in self._branch_of and self._attends.get(slot.name, "o") != "o":
            attention = self.attention_of(slot)
            outs = [n for i in attention.out for n in self._weights(self.graph.nodes[i])] if attention else []
            return next((self._branch_of[out] for out in outs if out in self._branch_of), None)
        return self._branch_of.get(slot.name)

    def role(self, slot: Slot) -> str:
        """What a map does in its block.

        Returns:
            "q", "k", "v", "qkv" (one tensor for all three), "kv", "o", "gate", "up" (multiplied by the gate), "fc2"
            (the last of its branch), "fc1" (any other in a branch), "modulation", "head", or "outside".
        """
        attends = self._attends.get(slot.name, "")
        if attends:
            return attends
        if slot.settings.get("modulates"):
            return "modulation"
        if slot.is_head:
            return "head"
        if slot.name not in self._branch_of:
            return "outside"
        if slot.ends_residual:
            return "fc2"
        if "gated_by" in slot.settings:
            return "up"
        return "gate" if slot.settings.get("gate") and slot.nonlinearity not in ("softmax", None) else "fc1"

    def activation_before(self, slot: Slot) -> Node | None:
        """The activation whose output a map reads, past pooling, dropout and views; None where there is another."""
        node = next((node for node, _ in self.graph.uses(slot.name) if node.kind in _MAPS), None)
        while node is not None and node.inputs:
            node = self.graph.nodes[node.inputs[0]]
            if node.kind == "activation":
                return node
            if node.kind not in (*_CARRYING, "pool", "reduce"):
                return None
        return None

    def packing(self, slot: Slot) -> list[tuple[str, int]] | None:
        """How q, k and v lie in a tensor that makes all three: (letter, rows) in order; None where unknown."""
        node = next((node for node, _ in self.graph.uses(slot.name) if node.kind in _MAPS), None)
        return None if node is None else packing(self.graph, node, slot)

    @cached_property
    def attentions(self) -> tuple[Attention, ...]:
        """Every attention, in execution order."""
        return attentions(self.graph)

    def attention_of(self, slot: Slot) -> Attention | None:
        """The attention whose queries, keys or values a map makes."""
        nodes = {node.id for node, _ in self.graph.uses(slot.name)}
        return next((a for a in self.attentions if nodes & (a.query | a.key | a.value)), None)

    @cached_property
    def branches(self) -> tuple[Branch, ...]:
        """Every residual branch, in execution order."""
        adds = residual_adds(self.graph)
        streams = list(dict.fromkeys(self._chain[residual.add.id] for residual in adds))
        counts = {first: sum(other == first for other in self._chain.values()) for first in streams}
        seen = dict.fromkeys(streams, 0)
        drafts: list[Branch] = []
        for residual in adds:
            first = self._chain[residual.add.id]
            drafts.append(self._draft(residual, streams.index(first), seen[first], counts[first]))
            seen[first] += 1
        return tuple(self._numbered(drafts))

    def _draft(self, residual: ResidualAdd, stream: int, index: int, count: int) -> Branch:
        inner = set(residual.branch)
        nodes = [self.graph.nodes[i] for i in residual.branch]
        maps = tuple(dict.fromkeys(name for node in nodes if node.kind in _MAPS for name in self._weights(node)))
        operand = next((i for i in residual.add.inputs if i != residual.skip), residual.skip)
        ends, last_gain, multiplier, end_nodes = self._outlet(operand, inner)
        norms = tuple(dict.fromkeys(use.name for n in nodes for use in n.params if self._is_gain(use.name)))
        inside = [a for a in self.attentions if a.node in inner]
        return Branch(
            add=residual.add.id,
            stream=stream,
            index=index,
            count=count,
            terms=1 + (bool(inside) and any(name not in self._outs for name in ends)),
            layer=0,
            layers=1,
            maps=maps,
            ends=ends,
            attends=bool(inside),
            crossed=any(a.crossed for a in inside),
            last_gain=last_gain,
            multiplier=multiplier,
            norms=norms,
            inner_norm=len(maps) > 1 and any(self._is_behind_norm(node, inner) for node in end_nodes),
            projected=residual.skip != residual.source and self._computes(residual.skip, residual.source),
            width=self._width(residual.add, ends),
        )

    @staticmethod
    def _numbered(drafts: list[Branch]) -> list[Branch]:
        """Blocks: a stream with attention counts its feed-forward branches, any other its branches."""
        found = []
        for branch in drafts:
            mine = [other for other in drafts if other.stream == branch.stream]
            plain = [other for other in mine if not other.attends]
            if 0 < len(plain) < len(mine):
                layer, layers = sum(other.index < branch.index for other in plain), len(plain)
                layer = min(layer, layers - 1)
            else:
                layer, layers = branch.index, branch.count
            found.append(replace(branch, layer=layer, layers=layers, terms=sum(other.terms for other in mine)))
        return found

    def _outlet(self, start: int, inner: set[int]) -> tuple[tuple[str, ...], str | None, str | None, list[Node]]:
        """From the sum upwards to the last maps: their names, the last norm's gain, a learned factor, their nodes."""
        ends: list[str] = []
        nodes: list[Node] = []
        gain = multiplier = None
        stack, seen, straight = [start], set(), True
        while stack:
            current = stack.pop()
            if current in seen or current not in inner:
                continue
            seen.add(current)
            node = self.graph.nodes[current]
            if node.kind in _MAPS and node.params:
                ends += [name for name in self._weights(node) if name not in ends]
                nodes.append(node)
                continue
            names = [use.name for use in node.params if use.name in self.slots]
            scales = next((name for name in names if self._is_gain(name)), None)
            if scales is not None and straight and gain is None:
                gain = scales
            elif node.kind == "mul" and node.op != "div" and multiplier is None:  # a divisor must not start at 0
                own = [name for name in names if self.slots[name].role in ("gain", "unknown")]
                multiplier = next((name for name in own if not self._is_gain(name)), None)
            straight = straight and node.kind in (*_CARRYING, "mul")
            stack.extend(node.inputs)
        marked = tuple(name for name in ends if self.slots[name].ends_residual)
        return marked or tuple(ends), gain, multiplier, nodes

    @cached_property
    def _outs(self) -> set[str]:
        """Weights that read the result of an attention."""
        return {name for a in self.attentions for i in a.out for name in self._weights(self.graph.nodes[i])}

    def _weights(self, node: Node) -> list[str]:
        names = [use.name for use in node.params if use.name in self.slots]
        return [self.slots[name].name for name in names if self.slots[name].role in ("weight", "embedding")]

    def _is_gain(self, name: str) -> bool:
        slot = self.slots.get(name)
        return slot is not None and slot.role == "gain" and bool(slot.settings.get("norm"))

    def _is_behind_norm(self, node: Node, inner: set[int]) -> bool:
        current = node.inputs[0] if node.inputs else -1
        while current in inner:
            before = self.graph.nodes[current]
            if before.kind == "norm" or any(self._is_gain(use.name) for use in before.params):
                return True
            if before.kind not in _CARRYING or not before.inputs:
                return False
            current = before.inputs[0]
        return False

    def _computes(self, skip: int, source: int) -> bool:
        """Whether a map lies on the skip path."""
        stack, seen = [skip], set()
        while stack:
            current = stack.pop()
            if current in seen or current <= source:
                continue
            seen.add(current)
            node = self.graph.nodes[current]
            if node.kind in _MAPS:
                return True
            stack.extend(node.inputs)
        return False

    def _width(self, add: Node, ends: tuple[str, ...]) -> int:
        for name in ends:
            fans = self.slots[name].fans
            if fans is not None and len(fans.out_axes) == 1:
                return self.slots[name].shape[fans.out_axes[0]]
        return add.shape[-1] if add.shape else 1

    @cached_property
    def _branch_of(self) -> dict[str, Branch]:
        found: dict[str, Branch] = {}
        for branch in self.branches:
            for name in branch.maps:
                found.setdefault(name, branch)
        return found

    @cached_property
    def _attends(self) -> dict[str, str]:
        """Weight → letters of what it makes in an attention."""
        letters: dict[str, set[str]] = {}
        for attention in self.attentions:
            for letter, nodes in (("q", attention.query), ("k", attention.key), ("v", attention.value)):
                for id_ in nodes:
                    for name in self._weights(self.graph.nodes[id_]):
                        if self.slots[name].role == "weight" and self.slots[name].kind != "recurrent":
                            letters.setdefault(name, set()).add(letter)
            for id_ in attention.out:
                for name in self._weights(self.graph.nodes[id_]):
                    if name in self._branch_of:
                        letters.setdefault(name, set()).add("o")
        return {name: "".join(sorted(found, key="qkvo".index)) for name, found in letters.items()}


def architecture(context: Context) -> Architecture | None:
    """The architecture of a context, worked out once; None without a graph."""
    if context.graph is None:
        return None
    if "architecture" not in context.memo:
        chain, _ = surroundings(context).chains
        context.memo["architecture"] = Architecture(context.slots, context.graph, chain)
    return context.memo["architecture"]  # type: ignore[no-any-return]
