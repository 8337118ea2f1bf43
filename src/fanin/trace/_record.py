"""What one run leaves behind."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from fanin.graph import Graph
from fanin.signals import Signals

if TYPE_CHECKING:
    import torch

    from fanin.trace._judged import Judged

__all__ = ["LossKind", "Trace"]

LossKind = Literal["cross_entropy", "mse", "custom", "cotangent"]


@dataclass(frozen=True)
class Trace:
    """The record of one forward and backward.

    Args:
        graph: the dataflow of the forward pass.
        signals: measured, forward then backward; places are those of the graph.
        loss: value of the loss, or None where the backward started from a random unit cotangent.
        loss_kind: which loss was used.
        notes: what could not be measured and why, in words ("no gradient: all parameters are frozen").
        inputs: the batch as given; not part of the JSON form.
        target: the target as given; not part of the JSON form.
        output: what the model returned, detached; not part of the JSON form.
        gradients: canonical parameter name → gradient of the loss, for every parameter that received one; not part
            of the JSON form.
        judged: the standard losses that the loss called on values of the output; not part of the JSON form.
        sources: place of a node of kind "input" → the tensor behind it: arguments, buffers, constants; not part of the
            JSON form.
    """

    graph: Graph
    signals: Signals
    loss: float | None
    loss_kind: LossKind
    notes: tuple[str, ...] = ()
    inputs: Any = field(default=None, repr=False, compare=False)
    target: Any = field(default=None, repr=False, compare=False)
    output: Any = field(default=None, repr=False, compare=False)
    gradients: Mapping[str, torch.Tensor] = field(default_factory=dict, repr=False, compare=False)
    sources: Mapping[str, torch.Tensor] = field(default_factory=dict, repr=False, compare=False)
    judged: tuple[Judged, ...] = field(default=(), repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, without tensors; a loss that is not finite becomes its name, such as "nan"."""
        return {
            "graph": self.graph.to_json(),
            "signals": self.signals.to_json(),
            "loss": self.loss if self.loss is None or math.isfinite(self.loss) else str(self.loss),
            "loss_kind": self.loss_kind,
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Trace:
        """Inverse of :meth:`to_json`."""
        return cls(
            Graph.from_json(data["graph"]),
            Signals.from_json(data["signals"]),
            None if data["loss"] is None else float(data["loss"]),
            data["loss_kind"],
            tuple(data["notes"]),
        )
