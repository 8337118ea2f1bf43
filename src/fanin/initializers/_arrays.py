"""Tensors of the caller's kind in, tensors of the same kind out, for the methods that start from other weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fanin.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["adopt"]


def adopt(owner: str, name: str, value: Any, *, rank: int | None = None) -> tuple[Any, Callable[[Any], Any]]:
    """A detached float32 CPU torch copy of ``value``, and the way back to its own kind, dtype and device.

    Args:
        owner: the function, for the error text.
        name: the argument, for the error text.
        value: a NumPy array or a torch tensor.
        rank: the rank it must have, or None for any >= 1.

    Raises:
        InputError: if it is no array of floating numbers, holds non-finite ones, or has another rank.
    """
    import torch

    accepted = f"a NumPy array or torch tensor of rank {rank or '>= 1'} with finite floating values"
    if isinstance(value, torch.Tensor):
        tensor = value.detach()
    elif isinstance(value, np.ndarray) and np.issubdtype(value.dtype, np.floating):
        tensor = torch.from_numpy(np.ascontiguousarray(value))
    else:
        raise InputError.of(name, type(value).__name__, accepted, owner)
    shape = tuple(tensor.shape)
    if not tensor.is_floating_point() or (len(shape) != rank if rank else not shape):
        raise InputError.of(name, f"{tensor.dtype} {shape}", accepted, owner)
    copy = tensor.to(device="cpu", dtype=torch.float32, copy=True)
    if not bool(torch.isfinite(copy).all()):
        raise InputError.of(name, f"non-finite values in a tensor of shape {shape}", accepted, owner)
    if isinstance(value, np.ndarray):
        return copy, lambda result: result.contiguous().numpy().astype(value.dtype)
    return copy, lambda result: result.contiguous().to(device=value.device, dtype=value.dtype)
