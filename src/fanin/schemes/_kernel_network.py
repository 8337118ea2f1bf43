"""A model as kernels see it: second moments (Q) and correlations (C) through maps, activations and weighted sums."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from fanin.schemes._shaped import ShapedActivation

if TYPE_CHECKING:
    from torch import nn

    from fanin.graph import Graph, Node
    from fanin.schemes._base import Context
    from fanin.slots import Slots
    from fanin.theory._quadrature import Array

__all__ = ["KernelNetwork", "Place", "kernel_network"]

_SAME = ("shape", "cast", "dropout", "reduce", "pool", "norm", "mul", "scale", "add", "concat")
_NUMERIC = (
    "abs",
    "sign",
    "sqrt",
    "rsqrt",
    "reciprocal",
    "log",
    "log1p",
    "clamp",
    "rdiv",
    "rpow",
    "exp",
    "pow",
    "square",
)

NEAR_ONE = 0.1
"""A second moment of the inputs this close to 1 is that of standardized data."""


@dataclass(frozen=True)
class _Step:
    """What happens to a correlation at a node.

    Args:
        rule: "start" (a signal begins, or one of unknown correlation), "activation", or "sum".
        inputs: nodes it reads.
        shares: for a sum the share of the second moment that each brings.
    """

    rule: str
    inputs: tuple[int, ...] = ()
    shares: tuple[float, ...] = ()


@dataclass(frozen=True)
class Place:
    """One call of an activation.

    Args:
        node: the op.
        q: second moment of what it is given.
        module: path of the module that is this activation and nothing else; "" for a function called in a forward.
    """

    node: Node
    q: float
    module: str


@dataclass
class KernelNetwork:
    """Second moments at start, and the largest value that a subnetwork's C map takes.

    Every map is given the gain q^-½ of what it reads, so that its outputs have second moment 1.

    Args:
        graph: the traced run.
        slots: all slots.
        model: the model, whose modules tell where activations can be replaced.
        homogeneous: True where activations keep every second moment (leaky ReLU with its gain), False where they
            give 1.
        input_q: second moment of the inputs.
    """

    graph: Graph
    slots: Slots
    model: nn.Module | None
    homogeneous: bool
    input_q: float
    places: list[Place] = field(default_factory=list)
    gains: dict[str, tuple[float, float]] = field(default_factory=dict)
    beyond: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._steps: dict[int, _Step] = {}
        self._alias: dict[int, int] = {}
        self._q: dict[int, float] = {}
        self._leaves = dict(_activation_modules(self.graph, self.model)) if self.model is not None else {}
        self._shaped = {
            path for path, module in (self.model.named_modules() if self.model is not None else ())
            if isinstance(module, ShapedActivation)
        }  # fmt: skip
        self._feeding = _feeding(self.graph)
        for node in self.graph.nodes:
            if "part_of" not in node.attrs and "parameter_only" not in node.attrs:
                self._enter(node)
        self._starts = {n: i for i, n in enumerate(self._forks())}

    # --- building ---------------------------------------------------------------------------------------------

    def _enter(self, node: Node) -> None:
        signals = [i for i in node.inputs if i in self._q]
        if node.kind == "input":
            if node.attrs.get("source") == "argument" and node.dtype.startswith(("float", "bfloat")):
                self._begin(node, self.input_q)
        elif node.kind == "embedding":
            self._begin(node, 1 / max(node.shape[-1], 1))
        elif node.kind == "linear" and len(signals) == 1:
            self._map(node, signals[0])
        elif not signals:
            if node.kind == "linear":
                self._begin(node, 1.0)
        elif node.kind == "activation" and len(signals) == 1:
            self._activation(node, signals[0])
        elif node.kind in ("add", "concat") and len(signals) > 1:
            self._sum(node, signals)
        elif node.kind in _SAME and (len(signals) == 1 or node.kind == "shape"):
            self._same(node, signals[0])
        elif node.kind != "loss":
            self.beyond.append(node.place)
            self._begin(node, 1.0)

    def _begin(self, node: Node, q: float) -> None:
        self._steps[node.id], self._alias[node.id], self._q[node.id] = _Step("start"), node.id, q

    def _same(self, node: Node, source: int) -> None:
        q = self._q[source]
        if node.kind == "norm":
            q = 1.0
        elif node.kind == "scale":
            q *= float(node.attrs.get("factor", 1.0) or 1.0) ** 2
        self._alias[node.id], self._q[node.id] = self._alias[source], q

    def _map(self, node: Node, source: int) -> None:
        q = self._q[source]
        weights = [use.name for use in node.params if use.name in self.slots and self.slots[use.name].role == "weight"]
        name = self.slots[weights[0]].name if weights else ""
        gain, _ = self.gains.setdefault(name, (1 / math.sqrt(q), q)) if name else (1.0, q)
        self._alias[node.id], self._q[node.id] = self._alias[source], gain**2 * q

    def _activation(self, node: Node, source: int) -> None:
        inside = any(node.module == path or node.module.startswith(path + ".") for path in self._shaped)
        if node.id not in self._feeding:  # an output is what its loss makes of it, not a hidden layer
            self._same(node, source)
            return
        if node.op in _NUMERIC or (self._gates(node) and not inside):
            self.beyond.append(node.place)
            self._begin(node, 1.0)
            return
        q = self._q[source]
        if not inside:
            self.places.append(Place(node, q, self._leaves.get(node.id, "")))
        self._steps[node.id] = _Step("activation", (self._alias[source],))
        self._alias[node.id], self._q[node.id] = node.id, q if self.homogeneous else 1.0

    def _gates(self, node: Node) -> bool:
        readers = [self.graph.nodes[r] for r in self.graph.consumers[node.id]]
        return any(reader.kind == "mul" and len(reader.inputs) > 1 for reader in readers)

    def _sum(self, node: Node, signals: list[int]) -> None:
        parts = [self._q[i] for i in signals]
        if node.kind == "concat":
            sizes = [math.prod(self.graph.nodes[i].shape) for i in signals]
            parts = [q * size / max(sum(sizes), 1) for q, size in zip(parts, sizes, strict=True)]
        total = sum(parts)
        self._steps[node.id] = _Step(
            "sum", tuple(self._alias[i] for i in signals), tuple(q / total for q in parts) if total else ()
        )
        self._alias[node.id], self._q[node.id] = node.id, total

    def _forks(self) -> Iterator[int]:
        """Where a subnetwork of the largest value can begin: starts, and signals that several steps read."""
        readers: dict[int, int] = {}
        for step in self._steps.values():
            for source in set(step.inputs):
                readers[source] = readers.get(source, 0) + 1
        for id_, step in self._steps.items():
            if step.rule == "start" or readers.get(id_, 0) > 1:
                yield id_

    # --- asking -----------------------------------------------------------------------------------------------

    @property
    def depth(self) -> int:
        """Activations on the longest path."""
        count: dict[int, int] = {}
        for id_, step in self._steps.items():
            count[id_] = max((count[i] for i in step.inputs), default=0) + (step.rule == "activation")
        return max(count.values(), default=0)

    def maximum(self, x: float, r: Callable[[Any], Any]) -> float:
        """The largest value of any subnetwork that x enters, with r for every activation and weighted means at sums.

        A subnetwork has one input; a sum of it with a signal from elsewhere is no part of it.

        Source: the maximal slope function of Martens et al., 2021; the subnetwork maximizing function of Zhang et
        al., 2022.
        """
        values: dict[int, Array] = {}
        best = x
        nowhere = np.full(len(self._starts), np.nan)
        for id_, step in self._steps.items():
            if step.rule == "start":
                value = nowhere
            elif step.rule == "activation":
                value = np.asarray(r(values[step.inputs[0]]))
            else:
                parts = zip(step.shares, step.inputs, strict=True)
                value = np.asarray(sum((share * values[i] for share, i in parts), start=np.zeros_like(nowhere)))
            if id_ in self._starts:
                value = value.copy()
                value[self._starts[id_]] = x
            values[id_] = value
            best = max(best, float(np.max(value, initial=best, where=~np.isnan(value))))
        return best


def _feeding(graph: Graph) -> set[int]:
    """Nodes whose values a map reads, at once or later."""
    found: set[int] = set()
    for node in reversed(graph.nodes):
        if node.id in found or (node.kind in ("linear", "recurrent", "matmul", "attention") and node.inputs):
            found.update(node.inputs)
    return found


def _activation_modules(graph: Graph, model: nn.Module) -> Iterator[tuple[int, str]]:
    """Activation node → path of the module that consists of it: no children, no parameters, no other op."""
    within: dict[str, list[Node]] = {}
    for node in graph.nodes:
        if "part_of" not in node.attrs and node.kind != "input":
            within.setdefault(node.module, []).append(node)
    for path, module in model.named_modules():
        nodes = within.get(path, [])
        leaf = path and not list(module.children()) and not list(module.parameters())
        if leaf and nodes and all(node.kind == "activation" for node in nodes):
            for node in nodes:
                yield node.id, path


def kernel_network(context: Context, *, homogeneous: bool) -> KernelNetwork:
    """The kernel network of a context, worked out once."""
    key = f"kernel_network {homogeneous}"
    if key not in context.memo:
        assert context.graph is not None
        q = _input_second_moment(context)
        context.memo[key] = KernelNetwork(context.graph, context.slots, context.model, homogeneous, q)
    return context.memo[key]  # type: ignore[no-any-return]


def _input_second_moment(context: Context) -> float:
    """Of the batch, where one float tensor is all that comes in; 1 where it is near 1 or not known."""
    import torch

    given = context.inputs
    entries = given.values() if isinstance(given, dict) else given if isinstance(given, (tuple, list)) else (given,)
    floats = [x for x in entries if isinstance(x, torch.Tensor) and x.is_floating_point() and x.numel()]
    if len(floats) != 1 or floats[0].is_meta:
        return 1.0
    q = float(floats[0].detach().double().square().mean())
    return q if math.isfinite(q) and q > 0 and abs(q - 1) > NEAR_ONE else 1.0
