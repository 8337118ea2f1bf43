"""Ops over a stack of models, written for what costs most when the models are small."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

__all__ = ["layered", "stacked_cross_entropy", "stacked_squared_error"]

_ELEMENTWISE = (
    *(nn.Identity, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Sigmoid, nn.Tanh, nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish, nn.LogSigmoid, nn.Softplus, nn.Softsign),
    *(nn.Tanhshrink, nn.Softshrink, nn.Hardshrink, nn.Threshold),
)
"""Modules that treat every value alike, whatever axes there are."""


class _Linear(torch.autograd.Function):
    """(runs, …, in) times (runs, out, in) plus (runs, out); the weight's gradient is laid out as the weight is."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        rows = x.reshape(x.shape[0], -1, x.shape[-1])
        ctx.save_for_backward(rows, weight)
        ctx.shape, ctx.biased = x.shape, bias is not None
        transposed = weight.transpose(1, 2)
        out = torch.bmm(rows, transposed) if bias is None else torch.baddbmm(bias.unsqueeze(1), rows, transposed)
        return out.reshape(*x.shape[:-1], weight.shape[1])

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, weight = ctx.saved_tensors
        grad = grads[0].reshape(*rows.shape[:2], -1)
        to_x = torch.bmm(grad, weight).reshape(ctx.shape) if ctx.needs_input_grad[0] else None
        to_weight = torch.bmm(grad.transpose(1, 2), rows) if ctx.needs_input_grad[1] else None
        to_bias = grad.sum(1) if ctx.biased and ctx.needs_input_grad[2] else None
        return to_x, to_weight, to_bias


def layered(model: nn.Module) -> Callable[[Mapping[str, torch.Tensor], torch.Tensor], torch.Tensor] | None:
    """A forward pass of the whole stack for a plain sequence of linear and elementwise layers, else None.

    Such a network needs no ``vmap``, whose bookkeeping costs as much as the arithmetic of small layers.

    Args:
        model: one of the stacked models.

    Returns:
        ``forward(stacked values by name, x of shape (runs, samples, …))``, or None for any other model.
    """
    steps: list[tuple[str, nn.Module]] = []
    for name, module in model.named_modules(remove_duplicate=False):
        kind = type(module)
        if _hooked(module) or not (kind in (nn.Sequential, nn.Linear, nn.Flatten) or kind in _ELEMENTWISE):
            return None
        if kind is nn.Flatten and (module.start_dim, module.end_dim) != (1, -1):
            return None
        if getattr(module, "inplace", False):
            return None
        if kind is not nn.Sequential:
            steps.append((f"{name}." if name else "", module))
    names = {id(parameter): name for name, parameter in model.named_parameters()}

    def forward(values: Mapping[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        for _, module in steps:
            if isinstance(module, nn.Linear):
                bias = None if module.bias is None else values[names[id(module.bias)]]
                x = _Linear.apply(x, values[names[id(module.weight)]], bias)  # type: ignore[no-untyped-call]
            else:
                x = x.flatten(2) if isinstance(module, nn.Flatten) else module(x)
        return x

    return forward


def _hooked(module: nn.Module) -> bool:
    """Whether calling the module does more than its ``forward``, or ``forward`` was replaced."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return any(getattr(module, name) for name in hooks) or "forward" in vars(module) or bool(module._buffers)


def stacked_cross_entropy(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of each run: logits (runs, samples, classes), target (runs, samples) without ignored ones.

    log_softmax over a short last axis leaves the vector units idle; this way takes less than half the time.
    """
    return (logits.logsumexp(-1) - logits.gather(-1, target.unsqueeze(-1)).squeeze(-1)).mean(-1)


def stacked_squared_error(values: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean squared error of each run."""
    return (values - target.reshape(values.shape)).square().flatten(1).mean(1)
