"""Activations and norms that a model writes out as arithmetic, found by what they compute.

A node whose value is a function of one earlier node alone is run on numbers (see ``_evaluate``) and compared with the
functions that have names; how the formula was written does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from fanin.graph._evaluate import ELEMENTWISE, REDUCTIONS, evaluate, gelu_tanh, reduced_size
from fanin.graph._graph import Graph, Node

__all__ = ["name_patterns"]

_NAMED: Mapping[str, Callable[[float], float]] = {
    "relu": ELEMENTWISE["relu"],
    "relu6": ELEMENTWISE["relu6"],
    "silu": ELEMENTWISE["silu"],
    "gelu": ELEMENTWISE["gelu"],
    "gelu_tanh": gelu_tanh,
    "quick_gelu": lambda x: x * ELEMENTWISE["sigmoid"](1.702 * x),
    "relu_squared": lambda x: max(x, 0.0) ** 2,
    "mish": lambda x: x * math.tanh(ELEMENTWISE["softplus"](x)),
    "sigmoid": ELEMENTWISE["sigmoid"],
    "softplus": ELEMENTWISE["softplus"],
    "log_sigmoid": lambda x: -ELEMENTWISE["softplus"](-x),
    "softsign": lambda x: x / (1 + abs(x)),
    "hardswish": lambda x: x * ELEMENTWISE["hardsigmoid"](x),
    "hardsigmoid": ELEMENTWISE["hardsigmoid"],
    "hardtanh": ELEMENTWISE["hardtanh"],
    "tanhshrink": lambda x: x - math.tanh(x),
    "tanh": math.tanh,
}

_GRID = (-7.3, -3.1, -1.7, -0.6, -0.2, 0.15, 0.5, 1.3, 2.9, 6.4)
"""Both tails, both sides of 0 and of the kinks at ±1, ±3 and 6; gelu and its tanh form differ by 3e-4 at ±2."""

_CLOSE = 2e-5
"""Above float32 constants in a formula (1e-7), far below the distance of any two named functions on the grid."""

_DEPTH = 16
"""Longest chain looked at: the tanh form of GELU takes 9 ops, a layer norm with casts 12."""

_VECTOR = (31.0, -12.0, 7.0, 55.0, -41.0, 3.0, 18.0, -22.0)
"""Large against any epsilon, with a mean of about 5."""


def name_patterns(graph: Graph) -> Graph:
    """The same graph with written-out activations, norms, softmaxes and rotations under their names.

    The last op of a formula takes the name and reads the formula's input directly; the others stay, with
    ``attrs["part_of"]`` set to its id.
    """
    nodes = list(graph.nodes)
    for node in graph.nodes:
        if node.attrs.get("parameter_only"):
            continue
        named = _named_activation(nodes, node) or _named_norm(nodes, node) or _rotation(nodes, node)
        if named is not None:
            fresh, region = named
            nodes[node.id] = fresh
            _mark(graph, nodes, region, node.id)
    return replace(graph, nodes=tuple(nodes))


def _mark(graph: Graph, nodes: list[Node], region: Sequence[int], last: int) -> None:
    """Set ``part_of`` on the ops of a formula that nothing else reads."""
    inner = set(region) - {last}
    for id_ in sorted(inner):
        if all(reader in inner or reader == last for reader in graph.consumers[id_]):
            nodes[id_] = replace(nodes[id_], attrs={**nodes[id_].attrs, "part_of": last})


def _regions(
    nodes: Sequence[Node], last: Node, inside: Callable[[Node], bool]
) -> Iterator[tuple[int, tuple[int, ...]]]:
    """(root, ids from root to ``last``) for each single node that everything in between depends on."""
    region = {last.id}
    leaves = set(last.inputs)
    while leaves and len(region) <= _DEPTH:
        if len(leaves) == 1:
            yield next(iter(leaves)), tuple(sorted(region))
        newest = max(leaves)
        if not nodes[newest].inputs or not inside(nodes[newest]):
            return
        leaves.remove(newest)
        leaves.update(nodes[newest].inputs)
        region.add(newest)


def _is_elementwise(node: Node) -> bool:
    return not node.params and node.kind in ("activation", "scale", "add", "mul", "cast")


_ENDS = frozenset(("mul", "div", "add", "sub", "rsub", "pow", "square", "clamp", "log", "log1p", "rdiv", "reciprocal"))


def _named_activation(nodes: Sequence[Node], node: Node) -> tuple[Node, tuple[int, ...]] | None:
    if node.op not in _ENDS or node.params or not node.inputs:
        return None
    for root, region in _regions(nodes, node, _is_elementwise):
        if len(region) == 1 and node.op != "clamp":
            continue
        values = evaluate(nodes, region, root, list(_GRID))
        if values is None:
            continue
        for name, function in _NAMED.items():
            if all(abs(v - function(x)) <= _CLOSE * (1 + abs(v)) for v, x in zip(values, _GRID)):
                return replace(node, op=name, kind="activation", inputs=(root,)), region
    return None


def _is_normlike(node: Node) -> bool:
    if node.params:
        return node.kind in ("add", "mul")
    return node.kind in ("activation", "scale", "add", "mul", "cast", "shape") or (
        node.kind == "reduce" and node.op in REDUCTIONS
    )


def _named_norm(nodes: Sequence[Node], node: Node) -> tuple[Node, tuple[int, ...]] | None:
    """A norm or a softmax over the axes of the formula's first reduction."""
    if node.op not in ("mul", "div") or node.kind != "mul" or len(node.inputs) != 2:
        return None
    for root, region in _regions(nodes, node, _is_normlike):
        reducing = [id_ for id_ in region if nodes[id_].kind == "reduce"]
        if not reducing:
            continue
        size = reduced_size(nodes, nodes[reducing[0]]) or len(_VECTOR)
        small = [v / 50 for v in _VECTOR]  # first: of large inputs a softmax is one-hot, which has length 1
        if _is_softmax(evaluate(nodes, region, root, small), small, size):
            return replace(node, op="softmax", kind="softmax", inputs=(root,)), region
        names = set()
        for factor in (1, -10):
            x = [factor * v for v in _VECTOR]
            names.add(_norm_name(evaluate(nodes, region, root, x, gains=True), x, size))
        name = names.pop()
        if names or name is None:
            continue
        dims = nodes[reducing[0]].attrs.get("dim")
        attrs = dict(node.attrs)
        if dims is not None:
            rank = len(nodes[root].shape)
            attrs["normalized_axes"] = [d % rank for d in (dims if isinstance(dims, (list, tuple)) else [dims])]
        params = tuple(use for id_ in region for use in nodes[id_].params)
        return replace(node, op=name, kind="norm", inputs=(root,), attrs=attrs, params=params), region
    return None


