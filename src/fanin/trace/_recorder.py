"""The function mode that records a forward pass as a graph and measures on the way."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from fanin.graph import ParamUse
from fanin.trace._attributes import MASK_BELOW, refine
from fanin.trace._batch import carry
from fanin.trace._calls import Call, Operand, Spec, parse, resolve, tensors
from fanin.trace._measure import Gauge, units
from fanin.trace._modules import ModuleStack, ignoring
from fanin.trace._parameters import derived, param_uses, through
from fanin.trace._provenance import Origin, Table, match_axes, shape_of, storage_id, version_of
from fanin.trace._restore import Guard
from fanin.trace._stats import BatchAxis

__all__ = ["Draft", "Recorder"]


@dataclass
class Draft:
    """A node in the making."""

    id: int
    op: str
    kind: str
    module: str
    call: int
    inputs: tuple[int, ...]
    params: tuple[ParamUse, ...]
    shape: tuple[int, ...]
    dtype: str
    batch_axis: int | None = None
    attrs: dict[str, Any] = field(default_factory=dict)
    name: str = ""


Operands = list[tuple[Operand, Origin]]

_ALWAYS_DATA = frozenset(("embedding", "recurrent", "attention"))
_LINEAR_OPS = frozenset(("linear", "bilinear"))
_CONSTANT_OPERANDS = frozenset(("add", "mul", "matmul", "linear", "concat", "other"))
"""Kinds whose constant operands become nodes: they change the statistics, unlike masks and running averages."""


class Recorder(TorchFunctionMode):
    """Records every torch function called while it is active.

    Args:
        model: its modules and parameters give the names.
        guard: told of parameters that are about to be written.
        gauge: measures the outputs; None to record the graph alone.
        batch_size: number of samples, or None.
    """

    def __init__(self, model: nn.Module, guard: Guard, gauge: Gauge | None, batch_size: int | None) -> None:
        super().__init__()
        self.guard, self.gauge, self.batch_size = guard, gauge, batch_size
        self.table = Table()
        self.table.add_parameters(model.named_parameters(remove_duplicate=False))
        self.modules = ModuleStack(model)
        self.buffers = {id(buffer): name for name, buffer in model.named_buffers()}
        self.drafts: list[Draft] = []
        self.given: dict[int, torch.Tensor] = {}
        self.reentrant = False
        self.no_grad_ops = 0

    # -- functions ---------------------------------------------------------------------------------------------

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run ``func`` and record what it did."""
        kwargs = kwargs or {}
        spec = resolve(func)
        if ignoring() or (spec.skip and not spec.in_place):
            return func(*args, **kwargs)
        if func is nn.functional.multi_head_attention_forward:
            return self._descend(func, args, kwargs)
        if spec.in_place or "out" in kwargs or _is_flagged(args, kwargs) or _renormalizes(spec, args, kwargs):
            self._protect(args, kwargs)
        if spec.skip:
            return func(*args, **kwargs)
        call = parse(spec, args, kwargs)
        operands = [(operand, self._origin(operand.tensor)) for operand in call.operands]
        versions = [version_of(operand.tensor) for operand in call.operands]
        result = func(*args, **kwargs)
        changed = {id(o.tensor) for o, before in zip(call.operands, versions) if version_of(o.tensor) != before}
        self._record(spec, call, operands, result, changed | {id(t) for t in tensors(kwargs.get("out"))})
        return result

    def _descend(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the Python body of multi-head attention under this mode instead of treating it as one function."""
        functional = nn.functional
        original = functional.has_torch_function  # type: ignore[attr-defined]
        functional.has_torch_function = lambda _: False  # type: ignore[attr-defined]
        try:
            with self:
                return func(*args, **kwargs)
        finally:
            functional.has_torch_function = original  # type: ignore[attr-defined]

    def _protect(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for tensor in tensors([*args, *kwargs.values()]):
            self.guard.protect(tensor)

    def _origin(self, tensor: torch.Tensor) -> Origin:
        origin = self.table.get(tensor)
        if origin is None:
            origin = self._outside(tensor)
        elif origin.node is not None and not origin.hooked and tensor.requires_grad:
            self._late_hook(tensor, origin)
        return origin

    def _outside(self, tensor: torch.Tensor) -> Origin:
        """A tensor that no recorded op made: a buffer, a constant, or the result of code torch does not show."""
        origin = Origin(name=self.buffers.get(id(tensor), ""))
        if tensor.grad_fn is not None and tensor.is_floating_point():
            name = re.sub(r"Backward\d*$", "", tensor.grad_fn.name())
            origin = self._add(Spec(name.lower(), "other", ()), tensor, (), (), {"opaque": True}, None)
            self._observe(tensor, origin, self.drafts[-1])
        elif tensor.numel() == 1 and not tensor.requires_grad and tensor.device.type != "meta":
            origin.number = float(tensor.detach().reshape(()).item()) if not tensor.is_complex() else None
        self.table.set(tensor, origin)
        return origin

    def _late_hook(self, tensor: torch.Tensor, origin: Origin) -> None:
        """An output that became differentiable after its op: made inside a custom autograd function."""
        if tensor.grad_fn is not None and "CheckpointFunction" in tensor.grad_fn.name():
            self.reentrant = True
        if self.gauge is not None and origin.node is not None:
            draft = self.drafts[origin.node]
            if draft.shape == shape_of(tensor):
                self.gauge.watch_gradient(tensor, origin.node, origin.batch)
        origin.hooked = True

    # -- recording ---------------------------------------------------------------------------------------------

    def add_argument(self, tensor: torch.Tensor, name: str, batch: BatchAxis | None) -> None:
        """Make a tensor that the caller passed a node."""
        if self.table.is_parameter(tensor):
            return
        origin = self._add(Spec("argument", "input", ()), tensor, (), (), {"source": "argument"}, batch)
        self.drafts[-1].name = name
        self.given[self.drafts[-1].id] = tensor.detach()
        self._observe(tensor, origin, self.drafts[-1])
        self.table.set(tensor, origin)

    def _record(self, spec: Spec, call: Call, operands: Operands, result: Any, changed: set[int]) -> None:
        """Enter a call into the graph; ``changed`` are the tensors that it wrote in place."""
        outputs = [operands[0][0].tensor] if spec.op == "setitem" and operands else list(tensors(result))
        written = any(id(t) in changed for t in outputs)
        if spec.constant:
            for tensor in outputs if written else ():
                self.table.wrote(tensor, Origin())
            return
        mine = {id(operand.tensor) for operand, _ in operands}
        outputs = [t for t in outputs if id(t) in changed or id(t) not in mine]
        if not outputs:
            return
        data = self._data(spec, operands)
        uses = [(operand, source) for operand, origin in operands for source in origin.sources]
        is_data = bool(data) or (bool(uses) and self._makes_data(spec, operands))
        if not is_data:
            if uses:
                self._derive(spec, call, operands, outputs)
            return
        floating = [t for t in outputs if t.is_floating_point() or t.is_complex()]
        for tensor in outputs:
            if not (tensor.is_floating_point() or tensor.is_complex()) and data:
                source = data[0][1]
                self.table.set(tensor, Origin(node=source.node, batch=self._carry(spec, call, data, tensor)))
        if not floating or (written and self.table.is_parameter(floating[0])):
            return
        self._record_data(spec, call, operands, data, floating, written)

    def _record_data(
        self, spec: Spec, call: Call, operands: Operands, data: Operands, outputs: list[torch.Tensor], written: bool
    ) -> None:
        refined = refine(spec, call, operands, outputs)
        constants = [] if refined.kind not in _CONSTANT_OPERANDS else self._constants(operands)
        chosen = {operand.position for operand, _ in (*data, *constants)}
        inputs = tuple(
            origin.node
            for operand, origin in operands
            if origin.node is not None
            and operand.position in chosen
            and not (origin.lookup and refined.kind == "linear")
        )
        params = param_uses(operands, refined.kind)
        attrs = {**refined.attrs, **derived(operands)}
        main = outputs[0]
        batch = self._carry(spec, call, data, main)
        if refined.parts:
            for index, tensor in enumerate(outputs):
                part = {**attrs, "index": index, "parts": len(outputs)}
                self._finish(
                    refined.spec, tensor, inputs, params, part, self._carry(spec, call, data, tensor), data, written
                )
            return
        origin = self._finish(refined.spec, main, inputs, params, attrs, batch, data, written)
        if self.gauge is not None and refined.kind in ("softmax", "attention"):
            self._watch_attention(main, operands)
        if self.gauge is not None and refined.kind == "recurrent":
            self._watch_gates(self.drafts[-1], operands)
        if refined.lookup:
            origin.lookup, origin.sources = True, refined.lookup
        for index, tensor in enumerate(outputs[1:], start=1):
            extra = Spec("output", "shape", ())
            state = BatchAxis(1, batch.size) if batch and spec.kind == "recurrent" and tensor.dim() == 3 else None
            assert origin.node is not None
            self._finish(extra, tensor, (origin.node,), (), {"index": index}, state, [], written)

    def _watch_attention(self, output: torch.Tensor, operands: Operands) -> None:
        draft, gauge = self.drafts[-1], self.gauge
        assert gauge is not None
        if draft.op == "softmax" and output.dim() >= 2:
            gauge.watch_softmax(output, draft, self._masked(draft))
        elif draft.op == "scaled_dot_product_attention":
            gauge.watch_fused(draft, {operand.argument: operand.tensor for operand, _ in operands})

    def _watch_gates(self, call: Draft, operands: Operands) -> None:
        """Nodes for the gates inside a recurrent call; ``part_of`` keeps them off the dataflow."""
        assert self.gauge is not None
        named = {operand.argument: operand.tensor for operand, _ in operands}
        states = [operand.tensor for operand, _ in operands if operand.argument == "hx"]
        for name, op, layer, values in self.gauge.gates(call.op, named, states, call.attrs):
            attrs = {"part_of": call.id, "gate": name[0], "layer": layer}
            self._add(Spec(op, "activation", ()), values, (call.id,), (), attrs, None)
            draft = self.drafts[-1]
            draft.name = f"gate_{name}"
            self.gauge.watch(values, draft, None, None, -1, estimate=True)

    def _masked(self, draft: Draft) -> bool:
        """Whether a mask was written into the logits of a softmax."""
        while draft.inputs:
            draft = self.drafts[draft.inputs[0]]
            if draft.attrs.get("masked"):
                return True
            if draft.kind not in ("shape", "scale", "cast", "add"):
                return False
        return False

    def _finish(
        self,
        spec: Spec,
        tensor: torch.Tensor,
        inputs: tuple[int, ...],
        params: tuple[ParamUse, ...],
        attrs: dict[str, Any],
        batch: BatchAxis | None,
        data: Operands,
        written: bool,
    ) -> Origin:
        origin = self._add(spec, tensor, inputs, params, attrs, batch)
        draft = self.drafts[-1]
        self._observe(tensor, origin, draft, data)
        if written:
            self.table.wrote(tensor, origin)
        else:
            self.table.set(tensor, origin)
        return origin

    def _add(
        self,
        spec: Spec,
        tensor: torch.Tensor,
        inputs: tuple[int, ...],
        params: tuple[ParamUse, ...],
        attrs: dict[str, Any],
        batch: BatchAxis | None,
    ) -> Origin:
        path, call = self.modules.current
        draft = Draft(
            len(self.drafts),
            spec.op,
            spec.kind,
            path,
            call,
            inputs,
            params,
            shape_of(tensor),
            str(tensor.dtype).removeprefix("torch."),
            batch.axis if batch is not None and batch.whole else None,
            attrs,
        )
        self.drafts.append(draft)
        return Origin(node=draft.id, batch=batch)

    def _observe(self, tensor: torch.Tensor, origin: Origin, draft: Draft, data: Operands | None = None) -> None:
        first = data[0][1] if data else None
        origin.units = units(draft, first)
        if self.gauge is not None and origin.node is not None:
            origin.stats = self.gauge.watch(tensor, draft, origin.batch, first, origin.units)
            if origin.stats is not None and origin.stats.max_abs >= -MASK_BELOW and self._from_integers(draft):
                self.gauge.forward.pop(draft.id)  # a mask made of token masks, not a signal
                origin.stats = None
            if tensor.requires_grad:
                self.gauge.watch_gradient(tensor, origin.node, origin.batch)
        origin.hooked = tensor.requires_grad

    def _from_integers(self, draft: Draft) -> bool:
        """Whether it was computed from integer arguments alone, without a parameter."""
        stack = [draft]
        while stack:
            current = stack.pop()
            if current.params or (not current.inputs and current.dtype.startswith(("float", "bfloat"))):
                return False
            stack.extend(self.drafts[i] for i in current.inputs)
        return True

    def _data(self, spec: Spec, operands: Operands) -> Operands:
        """Operands that carry a signal."""
        found = [
            (operand, origin)
            for operand, origin in operands
            if origin.node is not None and (operand.tensor.is_floating_point() or operand.tensor.is_complex())
        ]
        if found and spec.kind != "embedding":
            return found
        return found or [
            (operand, origin)
            for operand, origin in operands
            if origin.node is not None and (spec.kind == "embedding" or operand.argument in ("input", "other"))
        ]

    def _makes_data(self, spec: Spec, operands: Operands) -> bool:
        """Whether an op without data operands still starts a signal: a lookup, a map of learned queries."""
        if spec.kind in _ALWAYS_DATA:
            return True
        if spec.kind == "linear":
            return operands[0][1].sources == () or operands[0][0].argument == "input"
        if spec.op in ("getitem", "index_select", "gather"):
            return any(operand.argument == "index" and origin.sources == () for operand, origin in operands[1:])
        return False

    def _derive(self, spec: Spec, call: Call, operands: Operands, outputs: list[torch.Tensor]) -> None:
        """An op on parameters alone: its output stands for them."""
        for tensor in outputs:
            if not (tensor.is_floating_point() or tensor.is_complex()) or self.table.is_parameter(tensor):
                continue
            params = param_uses(operands, spec.kind)
            attrs = {**call.attrs, **derived(operands), "parameter_only": True}
            if self.gauge is not None:
                attrs |= self.gauge.moments(tensor, spec.op)
            origin = self._add(spec, tensor, (), params, attrs, None)
            sources = [through(source, operand, spec, call, tensor) for operand, o in operands for source in o.sources]
            unique = {source.name: source for source in reversed(sources)}
            origin.sources = tuple(reversed(unique.values()))
            origin.derived, origin.node, origin.hooked = origin.node, None, True
            self.table.set(tensor, origin)

    def _constants(self, operands: Operands) -> Operands:
        """Constant operands as nodes of kind "input", made on first use."""
        found: Operands = []
        for operand, origin in operands:
            tensor = operand.tensor
            if origin.node is None and not origin.sources and origin.number is None and tensor.is_floating_point():
                attrs = {"source": "buffer" if origin.name else "constant"}
                made = self._add(Spec(attrs["source"], "input", ()), tensor, (), (), dict(attrs), None)
                self.drafts[-1].name = origin.name
                self.given[self.drafts[-1].id] = tensor.detach()
                origin.node, origin.hooked = made.node, True
                found.append((operand, origin))
        return found

    def _carry(self, spec: Spec, call: Call, data: Operands, out: torch.Tensor) -> BatchAxis | None:
        for operand, origin in data:
            if origin.batch is not None and operand.argument not in ("weight",):
                tensor, batch = operand.tensor, origin.batch
                if spec.kind == "shape" and batch.whole and storage_id(out) == storage_id(tensor) is not None:
                    axes = match_axes(out.shape, out.stride(), tensor.shape, tensor.stride())
                    if batch.axis in axes:
                        return BatchAxis(axes.index(batch.axis), batch.size)
                attrs = {**call.attrs, "batch_operand": operand.position}
                return carry(spec.op, spec.kind, origin.batch, shape_of(tensor), shape_of(out), attrs)
        return None


def _is_flagged(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a function may be asked to write to its input: ``relu(x, True)`` and ``relu(x, inplace=True)``.

    Any positional flag counts: at worst something is copied that is not written.
    """
    return bool(kwargs.get("inplace")) or any(value is True for value in args)


def _renormalizes(spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """An embedding with ``max_norm`` shrinks the rows of its weight in place."""
    if spec.op not in ("embedding", "embedding_bag"):
        return False
    return (kwargs.get("max_norm") if "max_norm" in kwargs else args[3] if len(args) > 3 else None) is not None
