"""Propagator: how one kind of op passes a signal on and a gradient back; the registry of them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fanin._registry import Registry
from fanin.errors import InputError
from fanin.graph import Graph, Node, ParamUse
from fanin.theory.propagation._flow import Array, Flow, Grad

if TYPE_CHECKING:  # slots looks at modules and so imports torch
    from fanin.slots import Slots

__all__ = ["REGISTRY", "Call", "Propagator", "WeightMoments", "two_blocks"]

WeightMoments = Mapping[str, tuple[float, float]]
"""Canonical parameter name → (mean, second moment) of an entry."""


@dataclass(frozen=True)
class Call:
    """One node with all that its propagator may read.

    Args:
        graph: the whole graph.
        node: the op.
        inputs: flows of its inputs, in order.
        weights: moments of every parameter.
        slots: places of the parameters.
    """

    graph: Graph
    node: Node
    inputs: tuple[Flow, ...]
    weights: WeightMoments
    slots: Slots

    @property
    def attrs(self) -> Mapping[str, Any]:
        """Recorded arguments."""
        return self.node.attrs

    def shape(self, position: int = 0) -> tuple[int, ...]:
        """Shape of an input."""
        return self.graph.nodes[self.node.inputs[position]].shape

    def sizes(self, flow: Flow, shape: tuple[int, ...], batch: int | None = None) -> tuple[int, int, int]:
        """(samples, units, positions of one sample) of a tensor."""
        count = math.prod(shape) if shape else 1
        units = shape[flow.unit] if shape and -len(shape) <= flow.unit < len(shape) else 1
        samples = self.graph.batch_size or 1
        if batch is not None and 0 <= batch < len(shape):
            samples = shape[batch]
        samples = samples if count % max(1, samples * units) == 0 else 1
        return samples, units, max(1, count // max(1, samples * units))

    def moments(self, use: ParamUse | None) -> tuple[float, float]:
        """(mean, second moment) of a parameter; (0, 0) where the op has none.

        Raises:
            InputError: if the caller gave no moments for it.
        """
        if use is None:
            return 0.0, 0.0
        if use.name not in self.weights:
            raise InputError(
                f"weights: no moments for parameter {use.name!r}, which {self.node.place!r} uses; "
                "expected its (mean, second moment)."
            )
        return self.weights[use.name]

    def computed_moments(self, use: ParamUse) -> tuple[float, float]:
        """The same of what the op was really given: a weight that was scaled, normalized or masked on its way.

        A factor known by number is applied to the parameter's own moments, and so follows a recipe; of other formulas
        the outcome was measured.
        """
        derived = self.attrs.get("derived") or {}
        at, factor = derived.get(use.argument), 1.0
        while at is not None:
            node = self.graph.nodes[at]
            number = node.attrs.get("other")
            scaled = node.op in ("mul", "div") and isinstance(number, (int, float)) and number != 0
            if scaled:
                factor *= 1 / number if node.op == "div" else number
            elif "moments" in node.attrs:
                mean, second = node.attrs["moments"]
                return factor * mean, factor**2 * second
            before = node.attrs.get("derived") or {}
            at = next(iter(before.values()), None)
        mean, second = self.moments(use)
        return factor * mean, factor**2 * second

    def ratio(self, position: int = 0) -> float:
        """Entries of the output per entry of an input."""
        return math.prod(self.node.shape) / max(1, math.prod(self.shape(position)))

    def causal_mask(self, signal: int) -> bool:
        """Whether an operand other than the signal is a causal mask, by how it was made.

        A comparison of positions, a triangle, or a square table that the model keeps; a mask that comes with the batch
        marks padding instead.
        """
        stack = [source for i, source in enumerate(self.node.inputs) if i != signal]
        seen: set[int] = set()
        while stack:
            node = self.graph.nodes[stack.pop()]
            if node.id in seen:
                continue
            seen.add(node.id)
            if node.op in ("tril", "triu", "le", "ge", "lt", "gt"):
                return True
            square = len(node.shape) >= 2 and node.shape[-1] == node.shape[-2] > 1
            if node.kind == "input" and square and node.attrs.get("source") in ("buffer", "constant"):
                return True
            stack.extend(node.inputs)
        # A mask that never became a node of the graph: the usual one.
        return not seen

    def random(self) -> np.random.Generator:
        """A generator of its own for every node: the same prediction every time."""
        return np.random.default_rng(self.node.id)


class Propagator(ABC):
    """How ops of some kinds act on flows and gradients.

    Class attributes:
        kinds: the graph's op kinds it serves.
    """

    kinds: ClassVar[tuple[str, ...]]

    @abstractmethod
    def forward(self, call: Call) -> Flow:
        """The flow of the output."""

    @abstractmethod
    def backward(self, call: Call, output: Flow, grad: Grad) -> tuple[Grad | None, ...]:
        """The gradient that each input receives from this op; None for an input that gets none."""


REGISTRY: Registry[Propagator] = Registry("propagator")


def two_blocks(flow: Flow, random: np.random.Generator, rows: int, n: int, same: float, other: float) -> Array:
    """(rows, 2, n): two blocks of n neighbouring values each, drawn with the flow's correlations.

    Args:
        flow: where the values come from; NEAR is the correlation inside a block.
        random: generator.
        rows: independent pairs of blocks.
        n: values of a block.
        same: correlation of equal indices across the blocks.
        other: correlation of different indices across the blocks.
    """
    form = flow.gaussian()
    within = max(float(form.correlation[1]), 0.0)
    other = min(max(other, 0.0), within)
    same = min(max(same, other), 1.0 - within + other)
    parts = [
        (other, (rows, 1, 1)),
        (within - other, (rows, 2, 1)),
        (same - other, (rows, 1, n)),
        (max(0.0, 1 - within - same + other), (rows, 2, n)),
    ]
    u = sum((math.sqrt(share) * random.standard_normal(shape) for share, shape in parts), start=np.zeros((rows, 2, n)))
    with np.errstate(all="ignore"):
        return np.nan_to_num(np.asarray(form.value(form.mean + math.sqrt(form.variance) * u), dtype=np.float64))
