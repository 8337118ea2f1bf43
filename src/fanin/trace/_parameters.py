"""Parameters among the operands of a call, also behind ops on parameters alone."""

from __future__ import annotations

from typing import Any

import torch

from fanin.graph import ParamUse
from fanin.trace._calls import Call, Operand, Spec
from fanin.trace._provenance import Origin, Source

__all__ = ["derived", "param_uses", "through"]

Operands = list[tuple[Operand, Origin]]


def param_uses(operands: Operands, kind: str) -> tuple[ParamUse, ...]:
    uses = []
    for operand, origin in operands:
        if origin.lookup and kind != "linear":
            continue
        for source in origin.sources:
            shape = tuple(operand.tensor.shape)
            uses.append(ParamUse(source.name, operand.argument, operand.position, shape, source.axes))
    return tuple(uses)


def derived(operands: Operands) -> dict[str, Any]:
    found = {operand.argument: origin.derived for operand, origin in operands if origin.derived is not None}
    return {"derived": found} if found else {}


def through(source: Source, operand: Operand, spec: Spec, call: Call, out: torch.Tensor) -> Source:
    """The axes of a parameter after an op on it alone; kept where entry meets entry."""
    axes: tuple[int | None, ...] = (None,) * out.dim()
    if spec.op in ("t", "transpose", "permute") and len(source.axes) == out.dim():
        order = _order(spec, call, out.dim())
        axes = tuple(source.axes[axis] for axis in order)
    elif tuple(out.shape) == tuple(operand.tensor.shape) and spec.kind != "matmul":
        axes = source.axes
    return Source(source.name, axes, source.rank)


def _order(spec: Spec, call: Call, rank: int) -> list[int]:
    order = list(range(rank))
    if spec.op == "permute":
        return [int(d) % rank for d in call.attrs["dims"]]
    first, second = (0, rank - 1) if spec.op == "t" else (call.attrs.get("dim0", -1), call.attrs.get("dim1", -2))
    order[first], order[second] = order[second], order[first]
    return order
