"""Questions about stored tensors that several rules ask. Torch is imported only when one is asked."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from fanin.checks._base import Evidence
    from fanin.slots import Slot

__all__ = [
    "all_finite",
    "equal_rows",
    "is_finite",
    "largest",
    "mostly_distinct",
    "readable",
    "rows",
    "same",
    "slot_of",
    "trainable",
]

_COLUMNS = 64
"""Columns compared first: random rows that agree in 64 entries agree everywhere but by design."""

_HASH = 0x9E3779B97F4A7C1 | 1
"""An odd multiplier from the golden ratio (Knuth, 1998, The Art of Computer Programming 3, 6.4): spreads the bits."""

_SAMPLE = 4096
"""Entries looked at to say how many values of a tensor are distinct."""


def readable(evidence: Evidence) -> Iterator[tuple[str, torch.Tensor]]:
    """Parameters that hold real floating numbers now: none on meta, none empty, none still lazy, none sparse.

    Types of one byte (float8), which torch cannot compare, come as float32; sharded tensors as a whole.
    """
    import torch
    from torch.nn.parameter import is_lazy

    for name, tensor in evidence.parameters.items():
        lazy = is_lazy(tensor)
        if lazy or tensor.is_meta or tensor.layout != torch.strided or tensor.numel() == 0:
            continue
        if tensor.is_floating_point():
            whole = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
            yield name, (whole.float() if whole.element_size() == 1 else whole).detach()


def trainable(evidence: Evidence) -> set[str]:
    """Names of the parameters that the optimizer may change."""
    return {name for name, parameter in evidence.model.named_parameters() if parameter.requires_grad}


def slot_of(evidence: Evidence, name: str) -> Slot | None:
    """The slot of a parameter, or None where it is not known."""
    if evidence.slots is None:
        return None
    try:
        return evidence.slots[name]
    except KeyError:
        return None


def rows(tensor: torch.Tensor, slot: Slot | None) -> torch.Tensor:
    """The tensor as (maps, units, incoming weights): maps are independent stacked matrices (experts), usually one.

    Without a slot the first axis is taken for the units, as ``nn.Linear`` and ``nn.ConvNd`` store them.
    """
    fans = None if slot is None else slot.fans
    if fans is None or not fans.out_axes or len(fans.out_axes) + len(fans.batch_axes) >= tensor.dim():
        return tensor.reshape(1, tensor.shape[0], -1)
    rest = [a for a in range(tensor.dim()) if a not in fans.out_axes and a not in fans.batch_axes]
    moved = tensor.permute(*fans.batch_axes, *fans.out_axes, *rest)
    maps = _product(tensor.shape[a] for a in fans.batch_axes)
    units = _product(tensor.shape[a] for a in fans.out_axes)
    return moved.reshape(maps, units, -1)


def equal_rows(matrix: torch.Tensor) -> list[list[int]]:
    """Groups of two or more bitwise equal rows of an (n, k) matrix, in order of their first row; zero rows left out.

    Rows are first told apart by a hash of the bits of at most 64 of their entries, then compared in full.
    """
    import torch

    if matrix.shape[0] < 2 or matrix.shape[1] == 0:
        return []
    step = max(1, matrix.shape[1] // _COLUMNS)
    # + 0.0 turns -0.0 into 0.0; integer sums wrap exactly, so equal rows always have equal hashes
    bits = (matrix[:, ::step][:, :_COLUMNS].float() + 0.0).contiguous().view(torch.int32).long()
    odd = torch.arange(1, bits.shape[1] + 1, device=bits.device) * _HASH
    _, label, count = torch.unique((bits * odd).sum(1), return_inverse=True, return_counts=True)
    groups: list[list[int]] = []
    table: dict[int, list[list[int]]] = {}
    for row in torch.nonzero(count[label] > 1).flatten().tolist():
        candidates = table.setdefault(int(label[row]), [])
        home = next((group for group in candidates if torch.equal(matrix[group[0]], matrix[row])), None)
        if home is not None:
            home.append(row)
        elif bool(matrix[row].any()):
            candidates.append([row])
            groups.append(candidates[-1])
    return [group for group in groups if len(group) > 1]


def largest(tensor: torch.Tensor) -> float:
    """Largest magnitude, in one pass; NaN where any entry is NaN."""
    import torch

    if tensor.numel() == 0:
        return 0.0
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    low, high = (float(bound) for bound in torch.aminmax(tensor))
    return max(-low, high) if low == low and high == high else math.nan


def is_finite(tensor: torch.Tensor) -> bool:
    """True where no entry is NaN or infinite."""
    return math.isfinite(largest(tensor.coalesce().values() if tensor.is_sparse else tensor))


def all_finite(evidence: Evidence) -> bool:
    """True where every parameter that holds values holds finite ones."""
    return all(is_finite(tensor) for _, tensor in readable(evidence))


def mostly_distinct(tensor: torch.Tensor) -> bool:
    """True where more than half of (up to 4096 of) the values differ from each other: a draw, not a pattern."""
    import torch

    flat = tensor.reshape(-1)
    sample = flat[:: max(1, flat.numel() // _SAMPLE)][:_SAMPLE]
    return bool(torch.unique(sample).numel() * 2 > sample.numel())


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """True where two tensors hold the same values, in one device, without being one tensor."""
    import torch

    return a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b.to(a.device))


def _product(sizes: Iterator[int]) -> int:
    total = 1
    for size in sizes:
        total *= size
    return total
