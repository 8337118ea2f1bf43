"""fast: the random fills of existing code, sent through the keyed kernel."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import init as torch_init
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from fanin.keys import Key, Law
from fanin.recorder._ledger import Ledger
from fanin.recorder._names import Names

__all__ = ["fast"]

aten = torch.ops.aten

# Beyond 8 standard deviations the truncation removes less than one value in 10^15: the plain law is the same.
_UNTRUNCATED = 8.0


@contextmanager
def fast(seed: int = 0) -> Iterator[None]:
    """Send every random fill of a CPU tensor inside the block through the keyed kernel.

    ``normal_``, ``uniform_``, ``torch.nn.init.*``, ``torch.randn`` and their like, in your code or a library's, are
    noted instead of drawn; a fill that is overwritten before anyone reads it is never drawn at all. What is still due
    when the block ends is filled at once: parameters under Key(seed, parameter name) of the module built inside, so
    that the values do not depend on the order of construction; tensors that were read earlier, or that belong to no
    module, under their order of drawing.

    torch's own generator is not consumed by these fills; calls that pass ``generator=`` and tensors on other devices
    are left to torch. Only the thread that entered is affected, blocks nest, and an exception inside still leaves
    every tensor filled.

    Args:
        seed: integer in [0, 2**64).

    Raises:
        InputError: if ``seed`` is not such an integer.

    Example:
        >>> import torch, fanin
        >>> with fanin.fast(seed=0):
        ...     first = torch.nn.Linear(8, 8)
        >>> with fanin.fast(seed=0):
        ...     second = torch.nn.Linear(8, 8)
        >>> torch.equal(first.weight, second.weight)
        True
    """
    Key(seed)  # validates before anything is entered
    ledger, names = Ledger(seed), Names()
    with ExitStack() as stack:
        # Pushed first, so it runs last: after the modes are left, also when the block raised.
        stack.callback(lambda: ledger.settle_all(names.by_storage()))
        stack.enter_context(names.watching())
        stack.enter_context(_truncated_fills(ledger))
        stack.enter_context(_RawReads(ledger))
        stack.enter_context(_Redirect(ledger))
        yield


class _Redirect(TorchDispatchMode):
    """Note fills; settle what an op is about to read."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.ledger = ledger

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        fill = _FILLS.get(func)
        if fill is not None and kwargs.get("generator") is None:
            tensor, law = fill(args, kwargs)
            if tensor is not None and self.ledger.note(tensor, law):
                return tensor
        if self.ledger.due and not (func.is_view or func in _NEVER_READ):
            self.ledger.settle_read((*args, *kwargs.values()))
        return func(*args, **kwargs)


