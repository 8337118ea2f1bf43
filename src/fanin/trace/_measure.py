"""Gauge: takes the statistics of outputs and of their gradients, each tensor's memory once."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch

from fanin.graph import saturation_bounds
from fanin.trace._arguments import words
from fanin.trace._attention import fused_entropy, softmax_entropy
from fanin.trace._gates import Gate, gates
from fanin.trace._provenance import Origin, storage_id
from fanin.trace._stats import BatchAxis, Stats, measure, measure_sample

if TYPE_CHECKING:
    from fanin.trace._recorder import Draft

__all__ = ["Gauge", "units"]

_RELU_LIKE = frozenset(("relu", "relu6", "threshold", "relu_squared", "hardtanh", "clamp"))

_SAME_VALUES = words(
    """
    view reshape flatten unflatten permute transpose t adjoint movedim squeeze unsqueeze expand contiguous clone detach
    repeat tile flip roll rot90 pixel_shuffle pixel_unshuffle channel_shuffle view_as_real
    """
)
"""Ops whose output holds the values of its input equally often."""


@dataclass
class Gauge:
    """Statistics by node id, forward and backward."""

    forward: dict[int, Stats] = field(default_factory=dict)
    backward: dict[int, Stats] = field(default_factory=dict)
    entropy: dict[int, float] = field(default_factory=dict)
    _last: list[tuple[weakref.ref[torch.Tensor], int, int, BatchAxis | None, Stats]] = field(default_factory=list)

    def moments(self, tensor: torch.Tensor, op: str) -> dict[str, list[float]]:
        """Mean and second moment of what was computed from parameters alone, if its values are not just theirs."""
        if op in _SAME_VALUES or not _measurable(tensor):
            return {}
        stats = measure(tensor.detach())
        known = stats.count > 0 and stats.nonfinite_fraction == 0
        return {"moments": [stats.mean, stats.second_moment]} if known else {}

    def watch(
        self,
        tensor: torch.Tensor,
        draft: Draft,
        batch: BatchAxis | None,
        source: Origin | None,
        unit_axis: int | None,
        *,
        estimate: bool = False,
    ) -> Stats | None:
        """Measure the output of a node; views and masked copies take over what is known of their input."""
        if not _measurable(tensor) or (draft.kind == "input" and draft.attrs.get("source") != "argument"):
            return None
        known = source.stats if source is not None else None
        stats: Stats | None
        if known is not None and (draft.op in _SAME_VALUES or draft.attrs.get("masked")):
            stats = replace(known, count=tensor.numel(), saturated_fraction=None, dead_fraction=None)
        elif draft.kind == "shape":
            with _plain_arithmetic(tensor):
                stats = measure_sample(tensor)
        else:
            with _plain_arithmetic(tensor):
                stats = measure(tensor, batch, saturation_bounds(draft.op, draft.attrs), _unit_axis(draft, unit_axis))
        self.forward[draft.id] = replace(stats, exact=False) if estimate else stats
        return stats

    def gates(
        self, op: str, tensors: dict[str, torch.Tensor], states: list[torch.Tensor], attrs: dict[str, Any]
    ) -> list[Gate]:
        """Gate values inside a recurrent call."""
        with _plain_arithmetic(tensors["input"]):
            return gates(op, tensors, states, attrs)

    def watch_softmax(self, tensor: torch.Tensor, draft: Draft, masked: bool) -> None:
        """Entropy of the rows of an attention softmax."""
        with _plain_arithmetic(tensor):
            value = softmax_entropy(tensor.detach(), int(draft.attrs.get("dim", -1)), masked)
        if value is not None:
            self.entropy[draft.id] = value

    def watch_fused(self, draft: Draft, arguments: dict[str, Any]) -> None:
        """Entropy of the rows inside a fused attention call."""
        with _plain_arithmetic(arguments["query"]):
            value = fused_entropy(arguments, draft.attrs)
        if value is not None:
            self.entropy[draft.id] = value

    def watch_gradient(self, tensor: torch.Tensor, node: int, batch: BatchAxis | None) -> None:
        """Measure the gradient at a tensor when the backward pass gets there."""
        if not _measurable(tensor):
            return

        def hook(grad: torch.Tensor | None) -> None:
            if grad is not None and _measurable(grad):  # some ops hand on "no gradient" instead of zeros
                self.backward[node] = self._gradient(grad, batch)

        tensor.register_hook(hook)

    def _gradient(self, grad: torch.Tensor, batch: BatchAxis | None) -> Stats:
        """Adds and views hand on the memory they received: what was measured there holds here."""
        storage, numel = storage_id(grad), grad.numel()
        for kept, version, kept_storage, kept_batch, stats in self._last:
            same = kept_storage == storage and kept() is not None and version == grad._version
            if same and stats.count == numel and (kept_batch is None) == (batch is None):
                return stats
        with _plain_arithmetic(grad):
            stats = measure(grad, batch)
        if storage is not None:
            self._last = [(weakref.ref(grad), grad._version, storage, batch, stats), *self._last[:3]]
        return stats


def _measurable(tensor: torch.Tensor) -> bool:
    return (
        tensor.layout is torch.strided
        and (tensor.is_floating_point() or tensor.is_complex())
        and not tensor.is_quantized
        and not tensor.is_nested
        and tensor.device.type != "meta"
        and tensor.numel() > 0
    )


class _plain_arithmetic:  # noqa: N801
    """No gradient and no autocast; the latter is left alone where it is off, for it costs."""

    def __init__(self, tensor: torch.Tensor) -> None:
        kind = tensor.device.type
        self.no_grad = torch.no_grad()
        self.autocast = torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else None

    def __enter__(self) -> None:
        self.no_grad.__enter__()
        if self.autocast is not None:
            self.autocast.__enter__()

    def __exit__(self, *error: Any) -> None:
        if self.autocast is not None:
            self.autocast.__exit__(*error)
        self.no_grad.__exit__(*error)


_CHANNELS_FIRST = frozenset(("batch_norm", "instance_norm", "group_norm"))


def units(draft: Draft, source: Origin | None) -> int | None:
    """Axis of the channels or features of an output: that of the last linear map before it."""
    if draft.op.startswith("conv") or draft.op in _CHANNELS_FIRST:
        return 1
    if draft.kind in ("linear", "embedding", "matmul", "attention", "recurrent"):
        return -1
    if source is None or draft.kind == "shape":
        return 1 if len(draft.shape) > 3 else -1
    return source.units


def _unit_axis(draft: Draft, axis: int | None) -> int | None:
    """Only where exact zeros mean a dead unit."""
    return axis if draft.op in _RELU_LIKE and len(draft.shape) >= 2 else None
