"""Pairs of overlapping mini-batches, from one batch or from a loader."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils._pytree import tree_map

from fanin.data import Batch
from fanin.errors import InputError, PlanError
from fanin.trace._run import _batch_axis
from fanin.trace._stats import BatchAxis

if TYPE_CHECKING:
    from torch import nn

__all__ = ["overlapping"]

Pair = tuple[Batch, Batch]


def overlapping(
    model: nn.Module, inputs: Any, target: Any, batches: Iterable[Any] | None, size: int, seed: int
) -> Iterator[Pair]:
    """Endless pairs (S, S̃) that share half of their samples.

    Args:
        model: it may say that the samples lie on axis 1 (``batch_first=False``).
        inputs: the one batch that is shuffled and cut, where ``batches`` is None.
        target: its targets.
        batches: (x, y) one after another, from the start again after the last; the first two thirds of each are S, the
            last two thirds S̃.
        size: samples of S at most, where one batch is cut.
        seed: order of the samples.

    Raises:
        InputError: if an entry of ``batches`` is no pair.
        PlanError: if ``batches`` yields nothing.
    """
    if batches is None:
        yield from _cut(model, inputs, target, size, seed)
        return
    while True:
        empty = True
        for entry in batches:
            empty = False
            if not isinstance(entry, (tuple, list)) or len(entry) != 2:
                raise InputError.of("batches", f"an entry of {type(entry).__name__}", "(x, y), as a DataLoader yields")
            x, y = entry
            yield _thirds(model, tuple(x) if isinstance(x, list) else x, y)
        if empty:
            raise PlanError("batches: it has no batch (left); expected an iterable that can be run through again.")


def _cut(model: nn.Module, inputs: Any, target: Any, size: int, seed: int) -> Iterator[Pair]:
    axis = _axis(model, inputs, target)
    if axis is None:
        while True:
            yield Batch(inputs, target), Batch(inputs, target)
    group = min(axis.size, 3 * max(1, size // 2))
    order = np.random.default_rng(seed)
    while True:
        permutation = torch.from_numpy(order.permutation(axis.size))
        for start in range(0, axis.size - group + 1, group):
            part = _taken(inputs, target, axis, permutation[start : start + group])
            yield _thirds(model, part.inputs, part.target)


def _thirds(model: nn.Module, inputs: Any, target: Any) -> Pair:
    axis = _axis(model, inputs, target)
    third = axis.size // 3 if axis is not None else 0
    if axis is None or third == 0:
        return Batch(inputs, target), Batch(inputs, target)
    index = torch.arange(axis.size)
    return _taken(inputs, target, axis, index[: 2 * third]), _taken(inputs, target, axis, index[third:])


def _axis(model: nn.Module, inputs: Any, target: Any) -> BatchAxis | None:
    if isinstance(inputs, Mapping):
        return _batch_axis(model, (), dict(inputs), target)
    return _batch_axis(model, tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,), {}, target)


def _taken(inputs: Any, target: Any, batch: BatchAxis, index: torch.Tensor) -> Batch:
    """These samples of every tensor that has the axis of samples; others, such as positions, whole."""

    def take(value: Any, first: bool = False) -> Any:
        if not isinstance(value, torch.Tensor) or value.dim() == 0:
            return value
        if value.dim() > batch.axis and value.shape[batch.axis] == batch.size:
            return value.index_select(batch.axis, index.to(value.device))
        if first and value.shape[0] == batch.size:
            return value.index_select(0, index.to(value.device))
        return value

    return Batch(tree_map(take, inputs), tree_map(lambda value: take(value, first=True), target))
