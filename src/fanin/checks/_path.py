"""The main path: the chain of ops that carries the sample-dependent signal from the input to the output.

Faults of depth are faults of this chain. What a residual branch does before its sum, a gate that starts at zero or a
tiny LayerScale leave the trunk alone, and every sum is passed through the operand that carries the signal.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fanin.graph import Graph, Node
    from fanin.signals import Signal
    from fanin.trace import Trace

__all__ = [
    "Chain",
    "Segment",
    "Step",
    "Strength",
    "backward_chains",
    "from_data",
    "head_of",
    "is_norm",
    "lost_share",
    "main_path",
    "paths",
    "segments",
    "steps",
    "strength",
    "weight_before",
    "weight_of",
]

_FLOOR = 1e-6
"""Smallest 1 − correlation that float32 sums resolve: 1e-7 of rounding, times ten for the length of the sums."""

_LINKS = frozenset({"linear", "embedding", "recurrent", "attention", "activation"})
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


@dataclass(frozen=True)
class Step:
    """One op of the main path whose effect counts.

    Args:
        node: the op.
        before: strength of its operand on the path.
        after: strength of its output.
        kind: "map" (multiplies by a weight), "residual" (the sum that closes a residual block), "norm", "pointwise".
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
        """log10 of the change of the sample-dependent std over the segment."""
        return math.fsum(step.decades for step in self.steps)

    def rms_decades(self) -> float:
        """log10 of the change of the root mean square over the segment."""
        return math.fsum(step.rms_decades for step in self.steps)


def strength(trace: Trace, node: int) -> Strength | None:
    """The forward strength at a node; ops that were not measured pass on their first input's."""
    seen = trace.graph.nodes[node]
    signal = trace.signals.at(seen.place)
    while signal is None and seen.kind in ("shape", "cast", "dropout") and seen.inputs:
        seen = trace.graph.nodes[seen.inputs[0]]
        signal = trace.signals.at(seen.place)
    if signal is None or signal.count == 0 or not math.isfinite(signal.second_moment):
        return None
    return Strength(signal.rms, _share(signal))


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
    found: set[int] = set()
    for node in graph.nodes:
        lookup = node.kind == "embedding" and not node.inputs and node.shape[:1] == (graph.batch_size,)
        if node.op == "argument" or lookup or not found.isdisjoint(node.inputs):
            found.add(node.id)
    return frozenset(found)


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


def steps(trace: Trace, path: Sequence[Node]) -> list[Step]:
    """The ops of a main path whose effect on the signal is the initializer's business, in execution order.

    Left out: the last weight before the output (heads are small on purpose), further uses of a weight that the path
    has met before (a recurrence in time has its own scale), and what only moves or averages data: pooling, reductions,
    concatenation, products of two activations.
    """
    maps = [node.id for node in path if node.params and node.kind in _LINKS]
    head = maps[-1] if maps else -1
    met: set[str] = set()
    counted: list[Step] = []
    for source, node in itertools.pairwise(path):
        names = {use.name for use in node.params}
        known = bool(names) and names <= met
        met |= names
        kind = _kind(trace.graph, source, node)
        before, after = strength(trace, source.id), strength(trace, node.id)
        if kind is None or before is None or after is None or node.id >= head or known:
            continue
        if counted or kind != "pointwise":  # what is done to the data before the first weight is no layer
            counted.append(Step(node, before, after, kind, _backward(trace, source.id, node.id)))
    return counted


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
    """log10 of the change of the sample-dependent share over a main path: what biases swamp and no layer norm mends."""
    return math.fsum(step.share_decades for step in counted)


def _kind(graph: Graph, source: Node, node: Node) -> str | None:
    if is_norm(graph, node):
        return "norm"
    if node.kind == "add" and len(set(node.inputs)) == 2:
        other = next(i for i in node.inputs if i != source.id)
        return "residual" if _descends(graph, other, source.id) else None
    if node.kind in _LINKS:
        return "map" if node.params and node.kind != "activation" else "pointwise"
    return "pointwise" if node.kind in ("add", "scale") and len(node.inputs) == 1 else None


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


def _descends(graph: Graph, node: int, ancestor: int) -> bool:
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


def weight_of(node: Node) -> str | None:
    """Name of the weight that an op multiplies by; None for ops without one."""
    uses = [use for use in node.params if use.argument != "bias" and not use.argument.startswith("bias_")]
    chosen = max(uses, key=lambda use: len(use.shape), default=None)
    return None if chosen is None else chosen.name


def head_of(trace: Trace) -> Node | None:
    """The last op with a weight on the way to the first measured output, or None."""
    for path in paths(trace):
        for node in reversed(path):
            if node.params and node.kind in _LINKS:
                return node
    return None


def weight_before(trace: Trace, node: Node) -> str | None:
    """Name of the nearest weight upstream of a node."""
    here: int | None = node.id
    data = from_data(trace.graph)
    while here is not None:
        seen = trace.graph.nodes[here]
        name = weight_of(seen) if seen.kind in _LINKS else None
        if name is not None:
            return name
        here = _carrier(trace, seen, data)
    return None


def _times(node: Node) -> int:
    """How often an op multiplies by its weights: once a time step for a whole recurrence, else once."""
    if node.kind == "recurrent" and len(node.shape) == 3 and node.batch_axis in (0, 1):
        return max(1, node.shape[1 - node.batch_axis])
    return 1


def _decades(before: float, after: float) -> float:
    if before <= 0 or after <= 0:
        return 0.0
    return math.log10(after / before)
