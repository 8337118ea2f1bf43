"""Ops that leave values as they are, or scale them: views and slices, casts, constants, dropout."""

from __future__ import annotations

import math
from dataclasses import replace

from fanin.theory.propagation._base import Call, Propagator
from fanin.theory.propagation._flow import Flow, Grad, alike

__all__ = ["Cast", "Dropout", "Scale", "Shape"]


class Shape(Propagator):
    """Values are arranged or picked; only the axis of the units moves. Padding adds zeros."""

    kinds = ("shape",)

    def forward(self, call: Call) -> Flow:
        """The same flow with its unit axis where the op put it."""
        if not call.inputs:
            mean, second = call.moments(call.node.params[0]) if call.node.params else (0.0, 0.0)
            return Flow(mean, second, alike(second), unit=len(call.node.shape) - 1)
        x = call.inputs[self._signal(call)]
        unit = moved_unit(call.node.op, x.unit, call.shape(self._signal(call)), call.node.shape, call.attrs)
        last = x.last if unit == x.unit else None
        flow = replace(x, unit=unit, last=last)
        if call.attrs.get("masked") or call.node.op in ("tril", "triu"):
            return replace(flow, last=x.last, masked=x.masked or call.causal_mask(self._signal(call)))
        if call.node.op == "pad":
            share = min(1.0, 1 / call.ratio())
            flow = replace(
                flow, mean=flow.mean * share, second=flow.second * share, kernel=flow.kernel * share, form=None
            )
        return flow

    def backward(self, call: Call, output: Flow, grad: Grad) -> tuple[Grad | None, ...]:
        """Entries that were not picked receive 0, entries picked several times a sum."""
        result: list[Grad | None] = [None] * len(call.inputs)
        if not call.inputs:
            return ()
        at = self._signal(call)
        ratio = call.ratio(at)
        if ratio > 1 and call.node.op != "pad":
            copies = ratio
            result[at] = Grad(copies * grad.second + copies * (copies - 1) * grad.far, grad.far * copies**2)
        else:
            share = min(1.0, ratio)
            result[at] = Grad(grad.second * share, grad.far * share**2 if share < 1 else grad.far)
        return tuple(result)

    @staticmethod
    def _signal(call: Call) -> int:
        """Index of the operand that carries the signal: not the index or the condition."""
        sizes = [
            (call.graph.nodes[i].kind == "input", "float" not in call.graph.nodes[i].dtype) for i in call.node.inputs
        ]
        return min(range(len(sizes)), key=lambda i: (sizes[i][1], sizes[i][0]))


def moved_unit(op: str, unit: int, old: tuple[int, ...], new: tuple[int, ...], attrs: object) -> int:
    """Where the axis of the units lies after an op that rearranges axes.

    Args:
        op: canonical op name.
        unit: axis before, negative counting from the end.
        old: shape before; new: shape after.
        attrs: recorded arguments.

    Returns:
        The axis after; the last one where nothing tells.
    """
    get = attrs.get if hasattr(attrs, "get") else {}.get
    rank = len(old)
    if not rank or not new:
        return 0
    unit %= rank
    if op in ("transpose", "adjoint", "swapaxes"):
        first, second = int(get("dim0", -1)) % rank, int(get("dim1", -2)) % rank
        return {first: second, second: first}.get(unit, unit)
    if op == "t":
        return rank - 1 - unit
    if op == "permute" and isinstance(get("dims"), (list, tuple)):
        return [int(d) % rank for d in get("dims")].index(unit)
    if math.prod(old) == math.prod(new):
        stride = math.prod(old[unit + 1 :])
        same = [a for a in range(len(new)) if math.prod(new[a + 1 :]) == stride and (new[a] > 1 or old[unit] == 1)]
        return same[-1] if same else len(new) - 1
    from_end = unit - rank + len(new)
    if 0 <= from_end < len(new) and new[from_end] == old[unit]:
        return from_end
    if unit < len(new) and new[unit] == old[unit]:
        return unit
    return from_end if 0 <= from_end < len(new) else len(new) - 1


class Cast(Propagator):
    """Nothing changes but the representation."""

    kinds = ("cast",)

    def forward(self, call: Call) -> Flow:
        """The same flow."""
        if not call.inputs:
            mean, second = call.moments(call.node.params[0]) if call.node.params else (0.0, 0.0)
            return Flow(mean, second, alike(second))
        return call.inputs[0]

    def backward(self, call: Call, output: Flow, grad: Grad) -> tuple[Grad | None, ...]:
        """The same gradient, unless it is cut off."""
        first = None if call.node.op == "detach" else grad
        rest: tuple[Grad | None, ...] = (None,) * (len(call.inputs) - 1)
        return (first, *rest) if call.inputs else ()


class Scale(Propagator):
    """factor·x + addend with constants."""

    kinds = ("scale",)

    def forward(self, call: Call) -> Flow:
        """An affine map."""
        if not call.inputs:
            mean, second = call.moments(call.node.params[0]) if call.node.params else (0.0, 0.0)
            return Flow(mean, second, alike(second)).affine(self._factor(call), self._number(call, "addend", 0.0))
        return call.inputs[0].affine(self._factor(call), self._number(call, "addend", 0.0))

    def backward(self, call: Call, output: Flow, grad: Grad) -> tuple[Grad | None, ...]:
        """The gradient times the factor."""
        return (grad.times(self._factor(call) ** 2),) * len(call.inputs)

    def _factor(self, call: Call) -> float:
        return -1.0 if call.node.op == "neg" else self._number(call, "factor", 1.0)

    @staticmethod
    def _number(call: Call, name: str, default: float) -> float:
        value = call.attrs.get(name, default)
        return float(value) if isinstance(value, (int, float)) else default


class Dropout(Propagator):
    """x·mask/(1 − p) in training, x otherwise."""

    kinds = ("dropout",)

    def forward(self, call: Call) -> Flow:
        """E y² = E x²/(1 − p); different entries have different masks."""
        x, keep = call.inputs[0], self._keep(call)
        if keep == 1.0:
            return x
        if keep == 0.0:
            return Flow(0.0, 0.0, alike(0.0), unit=x.unit)
        if call.node.op == "alpha_dropout":
            return replace(x, form=None, exact=False)  # made to keep mean and variance at (0, 1)
        return replace(x, second=x.second / keep, form=None)

    def backward(self, call: Call, output: Flow, grad: Grad) -> tuple[Grad | None, ...]:
        """The same mask."""
        keep = self._keep(call)
        return (grad.times(1 / keep, 1.0) if keep else Grad(0.0),)

    @staticmethod
    def _keep(call: Call) -> float:
        if call.attrs.get("training") is False or call.attrs.get("train") is False:
            return 1.0
        p = call.attrs.get("p", 0.5)
        return 1.0 - float(p) if isinstance(p, (int, float)) else 0.5
