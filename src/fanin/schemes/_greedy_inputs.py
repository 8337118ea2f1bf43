"""The samples that a layer is trained on, and its inputs: the real model run up to the op, with the weights so far."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from fanin.data import Dataset
from fanin.data._factory import iterate
from fanin.errors import DataError, FaninError, InputError, PlanError, TraceError
from fanin.graph import classify
from fanin.trace._validate import validate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fanin.schemes._greedy_chain import Layer

__all__ = ["Inputs", "Samples", "prepare", "samples"]

_CHUNK = 1000
"""Samples per run of the model."""

_HELD = 1 << 29
"""Bytes of inputs that are kept; larger ones are computed again for each mini-batch."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Everything the model is run on.

    Args:
        arguments: positional arguments; tensors whose first axis counts samples, and what is passed on as it is.
        keywords: the same for keyword arguments.
        count: number of samples.
    """

    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    count: int

    def pick(self, index: torch.Tensor) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of some of the samples."""

        def cut(value: Any) -> Any:
            return value[index.to(value.device)] if self._counted(value) else value

        return tuple(map(cut, self.arguments)), {name: cut(value) for name, value in self.keywords.items()}

    def _counted(self, value: Any) -> bool:
        return isinstance(value, torch.Tensor) and value.dim() > 0 and len(value) == self.count

    @property
    def digest(self) -> str:
        """Hash of names, types, shapes and values."""
        found = hashlib.blake2b(digest_size=16)
        for name, value in [*enumerate(self.arguments), *sorted(self.keywords.items())]:
            found.update(f"{name} {_described(value)};".encode())
            if isinstance(value, torch.Tensor) and value.numel():
                found.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return found.hexdigest()


def _described(value: Any) -> str:
    return f"{value.dtype} {tuple(value.shape)}" if isinstance(value, torch.Tensor) else repr(value)


def samples(model: nn.Module, inputs: Any, data: Any, owner: str) -> Samples:
    """The training inputs given as ``data``, else the batch.

    Args:
        model: the model.
        inputs: the batch that was given for the plan.
        data: None; a tensor or array; a Dataset (its training part); a tuple (x, y) of arrays; a mapping of keyword
            arguments; or an iterable of batches, each x, (x, y) or a mapping.
        owner: named in errors.

    Raises:
        InputError: if data are of another kind, or a sample has another shape than those of the batch.
        DataError: if there is no sample.
    """
    given = _tree(inputs if data is None else data, data is not None, owner)
    arguments, keywords = validate(model, inputs, None, None)
    pattern = next(_tensors((arguments, keywords)), None)
    given = _like(given, pattern)
    found = next(_tensors(given), None)
    if pattern is None or pattern.dim() == 0 or found is None or found.dim() == 0:
        raise InputError.of("inputs" if data is None else "data", type(inputs).__name__, "tensors of samples", owner)
    if found.shape[1:] != pattern.shape[1:]:
        text = f"samples of shape {tuple(found.shape[1:])}"
        raise InputError.of("data", text, f"{tuple(pattern.shape[1:])}, as in the batch of inputs", owner)
    if not len(found):
        raise DataError(f"data of {owner}: there is no sample.")
    return Samples(*given, len(found))


