"""Which op made a tensor, or which parameter it shows: by identity, and by storage for views of parameters."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch

from fanin.trace._stats import BatchAxis, Stats

__all__ = ["Origin", "Source", "Table", "match_axes", "shape_of", "storage_id", "version_of"]


@dataclass(frozen=True)
class Source:
    """A parameter behind a tensor: its canonical name and, per axis of the tensor, the stored axis it is."""

    name: str
    axes: tuple[int | None, ...]
    rank: int


@dataclass
class Origin:
    """Where one tensor comes from.

    Args:
        node: graph node whose output it is; None for parameters and constants.
        sources: parameters it shows or was computed from without any data.
        derived: node that computed it from parameters alone.
        lookup: True for rows picked from a parameter by data: a signal, and a weight when it is multiplied.
        batch: where its samples lie.
        stats: forward statistics, shared by views.
        hooked: whether its gradient is being measured.
        number: value of a constant with one element.
        name: name of a buffer.
        units: axis of its channels or features: 1 after a convolution, -1 after a matrix product.
    """

    node: int | None = None
    sources: tuple[Source, ...] = ()
    derived: int | None = None
    lookup: bool = False
    batch: BatchAxis | None = None
    stats: Stats | None = None
    hooked: bool = False
    number: float | None = None
    name: str = ""
    units: int | None = None


@dataclass
class _Entry:
    tensor: weakref.ref[torch.Tensor]
    origin: Origin
    version: int


def shape_of(tensor: torch.Tensor) -> tuple[int, ...]:
    """The shape; of a nested tensor that of the smallest box around its parts."""
    if not tensor.is_nested:
        return tuple(tensor.shape)
    parts = [tuple(part.shape) for part in tensor.unbind()]
    return (len(parts), *(max(sizes) for sizes in zip(*parts)))


def storage_id(tensor: torch.Tensor) -> int | None:
    """Address of the storage object behind a tensor; None for those without one (sparse, meta wrappers)."""
    if tensor.layout is not torch.strided:
        return None
    return int(tensor.untyped_storage()._cdata)


def version_of(tensor: torch.Tensor) -> int:
    """Count of in-place writes; 0 for inference tensors, which keep none."""
    return 0 if tensor.is_inference() else int(tensor._version)


def match_axes(
    shape: Sequence[int], strides: Sequence[int], base_shape: Sequence[int], base_strides: Sequence[int]
) -> tuple[int | None, ...]:
    """For each axis of a view the axis of its base that it walks; None where axes were merged, split or repeated.

    Example:
        >>> match_axes((4, 3), (1, 4), (3, 4), (4, 1))
        (1, 0)
        >>> match_axes((12,), (1,), (3, 4), (4, 1))
        (None,)
    """
    found: list[int | None] = [None] * len(shape)
    free = list(range(len(base_shape)))
    for exact in (True, False):
        for axis, (size, stride) in enumerate(zip(shape, strides)):
            if found[axis] is not None or size == 1 or stride == 0:
                continue
            for base in free:
                fits = base_shape[base] == size if exact else base_shape[base] > size
                if fits and base_strides[base] == stride:
                    found[axis] = base
                    free.remove(base)
                    break
    # A part of an axis beside another stride inside the same axis: the axis was split, not sliced.
    for axis, held in enumerate(found):
        if held is None or base_shape[held] == shape[axis]:
            continue
        step, whole = base_strides[held], base_strides[held] * base_shape[held]
        if any(found[k] is None and shape[k] > 1 and step < strides[k] < whole for k in range(len(shape))):
            found[axis] = None
    for axis, size in enumerate(shape):  # axes of size 1 carry no stride: they match in order
        if size == 1 and found[axis] is None:
            ones = [base for base in free if base_shape[base] == 1]
            if ones:
                found[axis] = ones[0]
                free.remove(ones[0])
    return tuple(found)


@dataclass
class Table:
    """Tensors that are alive → their origins; holds none of them alive."""

    entries: dict[int, _Entry] = field(default_factory=dict)
    params: dict[int, tuple[str, torch.Tensor]] = field(default_factory=dict)
    param_storages: dict[int, list[tuple[str, torch.Tensor]]] = field(default_factory=dict)
    writes: dict[int, Origin] = field(default_factory=dict)

    def add_parameters(self, named: Iterable[tuple[str, torch.Tensor]]) -> None:
        """Register parameters under their canonical names; further names of the same tensor are ignored."""
        for name, parameter in named:
            if id(parameter) in self.params:
                continue
            self.params[id(parameter)] = (name, parameter)
            storage = storage_id(parameter)
            if storage is not None:
                self.param_storages.setdefault(storage, []).append((name, parameter))

    def set(self, tensor: torch.Tensor, origin: Origin) -> None:
        """Remember where a tensor comes from."""
        self.entries[id(tensor)] = _Entry(weakref.ref(tensor), origin, version_of(tensor))

    def wrote(self, tensor: torch.Tensor, origin: Origin) -> None:
        """Remember an in-place write: whatever shares the storage shows it."""
        self.set(tensor, origin)
        storage = storage_id(tensor)
        if storage is not None:
            self.writes[storage] = origin

    def get(self, tensor: torch.Tensor) -> Origin | None:
        """The origin of a tensor; None for one that was never seen."""
        if id(tensor) in self.params:
            name, parameter = self.params[id(tensor)]
            if parameter is tensor:
                return Origin(sources=(Source(name, tuple(range(tensor.dim())), tensor.dim()),))
        entry = self.entries.get(id(tensor))
        if entry is not None and entry.tensor() is tensor:
            if entry.version == version_of(tensor) or not self.writes:
                return entry.origin
            storage = storage_id(tensor)
            origin = self.writes.get(storage, entry.origin) if storage is not None else entry.origin
            if origin.node is not None and (entry.origin.node is None or origin.node > entry.origin.node):
                entry.origin = Origin(node=origin.node, batch=entry.origin.batch, hooked=True)
            entry.version = version_of(tensor)
            return entry.origin
        return self._by_storage(tensor)

    def is_parameter(self, tensor: torch.Tensor) -> bool:
        """Whether it shows a parameter's own memory."""
        storage = storage_id(tensor)
        return storage is not None and storage in self.param_storages

    def _by_storage(self, tensor: torch.Tensor) -> Origin | None:
        storage = storage_id(tensor)
        if storage is None:
            return None
        candidates = self.param_storages.get(storage)
        if candidates:
            name, parameter = _covering(candidates, tensor)
            axes = match_axes(tensor.shape, tensor.stride(), parameter.shape, parameter.stride())
            return Origin(sources=(Source(name, axes, parameter.dim()),))
        return self.writes.get(storage)


def _covering(candidates: list[tuple[str, torch.Tensor]], tensor: torch.Tensor) -> tuple[str, torch.Tensor]:
    """Of several parameters in one storage the one whose range holds the first element of ``tensor``."""
    start = tensor.storage_offset()
    for name, parameter in candidates:
        first = parameter.storage_offset()
        if first <= start < first + max(1, parameter.numel()):
            return name, parameter
    return candidates[0]
