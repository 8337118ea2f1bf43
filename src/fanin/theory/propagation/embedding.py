"""Lookups: an output is a row of a table; two samples agree where they look up the same row."""

from __future__ import annotations

import numpy as np

from fanin.theory.propagation._base import Call, Propagator
from fanin.theory.propagation._flow import Flow, Grad, relations

__all__ = ["Embedding"]


class Embedding(Propagator):
    """E y² = E W²; E y y′ = P(same index) E W² + (1 − P) (E W)²."""

    kinds = ("embedding",)

    def forward(self, call: Call) -> Flow:
        """Moments of the table; the input's kernel holds the probabilities of equal indices."""
        mean, second = call.moments(call.node.params[0]) if call.node.params else (0.0, 1.0)
        # Indices that the model makes itself are positions: the same for all samples, each row once.
        agree = call.inputs[0].kernel if call.inputs else relations(1.0, 0.0, 0.0, 0.0)
        agree = np.clip(agree, 0.0, 1.0)
        unit = len(call.node.shape) - 1
        return Flow(mean, second, agree * second + (1 - agree) * mean**2, unit=unit)

    def backward(self, call: Call, output: Flow, grad: Grad) -> tuple[Grad | None, ...]:
        """Indices receive no gradient."""
        return (None,) * len(call.inputs)
