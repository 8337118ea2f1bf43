"""Everything that running a model may change, remembered and put back."""

from __future__ import annotations

import random
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from fanin.trace._provenance import storage_id

__all__ = ["Guard", "restoring"]

_CONTAINERS = (list, dict, set, deque, OrderedDict, defaultdict, Counter)


class Guard:
    """The state of a model before a run.

    The batch, buffers, gradients, modes, attributes and random states are remembered at once, for not every write to
    them shows (``relu(x, inplace=True)``, scripted code, NumPy); a parameter only when something is about to write to
    its memory (``protect``), so that a run costs no second model.
    """

    def __init__(self, model: nn.Module, given: Iterable[torch.Tensor] = ()) -> None:
        self.model = model
        self.parameters = list(model.parameters())
        self.by_storage: dict[int, list[torch.Tensor]] = {}
        for tensor in self.parameters:
            storage = storage_id(tensor)
            if storage is not None:
                self.by_storage.setdefault(storage, []).append(tensor)
        self.grads = [(p, p.grad, p.requires_grad) for p in self.parameters]
        self.saved: dict[int, list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]] = {}
        self.modules = [(module, _attributes(module)) for module in model.modules()]
        self.buffers = [(b, b.detach().clone()) for b in model.buffers()]
        self.given = [(t, t.detach(), t.detach().clone()) for t in given if not (_overlaps(t) or t.is_meta)]
        self.grad_enabled = torch.is_grad_enabled()
        self.random = _RandomState(model)

    def protect(self, tensor: torch.Tensor) -> None:
        """Copy the parameters that lie in the memory that ``tensor`` shows, before it is written."""
        storage = storage_id(tensor)
        if storage is None or storage not in self.by_storage or storage in self.saved:
            return
        with torch.no_grad():
            self.saved[storage] = [(p, p.data, p.detach().clone()) for p in self.by_storage[storage]]

    def restore(self) -> None:
        """Put everything back; gradients keep their identity."""
        torch.set_grad_enabled(self.grad_enabled)
        for module, attributes in self.modules:
            _put_back(module, attributes)
        with torch.no_grad():
            for entries in self.saved.values():
                for parameter, data, values in entries:
                    if parameter.data_ptr() != data.data_ptr():
                        parameter.data = data
                    data.copy_(values)
            for tensor, data, values in self.given:
                if tensor.data_ptr() != data.data_ptr():
                    tensor.data = data
                if not _same(data, values):
                    data.copy_(values)
            for buffer, values in self.buffers:
                if not _same(buffer, values):
                    buffer.detach().copy_(values)
        for parameter, grad, requires_grad in self.grads:
            if parameter.requires_grad != requires_grad:
                parameter.requires_grad_(requires_grad)
            if parameter.grad is not grad:
                parameter.grad = grad
        self.random.restore()


def _overlaps(tensor: torch.Tensor) -> bool:
    """Whether entries share memory, as after ``expand``: such a tensor cannot be written in place."""
    if tensor.layout is not torch.strided or tensor.is_nested:
        return True
    return any(size > 1 and stride == 0 for size, stride in zip(tensor.shape, tensor.stride()))


def _same(left: torch.Tensor, right: torch.Tensor) -> bool:
    if left.shape != right.shape or left.dtype != right.dtype or left.layout != right.layout:
        return False
    if left.layout is not torch.strided:  # torch compares dense tensors alone
        left, right = left.to_dense(), right.to_dense()
    return bool(torch.equal(left, right))


def _attributes(module: nn.Module) -> dict[str, tuple[Any, Any]]:
    """Attribute → (value, shallow copy of its contents where it is a plain container)."""
    return {
        name: (value, value.copy() if type(value) in _CONTAINERS else None) for name, value in module.__dict__.items()
    }


def _put_back(module: nn.Module, attributes: dict[str, tuple[Any, Any]]) -> None:
    current = module.__dict__
    for name in [name for name in current if name not in attributes]:
        del current[name]
    for name, (value, contents) in attributes.items():
        if current.get(name, _MISSING) is not value:
            current[name] = value
        if contents is not None and not _identical(value, contents):
            value.clear()
            (value.update if isinstance(value, (dict, set)) else value.extend)(contents)


_MISSING = object()


def _identical(left: Any, right: Any) -> bool:
    """Same entries by identity and in the same order; ``==`` on tensors would compare entries."""
    if len(left) != len(right):
        return False
    if isinstance(left, dict):
        return all(k is j and a is b for (k, a), (j, b) in zip(left.items(), right.items()))
    if isinstance(left, set):
        return bool({id(entry) for entry in left} == {id(entry) for entry in right})
    return all(a is b for a, b in zip(left, right))


class _RandomState:
    """States of every random generator a forward pass may draw from."""

    def __init__(self, model: nn.Module) -> None:
        self.cpu = torch.get_rng_state()
        self.cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
        self.python = random.getstate()
        numpy = sys.modules.get("numpy")
        self.numpy = numpy.random.get_state() if numpy is not None else None
        self.generators = [
            (value, value.get_state())
            for module in model.modules()
            for value in vars(module).values()
            if isinstance(value, torch.Generator)
        ]

    def restore(self) -> None:
        torch.set_rng_state(self.cpu)
        if self.cuda is not None:
            torch.cuda.set_rng_state_all(self.cuda)
        random.setstate(self.python)
        if self.numpy is not None:
            sys.modules["numpy"].random.set_state(self.numpy)
        for generator, state in self.generators:
            generator.set_state(state)


def seed_all(seed: int) -> None:
    """Seed the global generators; unlike ``torch.manual_seed`` nothing is queued for devices not in use."""
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)
    random.seed(seed)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed(seed % 2**32)


@contextmanager
def restoring(model: nn.Module, seed: int, given: Iterable[torch.Tensor] = ()) -> Iterator[Guard]:
    """Run the body with seeded generators, then put model, given tensors and generators back, also after an error."""
    guard = Guard(model, given)
    fastpath = torch.backends.mha.get_fastpath_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        seed_all(seed)
        yield guard
    finally:
        torch.backends.mha.set_fastpath_enabled(fastpath)
        guard.restore()
