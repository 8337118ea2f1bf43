"""One call of a torch function, taken apart: canonical op, named operands, recorded arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.overrides import resolve_name

from fanin.graph import classify
from fanin.trace._arguments import argument_names, defaults, describe_index, plain, variadic, words

__all__ = ["Call", "Operand", "Spec", "parse", "resolve", "tensors"]

_NO_SIGNAL = words(
    """
    size dim ndim numel nelement stride storage_offset data_ptr is_contiguous is_floating_point is_complex element_size
    shape dtype device layout requires_grad grad_fn grad is_leaf is_nested is_cuda is_cpu is_meta is_sparse is_quantized
    names name itemsize nbytes output_nr is_mkldnn is_xpu is_mps _version _base item tolist numpy register_hook
    backward retain_grad requires_grad_ is_same_size equal allclose get_device untyped_storage storage __len__ __bool__
    __repr__ __format__ __hash__ __iter__ is_inference is_signed is_conj is_neg _is_view _backward_hooks retains_grad
    set_ __deepcopy__ __reduce_ex__ result_type can_cast is_pinned is_shared share_memory_ __index__ __int__ __float__
    __contains__ __dir__ dim_order manual_seed is_tensor is_storage has_names align_as align_to rename rename_
    refine_names
    """
)
"""Functions that return no signal: not recorded."""

_CONSTANT_MAKERS = words(
    """
    zeros ones full empty rand randn randint arange linspace logspace eye tensor as_tensor zeros_like ones_like
    full_like empty_like rand_like randn_like randint_like new_zeros new_ones new_full new_empty new_tensor bernoulli
    normal_ uniform_ bernoulli_ exponential_ random_ fill_ zero_ trunc_normal_ one_hot bucketize argmax argmin argsort
    histc bincount
    """
)
"""Functions whose output holds no signal, whatever their operands: constants, noise, indices."""

_GETTERS = frozenset(("T", "mT", "H", "mH", "real", "imag", "data"))


@dataclass(frozen=True)
class Spec:
    """What is known of a torch function before it is called."""

    op: str
    kind: str
    names: tuple[str, ...]
    in_place: bool = False
    skip: bool = False
    constant: bool = False


@dataclass(frozen=True)
class Operand:
    """A tensor among the arguments of a call."""

    argument: str
    position: int
    tensor: torch.Tensor


@dataclass(frozen=True)
class Call:
    """The tensors and the plain arguments of one call."""

    operands: tuple[Operand, ...]
    attrs: dict[str, Any]
    numbers: dict[str, float]


_SKIP = Spec("", "other", (), skip=True)
_SPECS: dict[Any, Spec] = {}


def resolve(func: Callable[..., Any]) -> Spec:
    """The :class:`Spec` of a torch function, remembered."""
    try:
        spec = _SPECS.get(func)
    except TypeError:  # an unhashable callable
        return _make_spec(func)
    if spec is None:
        spec = _SPECS[func] = _make_spec(func)
    return spec


def _make_spec(func: Callable[..., Any]) -> Spec:
    full = resolve_name(func) or getattr(func, "__name__", "")
    parts = full.split(".")
    getter = parts[-1] in ("__get__", "__set__", "__delete__")
    name = parts[-2] if getter and len(parts) > 1 else parts[-1]
    if parts[-1] in ("__set__", "__delete__") or name in _NO_SIGNAL or (getter and name not in _GETTERS):
        return (
            Spec("set_data", "other", ("input", "value"), in_place=True, skip=True)
            if full.endswith("data.__set__")
            else _SKIP
        )
    module = ".".join(parts[: -2 if getter else -1])
    if name == "threshold" and module == "torch.Tensor":
        module = ""
    op, kind = classify(name, module)
    in_place = (name.endswith("_") and not name.startswith("__")) or (name.startswith("__i") and name[3:-2] in _DUNDER)
    in_place = in_place or name == "__setitem__" or name == "copy_"
    if op in ("numpy", "data_ptr"):
        return _SKIP
    names = ("input", "max") if name.startswith("clamp_max") else argument_names(op, module)
    return Spec(op, kind, names, in_place, constant=name in _CONSTANT_MAKERS)


_DUNDER = frozenset(("add", "sub", "mul", "truediv", "div", "pow", "matmul", "floordiv", "mod", "and", "or", "xor"))


def tensors(value: Any) -> Iterator[torch.Tensor]:
    """Tensors in a result: itself, or in (nested) tuples and lists."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for entry in value:
            yield from tensors(entry)


def parse(spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    """Name the arguments of one call."""
    operands: list[Operand] = []
    attrs = dict(defaults(spec.op))
    numbers: dict[str, float] = {}
    for name, value in _named(spec, args, kwargs):
        if isinstance(value, torch.Tensor):
            operands.append(Operand(name, len(operands), value))
        elif spec.op == "getitem" and name == "index":
            attrs["index"] = describe_index(value)
            operands += [Operand("index", at, t) for at, t in enumerate(tensors(value), len(operands))]
        elif isinstance(value, (tuple, list)) and any(isinstance(v, torch.Tensor) for v in tensors(value)):
            operands += [Operand(name, at, t) for at, t in enumerate(tensors(value), len(operands))]
        else:
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                numbers[name] = float(value)
            described = plain(value)
            if described is not None and name != "inplace":
                attrs[name] = described
    return Call(tuple(operands), attrs, numbers)


def _named(spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    names = spec.names
    if spec.kind == "recurrent" and "cell" not in spec.op:
        names = _recurrent_names(args, names)
    if variadic(spec.op) and len(args) > 2:
        args = (args[0], list(args[1:]))
    if spec.op == "einsum" and len(args) > 2:
        args = (args[0], list(args[1:]))
    if spec.op in ("mean", "sum", "std", "var") and len(args) > 2 and all(type(a) is int for a in args[1:]):
        args = (args[0], list(args[1:]))
    for position, value in enumerate(args):
        yield (names[position] if position < len(names) else f"arg{position}"), value
    for name, value in kwargs.items():
        if name != "out":
            yield _KEYWORDS.get(name, name), value


_KEYWORDS = {"self": "input", "axis": "dim", "x": "input"}


def _recurrent_names(args: tuple[Any, ...], names: tuple[str, ...]) -> tuple[str, ...]:
    """A packed sequence passes its batch sizes second, before the state."""
    if len(args) > 3 and isinstance(args[3], (list, tuple)):
        return ("input", "batch_sizes", "hx", "weights", *names[3:-1])
    return names
