"""Lookups: an output is a row of a table; two samples agree where they look up the same row."""

from __future__ import annotations

import math

import numpy as np

from fanin.theory.propagation._base import Call, Propagator
from fanin.theory.propagation._flow import Array, Flow, Grad, alike, relations

__all__ = ["Embedding"]


class Embedding(Propagator):
    """E y² = E W²; E y y′ = P(same index) E W² + (1 − P) (E W)²."""

    kinds = ("embedding",)

    def forward(self, call: Call) -> Flow:
        """Moments of the table; the input's kernel holds the probabilities of equal indices."""
        mean, second = call.moments(call.node.params[0]) if call.node.params else (0.0, 1.0)
        agree = call.inputs[0].kernel if call.inputs and not self._made_inside(call) else self._positions(call)
        agree = np.clip(agree, 0.0, 1.0)
        unit = len(call.node.shape) - 1
        return Flow(mean, second, agree * second + (1 - agree) * mean**2, unit=unit)

    @staticmethod
    def _made_inside(call: Call) -> bool:
        source = call.graph.nodes[call.node.inputs[0]]
        return source.kind == "input" and source.attrs.get("source") in ("buffer", "constant")

    @staticmethod
    def _positions(call: Call) -> Array:
        """Indices that the model makes itself: each row once, as positions, or one row throughout, as segments."""
        rows = call.node.params[0].shape[0] if call.node.params and call.node.params[0].shape else 1
        shape, batch = call.node.shape, call.graph.batch_size
        per_sample = shape[1:-1] if batch and len(shape) > 2 and shape[0] == batch else shape[:-1]
        return alike(1.0) if math.prod(per_sample) > rows else relations(1.0, 0.0, 0.0, 0.0)

    def backward(self, call: Call, output: Flow, grad: Grad) -> tuple[Grad | None, ...]:
        """Indices receive no gradient."""
        return (None,) * len(call.inputs)
