"""The tensors in whatever a model returns, and the loss that starts the backward pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812

from fanin.errors import InputError, TraceError
from fanin.trace._record import LossKind

__all__ = ["compute_loss", "cotangent", "tensors_in"]

Loss = Callable[[Any, Any], torch.Tensor]

_IGNORED_CLASS = -100
"""``ignore_index`` of torch's cross-entropy."""


def tensors_in(value: Any) -> Iterator[torch.Tensor]:
    """All tensors in nested tuples, lists, mappings and dataclasses, each once, in order."""
    seen: set[int] = set()
    stack = [value]
    while stack:
        entry = stack.pop()
        if isinstance(entry, torch.Tensor):
            if id(entry) not in seen:
                seen.add(id(entry))
                yield entry
        elif isinstance(entry, Mapping):
            stack.extend(reversed(list(entry.values())))
        elif isinstance(entry, (tuple, list)):
            stack.extend(reversed(entry))
        elif dataclasses.is_dataclass(entry) and not isinstance(entry, type):
            stack.extend(getattr(entry, field.name) for field in reversed(dataclasses.fields(entry)))


def compute_loss(output: Any, target: Any, loss: Loss | None) -> tuple[torch.Tensor | None, LossKind]:
    """The scalar to differentiate and which one it is; None where there is nothing to compare with.

    Raises:
        InputError: if output and target do not fit the default loss, or a loss is no scalar.
        TraceError: if the user's loss raised.
    """
    if loss is not None:
        try:
            value = loss(output, target)
        except Exception as error:
            raise TraceError(f"the loss raised {type(error).__name__}: {error}") from error
        if not isinstance(value, torch.Tensor) or value.numel() != 1 or not value.is_floating_point():
            received = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
            raise InputError.of("loss(output, target)", received, "a floating tensor with one element")
        return value.reshape(()), "custom"
    if target is None:
        own = _own_loss(output)
        return (own, "custom") if own is not None else (None, "cotangent")
    if not isinstance(target, torch.Tensor):
        raise InputError.of("target", type(target).__name__, "a tensor, or pass loss=f(output, target)")
    prediction = _prediction(output)
    if target.is_floating_point():
        return _mse(prediction, target), "mse"
    if target.dtype is torch.bool or target.is_complex():
        raise InputError.of("target", str(target.dtype), "integer classes or floats, or pass loss=f(output, target)")
    return _cross_entropy(prediction, target), "cross_entropy"


def _own_loss(output: Any) -> torch.Tensor | None:
    own = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
    return own.reshape(()) if isinstance(own, torch.Tensor) and own.numel() == 1 else None


def _prediction(output: Any) -> torch.Tensor:
    """The tensor that the target describes: ``logits`` where there are any, else the first floating tensor."""
    if isinstance(output, torch.Tensor):
        return output
    logits = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", None)
    if isinstance(logits, torch.Tensor):
        return logits
    for tensor in tensors_in(output):
        if tensor.is_floating_point():
            return tensor
    raise InputError.of("output of the model", type(output).__name__, "a floating tensor in it, or pass loss=")


def _mse(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    if prediction.shape != target.shape:
        if [s for s in prediction.shape if s != 1] != [s for s in target.shape if s != 1]:
            raise InputError.of(
                "target", tuple(target.shape), f"the shape of the output, {tuple(prediction.shape)}, or pass loss="
            )
        target = target.reshape(prediction.shape)
    return F.mse_loss(prediction.float(), target.to(prediction.device).float())


def _cross_entropy(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    target = target.to(prediction.device).long()
    flat, classes = _class_layout(prediction, target)
    known = target[target != _IGNORED_CLASS]
    if known.numel() and (int(known.min()) < 0 or int(known.max()) >= classes):
        raise InputError.of(
            "target", f"classes {int(known.min())} to {int(known.max())}", f"0 to {classes - 1}, as the output has"
        )
    if flat:
        return F.cross_entropy(prediction.reshape(-1, classes).float(), target.reshape(-1))
    return F.cross_entropy(prediction.float(), target)


def _class_layout(prediction: torch.Tensor, target: torch.Tensor) -> tuple[bool, int]:
    """(classes on the last axis?, their number); a token model's (N, L, C) wins over (N, C, L) where both fit."""
    shape, wanted = tuple(prediction.shape), tuple(target.shape)
    last = len(shape) >= 1 and wanted == shape[:-1]
    second = len(shape) >= 2 and wanted == (shape[0], *shape[2:])
    if last and second and len(shape) > 3:
        last = False
    if (last and shape[-1] > 1) or (second and shape[1] > 1):
        return last, shape[-1] if last else shape[1]
    raise InputError.of(
        "target",
        f"integers of shape {wanted}",
        f"classes for an output of shape {shape}: {shape[:-1]} with at least 2 classes on the last axis, or pass loss=",
    )


def cotangent(outputs: list[torch.Tensor], seed: int) -> list[torch.Tensor]:
    """A random direction of unit length over all entries of ``outputs`` together."""
    generator = torch.Generator().manual_seed(seed)
    draws = [torch.randn(t.shape, generator=generator, dtype=torch.float32) for t in outputs]
    length = sum(float(torch.linalg.vector_norm(d, dtype=torch.float64)) ** 2 for d in draws) ** 0.5
    return [(d / length).to(device=t.device, dtype=t.dtype) for d, t in zip(draws, outputs)]
