"""Rates of change equal across layers: factors that leave the function as it is."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fanin.graph import Graph, Node, ParamUse

__all__ = ["Symmetry", "apart", "is_added"]

_HOMOGENEOUS = ("relu", "leaky_relu", "prelu", "rrelu", "abs", "identity")
_DEGREES = {**dict.fromkeys(_HOMOGENEOUS, 1.0), "relu_squared": 2.0, "square": 2.0, "sqrt": 0.5, "sign": 0.0}
_MEANS = ("mean", "sum", "amax", "amin", "max", "min", "std", "norm", "median", "nanmean", "nansum", "aminmax")
_LINEAR = ("dropout", "cast", "shape", "pool", "scale")


@dataclass
class Symmetry:
    """Which weights can be multiplied by which factors without a change of the function.

    With log factors x of the weights, the output of each op is multiplied by exp(e·x) with e known by node; the
    function stays where ``constraints`` x = 0.

    Args:
        names: weights that have a factor.
        exponents: e of each node, (weights,).
        constraints: (rows, weights).
        followers: parameter that is added (a bias) → e of the place where it is added.
        because: weight → why it cannot have a factor.
    """

    names: tuple[str, ...]
    exponents: list[NDArray[np.float64]]
    constraints: NDArray[np.float64]
    followers: dict[str, NDArray[np.float64]]
    because: dict[str, str]

    @classmethod
    def of(cls, graph: Graph, weights: Collection[str], added: Collection[str], zeros: Collection[str]) -> Symmetry:
        """Read off a graph.

        Args:
            graph: the traced run.
            weights: weights that may have a factor.
            added: parameters that may be multiplied along where they are added.
            zeros: parameters that are 0 and so need not be.
        """
        because = _unfit(graph, weights)
        names = tuple(name for name in weights if name not in because)
        return _Walk(graph, names, added, zeros).run(because)

    def equalise(self, rates: Mapping[str, float]) -> dict[str, float]:
        """Factors of the weights that bring their rates as close together as the constraints allow.

        A factor s divides the gradient and multiplies the weight, so log r changes by −2 log s: the factors are
        (r/r̄)^½ where the constraints are but that the last output stays.
        """
        at = np.array([np.log(rates[name]) for name in self.names])
        n = len(at)
        if n < 2:
            return dict.fromkeys(self.names, 1.0)
        free = _null_space(self.constraints, n)
        centre = np.eye(n) - 1 / n
        z = np.linalg.lstsq(2 * centre @ free, centre @ at, rcond=1e-9)[0]
        return dict(zip(self.names, np.exp(free @ z).tolist(), strict=True))

    def along(self, factors: Mapping[str, float]) -> dict[str, float]:
        """Factor of each parameter that is added."""
        logs = np.log([factors[name] for name in self.names])
        return {name: float(np.exp(e @ logs)) for name, e in self.followers.items()}


def _null_space(constraints: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    rows = np.unique(np.round(constraints, 12), axis=0) if len(constraints) else np.zeros((0, n))
    rows = rows[np.abs(rows).sum(1) > 0]
    if not len(rows):
        return np.eye(n)
    _, values, right = np.linalg.svd(rows)
    rank = int((values > 1e-9 * values[0]).sum())
    found: NDArray[np.float64] = right[rank:].T
    return found


def _unfit(graph: Graph, weights: Collection[str]) -> dict[str, str]:
    """Weights that are used otherwise than as a plain factor of a linear map."""
    because = {}
    for name in weights:
        uses = graph.uses(name)
        if not uses:
            because[name] = "not reached"
        for node, use in uses:
            if node.kind != "linear" or is_added(node, use):
                because[name] = f"also used by {node.op}"
            elif not _is_shown(graph, node, use.argument):
                because[name] = "a function of it is used"
    return because


def is_added(node: Node, use: ParamUse) -> bool:
    """Whether a linear map adds a parameter to its product; ``addmm(b, x, W)`` calls its bias "input"."""
    return use.argument == "bias" or (use.argument == "input" and node.op in ("addmm", "baddbmm", "addbmm", "addmv"))


def _is_shown(graph: Graph, node: Node, argument: str) -> bool:
    """Whether an op was given a parameter itself, a view or a multiple of it."""
    at = (node.attrs.get("derived") or {}).get(argument)
    while at is not None:
        made = graph.nodes[at]
        if made.kind not in ("shape", "cast", "scale") or made.attrs.get("addend"):
            return False
        at = next(iter((made.attrs.get("derived") or {}).values()), None)
    return True


class _Walk:
    def __init__(self, graph: Graph, names: tuple[str, ...], added: Collection[str], zeros: Collection[str]) -> None:
        self.graph, self.names, self.added, self.zeros = graph, names, added, zeros
        self.index = {name: i for i, name in enumerate(names)}
        self.rows: list[NDArray[np.float64]] = []
        self.followers: dict[str, NDArray[np.float64]] = {}

    def run(self, because: dict[str, str]) -> Symmetry:
        exponents: list[NDArray[np.float64]] = []
        for node in self.graph.nodes:
            if "part_of" in node.attrs or "parameter_only" in node.attrs or node.kind == "input":
                exponents.append(self._none())
            else:
                exponents.append(self._through(node, [exponents[i] for i in node.inputs]))
        for output in self.graph.outputs:
            self.rows.append(exponents[output])
        rows = np.array(self.rows).reshape(len(self.rows), len(self.names))
        return Symmetry(self.names, exponents, rows, self.followers, because)

    def _none(self) -> NDArray[np.float64]:
        return np.zeros(len(self.names))

    def _through(self, node: Node, inputs: list[NDArray[np.float64]]) -> NDArray[np.float64]:
        kind, attrs = node.kind, node.attrs
        if kind == "linear":
            return self._linear(node, inputs)
        if kind in ("add", "concat"):
            return self._together(node, inputs)
        if kind in ("mul", "matmul"):
            signs = [-1.0 if i and node.op == "div" else 1.0 for i in range(len(inputs))]
            return sum((s * e for s, e in zip(signs, inputs, strict=True)), start=self._none())
        if kind == "attention" and len(inputs) >= 3:
            self.rows.append(inputs[0] + inputs[1])
            return inputs[2]
        if kind == "activation" and node.op in _DEGREES and inputs:
            return _DEGREES[node.op] * inputs[0]
        if kind == "norm" and node.op != "local_response_norm" and attrs.get("training") is not False:
            return self._none()  # whatever the scale, it is divided by it
        plain = kind in _LINEAR and not attrs.get("addend") and "alpha_dropout" not in node.op
        if plain or (kind == "reduce" and node.op in _MEANS):
            return self._same(node, inputs)
        self.rows.extend(inputs)  # not homogeneous: its input must keep its scale
        return self._none()

    def _linear(self, node: Node, inputs: list[NDArray[np.float64]]) -> NDArray[np.float64]:
        total = sum(inputs, start=self._none())
        for use in node.params:
            if not is_added(node, use) and use.name in self.index:
                total = total.copy()
                total[self.index[use.name]] += 1
        for use in node.params:
            if is_added(node, use):
                self._follow(node, use, total)
        return total

    def _same(self, node: Node, inputs: list[NDArray[np.float64]]) -> NDArray[np.float64]:
        """The exponent of the signals among the operands (not of indices and conditions), which must agree."""
        signals = [e for i, e in zip(node.inputs, inputs, strict=True) if _is_signal(self.graph.nodes[i])]
        if not signals:
            return self._none()
        self.rows.extend(e - signals[0] for e in signals[1:])
        return signals[0]

    def _together(self, node: Node, inputs: list[NDArray[np.float64]]) -> NDArray[np.float64]:
        if node.attrs.get("masked"):  # −∞ stays −∞
            sizes = [int(np.prod(self.graph.nodes[i].shape)) for i in node.inputs]
            return inputs[int(np.argmax(sizes))] if inputs else self._none()
        first = self._same(node, inputs)
        for use in node.params:
            self._follow(node, use, first)
        return first

    def _follow(self, node: Node, use: ParamUse, exponent: NDArray[np.float64]) -> None:
        """A parameter that is added is multiplied as what it is added to, or keeps that from being multiplied."""
        name = use.name
        if name in self.zeros:
            return
        if name not in self.added or not _is_shown(self.graph, node, use.argument):
            self.rows.append(exponent)
        elif name in self.followers:
            self.rows.append(exponent - self.followers[name])
        else:
            self.followers[name] = exponent


def _is_signal(node: Node) -> bool:
    return "float" in node.dtype or "complex" in node.dtype


def apart(rates: Mapping[str, float]) -> float:
    """Largest rate over smallest; 1 where all are equal."""
    return max(rates.values()) / min(rates.values()) if rates else 1.0
