"""The main path: the chain of ops that carries the sample-dependent signal from the input to the output.

Faults of depth are faults of this chain. What a residual branch does before its sum, a gate that starts at zero or a
tiny LayerScale leave the trunk alone, and every sum is passed through the operand that carries the signal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fanin.graph import Graph, Node
    from fanin.signals import Signal
    from fanin.trace import Trace

__all__ = [
    "CARRYING",
    "Strength",
    "from_data",
    "head_of",
    "is_added",
    "is_generated",
    "is_norm",
    "main_path",
    "paths",
    "strength",
    "weight_before",
    "weight_of",
]

_FLOOR = 1e-6
"""Smallest 1 − correlation that float32 sums resolve: 1e-7 of rounding, times ten for the length of the sums."""

CARRYING = frozenset({"linear", "embedding", "recurrent", "attention", "activation"})
"""Ops whose effect on the size of the signal is the initializer's business."""

_PRODUCTS = frozenset({"mul", "matmul", "attention"})

_ROOTS = frozenset({"rsqrt", "sqrt", "std", "var", "norm", "var_mean", "std_mean"})


@dataclass(frozen=True)
class Strength:
    """How much signal there is at a place.

    Args:
        rms: root mean square of the values.
        share: part of it that differs between samples: sqrt(1 − sample correlation); 1 where it was not measured.
    """

    rms: float
    share: float

    @property
    def std(self) -> float:
        """Std over samples: what the network can still tell samples apart by."""
        return self.rms * self.share


def strength(trace: Trace, node: int) -> Strength | None:
    """The forward strength at a node; ops that only move values pass on what was not measured of their first input."""
    seen = trace.graph.nodes[node]
    signal = trace.signals.at(seen.place)
    rms = None
    while seen.kind in _MOVING and seen.inputs and (signal is None or signal.sample_correlation is None):
        if signal is not None and signal.count and rms is None:
            rms = signal.rms
        seen = trace.graph.nodes[seen.inputs[0]]
        signal = trace.signals.at(seen.place)
    if signal is None or signal.count == 0:
        return None
    found = Strength(signal.rms if rms is None else rms, _share(signal))
    return found if math.isfinite(found.rms) else None


_MOVING = ("shape", "cast", "dropout")


def _share(signal: Signal) -> float:
    if signal.sample_correlation is None:
        return 1.0
    return math.sqrt(min(1.0, max(_FLOOR, 1.0 - signal.sample_correlation)))


def main_path(trace: Trace, output: int) -> list[Node]:
    """The nodes from an input (or a lookup) to ``output`` that carry the signal, in execution order."""
    path: list[Node] = []
    node: int | None = output
    data = from_data(trace.graph)
    while node is not None:
        path.append(trace.graph.nodes[node])
        node = _carrier(trace, path[-1], data)
    return path[::-1]


def from_data(graph: Graph) -> frozenset[int]:
    """The nodes that were computed from an argument of the model, not from parameters, buffers and constants alone.

    A lookup of unknown indices counts as well where its first axis is as long as the batch: labels that were shifted
    into place, one by one, are data.
    """
    known: frozenset[int] | None = graph.__dict__.get("_from_data")
    if known is not None:
        return known
    found: set[int] = set()
    for node in graph.nodes:
        lookup = node.kind == "embedding" and not node.inputs and node.shape[:1] == (graph.batch_size,)
        if node.op == "argument" or lookup or not found.isdisjoint(node.inputs):
            found.add(node.id)
    known = graph.__dict__["_from_data"] = frozenset(found)
    return known


def paths(trace: Trace) -> list[list[Node]]:
    """The main path to each output that was measured, without repeating one."""
    found: list[list[Node]] = []
    for output in dict.fromkeys(trace.graph.outputs):
        path = main_path(trace, output) if strength(trace, output) is not None else []
        if path and path not in found:
            found.append(path)
    return found


def _carrier(trace: Trace, node: Node, data: frozenset[int]) -> int | None:
    """The operand that brings the sample-dependent signal.

    In a sum it is the one with the larger std over samples; of two within a factor of 3 the older, which is the skip
    path. In a product relative changes add, so it is the one with the larger share.
    """
    found = [(i, s) for i in dict.fromkeys(node.inputs) if (s := strength(trace, i)) is not None]
    found = [(i, s) for i, s in found if i in data] or found
    if not found or node.kind == "embedding":
        return None
    if node.kind in _PRODUCTS:
        top = max(s.share for _, s in found)
        return next(i for i, s in found if s.share >= 0.99 * top)
    top = max(s.std for _, s in found)
    return min(i for i, s in found if s.std >= top / 3)


def is_norm(graph: Graph, node: Node) -> bool:
    """A normalization, as one op or written out: a product with a root of a mean of the other factor."""
    if node.kind == "norm":
        return True
    if node.kind != "mul" or len(node.inputs) != 2:
        return False
    for factor in node.inputs:
        here, reduced, rooted = graph.nodes[factor], False, False
        for _ in range(8):  # cast, square, mean, add eps, sqrt, reciprocal, cast, view at most
            reduced |= here.kind == "reduce"
            rooted |= here.op in _ROOTS or (here.op == "pow" and not reduced)  # (mean + eps) ** -0.5
            if not here.inputs or here.params:
                break
            here = graph.nodes[here.inputs[0]]
        if reduced and rooted:
            return True
    return False


def is_generated(graph: Graph, node: Node) -> bool:
    """A product of data with a weight that other parameters made, as in a hypernetwork."""
    if node.kind != "matmul" or node.params or len(node.inputs) != 2:
        return False
    data = from_data(graph)
    others = [graph.nodes[i] for i in node.inputs if i not in data]
    return len(others) == 1 and others[0].kind != "input"


def is_added(node: Node, argument: str) -> bool:
    """Whether an op adds what fills this argument: a bias, or the first operand of ``addmm`` and its kin."""
    added = argument == "bias" or argument.startswith("bias_")
    return added or (argument == "input" and node.op in ("addmm", "baddbmm", "addbmm", "addmv"))


def weight_of(node: Node) -> str | None:
    """Name of the weight that an op multiplies by; None for ops without one."""
    uses = [use for use in node.params if not is_added(node, use.argument)]
    chosen = max(uses, key=lambda use: len(use.shape), default=None)
    return None if chosen is None else chosen.name


def head_of(trace: Trace, output: int = 0) -> Node | None:
    """The last op with a weight on the way to the output of that index, or to the first measured one, or None."""
    asked = trace.graph.outputs[output] if 0 < output < len(trace.graph.outputs) else None
    ways = paths(trace)
    if asked is not None and strength(trace, asked) is not None:
        ways.insert(0, main_path(trace, asked))
    for path in ways:
        for node in reversed(path):
            if (node.params and node.kind in CARRYING) or is_generated(trace.graph, node):
                return node
    return None


def weight_before(trace: Trace, node: Node) -> str | None:
    """Name of the nearest weight upstream of a node."""
    here: int | None = node.id
    data = from_data(trace.graph)
    while here is not None:
        seen = trace.graph.nodes[here]
        name = weight_of(seen) if seen.kind in CARRYING else None
        if name is not None:
            return name
        here = _carrier(trace, seen, data)
    return None
