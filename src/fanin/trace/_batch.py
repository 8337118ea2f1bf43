"""How the axis of the samples moves through an op."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fanin.trace._stats import BatchAxis

__all__ = ["carry"]


def carry(
    op: str, kind: str, batch: BatchAxis, shape: Sequence[int], out: Sequence[int], attrs: Mapping[str, Any]
) -> BatchAxis | None:
    """Where the samples lie in the output, or None where that cannot be told.

    Args:
        op: canonical op name; kind: its kind.
        batch: where they lie in the operand of shape ``shape``.
        shape: shape of the operand; out: shape of the output.
        attrs: recorded arguments of the op.
    """
    rank = len(shape)
    if op in ("transpose", "adjoint"):
        first, second = (int(attrs.get(key, default)) % rank for key, default in (("dim0", -1), ("dim1", -2)))
        return _moved(batch, {first: second, second: first}.get(batch.axis, batch.axis))
    if op == "t":
        return _moved(batch, rank - 1 - batch.axis)
    if op == "permute" and isinstance(attrs.get("dims"), list):
        return _moved(batch, [int(d) % rank for d in attrs["dims"]].index(batch.axis))
    if op in ("stack", "unsqueeze"):
        dim = int(attrs.get("dim", 0)) % len(out)
        return _moved(batch, batch.axis + (dim <= batch.axis))
    if op in _RESHAPES:
        return _reshaped(batch, shape, out)
    if op in ("unbind", "select") and "dim" in attrs:
        dim = int(attrs["dim"]) % rank
        return None if dim == batch.axis else _moved(batch, batch.axis - (dim < batch.axis))
    if kind == "reduce":
        return _reduced(batch, shape, out, attrs)
    if op == "einsum":
        return _einsum(batch, out, attrs)
    if len(out) == rank and out[batch.axis] == shape[batch.axis]:
        return batch
    if kind in ("add", "mul", "matmul", "linear", "activation", "other") and len(out) > rank:
        return _kept(batch, batch.axis + len(out) - rank, shape, out)
    return _kept(batch, batch.axis, shape, out)


_RESHAPES = frozenset(("view", "reshape", "flatten", "unflatten", "squeeze", "view_as_complex", "view_as_real", "pad"))


def _moved(batch: BatchAxis, axis: int) -> BatchAxis:
    return BatchAxis(axis, batch.size, batch.pre, batch.post)


def _kept(batch: BatchAxis, axis: int, shape: Sequence[int], out: Sequence[int]) -> BatchAxis | None:
    if axis < len(out) and out[axis] == shape[batch.axis]:
        return _moved(batch, axis)
    return None


def _reshaped(batch: BatchAxis, shape: Sequence[int], out: Sequence[int]) -> BatchAxis | None:
    """Row-major order is kept, so the samples sit behind the same number of outer values."""
    outer = math.prod(shape[: batch.axis]) * batch.pre
    before = 1
    for axis, size in enumerate(out):
        if outer % before == 0:
            pre = outer // before
            if size and size % (pre * batch.size) == 0 and not (size == 1 and batch.size > 1):
                return BatchAxis(axis, batch.size, pre, size // (pre * batch.size))
        before *= size
        if before > outer * batch.size:
            break
    return None


def _reduced(batch: BatchAxis, shape: Sequence[int], out: Sequence[int], attrs: Mapping[str, Any]) -> BatchAxis | None:
    if not out:
        return None
    if len(out) == len(shape):
        return _kept(batch, batch.axis, shape, out)
    dims = attrs.get("dim")
    if isinstance(dims, int):
        dims = [dims]
    if not isinstance(dims, list):
        return None
    gone = {int(d) % len(shape) for d in dims}
    if batch.axis in gone:
        return None
    return _kept(batch, batch.axis - sum(d < batch.axis for d in gone), shape, out)


def _einsum(batch: BatchAxis, out: Sequence[int], attrs: Mapping[str, Any]) -> BatchAxis | None:
    equation = str(attrs.get("equation", "")).replace(" ", "")
    left, arrow, right = equation.partition("->")
    operands = left.split(",")
    operand = operands[min(int(attrs.get("batch_operand", 0)), len(operands) - 1)]
    if not arrow or "." in equation or batch.axis >= len(operand):
        return None
    axis = right.find(operand[batch.axis])
    return None if axis < 0 or axis >= len(out) else _moved(batch, axis)
