"""DTensor: which elements of the full tensor this rank holds."""

from __future__ import annotations

import math
import sys
from typing import Any

import torch
from torch import Tensor

from fanin.errors import InputError

__all__ = ["axis_indices", "first_element", "is_sharded", "local_part"]


def is_sharded(tensor: Tensor) -> bool:
    """Whether the tensor is a DTensor; torch.distributed.tensor is never imported for the answer."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def local_part(tensor: Any) -> tuple[Tensor, list[Tensor]]:
    """The local shard and, for each axis of the full tensor, the indices that it holds.

    Raises:
        InputError: for partial placements, which hold no values of their own.
    """
    coordinate = tensor.device_mesh.get_coordinate()
    sizes = tuple(tensor.device_mesh.shape)
    axes = axis_indices(tuple(tensor.shape), tuple(tensor.placements), sizes, coordinate)
    local = tensor.to_local()
    if tuple(len(axis) for axis in axes) != tuple(local.shape):
        found = tuple(len(axis) for axis in axes)
        raise InputError.of("placements", tensor.placements, f"a local shard of shape {found}, not {local.shape}")
    return local, axes


def first_element(shape: tuple[int, ...], axes: list[Tensor]) -> int | None:
    """Index in the full tensor of the first local element where the local ones are one contiguous run, else None."""
    if any(len(axis) != size for axis, size in zip(axes[1:], shape[1:], strict=True)):
        return None
    rows = axes[0]
    if not len(rows) or int(rows[-1]) - int(rows[0]) + 1 != len(rows):
        return None
    return int(rows[0]) * math.prod(shape[1:])


def axis_indices(shape: tuple[int, ...], placements: tuple[Any, ...], sizes: Any, coordinate: Any) -> list[Tensor]:
    """For each axis of the full tensor the indices that the rank at ``coordinate`` of the mesh holds.

    Each placement splits what the ones before it left, which also covers strided shards (FSDP with tensor
    parallelism), where one offset would not do.

    Args:
        shape: shape of the full tensor.
        placements: one per mesh dimension.
        sizes: ranks along each mesh dimension.
        coordinate: this rank's position along each.

    Raises:
        InputError: for placements that are neither sharded nor replicated.
    """
    axes = [torch.arange(size) for size in shape]
    for placement, count, position in zip(placements, sizes, coordinate, strict=True):
        if placement.is_replicate():
            continue
        dim = getattr(placement, "dim", None)
        if dim is None or placement.is_partial():
            raise InputError.of("placements", placement, "Shard or Replicate placements")
        vector = axes[dim].reshape([1] * dim + [-1])  # a placement splits along its own axis
        pieces, _ = placement._split_tensor(vector, count, with_padding=False, contiguous=True)
        axes[dim] = pieces[position].reshape(-1)
    return axes
