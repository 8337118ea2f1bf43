"""predict_graph: signals and gradients at every place of a traced graph, from the recipe alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fanin.errors import InputError
from fanin.graph import Graph, Node
from fanin.signals import Signal, Signals
from fanin.theory._anchor import anchored
from fanin.theory._input_flow import array_flow, constant_flow
from fanin.theory.propagation import REGISTRY, Call, Flow, Grad, WeightMoments
from fanin.theory.propagation._flow import alike, relations
from fanin.theory.propagation.recurrent import GATES, Recurrent

if TYPE_CHECKING:  # slots looks at modules and so imports torch
    from fanin.slots import Slots

__all__ = ["InputMoments", "predict_graph"]

Loss = Literal["cotangent", "cross_entropy", "mse"]

InputMoments = Mapping[str, Any]
"""Place of an input node → its Signal, a pair (mean, second moment), or the array itself."""


def predict_graph(
    graph: Graph,
    slots: Slots,
    weights: WeightMoments,
    input_moments: InputMoments | None = None,
    *,
    loss: Loss | Mapping[str, float] = "cotangent",
    target_second_moment: float = 1.0,
    measured: Signals | None = None,
) -> Signals:
    """Mean, second moment and gradient second moment at every place of a graph, averaged over random weights.

    No weight is drawn and the model is not run: each op maps the moments and correlations of its inputs to those of
    its output, and back; see ``theory.propagation`` for the formula of each kind.

    Args:
        graph: the dataflow of the model.
        slots: places of its parameters.
        weights: parameter name → (mean, second moment) of an entry, such as ``weight_moments(recipe)``.
        input_moments: place of an input node → its Signal, (mean, second moment) or array; inputs that are not listed
            are taken as independent N(0, 1) entries, and all that follows is marked ``exact=False``.
        loss: what the gradient starts from: "cotangent" (a random direction of unit length over all outputs),
            "cross_entropy" or "mse", each averaged over the batch; or, for a loss of your own, place of an output →
            E g² there.
        target_second_moment: E t² of the target, for "mse".
        measured: what a run gave at the same places; each op is then also predicted from the inputs that it really
            had, as ``Signal.from_inputs``.

    Returns:
        Predicted signals at the places of the graph: forward in execution order, then backward from the output.

    Raises:
        InputError: if a parameter that an op uses has no moments.

    Example:
        >>> from fanin.graph import Graph, Node
        >>> from fanin.slots import Slots
        >>> x = Node(0, "argument", "input", "x", "", (), (), (8, 4), "float32", 0)
        >>> y = Node(1, "relu", "activation", "y", "", (0,), (), (8, 4), "float32", 0)
        >>> signals = predict_graph(Graph((x, y), (1,), {}, 8), Slots([]), {}, {"x": (0.0, 1.0)})
        >>> round(signals.at("y", source="predicted").second_moment, 6)
        0.5

    Source: He et al., 2015; Poole et al., 2016; Yang & Schoenholz, 2017 (residual); per op in ``propagation``.
    """
    given = input_moments or {}
    flows, calls, _ = _forward(graph, slots, weights, given)
    expected: dict[int, float] = {}
    if measured is not None:
        expected = _forward(graph, slots, weights, given, measured, (flows, calls))[2]
    grads = _gradients(graph, flows, calls, _start(graph, flows, loss, target_second_moment))
    forward = [_signal(node, flow, expected.get(node.id)) for node, flow in zip(graph.nodes, flows) if _is_float(node)]
    backward = [
        Signal(node.place, node.id, "backward", "predicted", 0, 0.0, grad.second, exact=flows[node.id].exact)
        for node, grad in reversed(list(zip(graph.nodes, grads)))
        if grad is not None and _is_float(node)
    ]
    return Signals([*forward, *backward])


def _forward(
    graph: Graph,
    slots: Slots,
    weights: WeightMoments,
    given: InputMoments,
    measured: Signals | None = None,
    free: tuple[list[Flow], list[Call | None]] | None = None,
) -> tuple[list[Flow], list[Call | None], dict[int, float]]:
    """Flow and call of each node; with measurements each op starts from them, and its own outcome is returned.

    What had to be drawn in the ``free`` run, without measurements, is not drawn again.
    """
    flows: list[Flow] = []
    calls: list[Call | None] = []
    expected: dict[int, float] = {}
    for node in graph.nodes:
        if measured is not None and free is not None and (node.kind in _DRAWN or free[1][node.id] is None):
            flows.append(anchored(free[0][node.id], measured.at(node.place)))
            calls.append(None)
            continue
        call = Call(graph, node, tuple(flows[i] for i in node.inputs), weights, slots)
        flow, passed = _node_flow(node, call, given, calls)
        if measured is not None:
            if passed is not None and flow.exact and _is_float(node):
                expected[node.id] = flow.second
            flow = anchored(flow, measured.at(node.place))
        flows.append(flow)
        calls.append(passed)
    return flows, calls, expected


_DRAWN = ("recurrent", "other")


def _node_flow(node: Node, call: Call, given: InputMoments, calls: list[Call | None]) -> tuple[Flow, Call | None]:
    """The flow of one node, and its call where gradients pass through it."""
    if node.kind == "input":
        return _input_flow(node, given), None
    inside = _inside_recurrence(call.graph, node, calls)
    if inside is not None:
        return inside, None
    if not node.inputs:
        return _of_parameters(call), None
    return _finite(REGISTRY[node.kind if node.kind in REGISTRY else "other"].forward(call)), call


def _of_parameters(call: Call) -> Flow:
    """The flow of what the model computes from parameters alone: exp(A_log), a dropped-out table of positions."""
    node = call.node
    if node.kind in ("activation", "dropout", "scale", "cast", "shape", "norm") and node.params:
        mean, second = call.moments(node.params[0])
        base = Flow(mean, second, alike(second), unit=len(node.shape) - 1)
        if node.kind in ("shape", "cast", "norm"):
            return base
        return REGISTRY[node.kind].forward(replace(call, inputs=(base,)))
    if node.kind in ("linear", "embedding", "add", "mul", "concat", "other"):
        return _finite(REGISTRY[node.kind].forward(call))
    mean, second = call.moments(node.params[0]) if node.params else (0.0, 0.0)
    return Flow(mean, second, alike(second), unit=len(node.shape) - 1, exact=False)


def _inside_recurrence(graph: Graph, node: Node, calls: list[Call | None]) -> Flow | None:
    """Gates, and the last states, that a trace shows beside a recurrent call."""
    parent = calls[node.inputs[0]] if node.inputs else None
    if parent is None or parent.node.kind != "recurrent":
        return None
    recurrent = REGISTRY["recurrent"]
    assert isinstance(recurrent, Recurrent)
    if "gate" in node.attrs:
        states = recurrent.states(parent, int(node.attrs.get("layer", 0)))
        letters = GATES[parent.node.op.split("_")[0]]
        if str(node.attrs["gate"]) not in letters:
            return None
        values = states["gates"][:, :, letters.index(str(node.attrs["gate"]))]
    elif node.op == "output" and node.attrs.get("index") == 2:
        values = recurrent.states(parent, int(parent.attrs.get("num_layers", 1)) - 1)["c"][:, -1]
    elif node.op == "output":
        values = recurrent.states(parent, int(parent.attrs.get("num_layers", 1)) - 1)["h"][:, -1]
    else:
        return None
    second = float(np.square(values).mean())
    return Flow(float(values.mean()), second, alike(second), unit=len(node.shape) - 1, exact=False)


def _is_float(node: Node) -> bool:
    return "float" in node.dtype or "complex" in node.dtype


def _finite(flow: Flow) -> Flow:
    """Overflow stays visible as infinity; anything undefined is infinite too."""
    if math.isfinite(flow.second) and math.isfinite(flow.mean) and np.isfinite(flow.kernel).all():
        return flow
    return Flow(0.0, math.inf, alike(0.0), unit=flow.unit, exact=False)


def _input_flow(node: Node, given: InputMoments) -> Flow:
    value = given.get(node.place)
    unit = 1 if len(node.shape) >= 4 else len(node.shape) - 1
    if math.prod(node.shape) == 0:  # what a cache starts from
        return Flow(0.0, 0.0, alike(0.0), unit=unit)
    made_inside = node.attrs.get("source") in ("constant", "buffer", "parameter")
    if value is None:
        # Made inside: the same for every sample, as a mask or a list of positions is.
        return Flow(0.0, 1.0, relations(1.0 if made_inside else 0.0, 0.0, 0.0, 0.0), unit=unit, exact=False)
    if isinstance(value, Signal):
        r = value.sample_correlation
        kernel = alike(value.mean**2)
        if made_inside:
            kernel[0] = value.second_moment
        elif r is not None:
            kernel[0] = max(-1.0, min(1.0, r)) * value.second_moment
        return Flow(value.mean, value.second_moment, kernel, unit=unit)
    if isinstance(value, tuple) and len(value) == 2 and all(isinstance(part, (int, float)) for part in value):
        mean, second = float(value[0]), float(value[1])
        if second < mean**2 * (1 - 1e-9):
            raise InputError.of(f"input_moments[{node.place!r}]", value, "(mean, second moment >= mean²)")
        return Flow(mean, second, alike(mean**2), unit=unit)
    return constant_flow(value) if made_inside else array_flow(value, node.batch_axis)


def _start(graph: Graph, flows: list[Flow], loss: Loss | Mapping[str, float], target: float) -> dict[int, Grad]:
    """The gradient of the loss at each output."""
    if isinstance(loss, Mapping):
        return {node.id: Grad(loss[node.place]) for node in graph.nodes if node.place in loss}
    outputs = [i for i in graph.outputs if _is_float(graph.nodes[i])]
    count = sum(math.prod(graph.nodes[i].shape) for i in outputs)
    if loss == "cotangent":
        return {i: Grad(1 / max(1, count)) for i in outputs}
    if loss not in ("cross_entropy", "mse"):
        raise InputError.of("loss", loss, "'cotangent', 'cross_entropy' or 'mse'")
    first = outputs[:1]
    size = math.prod(graph.nodes[first[0]].shape) if first else 1
    if loss == "mse":
        return {i: Grad(4 * (flows[i].second + target) / max(1, size) ** 2) for i in first}
    result = {}
    for i in first:
        shape = graph.nodes[i].shape
        classes = shape[1] if len(shape) >= 4 else shape[-1]
        logits = math.sqrt(flows[i].variance) * np.random.default_rng(classes).standard_normal((256, classes))
        p = np.exp(logits - logits.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        # (p − y)/rows with a target independent of p: Σ (p − y)² = Σ p² + 1 − 2 p_y.
        square = float((p**2).sum(-1).mean()) + 1 - 2 / classes
        result[i] = Grad(square / classes / max(1, size // classes) ** 2)
    return result


def _gradients(graph: Graph, flows: list[Flow], calls: list[Call | None], start: dict[int, Grad]) -> list[Grad | None]:
    grads: list[Grad | None] = [start.get(node.id) for node in graph.nodes]
    for node in reversed(graph.nodes):
        grad, call = grads[node.id], calls[node.id]
        if grad is None or call is None:
            continue
        parts = REGISTRY[node.kind if node.kind in REGISTRY else "other"].backward(call, flows[node.id], grad)
        for source, part in zip(node.inputs, parts):
            if part is None or not math.isfinite(part.second):
                continue
            known = grads[source]
            grads[source] = part if known is None else known + part
    return grads


def _signal(node: Node, flow: Flow, expected: float | None) -> Signal:
    r = float(flow.kernel[0]) / flow.second if flow.second > 0 and math.isfinite(flow.second) else None
    return Signal(
        node.place,
        node.id,
        "forward",
        "predicted",
        0,
        flow.mean,
        flow.second,
        sample_correlation=None if node.batch_axis is None else r,
        exact=flow.exact,
        from_inputs=expected,
    )
