"""What happens along the main path, step by step: which ops count, and what they do to signal and gradient."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fanin.checks._path import CARRYING, Strength, is_generated, is_norm, paths, strength

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fanin.graph import Graph, Node
    from fanin.trace import Trace

__all__ = ["Chain", "Segment", "Step", "backward_chains", "descends", "lost_share", "segments", "steps"]


@dataclass(frozen=True)
class Step:
    """One op of the main path whose effect counts.

    Args:
        node: the op.
        before: strength of its operand on the path.
        after: strength of its output.
        kind: "map" (multiplies by a weight), "residual" (the sum that closes a residual block), "norm", "pointwise",
            "mix" (a product with a constant matrix, such as an adjacency).
        backward: log10 of the gradient's rms at its operand over that at its output; None where not measured.
    """

    node: Node
    before: Strength
    after: Strength
    kind: str
    backward: float | None = None

    @property
    def decades(self) -> float:
        """log10 of the change of the sample-dependent std."""
        return _decades(self.before.std, self.after.std)

    @property
    def rms_decades(self) -> float:
        """log10 of the change of the root mean square."""
        return _decades(self.before.rms, self.after.rms)

    @property
    def share_decades(self) -> float:
        """log10 of the change of the sample-dependent share."""
        return _decades(self.before.share, self.after.share)


@dataclass
class Segment:
    """A stretch of the main path between two normalizations, where sizes multiply up.

    Args:
        steps: its counted ops in execution order, without the head.
        normalized: True where a normalization ends it.
    """

    steps: list[Step] = field(default_factory=list)
    normalized: bool = False

    @property
    def layers(self) -> int:
        """How many weights the signal is multiplied by, one after the other."""
        return sum(step.kind in ("map", "residual") for step in self.steps)

    @property
    def depth(self) -> int:
        """The same, with a recurrence counted once a time step."""
        return sum(_times(step.node) for step in self.steps if step.kind in ("map", "residual"))

    def decades(self) -> float:
        """log10 of the change of the sample-dependent std over the segment; averages by constants are not counted."""
        return math.fsum(step.decades for step in self.steps if step.kind != "mix")

    def end_to_end(self) -> float:
        """log10 of that std after the last step over that before the first: with what other branches bring in."""
        return _decades(self.steps[0].before.std, self.steps[-1].after.std) if self.steps else 0.0

    def rms_decades(self) -> float:
        """log10 of the change of the root mean square over the segment; of products with constants only growth."""
        return math.fsum(s.rms_decades if s.kind != "mix" else max(0.0, s.rms_decades) for s in self.steps)


def steps(trace: Trace, path: Sequence[Node]) -> list[Step]:
    """The ops of a main path whose effect on the signal is the initializer's business, in execution order.

    Left out: the last weight before the output (heads are small on purpose), further uses of a weight that the path
    has met before (a recurrence in time has its own scale), and what only moves or averages data: pooling, reductions,
    concatenation, products of two activations.
    """
    maps = [node.id for node in path if (node.params and node.kind in CARRYING) or is_generated(trace.graph, node)]
    head = maps[-1] if maps else -1
    met: set[str] = set()
    counted: list[Step] = []
    for source, node in itertools.pairwise(path):
        names = {use.name for use in node.params}
        known = bool(names) and names <= met
        met |= names
        kind = _kind(trace.graph, source, node)
        operand = _unpadded(trace.graph, source)
        before, after = strength(trace, operand.id), strength(trace, node.id)
        if kind is None or before is None or after is None or node.id >= head or known:
            continue
        if counted or kind != "pointwise":  # what is done to the data before the first weight is no layer
            counted.append(Step(node, before, after, kind, _backward(trace, operand.id, node.id)))
    return counted


def _unpadded(graph: Graph, node: Node) -> Node:
    """What was padded: the zeros of a pad, and of the gradient behind it, belong to no layer's scale."""
    while node.op == "pad" and node.inputs:
        node = graph.nodes[node.inputs[0]]
    return node


def segments(counted: Sequence[Step]) -> list[Segment]:
    """Cut the steps of a main path at its normalizations."""
    done = [Segment()]
    for step in counted:
        if step.kind == "norm":
            done[-1].normalized = True
            done.append(Segment())
        else:
            done[-1].steps.append(step)
    return done


