"""What identifies a run: a hash of everything that determines its numbers."""

from __future__ import annotations

import hashlib
import json
import types
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

import fanin
from fanin.compare._rehearse import digest_of
from fanin.compare._task import tensors
from fanin.data import Samples

if TYPE_CHECKING:
    from fanin.compare._jobs import Setup, Todo

__all__ = ["identities"]

_FORMAT = 1
"""Raised whenever the trainer changes so that stored runs would no longer be what it gives."""


def identities(setup: Setup, digests: Mapping[tuple[str, int], str], todos: Sequence[Todo]) -> dict[Todo, str]:
    """Run → key in the store.

    Args:
        setup: what all runs share.
        digests: of the starts, from the rehearsal: weights, buffers, first loss and gradients.
        todos: the runs.
    """
    data = setup.task.data
    shared = {
        "format": _FORMAT,
        "versions": [fanin.__version__, torch.__version__],
        "data": digest_of(
            entry for name in ("train_x", "train_y", "test_x", "test_y") for entry in _named(name, getattr(data, name))
        ),
        "optimizer": code_of(setup.optimizer),
        "loss": code_of(setup.task.loss),
        "batch_size": setup.task.batch_size,
        "test_every": setup.test_every,
        "probe": [code_of(setup.probe), sorted(setup.probe_at)],
        "together": setup.together,
        "threads": setup.threads,
    }
    return {
        todo: hashlib.blake2b(
            json.dumps(
                [shared, todo.scheme, digests[todo.scheme, todo.seed], todo.lr, todo.seed, todo.steps], sort_keys=True
            ).encode(),
            digest_size=20,
        ).hexdigest()
        for todo in todos
    }


def _named(name: str, values: Any) -> list[tuple[str, torch.Tensor]]:
    """The tensors of one part of the data; several inputs each with its own name."""
    found = tensors(values, torch.device("cpu"))
    if isinstance(found, Samples):
        return [(f"{name}.{part}", tensor) for part, tensor in found.named()]
    return [(name, found)]


def code_of(value: Any, depth: int = 0) -> Any:
    """What a callable does, as far as it can be read off: its code, defaults and the plain values it closes over."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (tuple, list)):
        return [code_of(entry, depth + 1) for entry in value]
    if isinstance(value, types.CodeType):
        return [
            value.co_code.hex(),
            list(value.co_names),
            [code_of(constant, depth + 1) for constant in value.co_consts],
        ]
    name = f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__qualname__)}"
    if not isinstance(value, types.FunctionType) or depth > 4:
        return name
    closed = [code_of(cell.cell_contents, depth + 1) for cell in value.__closure__ or ()]
    return [name, code_of(value.__code__, depth + 1), code_of(value.__defaults__, depth + 1), closed]
