"""Everything that can be refused before anything is run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from fanin.errors import InputError
from fanin.trace._loss import tensors_in

__all__ = ["validate"]


def validate(model: Any, inputs: Any, target: Any, loss: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments for the model.

    Raises:
        InputError: naming what cannot be used.
    """
    if not isinstance(model, nn.Module):
        raise InputError.of("model", type(model).__name__, "a torch.nn.Module")
    if loss is not None and not callable(loss):
        raise InputError.of("loss", type(loss).__name__, "a callable loss(output, target) or None")
    for name, parameter in [*model.named_parameters(), *model.named_buffers()]:
        if isinstance(parameter, (UninitializedParameter, UninitializedBuffer)):
            raise InputError.of(name, "a lazy tensor without shape", "a model that has been run once", "the model")
        if _has_no_values(parameter):
            raise InputError.of(name, _described(parameter), "real values: fanin.materialize(model, recipe)")
    if isinstance(inputs, torch.Tensor):
        arguments: tuple[Any, ...] = (inputs,)
        keywords: dict[str, Any] = {}
    elif isinstance(inputs, Mapping):
        arguments, keywords = (), {str(name): value for name, value in inputs.items()}
    elif isinstance(inputs, (tuple, list)):
        arguments, keywords = tuple(inputs), {}
    else:
        raise InputError.of(
            "inputs", type(inputs).__name__, "a tensor, a tuple of positional arguments or a dict of keyword arguments"
        )
    _check_tensors(model, arguments, keywords)
    return arguments, keywords


def _has_no_values(tensor: torch.Tensor) -> bool:
    return tensor.is_meta or type(tensor).__name__ == "FakeTensor"


def _described(tensor: torch.Tensor) -> str:
    return f"a {'meta' if tensor.is_meta else 'fake'} tensor of shape {tuple(tensor.shape)}"


def _check_tensors(model: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
    devices = {p.device.type for p in model.parameters()}
    for tensor in tensors_in([*arguments, *keywords.values()]):
        if _has_no_values(tensor):
            raise InputError.of("inputs", _described(tensor), "real values")
        if tensor.layout is torch.strided and tensor.dim() > 0 and tensor.numel() == 0:
            raise InputError.of("inputs", f"an empty tensor of shape {tuple(tensor.shape)}", "a batch of at least one")
        if len(devices) == 1 and tensor.dim() > 0 and tensor.device.type not in devices:
            raise InputError.of("inputs", f"a tensor on {tensor.device}", f"the model's device, {devices.pop()}")
