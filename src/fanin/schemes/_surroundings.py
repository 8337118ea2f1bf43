"""What a scheme asks of the whole network: residual branches and the scale of their stream, depth without norm."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from fanin.graph import residual_adds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fanin.graph import Graph, Node, ResidualAdd
    from fanin.schemes._base import Context
    from fanin.slots import Slot, Slots

__all__ = ["Stream", "Surroundings", "surroundings"]

_MAPS = ("linear", "embedding", "recurrent")
_MIXING = ("matmul", "attention")


@dataclass(frozen=True)
class Stream:
    """A residual stream.

    Args:
        branches: number of branches added to it.
        lookups: names of the embeddings whose sum it starts as; empty where it starts as anything else.
        scaled: True where the branch passes a learned multiplier (LayerScale, ReZero) before it is added.
        normalized: True where a norm lies between the last map of the branch and the sum, so that the map's own scale
            does not matter.
        post_norm: True where a norm follows each sum of the stream, as in the transformer of 2017.
    """

    branches: int
    lookups: tuple[str, ...] = ()
    scaled: bool = False
    normalized: bool = False
    post_norm: bool = False


class Surroundings:
    """Answers about the whole network, from the graph where there is one, else from the slots.

    Args:
        slots: all slots.
        graph: the traced run, or None.
    """

    def __init__(self, slots: Slots, graph: Graph | None) -> None:
        self.slots = slots
        self.graph = graph

    def stream(self, name: str) -> Stream:
        """The residual stream that the branch which this slot ends is added to."""
        return self._streams.get(name, Stream(1))

    def in_post_norm(self, name: str) -> bool:
        """Whether an embedding is what a post-norm stream starts as."""
        return any(name in stream.lookups for stream in self._streams.values() if stream.post_norm)

    def depth(self, name: str) -> int:
        """Weight layers with activations on the longest chain through a slot that has no norm and no residual sum."""
        if self.graph is None:
            own = self.slots[name].nonlinearity
            return sum(s.role == "weight" and s.nonlinearity == own and not s.normalized for s in self.slots.values())
        nodes = self._nodes(name)
        return max((self._above[n.id] + self._below[n.id] - 1 for n in nodes if self._chained(n)), default=0)

    def feeds_map(self, name: str) -> bool:
        """Whether the activation after a slot is read by another weight layer (not multiplied, not the output)."""
        if self.graph is None:
            weights = [slot.name for slot in self.slots.values() if slot.role == "weight"]
            return bool(weights) and weights[-1] != name
        slot = self.slots[name]
        return not slot.settings.get("gate") and not slot.is_head

    def lookups_with(self, name: str) -> tuple[tuple[str, ...], float, bool]:
        """Of an embedding: the embeddings summed with it (itself included), the factor it is multiplied by, and
        whether it meets another embedding in a product."""
        for node in self._nodes(name):
            if node.kind == "embedding":
                return self._summed(node)
        return (name,), 1.0, False

    def beside_frozen(self, name: str) -> bool:
        """Whether a map ends a path that is added to the output of a frozen map: LoRA's B."""
        return name in self._adapters

    def is_first(self, name: str) -> bool:
        """Whether a map reads the model's input with no other map before it."""
        return any(
            all(node.kind == "input" for source in user.inputs for node in self._origin(source))
            for user in self._nodes(name)
        )

    def reads_norm(self, name: str) -> bool:
        """Whether all that a map reads comes from norms, past activations and whatever carries no weights."""
        origins = [node for user in self._nodes(name) for source in user.inputs for node in self._origin(source)]
        return bool(origins) and all(node.kind == "norm" for node in origins)

    def steps_to_last_state(self, name: str) -> int | None:
        """Of a recurrent layer of which only the last state is read: the steps of the sequence that was traced."""
        uses = [node for node in self._nodes(name) if node.kind == "recurrent"]
        if self.graph is None or len(uses) != 1 or uses[0].attrs.get("bidirectional") or len(uses[0].shape) < 2:
            return None
        node = uses[0]
        axis = 1 if node.attrs.get("batch_first") and len(node.shape) == 3 else 0
        steps = node.shape[axis]
        readers = [self.graph.nodes[reader] for reader in self.graph.consumers[node.id]]
        # The call's further outputs, h and c, are nodes of their own: states after the last step.
        final = [reader for reader in readers if reader.op == "output" and reader.attrs.get("index") in (1, 2)]
        others = [reader for reader in readers if reader not in final]
        read = others or [reader for reader in final if self.graph.consumers[reader.id]]
        if node.id in self.graph.outputs or not read or not all(_picks_last(r, axis, steps) for r in others):
            return None
        return steps

    @cached_property
    def without_norm(self) -> bool:
        """Whether the network has residual sums and nothing that normalizes: no norm, no attention, no recurrence."""
        kinds = {node.kind for node in self.graph.nodes} if self.graph is not None else set()
        return bool(self._adds) and not kinds & {"norm", "attention", "softmax", "recurrent", "embedding"}

    def branch_scale(self, slot: Slot) -> float:
        """1, or 1/√N where a map ends one of N residual branches: what its output shall be in units of the stream."""
        return 1 / math.sqrt(self.stream(slot.name).branches) if slot.ends_residual else 1.0

    # --- graph ------------------------------------------------------------------------------------------------

    def _nodes(self, name: str) -> list[Node]:
        """Weight ops that use a slot."""
        if self.graph is None:
            return []
        slot = self.slots[name]
        uses = [node for each in (slot.name, *slot.ties) for node, _ in self.graph.uses(each)]
        return [node for node in uses if node.kind in _MAPS and not node.attrs.get("parameter_only")]

    def _origin(self, node_id: int) -> list[Node]:
        """Nodes whose values a signal consists of: back through everything but weight layers, products and norms."""
        assert self.graph is not None
        found, stack, seen = [], [node_id], set()
        while stack:
            current = stack.pop()
            if current in seen:
                continue
            seen.add(current)
            node = self.graph.nodes[current]
            if node.kind in (*_MAPS, *_MIXING, "norm", "input") or not node.inputs:
                found.append(node)
            else:
                stack.extend(node.inputs)
        return found

    @cached_property
    def _adds(self) -> tuple[ResidualAdd, ...]:
        return residual_adds(self.graph) if self.graph is not None else ()

    @cached_property
    def chains(self) -> tuple[dict[int, int], dict[int, bool]]:
        """Residual add → the first add of its stream, and → whether a norm lies on the skip path since then.

        A stream is a chain of sums that follow each other with no weight layer on the skip path.
        """
        chain: dict[int, int] = {}
        reset: dict[int, bool] = {}
        adds = {residual.add.id: residual for residual in self._adds}
        for residual in self._adds:
            before, normalized = self._previous(residual, adds)
            chain[residual.add.id] = chain[before] if before is not None else residual.add.id
            reset[residual.add.id] = normalized or (before is not None and reset[before])
        return chain, reset

    @cached_property
    def _streams(self) -> Mapping[str, Stream]:
        """Slot in a branch → its stream."""
        if self.graph is None:
            return {}
        chain, reset = self.chains
        adds = {residual.add.id: residual for residual in self._adds}
        found: dict[str, Stream] = {}
        plain = {chain[residual.add.id] for residual in self._adds if not self._meets_norm(residual.add)}
        for residual in self._adds:
            first = chain[residual.add.id]
            count = sum(other == first for other in chain.values())
            lookups: tuple[str, ...] = ()
            if not reset[residual.add.id]:
                origins = self._origin(adds[first].skip)
                if all(node.kind == "embedding" or not node.inputs for node in origins):
                    lookups = tuple(use.name for node in origins if node.kind == "embedding" for use in node.params)
            scaled, normalized = self._before_sum(residual)
            for node_id in residual.branch:
                for use in self.graph.nodes[node_id].params:
                    post = count > 1 and first not in plain
                    found.setdefault(use.name, Stream(count, lookups, scaled, normalized, post))
        return found

    def _meets_norm(self, node: Node) -> bool:
        """Whether all that reads a signal is a norm, past whatever only arranges it."""
        assert self.graph is not None
        stack, met = [node.id], False
        while stack:
            for reader in (self.graph.nodes[i] for i in self.graph.consumers[stack.pop()]):
                if "part_of" in reader.attrs:
                    continue
                if reader.kind in ("shape", "cast", "dropout"):
                    stack.append(reader.id)
                elif reader.kind != "norm":
                    return False
                met = True
        return met

    def _previous(self, residual: ResidualAdd, adds: Mapping[int, ResidualAdd]) -> tuple[int | None, bool]:
        """The sum before on the same stream, and whether a norm lies between."""
        assert self.graph is not None
        stack, seen, normalized = [residual.skip], set(), False
        while stack:
            current = stack.pop()
            if current in seen:
                continue
            seen.add(current)
            node = self.graph.nodes[current]
            if current in adds:
                return current, normalized
            if node.kind in (*_MAPS, *_MIXING):
                continue
            normalized = normalized or node.kind == "norm"
            stack.extend(node.inputs)
        return None, normalized

    @cached_property
    def _adapters(self) -> frozenset[str]:
        found: set[str] = set()
        for node in self.graph.nodes if self.graph is not None else ():
            if node.kind != "add" or len(node.inputs) != 2:
                continue
            sides = [self._owners(source) for source in node.inputs]
            frozen = [bool(side) and not any(slot.trainable for slot in side) for side in sides]
            for side, other in ((0, 1), (1, 0)):
                if frozen[other] and sides[side] and all(slot.trainable for slot in sides[side]):
                    found.update(slot.name for slot in sides[side])
        return frozenset(found)

    def _owners(self, node_id: int) -> list[Slot]:
        """Slots of the one map that a signal is the output of, past views, dropout and constant factors."""
        assert self.graph is not None
        node = self.graph.nodes[node_id]
        while node.kind in ("shape", "cast", "dropout", "scale") and len(node.inputs) == 1:
            node = self.graph.nodes[node.inputs[0]]
        if node.kind not in ("linear", "embedding"):
            return []
        return [self.slots[use.name] for use in node.params if use.name in self.slots]

    def _before_sum(self, residual: ResidualAdd) -> tuple[bool, bool]:
        """Whether the branch passes a learned gain that belongs to no norm, and whether a norm, after its last map."""
        assert self.graph is not None
        scaled = normalized = False
        stack = [i for i in residual.add.inputs if i in residual.branch]
        while stack:
            node = self.graph.nodes[stack.pop()]
            gains = [use.name for use in node.params if node.kind == "mul" and use.name in self.slots]
            scaled = scaled or any(not self.slots[name].settings.get("norm") for name in gains)
            normalized = normalized or node.kind == "norm"
            if node.kind not in (*_MAPS, *_MIXING):
                stack.extend(i for i in node.inputs if i in residual.branch)
        return scaled, normalized

    def _summed(self, lookup: Node) -> tuple[tuple[str, ...], float, bool]:
        assert self.graph is not None
        names, factor, product = [use.name for use in lookup.params], 1.0, False
        current = lookup
        while True:
            readers = [r for r in self.graph.consumers[current.id] if "part_of" not in self.graph.nodes[r].attrs]
            if not readers:
                break
            reader = self.graph.nodes[readers[0]]
            if reader.kind == "add" and len(reader.inputs) > 1:
                origins = [node for i in reader.inputs if i != current.id for node in self._origin(i)]
                if not all(node.kind in ("embedding", "input") for node in origins):
                    break
                names += [use.name for node in origins if node.kind == "embedding" for use in node.params]
            elif reader.kind == "scale":
                factor *= abs(float(reader.attrs.get("factor", 1.0))) or 1.0
            elif reader.kind in ("mul", "matmul") and len(reader.inputs) > 1:
                others = [node for i in reader.inputs if i != current.id for node in self._origin(i)]
                product = bool(others) and all(node.kind == "embedding" for node in others)
                break
            elif reader.kind not in ("cast", "shape", "dropout"):
                break
            current = reader
        return tuple(dict.fromkeys(names)), factor, product

    def _chained(self, node: Node) -> bool:
        """Whether a node is a weight layer whose pre-activation meets a nonlinearity with no norm before."""
        for use in node.params:
            slot = self.slots.get(use.name)
            if slot is not None and slot.role == "weight":
                return slot.nonlinearity not in (None, "linear", "softmax") and not slot.normalized
        return False

    @cached_property
    def _above(self) -> list[int]:
        """For each node the number of chained layers on the longest way up to it, itself included."""
        assert self.graph is not None
        sums = {residual.add.id for residual in self._adds}
        count: list[int] = []
        for node in self.graph.nodes:
            reaching = max((count[i] for i in node.inputs), default=0)
            if node.kind in ("norm", *_MIXING) or node.id in sums:
                reaching = 0
            count.append(reaching + (1 if node.kind == "linear" and self._chained(node) else 0))
        return count

    @cached_property
    def _below(self) -> list[int]:
        """The same downwards."""
        assert self.graph is not None
        sums = {residual.add.id for residual in self._adds}
        count = [0] * len(self.graph.nodes)
        for node in reversed(self.graph.nodes):
            readers = [self.graph.nodes[r] for r in self.graph.consumers[node.id]]
            open_ = [r for r in readers if r.kind not in ("norm", *_MIXING) and r.id not in sums]
            reached = max((count[r.id] for r in open_), default=0)
            count[node.id] = reached + (1 if node.kind == "linear" and self._chained(node) else 0)
        return count


def surroundings(context: Context) -> Surroundings:
    """The surroundings of a context's slots, worked out once."""
    if "surroundings" not in context.memo:
        context.memo["surroundings"] = Surroundings(context.slots, context.graph)
    return context.memo["surroundings"]  # type: ignore[no-any-return]


TAIL = 4
"""Share 1/TAIL of the steps, at the end, that may be read for what is read to count as the last state."""


def _picks_last(node: Node, axis: int, steps: int) -> bool:
    """Whether an op picks the end of ``steps`` along an axis: ``x[:, -1]``, ``x.select(1, -1)``, ``x[:, -3:]``."""
    if node.op == "select":
        return node.attrs.get("dim") == axis and str(node.attrs.get("index")) in ("-1", str(steps - 1))
    if node.op != "getitem":
        return False
    picked = [part.strip() for part in str(node.attrs.get("index", "")).split(",")]
    if len(picked) <= axis or any(part != ":" for part in picked[:axis]):
        return False
    start, colon, stop = picked[axis].partition(":")
    if stop or not start.lstrip("-").isdecimal():
        return False
    first = int(start) if int(start) >= 0 else steps + int(start)
    return steps - first <= steps // TAIL if colon else first == steps - 1