def _tree(data: Any, mine: bool, owner: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments."""
    if isinstance(data, Dataset):
        data = data.train_x
    if _is_array(data):
        return (_tensor(data),), {}
    if isinstance(data, Mapping):
        return (), {str(name): _tensor(value) for name, value in data.items()}
    if isinstance(data, (tuple, list)) and not mine:
        return tuple(data), {}
    if isinstance(data, tuple) and len(data) == 2 and all(map(_is_array, data)):
        return (_tensor(data[0]),), {}
    if isinstance(data, str) or not hasattr(data, "__iter__"):
        accepted = "an array or tensor, a Dataset, (x, y), a mapping of keyword arguments, or an iterable of batches"
        raise InputError.of("data", type(data).__name__, accepted, owner)
    return _joined(data, owner)


def _joined(data: Any, owner: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    parts: dict[str, list[torch.Tensor]] = {}
    named = False
    for batch in data if isinstance(data, (tuple, list)) else iterate(data, f"data of {owner}"):
        named = isinstance(batch, Mapping)
        x = batch[0] if isinstance(batch, (tuple, list)) and batch else batch
        for name, value in (batch if named else {"": x}).items():
            if not _is_array(value):
                raise DataError(f"data of {owner}: a batch holds {type(value).__name__}; expected arrays or tensors.")
            parts.setdefault(str(name), []).append(_tensor(value))
    if not parts:
        raise DataError(f"data of {owner}: there is no sample.")
    try:
        whole = {name: torch.cat(values) for name, values in parts.items()}
    except RuntimeError as error:
        raise DataError(f"data of {owner}: its batches do not fit together ({error}).") from error
    return ((), whole) if named else ((whole[""],), {})


def _is_array(value: Any) -> bool:
    return isinstance(value, (torch.Tensor, np.ndarray))


def _tensor(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.array(value, order="C"))
    return value.detach() if isinstance(value, torch.Tensor) else value


def _tensors(tree: Any) -> Iterator[torch.Tensor]:
    for part in tree.values() if isinstance(tree, dict) else tree:
        if isinstance(part, torch.Tensor):
            yield part
        elif isinstance(part, (tuple, dict)):
            yield from _tensors(part)


def _like(
    given: tuple[tuple[Any, ...], dict[str, Any]], pattern: torch.Tensor | None
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Floats in the dtype of the batch: arrays come in float64, models in float32."""

    def fit(value: Any) -> Any:
        both = isinstance(value, torch.Tensor) and value.is_floating_point()
        return value.to(pattern.dtype) if both and pattern is not None and pattern.is_floating_point() else value

    arguments, keywords = given
    return tuple(map(fit, arguments)), {name: fit(value) for name, value in keywords.items()}


def prepare(model: nn.Module) -> None:
    """Modes in which inputs are measured: no dropout; batch norms in training use the statistics of the data."""
    training = {module for module in model.modules() if module.training}
    model.eval()
    for module in model.modules():
        module.training = module in training and "running_mean" in module.__dict__.get("_buffers", {})


class Inputs:
    """What one layer sees of each sample.

    Args:
        model: the model, prepared, with the weights found so far.
        layer: the layer.
        weight: its parameter.
        given: all samples.
        dtype: of the values.
    """

    def __init__(
        self, model: nn.Module, layer: Layer, weight: torch.Tensor, given: Samples, dtype: torch.dtype
    ) -> None:
        self.model, self.layer, self.weight, self.given, self.dtype = model, layer, weight, given, dtype
        self.held: torch.Tensor | None = None
        first = self._run(next(self.chunks()))
        if first.element_size() * first.numel() / len(first) * given.count <= _HELD:
            self.held = torch.cat([self._run(index) for index in self.chunks()])

    @property
    def count(self) -> int:
        """Number of samples."""
        return self.given.count

    def chunks(self) -> Iterator[torch.Tensor]:
        """Indices of all samples in parts of about the same size: a last part of one sample would have no variance."""
        yield from torch.arange(self.count).tensor_split(math.ceil(self.count / _CHUNK))

    def __getitem__(self, index: torch.Tensor) -> torch.Tensor:
        if self.held is None:
            return self._run(index)
        return self.held[index.to(self.held.device)]

    def _run(self, index: torch.Tensor) -> torch.Tensor:
        arguments, keywords = self.given.pick(index)
        device = self.weight.device
        arguments = tuple(v.to(device) if isinstance(v, torch.Tensor) else v for v in arguments)
        keywords = {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in keywords.items()}
        mode = _UpTo(self.layer, self.weight)
        try:
            with torch.no_grad(), mode:
                self.model(*arguments, **keywords)
        except _Reached:
            assert mode.found is not None
            return mode.found.to(self.dtype)
        except FaninError:
            raise
        except Exception as error:
            raise TraceError(f"the model raised {type(error).__name__}: {error}") from error
        raise PlanError(f"{self.layer.name}: {self.layer.node.op} at {self.layer.node.place} was not met in eval mode.")


class _Reached(BaseException):
    """The op was met; the rest of the forward pass is of no interest. No model can swallow it as an Exception."""


class _UpTo(TorchFunctionMode):
    """Keeps the input of the op that multiplies by one weight, then ends the forward pass."""

    def __init__(self, layer: Layer, weight: torch.Tensor) -> None:
        super().__init__()
        self.operand, self.storage = layer.operand, weight.untyped_storage().data_ptr()
        self.start, self.stop = weight.data_ptr(), weight.data_ptr() + weight.numel() * weight.element_size()
        self.found: torch.Tensor | None = None

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        keywords = kwargs or {}
        _, kind = classify(getattr(func, "__name__", ""), getattr(func, "__module__", None) or "")
        if kind in ("linear", "matmul") and any(map(self._is_weight, (*args, *keywords.values()))):
            positional = self.operand < len(args)
            value = args[self.operand] if positional else keywords.get("input", keywords.get("mat1"))
            assert isinstance(value, torch.Tensor)
            self.found = value.detach().clone()
            raise _Reached
        return func(*args, **keywords)

    def _is_weight(self, value: Any) -> bool:
        if not isinstance(value, torch.Tensor) or value.layout is not torch.strided:
            return False
        here = value.untyped_storage().data_ptr() == self.storage
        return here and self.start <= value.data_ptr() < self.stop
