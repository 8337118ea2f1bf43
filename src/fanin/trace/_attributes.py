"""What the operands tell about a call that its name does not: scale or add, linear map or product, which part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from fanin.graph import classify
from fanin.trace._calls import Call, Operand, Spec
from fanin.trace._provenance import Origin, Source

__all__ = ["MASK_BELOW", "Refined", "refine"]

Operands = list[tuple[Operand, Origin]]

MASK_BELOW = -1e4
"""Attention masks add or write -10000 (BERT), -1e9 or the smallest number of a dtype; no signal is that negative."""


@dataclass
class Refined:
    """A call as it enters the graph.

    Args:
        spec: its op and kind, now that the operands are known.
        attrs: plain arguments.
        parts: the outputs are parts of one tensor and each becomes a node.
        lookup: parameters whose rows were picked by data.
    """

    spec: Spec
    attrs: dict[str, Any]
    parts: bool = False
    lookup: tuple[Source, ...] = field(default_factory=tuple)

    @property
    def kind(self) -> str:
        """Kind after refinement."""
        return self.spec.kind


def refine(spec: Spec, call: Call, operands: Operands, outputs: list[torch.Tensor]) -> Refined:
    """Settle op, kind and arguments of a call."""
    refined = Refined(spec, dict(call.attrs))
    op, kind = classify(spec.op, attrs=refined.attrs)
    refined.spec = replace(spec, op=op, kind=kind)
    handler = _BY_KIND.get(kind)
    if handler is not None:
        handler(refined, call, operands, outputs)
    if any(o.tensor.dtype is torch.bool and origin.node is not None for o, origin in operands):
        refined.attrs["gated_by_condition"] = True
    return refined


def _become(refined: Refined, op: str, kind: str) -> None:
    refined.spec = replace(refined.spec, op=op, kind=kind)


def _arithmetic(refined: Refined, call: Call, operands: Operands, _outputs: list[torch.Tensor]) -> None:
    op, attrs = refined.spec.op, refined.attrs
    if op not in ("add", "sub", "rsub", "mul", "div"):
        return
    number = _other_number(call, operands)
    if number is None:
        if op in ("add", "sub") and (mask := _mask(operands)) is not None:
            attrs["masked"] = mask
        return
    first = operands[0][0].argument == "input" and operands[0][1].number is None
    alpha = float(attrs.pop("alpha", 1.0) or 1.0)
    attrs.pop("other", None)
    factor, addend = 1.0, 0.0
    if op == "add":
        factor, addend = (1.0, alpha * number) if first else (alpha, number)
    elif op == "sub":
        factor, addend = (1.0, -alpha * number) if first else (-alpha, number)
    elif op == "rsub":
        factor, addend = -alpha, number
    elif op == "mul":
        factor = number
    elif first:
        factor = 1.0 / number if number else float("inf")
    else:
        attrs["numerator"] = number
        _become(refined, "rdiv", "activation")
        return
    attrs["factor"], attrs["addend"] = _json(factor), _json(addend)
    _become(refined, op, "scale")


def _json(value: float) -> float | str:
    return value if abs(value) != float("inf") and value == value else str(value)


def _other_number(call: Call, operands: Operands) -> float | None:
    """The operand that is a plain number (or a constant with one element), where the other is a tensor."""
    if "other" in call.numbers or "input" in call.numbers:
        return call.numbers.get("other", call.numbers.get("input"))
    numbers = [origin.number for _, origin in operands if origin.number is not None and origin.node is None]
    return numbers[0] if len(operands) == 2 and len(numbers) == 1 else None


def _mask(operands: Operands) -> bool | None:
    """True where one operand is a mask: no gradient, and some entries far below any signal."""
    for operand, origin in operands:
        tensor = operand.tensor
        if origin.sources or tensor.requires_grad or not tensor.is_floating_point() or tensor.numel() == 0:
            continue
        if len(operands) == 2 and tensor.numel() <= min(o.tensor.numel() for o, _ in operands):
            compact = tensor.detach()
            for axis, stride in enumerate(compact.stride()):
                if stride == 0 and compact.shape[axis] > 1:
                    compact = compact.narrow(axis, 0, 1)
            if float(compact.amin()) <= MASK_BELOW:
                return True
    return None


def _product(refined: Refined, _call: Call, operands: Operands, _outputs: list[torch.Tensor]) -> None:
    if any(origin.sources and (origin.lookup or origin.node is None) for _, origin in _factors(refined.spec, operands)):
        _become(refined, refined.spec.op, "linear")


def _factors(spec: Spec, operands: Operands) -> Operands:
    """Operands that are multiplied: the first one of addmm and its kin is only added."""
    added = spec.op in ("addmm", "baddbmm", "addbmm", "addmv", "addr")
    return [(o, origin) for o, origin in operands if not (added and o.argument == "input")]


def _recurrent(refined: Refined, _call: Call, operands: Operands, _outputs: list[torch.Tensor]) -> None:
    attrs, op = refined.attrs, refined.spec.op
    gates = {"lstm": 4, "gru": 3}.get(op.split("_")[0], 1)
    attrs["gates"] = gates
    weights = [o for o, _ in operands if o.argument in ("weights", "weight_hh")]
    if weights:
        attrs["hidden_size"] = int(weights[0].tensor.shape[0]) // gates
    if "cell" in op:
        return
    layers, directions = int(attrs.get("num_layers", 1)), 2 if attrs.get("bidirectional") else 1
    per = len(weights) // max(1, layers * directions)
    bias = bool(attrs.get("has_biases", True))
    kinds = ["weight_ih", "weight_hh", *(["bias_ih", "bias_hh"] if bias else [])]
    kinds += ["weight_hr"] * (per - len(kinds))
    position = 0
    for index, (operand, origin) in enumerate(operands):
        if operand.argument == "weights" and per:
            layer, rest = divmod(position, per * directions)
            direction, which = divmod(rest, per)
            name = f"{kinds[which]}_l{layer}{'_reverse' if direction else ''}"
            operands[index] = (Operand(name, operand.position, operand.tensor), origin)
            position += 1


def _shape(refined: Refined, _call: Call, operands: Operands, outputs: list[torch.Tensor]) -> None:
    op, attrs = refined.spec.op, refined.attrs
    if op in ("getitem", "index_select", "gather") and operands[0][1].sources and operands[0][1].node is None:
        _become(refined, "embedding", "embedding")
        source = operands[0][1].sources[0]
        if source.rank >= 3 and operands[0][0].tensor.dim() >= 3:
            picked = len([o for o, _ in operands if o.argument == "index"]) or 1
            out = outputs[0].dim()
            kept = source.axes[picked:]
            refined.lookup = (Source(source.name, (None,) * (out - len(kept)) + kept, source.rank),)
        return
    if op == "masked_fill" or op == "where":
        values = [attrs.get("value"), attrs.get("other"), attrs.get("input")]
        values += [origin.number for _, origin in operands]
        if any(isinstance(v, (int, float)) and v <= MASK_BELOW for v in values) or "-inf" in values:
            attrs["masked"] = True
    if len(outputs) > 1 and op in _PARTS:
        refined.parts = True


_PARTS = frozenset(("chunk", "split", "tensor_split", "hsplit", "vsplit", "unbind", "broadcast_tensors", "meshgrid"))


def _elementwise(refined: Refined, call: Call, operands: Operands, _outputs: list[torch.Tensor]) -> None:
    op, attrs = refined.spec.op, refined.attrs
    if op == "pow":
        numbers = [origin.number for o, origin in operands if o.argument == "exponent" and origin.number is not None]
        exponent = call.numbers.get("exponent", numbers[0] if numbers else None)
        if exponent is not None:
            attrs["exponent"] = exponent
        elif "input" in call.numbers:
            attrs["base"] = attrs.pop("input")
            _become(refined, "rpow", "activation")
    elif op == "rpow" and "base" in call.numbers:
        attrs["base"] = call.numbers["base"]
    elif op == "clamp":
        for operand, origin in operands[1:]:
            if origin.number is not None:
                attrs[operand.argument] = origin.number


def _reduce(refined: Refined, _call: Call, operands: Operands, _outputs: list[torch.Tensor]) -> None:
    if refined.spec.op in ("max", "min") and len([o for o, _ in operands if o.tensor.is_floating_point()]) > 1:
        _become(refined, refined.spec.op + "imum", "other")


def _norm(refined: Refined, _call: Call, operands: Operands, outputs: list[torch.Tensor]) -> None:
    """Which axes share one mean and variance."""
    op, attrs, rank = refined.spec.op, refined.attrs, outputs[0].dim()
    window = list(range(2, rank))
    axes = {"batch_norm": [0, *window], "instance_norm": window, "group_norm": [1, *window]}.get(op)
    if op in ("layer_norm", "rms_norm") and isinstance(attrs.get("normalized_shape"), list):
        axes = list(range(rank - len(attrs["normalized_shape"]), rank))
    if op == "normalize" and isinstance(attrs.get("dim"), int):
        axes = [attrs["dim"] % rank]
    if axes is not None:
        attrs["normalized_axes"] = axes


_Handler = Callable[[Refined, Call, Operands, list[torch.Tensor]], None]

_BY_KIND: dict[str, _Handler] = {
    "add": _arithmetic,
    "mul": _arithmetic,
    "matmul": _product,
    "recurrent": _recurrent,
    "shape": _shape,
    "activation": _elementwise,
    "reduce": _reduce,
    "norm": _norm,
}