class _RawReads(TorchFunctionMode):
    """Settle before memory is read past the dispatcher."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self.ledger = ledger

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _RAW and self.ledger.due:
            self.ledger.settle_read(args)
        return func(*args, **(kwargs or {}))


_RAW = {
    getattr(Tensor, name)
    for name in (
        "__array__",
        "__dlpack__",
        "__reduce_ex__",
        "data_ptr",
        "numpy",
        "share_memory_",
        "storage",
        "tolist",
        "untyped_storage",
    )
}
_NEVER_READ = {
    aten.empty_like.default,
    aten.new_empty.default,
    aten.zeros_like.default,
    aten.ones_like.default,
    aten.new_zeros.default,
    aten.new_ones.default,
    aten.new_full.default,
    aten.full_like.default,
    aten.lift_fresh.default,
}


# --- which aten ops are fills, and of which law -------------------------------------------------------------------

Fill = Callable[[Any, Any], tuple[Tensor | None, Law]]


def _argument(args: Any, kwargs: Any, position: int, name: str, default: float) -> Any:
    return args[position] if len(args) > position else kwargs.get(name, default)


def _normal_(args: Any, kwargs: Any) -> tuple[Tensor | None, Law]:
    mean, std = _argument(args, kwargs, 1, "mean", 0.0), _argument(args, kwargs, 2, "std", 1.0)
    return _if(std >= 0, args[0]), Law("normal", float(mean), max(float(std), 0.0))


def _uniform_(args: Any, kwargs: Any) -> tuple[Tensor | None, Law]:
    low, high = _argument(args, kwargs, 1, "from", 0.0), _argument(args, kwargs, 2, "to", 1.0)
    return _if(high >= low, args[0]), Law("uniform", float(low), max(float(high) - float(low), 0.0))


def _constant_(value: Callable[[Any], float]) -> Fill:
    def fill(args: Any, kwargs: Any) -> tuple[Tensor | None, Law]:
        constant = value(args)
        finite = constant == constant and abs(constant) != float("inf")
        return _if(finite, args[0]), Law("constant", float(constant) if finite else 0.0)

    return fill


def _if(condition: bool, tensor: Tensor) -> Tensor | None:
    return tensor if condition else None


def _made(law: Law, empty: Callable[[Any, Any], Tensor]) -> Fill:
    def fill(args: Any, kwargs: Any) -> tuple[Tensor | None, Law]:
        device = kwargs.get("device")
        if device is not None and torch.device(device).type != "cpu":
            return None, law
        tensor = empty(args, kwargs)
        return _if(tensor.dtype.is_floating_point and tensor.device.type == "cpu", tensor), law

    return fill


def _empty(args: Any, kwargs: Any) -> Tensor:
    return torch.empty(args[0], **kwargs)


def _empty_like(args: Any, kwargs: Any) -> Tensor:
    return torch.empty_like(args[0], **kwargs)


def _normal_of_size(args: Any, kwargs: Any) -> tuple[Tensor | None, Law]:
    law = Law("normal", float(args[0]), float(args[1]))
    return _made(law, lambda a, k: torch.empty(a[2], **{x: v for x, v in k.items() if x != "generator"}))(args, kwargs)


_FILLS: dict[Any, Fill] = {
    aten.normal_.default: _normal_,
    aten.uniform_.default: _uniform_,
    aten.fill_.Scalar: _constant_(lambda args: float(args[1])),
    aten.zero_.default: _constant_(lambda args: 0.0),
    aten.randn.default: _made(Law("normal", 0.0, 1.0), _empty),
    aten.rand.default: _made(Law("uniform", 0.0, 1.0), _empty),
    aten.randn_like.default: _made(Law("normal", 0.0, 1.0), _empty_like),
    aten.rand_like.default: _made(Law("uniform", 0.0, 1.0), _empty_like),
    aten.normal.float_float: _normal_of_size,
}


# --- trunc_normal_ draws by rejection: one entry point of torch is replaced while any block is open ----------------

_local = threading.local()
_patch_lock = threading.Lock()
_patch_count = 0
_original_truncated = torch_init._no_grad_trunc_normal_


def _truncated(
    tensor: Tensor, mean: float, std: float, a: float, b: float, generator: torch.Generator | None = None
) -> Tensor:
    ledger: Ledger | None = getattr(_local, "ledger", None)
    below, above = mean - a, b - mean
    if ledger is not None and generator is None and std > 0 and min(below, above) > 0:
        bound = min(below, above) / std
        symmetric = abs(below - above) <= 1e-6 * above
        law = Law("normal", mean, std) if bound >= _UNTRUNCATED else Law("truncated_normal", mean, std, bound)
        if (bound >= _UNTRUNCATED or symmetric) and ledger.note(tensor.detach(), law):
            return tensor
    return _original_truncated(tensor, mean, std, a, b, generator)


@contextmanager
def _truncated_fills(ledger: Ledger) -> Iterator[None]:
    global _patch_count
    outer = getattr(_local, "ledger", None)
    with _patch_lock:
        _patch_count += 1
        torch_init._no_grad_trunc_normal_ = _truncated
    _local.ledger = ledger
    try:
        yield
    finally:
        _local.ledger = outer
        with _patch_lock:
            _patch_count -= 1
            if _patch_count == 0:
                torch_init._no_grad_trunc_normal_ = _original_truncated
