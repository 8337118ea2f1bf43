"""The records: a Graph of Nodes, each with the parameters it consumed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

__all__ = ["Graph", "Node", "ParamUse"]


@dataclass(frozen=True)
class ParamUse:
    """One parameter as one op saw it.

    Args:
        name: canonical parameter name (the first of ``named_parameters`` for tied tensors).
        argument: the argument of the op that it filled: "input", "weight", "bias", "other", "weight_ih_l0", …
        position: position among the op's tensor operands, for ops such as einsum whose operands have no names.
        shape: shape as the op saw it, after views such as ``.t()`` or ``[expert]``.
        axes: for each axis of that operand the axis of the stored parameter it is; None where a reshape merged or
            split axes.
    """

    name: str
    argument: str
    position: int
    shape: tuple[int, ...]
    axes: tuple[int | None, ...]


@dataclass(frozen=True)
class Node:
    """One op that was called.

    Args:
        id: position in execution order.
        op: canonical op name: "linear", "conv2d", "relu", "add", …
        kind: what the op does to a signal, one of the words of ``OpKind``.
        place: unique readable name: the module path where that is unambiguous, else "path/op" or "path/op#2".
        module: path of the innermost module that was running ("" for the root).
        inputs: ids of the nodes whose outputs it consumed, in order of its tensor arguments, parameters excluded.
        params: parameters it consumed.
        shape: shape of its (first tensor) output.
        dtype: dtype of that output, such as "float32".
        batch_axis: axis of the output that indexes samples, or None.
        attrs: plain JSON values of the non-tensor arguments that matter ("groups", "negative_slope", "equation"), and
            what was learnt of the call: "factor" and "addend" of a scale, "index" of a part, "normalized_axes",
            "masked", "derived" (argument → node that computed it from parameters alone), "parameter_only", "moments"
            ([mean, second moment] of what was computed from parameters alone),
            "part_of" (id of the formula or call that this op belongs to; it is off the dataflow).
    """

    id: int
    op: str
    kind: str
    place: str
    module: str
    inputs: tuple[int, ...]
    params: tuple[ParamUse, ...]
    shape: tuple[int, ...]
    dtype: str
    batch_axis: int | None = None
    attrs: Mapping[str, Any] = field(default_factory=dict)

    def param(self, argument: str) -> ParamUse | None:
        """The parameter that filled ``argument``, or None."""
        return next((use for use in self.params if use.argument == argument), None)


@dataclass(frozen=True)
class Graph:
    """The dataflow of one run.

    Args:
        nodes: in execution order; a node's id is its index. Nodes of kind "input" stand for tensors that came from
            outside: arguments of the model, buffers, constants made inside.
        outputs: ids of the nodes that made the model's output tensors (before the loss).
        modules: path → class name of every module of the model.
        batch_size: number of samples in the batch, or None when unknown.
    """

    nodes: tuple[Node, ...]
    outputs: tuple[int, ...]
    modules: Mapping[str, str]
    batch_size: int | None = None

    @cached_property
    def consumers(self) -> tuple[tuple[int, ...], ...]:
        """For each node the ids of the nodes that read its output, in execution order."""
        readers: list[list[int]] = [[] for _ in self.nodes]
        for node in self.nodes:
            for source in dict.fromkeys(node.inputs):
                readers[source].append(node.id)
        return tuple(tuple(ids) for ids in readers)

    @cached_property
    def by_place(self) -> dict[str, Node]:
        """Place → node."""
        return {node.place: node for node in self.nodes}

    def weight_ops(self) -> tuple[Node, ...]:
        """Nodes that multiply their input by a weight: linear maps, convolutions, lookups, recurrences."""
        return tuple(n for n in self.nodes if n.params and n.kind in ("linear", "embedding", "recurrent", "attention"))

    def uses(self, parameter: str) -> tuple[tuple[Node, ParamUse], ...]:
        """Every (node, use) of a parameter in execution order.

        Ops on parameters alone (``attrs["parameter_only"]``: a scaled or normalized weight) are left out: the op where
        the result meets the signal lists the parameter itself.
        """
        return tuple(self._uses.get(parameter, ()))

    @cached_property
    def _uses(self) -> dict[str, list[tuple[Node, ParamUse]]]:
        found: dict[str, list[tuple[Node, ParamUse]]] = {}
        for node in self.nodes:
            if "parameter_only" not in node.attrs:
                for use in node.params:
                    found.setdefault(use.name, []).append((node, use))
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "nodes": [{**asdict(node), "attrs": dict(node.attrs)} for node in self.nodes],
            "outputs": list(self.outputs),
            "modules": dict(self.modules),
            "batch_size": self.batch_size,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Graph:
        """Inverse of :meth:`to_json`."""
        nodes = []
        for entry in data["nodes"]:
            uses = tuple(
                ParamUse(u["name"], u["argument"], u["position"], tuple(u["shape"]), tuple(u["axes"]))
                for u in entry["params"]
            )
            nodes.append(
                Node(**{**entry, "inputs": tuple(entry["inputs"]), "params": uses, "shape": tuple(entry["shape"])})
            )
        return cls(tuple(nodes), tuple(data["outputs"]), dict(data["modules"]), data["batch_size"])
