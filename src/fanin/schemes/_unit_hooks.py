"""Scaled ops of unit scaling: hooks that multiply what a map returns, and its gradients, by other factors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.overrides import handle_torch_function, has_torch_function_unary

from fanin.errors import InputError

__all__ = ["ScaleInput", "ScaleOutput", "multiply"]


class _Scale(torch.autograd.Function):
    """x → forward·x with a gradient that is multiplied by ``backward`` instead."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: torch.Tensor, forward: float, backward: float) -> torch.Tensor:
        return x.view_as(x) if forward == 1 else x * forward

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.factor = inputs[2]

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0] * ctx.factor, None, None


def multiply(x: torch.Tensor, other: float, *, gradient: float) -> torch.Tensor:
    """x·other, whose gradient is multiplied by ``gradient``; a product to whoever watches torch functions."""
    if has_torch_function_unary(x):
        watched: torch.Tensor = handle_torch_function(multiply, (x,), x, other, gradient=gradient)
        return watched
    scaled: torch.Tensor = _Scale.apply(x, other, gradient)  # type: ignore[no-untyped-call]
    return scaled


@dataclass(frozen=True)
class _Scaling:
    """Factors of one map.

    Args:
        output: factor of what it returns.
        input_gradient: factor of the gradient of what it reads.
        weight_gradient: factor of the gradients of its parameters, times 1/√positions.
        features: channels of what it reads.
        stride: input positions for each position that a weight's gradient sums over.
    """

    output: float
    input_gradient: float
    weight_gradient: float
    features: int
    stride: int = 1

    def weights(self, args: tuple[Any, ...], module: nn.Module) -> float:
        """Factor of the weight's gradient for this batch."""
        if not args or not isinstance(args[0], torch.Tensor):
            raise InputError.of("inputs", [], "the input as the first positional argument", type(module).__name__)
        positions = max(args[0].numel() / self.features / self.stride, 1.0)
        return self.weight_gradient / math.sqrt(positions)


@dataclass(frozen=True)
class ScaleOutput(_Scaling):
    """A forward hook: the output times its factor; all that flows back times the factor of the weight's gradient."""

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        """See :func:`torch.nn.Module.register_forward_hook`."""
        return multiply(output, self.output, gradient=self.weights(args, module))


@dataclass(frozen=True)
class ScaleInput(_Scaling):
    """A forward pre-hook: the gradient of the input gets its own factor, in place of that of the weight."""

    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> Any:
        """See :func:`torch.nn.Module.register_forward_pre_hook`."""
        factor = self.input_gradient / self.weights(args, module)
        return (multiply(args[0], 1.0, gradient=factor), *args[1:])
