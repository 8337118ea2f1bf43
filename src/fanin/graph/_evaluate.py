"""A small interpreter: what a chain of recorded arithmetic does to a vector of numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fanin.graph._graph import Node

__all__ = ["ELEMENTWISE", "REDUCTIONS", "evaluate", "reduced_size"]

Vector = list[float]


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


ELEMENTWISE: Mapping[str, Callable[[float], float]] = {
    "relu": lambda x: max(x, 0.0),
    "relu6": lambda x: min(max(x, 0.0), 6.0),
    "sigmoid": _sigmoid,
    "tanh": math.tanh,
    "erf": math.erf,
    "exp": math.exp,
    "expm1": math.expm1,
    "log": math.log,
    "log1p": math.log1p,
    "softplus": _softplus,
    "silu": lambda x: x * _sigmoid(x),
    "gelu": lambda x: 0.5 * x * (1 + math.erf(x / math.sqrt(2))),
    "hardsigmoid": lambda x: min(max(x / 6 + 0.5, 0.0), 1.0),
    "hardtanh": lambda x: min(max(x, -1.0), 1.0),
    "square": lambda x: x * x,
    "sqrt": math.sqrt,
    "rsqrt": lambda x: 1 / math.sqrt(x),
    "reciprocal": lambda x: 1 / x,
    "abs": abs,
    "sin": math.sin,
    "cos": math.cos,
    "neg": lambda x: -x,
}
"""Functions of one number without arguments."""


def _mean(x: Vector) -> float:
    return sum(x) / len(x)


def _variance(x: Vector, attrs: Mapping[str, Any], repeats: float) -> float:
    correction = 0 if attrs.get("unbiased") is False else attrs.get("correction", 1)
    if isinstance(correction, bool):
        correction = int(correction)
    middle = _mean(x)
    return repeats * sum((v - middle) ** 2 for v in x) / (repeats * len(x) - correction)


def _norm(x: Vector, attrs: Mapping[str, Any], repeats: float) -> float:
    order = attrs.get("p", attrs.get("ord"))
    p = 2.0 if order in (None, "fro") else float(order)
    if math.isinf(p):
        return max(map(abs, x)) if p > 0 else min(map(abs, x))
    return float((repeats * sum(abs(v) ** p for v in x)) ** (1 / p))


REDUCTIONS: Mapping[str, Callable[[Vector, Mapping[str, Any], float], float]] = {
    "mean": lambda x, _, _repeats: _mean(x),
    "sum": lambda x, _, repeats: repeats * sum(x),
    "amax": lambda x, _, _repeats: max(x),
    "var": _variance,
    "std": lambda x, attrs, repeats: math.sqrt(_variance(x, attrs, repeats)),
    "norm": _norm,
}
"""Functions of a whole vector; all axes are taken as one, on which each entry stands as often as told."""

_TWO: Mapping[str, Callable[[float, float], float]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "rsub": lambda a, b: b - a,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
}

_PASS = frozenset(("cast", "shape"))


def evaluate(
    nodes: Sequence[Node], region: Sequence[int], root: int, values: Vector, *, gains: bool = False
) -> Vector | None:
    """Output of the last node of ``region`` when node ``root`` puts out ``values``.

    A reduction takes the values as repeated until they fill the axes that it reduces, so that a formula with that size
    written into it (x √d / ‖x‖) gives what it gives in the model.

    Args:
        nodes: all nodes of the graph.
        region: ids of the nodes to run, in execution order.
        root: id whose output is given.
        values: that output.
        gains: take parameters as 1 where they multiply and 0 where they add; otherwise they end the attempt.

    Returns:
        The vector (a reduction gives a vector of one entry), or None where an op is unknown here or undefined.
    """
    known: dict[int, Vector] = {root: values}
    last = values
    for id_ in region:
        node = nodes[id_]
        if node.params and not (gains and node.kind in ("add", "mul")):
            return None
        arguments = [known.get(source) for source in node.inputs]
        try:
            result = _apply(node, arguments, reduced_size(nodes, node))
        except (ArithmeticError, ValueError):
            return None
        if result is None:
            return None
        known[id_] = last = result
    return last


def reduced_size(nodes: Sequence[Node], node: Node) -> int:
    """Entries of the input that a reduction makes one entry of its output of; 0 of an empty tensor."""
    before = math.prod(nodes[node.inputs[0]].shape) if node.inputs else 0
    return before // max(1, math.prod(node.shape))


def _apply(node: Node, arguments: list[Vector | None], size: int) -> Vector | None:
    known = [a for a in arguments if a is not None]
    if len(known) != len(arguments) or not known or node.attrs.get("gated_by_condition"):
        return None
    first = known[0]
    if node.kind in _PASS:
        return first
    if node.kind == "scale":
        factor, addend = float(node.attrs.get("factor", -1.0)), float(node.attrs.get("addend", 0.0))
        return [factor * x + addend for x in first]
    if node.op in _TWO:
        return _pairwise(_TWO[node.op], known) if len(known) == 2 else first if node.params else None
    if node.op in REDUCTIONS and node.kind == "reduce":
        return [REDUCTIONS[node.op](first, node.attrs, size / len(first) if size else 1.0)]
    function = _function(node)
    return None if function is None else [function(x) for x in first]


def _pairwise(function: Callable[[float, float], float], pair: list[Vector]) -> Vector | None:
    left, right = pair
    size = max(len(left), len(right))
    if {len(left), len(right)} - {1, size}:
        return None
    return [function(left[i % len(left)], right[i % len(right)]) for i in range(size)]


def _function(node: Node) -> Callable[[float], float] | None:
    attrs = node.attrs
    if node.op == "pow" and isinstance(attrs.get("exponent"), (int, float)):
        exponent = attrs["exponent"]
        return lambda x: x**exponent if x > 0 or float(exponent).is_integer() else math.nan
    if node.op == "clamp":
        low, high = float(attrs.get("min", -math.inf)), float(attrs.get("max", math.inf))
        return lambda x: min(max(x, low), high)
    if node.op == "rdiv":
        return lambda x: float(attrs.get("numerator", 1.0)) / x
    if node.op == "hardtanh":
        low, high = float(attrs.get("min_val", -1.0)), float(attrs.get("max_val", 1.0))
        return lambda x: min(max(x, low), high)
    if node.op == "gelu_tanh":
        return gelu_tanh
    if node.op == "softplus" and attrs.get("beta", 1.0) != 1.0:
        return None
    return ELEMENTWISE.get(node.op)


def gelu_tanh(x: float) -> float:
    """The tanh form of GELU (Hendrycks & Gimpel, 2016)."""
    return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