@dataclass(frozen=True)
class Chain:
    """The way of the gradient along one main path, from the head's input back to the first layer.

    Args:
        steps: the counted ops where the gradient was measured on both sides, in execution order.
        all: all counted ops.
    """

    steps: tuple[Step, ...]
    all: tuple[Step, ...]

    @property
    def decades(self) -> float:
        """log10 of the gradient's rms at the first op's operand over that at the last op's output."""
        return math.fsum(step.backward or 0.0 for step in self.steps)

    @property
    def forward(self) -> float:
        """log10 of the change of the forward std over the whole path, normalizations left out."""
        return math.fsum(step.decades for step in self.all if step.kind != "norm")

    @property
    def forward_rms(self) -> float:
        """log10 of the change of the forward rms over the whole path, normalizations left out."""
        return math.fsum(step.rms_decades for step in self.all if step.kind != "norm")

    @property
    def first(self) -> Step:
        """The first op with a weight, or the first op."""
        return next((step for step in self.steps if step.kind == "map"), self.steps[0])

    @property
    def single(self) -> float:
        """Largest part of one weight and what follows it until the next, in absolute value."""
        groups = [0.0]
        for step in self.steps:
            if step.kind == "map":
                groups.append(0.0)
            groups[-1] += step.backward or 0.0
        return max(map(abs, groups))

    @property
    def layers(self) -> int:
        """How many weights the gradient passes one after the other."""
        return sum(step.kind == "map" for step in self.steps)


def backward_chains(trace: Trace) -> list[Chain]:
    """The gradient's way along each main path; empty where it is exactly zero everywhere."""
    chains = []
    for path in paths(trace):
        counted = steps(trace, path)
        measured = tuple(s for s in counted if s.backward is not None and s.kind != "residual")
        if measured:
            chains.append(Chain(measured, tuple(counted)))
    return chains


def lost_share(counted: Sequence[Step]) -> float:
    """log10 of the change of the sample-dependent share over a main path: what biases swamp and no layer norm mends.

    Averages by constants (over the neighbours in a graph) are not counted.
    """
    return math.fsum(step.share_decades for step in counted if step.kind != "mix")


def _kind(graph: Graph, source: Node, node: Node) -> str | None:
    if is_norm(graph, node):
        return "norm"
    if node.kind == "add" and len(set(node.inputs)) == 2:
        other = next(i for i in node.inputs if i != source.id)
        return "residual" if descends(graph, other, source.id) else None
    if node.kind in CARRYING:
        return "map" if node.params and node.kind != "activation" else "pointwise"
    if is_generated(graph, node):
        return "map"
    if node.kind == "matmul" and not node.params and _by_constant(graph, node, source):
        return "mix"
    return "pointwise" if node.kind in ("add", "scale") and len(node.inputs) == 1 else None


def _by_constant(graph: Graph, node: Node, source: Node) -> bool:
    """Whether a product's other operand is a tensor that was there before: a buffer or a constant."""
    others = [graph.nodes[i] for i in node.inputs if i != source.id]
    return all(other.kind == "input" and other.op != "argument" for other in others)


def _backward(trace: Trace, before: int, after: int) -> float | None:
    first, second = (_gradient(trace, node) for node in (before, after))
    if not first or not second:
        return None
    return math.log10(first / second)


def _gradient(trace: Trace, node: int) -> float | None:
    signal = trace.signals.at(trace.graph.nodes[node].place, "backward")
    if signal is None or not math.isfinite(signal.second_moment):
        return None
    return signal.rms


def descends(graph: Graph, node: int, ancestor: int) -> bool:
    """Whether ``node`` was computed from ``ancestor``: then their sum closes a residual block."""
    stack, seen = [node], {node}
    while stack:
        for source in graph.nodes[stack.pop()].inputs:
            if source == ancestor:
                return True
            if source > ancestor and source not in seen:
                seen.add(source)
                stack.append(source)
    return False


def _times(node: Node) -> int:
    """How often an op multiplies by its weights: once a time step for a whole recurrence, else once."""
    if node.kind == "recurrent" and len(node.shape) == 3 and node.batch_axis in (0, 1):
        return max(1, node.shape[1 - node.batch_axis])
    return 1


def _decades(before: float, after: float) -> float:
    if before <= 0 or after <= 0:
        return 0.0
    return math.log10(after / before)
