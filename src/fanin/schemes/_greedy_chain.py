"""Which layers can be trained greedily: maps with one input, one use and a nonlinearity of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from fanin.graph import following

if TYPE_CHECKING:
    from fanin.graph import Graph, Node, ParamUse
    from fanin.schemes._base import Context
    from fanin.slots import Slot

__all__ = ["FUNCTIONS", "Chain", "Layer", "chain"]

_MATRIX = ("linear", "matmul", "mm", "addmm")
_CONV = ("conv1d", "conv2d", "conv3d")
_PASSING = ("shape", "cast", "dropout", "norm", "concat")
"""What may stand between a map and its nonlinearity without mixing another signal into it."""

_KEEPING = ("shape", "cast", "dropout", "pool")
"""What leaves the values of units within the interval that their nonlinearity put them in."""


@dataclass(frozen=True)
class Layer:
    """One map that can be trained on its own inputs.

    Args:
        name: parameter name of the weight.
        bias: parameter name of the bias, or None.
        node: the op that multiplies by the weight.
        operand: position of its input among the arguments.
        transposed: True where the weight is stored as (in, out).
        activation: canonical name of the nonlinearity that follows ("linear" for none).
        arguments: its arguments.
        slope: parameter name of its learned slope, or None.
        normalized: True where a normalization stands between the two.
        before: what made its inputs: "data" (the model's own inputs), "sigmoid", "tanh", or "real" for all else.
    """

    name: str
    bias: str | None
    node: Node
    operand: int
    transposed: bool
    activation: str
    arguments: dict[str, Any]
    slope: str | None
    normalized: bool
    before: str

    @property
    def window(self) -> int:
        """Number of axes that the window of a convolution has; 0 for a matrix."""
        return int(self.node.op[-2]) if self.node.op in _CONV else 0


@dataclass(frozen=True)
class Chain:
    """The layers in order of execution, and why other maps are none of them."""

    layers: tuple[Layer, ...]
    left: dict[str, str]


def _plain(name: str, *arguments: str) -> tuple[Callable[..., torch.Tensor], tuple[str, ...]]:
    found = getattr(functional, name, None) or getattr(torch, name)
    return found, arguments


FUNCTIONS: dict[str, tuple[Callable[..., torch.Tensor], tuple[str, ...]]] = {
    "linear": (lambda x: x, ()),
    **{name: _plain(name) for name in ("relu", "selu", "silu", "mish", "hardswish", "hardsigmoid", "relu6")},
    **{name: _plain(name) for name in ("softsign", "tanhshrink", "sigmoid", "tanh", "sin", "cos", "erf")},
    "log_sigmoid": (functional.logsigmoid, ()),
    "leaky_relu": _plain("leaky_relu", "negative_slope"),
    "elu": _plain("elu", "alpha"),
    "celu": _plain("celu", "alpha"),
    "gelu": _plain("gelu", "approximate"),
    "gelu_tanh": (lambda x: functional.gelu(x, approximate="tanh"), ()),
    "quick_gelu": (lambda x: x * torch.sigmoid(1.702 * x), ()),  # Hendrycks & Gimpel, 2016
    "relu_squared": (lambda x: torch.relu(x) ** 2, ()),
    "softplus": _plain("softplus", "beta", "threshold"),
    "hardtanh": _plain("hardtanh", "min_val", "max_val"),
    "softshrink": _plain("softshrink", "lambd"),
    "hardshrink": _plain("hardshrink", "lambd"),
    "rrelu": _plain("rrelu", "lower", "upper"),
    "prelu": (functional.prelu, ()),
}
"""Canonical name → the function in torch and the arguments of the traced op that it takes."""


def chain(context: Context) -> Chain:
    """The layers of a context's graph, worked out once."""
    if "greedy chain" not in context.memo:
        assert context.graph is not None
        layers: list[Layer] = []
        left: dict[str, str] = {}
        for node in context.graph.weight_ops():
            for use in node.params:
                slot = context.slots.get(use.name)
                if slot is None or slot.role != "weight" or slot.name in left or slot.is_head:
                    continue
                found = _layer(context, context.graph, node, use, slot)
                if isinstance(found, Layer):
                    layers.append(found)
                else:
                    left[slot.name] = found
        context.memo["greedy chain"] = Chain(tuple(layers), left)
    return context.memo["greedy chain"]  # type: ignore[no-any-return]


def _layer(context: Context, graph: Graph, node: Node, use: ParamUse, slot: Slot) -> Layer | str:
    """The layer, or why there is none."""
    refused = _unsuited(graph, node, use, slot)
    if refused:
        return refused
    after = following(graph, node)
    via = [graph.nodes[i] for i in after.via]
    if after.gated:
        return "its output is multiplied by another signal"
    for passed in via:
        if passed.kind == "add" and len(passed.inputs) > 1:
            return "its output is added to another signal before the nonlinearity"
        if not (passed.kind in (*_PASSING, "add") or passed.op.startswith(("max_pool", "adaptive_max"))):
            return f"{passed.op} stands between it and its nonlinearity"
    activation = after.activation
    if activation is None and not _feeds_maps(graph, node):
        return "no nonlinearity and no linear map follows it"
    slope = next((p.name for p in activation.params), None) if activation is not None else None
    return Layer(
        name=slot.name,
        bias=_bias(context, graph, node, slot),
        node=node,
        operand=use.position - 1,
        transposed=not node.op.startswith("conv") and slot.fans is not None and slot.fans.out_axes == (1,),
        activation="linear" if activation is None else activation.op,
        arguments={} if activation is None else dict(activation.attrs),
        slope=slope,
        normalized=any(passed.kind == "norm" for passed in via),
        before=_before(graph, node),
    )


def _feeds_maps(graph: Graph, node: Node) -> bool:
    """Whether linear maps read the output of a map, and nothing else does."""
    readers = [graph.nodes[i] for i in graph.consumers[node.id]]
    return bool(readers) and all(
        reader.kind == "linear"
        or (reader.kind in (*_PASSING, "add") and len(reader.inputs) == 1 and _feeds_maps(graph, reader))
        for reader in readers
    )


def _unsuited(graph: Graph, node: Node, use: ParamUse, slot: Slot) -> str:
    if node.op not in (*_MATRIX, *_CONV):
        return f"used by {node.op}"
    if len(graph.uses(slot.name)) > 1 or len([p for p in node.params if p.name == slot.name]) > 1:
        return "used more than once"
    if slot.parts:
        return "several maps packed in one tensor"
    if use.argument in (node.attrs.get("derived") or {}) or slot.settings.get("form") or "norm_of" in slot.settings:
        return "computed from other parameters"
    if use.position < 1 or None in use.axes or (node.op in _MATRIX and len(slot.shape) != 2):
        return "not a matrix that multiplies from the right"
    if node.attrs.get("groups", 1) != 1:
        return "a grouped convolution"
    if node.op in _CONV and len(node.shape) != len(slot.shape):
        return "a convolution without a batch axis"
    return ""


def _bias(context: Context, graph: Graph, node: Node, slot: Slot) -> str | None:
    """The parameter that is added to the output, one entry for each unit."""
    assert slot.fans is not None
    units = slot.shape[slot.fans.out_axes[0]]
    readers = [graph.nodes[i] for i in graph.consumers[node.id]]
    adding = readers[0].params if len(readers) == 1 and readers[0].kind == "add" else ()
    for use in (*node.params, *adding):
        found = context.slots.get(use.name)
        if found is not None and found.role == "bias" and found.shape == (units,):
            return found.name
    return None


def _before(graph: Graph, node: Node) -> str:
    current = graph.nodes[node.inputs[-1] if node.op == "addmm" else node.inputs[0]]
    while current.kind in _KEEPING or (current.kind == "scale" and _reads_data(graph, current)):
        if len(current.inputs) != 1:
            return "real"
        current = graph.nodes[current.inputs[0]]
    if current.kind == "input":
        return "data"
    return current.op if current.op in ("sigmoid", "tanh") else "real"


def _reads_data(graph: Graph, node: Node) -> bool:
    while node.kind in ("scale", *_KEEPING) and len(node.inputs) == 1:
        node = graph.nodes[node.inputs[0]]
    return node.kind == "input"
