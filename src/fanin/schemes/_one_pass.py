"""One forward pass that rescales each weight as its output appears, so that what follows already sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from fanin.errors import FaninError, PlanError, TraceError
from fanin.graph import classify
from fanin.materialize import write
from fanin.recipe import Recipe
from fanin.trace._restore import restoring
from fanin.trace._validate import validate

__all__ = ["Measured", "one_pass"]

_BIASED = ("linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
_ADDING = ("addmm", "baddbmm", "addbmm", "addmv")


@dataclass(frozen=True)
class Measured:
    """What the pass found for one weight.

    Args:
        factors: one factor for each packed part of the tensor, or a single one.
        stds: standard deviation of the output (of each part) before.
    """

    factors: tuple[float, ...]
    stds: tuple[float, ...]


def one_pass(
    model: nn.Module,
    inputs: Any,
    recipe: Recipe,
    seed: int,
    parts: Mapping[str, Sequence[int]],
    goal: Mapping[str, float],
) -> dict[str, Measured]:
    """Write ``recipe``, run the model once and find the factors that give each output its goal; restore everything.

    A weight is rescaled at its first use, and a later use sees it rescaled. Where the op adds a bias, only the weight
    is rescaled, such that the sum has the goal. The output is corrected at once, before anything can write to it.

    Args:
        model: the model, in the mode it shall be measured in.
        inputs: the batch.
        recipe: what the weights start as.
        seed: what they are drawn with.
        parts: weight → sizes of the maps packed along its out axis, for those that are rescaled one by one.
        goal: weight → standard deviation that its output shall have; others are left.

    Returns:
        Weight → what was found, for each that met an op of its own.

    Raises:
        PlanError: if an output is not finite.
        TraceError: if the model raised.
    """
    arguments, keywords = validate(model, inputs, None, None)
    with restoring(model, seed) as guard, torch.no_grad():
        for parameter in model.parameters():
            guard.protect(parameter)
        write(model, recipe, seed)
        mode = _Rescaling(_targets(model, goal), parts, goal)
        try:
            with mode:
                model(*arguments, **keywords)
        except FaninError:
            raise
        except Exception as error:
            raise TraceError(f"the model raised {type(error).__name__}: {error}") from error
    return mode.found


@dataclass(frozen=True)
class _Target:
    name: str
    parameter: torch.Tensor
    start: int
    stop: int


def _targets(model: nn.Module, goal: Mapping[str, float]) -> dict[int, list[_Target]]:
    """Storage → the weights that lie in it."""
    found: dict[int, list[_Target]] = {}
    for name, parameter in model.named_parameters():
        if name in goal:
            start = parameter.data_ptr()
            target = _Target(name, parameter, start, start + parameter.numel() * parameter.element_size())
            found.setdefault(parameter.untyped_storage().data_ptr(), []).append(target)
    return found


class _Rescaling(TorchFunctionMode):
    def __init__(
        self, targets: dict[int, list[_Target]], parts: Mapping[str, Sequence[int]], goal: Mapping[str, float]
    ) -> None:
        super().__init__()
        self.targets, self.parts, self.goal = targets, parts, goal
        self.found: dict[str, Measured] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        keywords = kwargs or {}
        if func is nn.functional.multi_head_attention_forward:
            return self._descend(func, args, keywords)
        result = func(*args, **keywords)
        op, kind = classify(getattr(func, "__name__", ""), getattr(func, "__module__", None) or "")
        if kind not in ("linear", "matmul") or not isinstance(result, torch.Tensor) or not result.is_floating_point():
            return result
        target = self._target(op, args, keywords)
        if target is None or target.name in self.found:
            return result
        return self._rescale(target, result, _bias(op, args, keywords, result))

    def _descend(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the Python body of multi-head attention under this mode instead of treating it as one function."""
        functional = nn.functional
        original = functional.has_torch_function  # type: ignore[attr-defined]
        functional.has_torch_function = lambda _: False  # type: ignore[attr-defined]
        try:
            with self:
                return func(*args, **kwargs)
        finally:
            functional.has_torch_function = original  # type: ignore[attr-defined]

    def _target(self, op: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Target | None:
        """The weight that an op multiplies by, whatever view of it was passed."""
        for tensor in _tensors((*args, *kwargs.values())):
            if tensor.layout is torch.strided:
                for target in self.targets.get(tensor.untyped_storage().data_ptr(), ()):
                    if target.start <= tensor.data_ptr() < target.stop:
                        return target
        return None

    def _rescale(self, target: _Target, output: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        sizes = list(self.parts.get(target.name, ()))
        whole = len(sizes) < 2 or sum(sizes) != output.shape[-1] or output.shape[-1] != target.parameter.shape[0]
        outputs = [output] if whole else list(output.split(sizes, -1))
        weights = [target.parameter] if whole else list(target.parameter.split(sizes, 0))
        biases: Sequence[torch.Tensor | None] = [bias] * len(outputs)
        if bias is not None and not whole:
            biases = bias.expand_as(output).split(sizes, -1)
        factors, stds = [], []
        for values, weight, shift in zip(outputs, weights, biases, strict=True):
            factor, std = _factor(target.name, values, shift, self.goal[target.name])
            weight.mul_(factor)
            if shift is not None:
                values.sub_(shift).mul_(factor).add_(shift)
            else:
                values.mul_(factor)
            factors.append(factor)
            stds.append(std)
        self.found[target.name] = Measured(tuple(factors), tuple(stds))
        return output


def _tensors(values: Sequence[Any]) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (tuple, list)):
            yield from _tensors(value)


def _bias(op: str, args: tuple[Any, ...], kwargs: dict[str, Any], output: torch.Tensor) -> torch.Tensor | None:
    """What the op added, shaped to be subtracted from its output; None where it added nothing."""
    bias = None
    if op in _BIASED:
        bias = kwargs.get("bias", args[2] if len(args) > 2 else None)
    elif op in _ADDING and args:
        bias = args[0]
    if not isinstance(bias, torch.Tensor) or not bool(bias.any()):
        return None
    if op.startswith("conv"):
        window = int(op[-2])
        return bias.reshape(-1, *[1] * window)
    return bias


def _factor(name: str, output: torch.Tensor, bias: torch.Tensor | None, goal: float) -> tuple[float, float]:
    """f with Std(f·(y − b) + b) = goal, and Std y; 1 where the output does not vary or the bias alone varies more."""
    wide = output.double() if output.dtype is torch.float64 else output.float()
    variance = float(wide.var(correction=0)) if wide.numel() else 0.0
    if variance != variance or variance == float("inf"):
        raise PlanError(f"the output of {name} is not finite on this batch; it cannot be measured.")
    if bias is None:
        return (goal / variance**0.5 if variance > 0 else 1.0), variance**0.5
    shift = bias.expand_as(wide).to(wide.dtype)
    part = wide - shift
    a, b = float(part.var(correction=0)), float(shift.var(correction=0))
    c = (variance - a - b) / 2  # covariance of the two terms
    root = c * c + a * (goal**2 - b)
    factor = (root**0.5 - c) / a if a > 0 and root >= 0 else 1.0
    return (factor if factor > 0 else 1.0), variance**0.5