def _norm_name(values: list[float] | None, x: Sequence[float], size: int) -> str | None:
    """The norm that makes ``values`` of ``x``, each entry of which stands size/len(x) times.

    What else divides by a statistic is none: p/Σp, x/max|x|, x/mean|x|.
    """
    if values is None or len(values) != len(x) or not all(map(math.isfinite, values)):
        return None
    mean = sum(x) / len(x)
    centred = [v - mean for v in x]
    rms, std = (math.sqrt(sum(v * v for v in each) / len(x)) for each in (x, centred))
    known = [
        ("rms_norm", [v / rms for v in x]),
        ("normalize", [v / (rms * math.sqrt(size)) for v in x]),
        ("layer_norm", [v / std for v in centred]),
        ("layer_norm", [v / std * math.sqrt(1 - 1 / size) for v in centred]),  # the unbiased variance
    ]
    return next((name for name, y in known if _is_close(values, y)), None)


def _is_close(values: Sequence[float], others: Sequence[float]) -> bool:
    """Up to the epsilon of a norm: 1e-3 of the root mean square."""
    scale = math.sqrt(sum(v * v for v in others) / len(others))
    return all(abs(a - b) <= 1e-3 * scale for a, b in zip(values, others))


def _is_softmax(values: list[float] | None, inputs: list[float], size: int) -> bool:
    if values is None or len(values) != len(inputs):
        return False
    total = sum(math.exp(v) for v in inputs) * size / len(inputs)
    return all(abs(v - math.exp(x) / total) < 1e-5 * v for v, x in zip(values, inputs))


def _is_rotary(nodes: Sequence[Node]) -> Callable[[Node], bool]:
    def inside(node: Node) -> bool:
        if node.params:
            return False
        constant = node.kind == "mul" and any(nodes[i].kind == "input" and _outside(nodes[i]) for i in node.inputs)
        return constant or node.kind in ("shape", "concat", "scale", "cast", "add")

    return inside


def _outside(node: Node) -> bool:
    return node.attrs.get("source") in ("constant", "buffer")


def _rotation(nodes: Sequence[Node], node: Node) -> tuple[Node, tuple[int, ...]] | None:
    """x·cos + rotate(x)·sin: a sum of one tensor with itself, turned (RoPE; Su et al., 2021)."""
    if node.op not in ("add", "sub") or node.kind != "add" or len(node.inputs) != 2 or node.params:
        return None
    inside = _is_rotary(nodes)
    region, leaves = {node.id}, set(node.inputs)
    while leaves and len(region) <= 2 * _DEPTH:
        signal = {leaf for leaf in leaves if not _outside(nodes[leaf])}
        turned = sum(nodes[id_].kind == "mul" for id_ in region)
        if len(signal) == 1 and turned >= 2:
            root = next(iter(signal))
            if nodes[root].shape == node.shape or nodes[root].kind not in ("shape", "cast"):
                return replace(node, op="rotary", kind="shape", inputs=(root,)), tuple(sorted(region))
        newest = max(signal, default=-1)
        if newest < 0 or not nodes[newest].inputs or not inside(nodes[newest]):
            return None
        leaves.remove(newest)
        leaves.update(nodes[newest].inputs)
        region.add(newest)
    return None
