"""Two ops that cost most in a stack of small models, written as one batched product and one pass over the scores.

Under ``vmap`` a linear layer becomes addmm's decomposition (two extra passes over the output), its weight gradient is
laid out transposed, and log_softmax over a short last axis leaves the vector units idle.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

__all__ = ["Shortcuts"]


class _BatchedLinear(torch.autograd.Function):
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


class _Linear(torch.autograd.Function):
    """The same as one run sees it, inside ``vmap``."""

    @staticmethod
    def forward(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        return functional.linear(x, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        raise NotImplementedError("only inside vmap")

    @staticmethod
    def vmap(info: Any, in_dims: Any, *operands: torch.Tensor | None) -> tuple[torch.Tensor, int]:
        stacked = [_first(value, dim, info.batch_size) for value, dim in zip(operands, in_dims)]
        return _BatchedLinear.apply(*stacked), 0


def _first(value: torch.Tensor | None, dim: int | None, runs: int) -> torch.Tensor | None:
    """The axis of runs in front."""
    if value is None:
        return None
    return value.expand(runs, *value.shape) if dim is None else value.movedim(dim, 0)


def _cross_entropy(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """−log softmax at the target, mean over the batch."""
    return (logits.logsumexp(-1) - logits.gather(-1, target.unsqueeze(-1)).squeeze(-1)).mean()


class Shortcuts(TorchFunctionMode):
    """Inside it, ``functional.linear`` and plain ``functional.cross_entropy`` take the ways above."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is functional.linear and not kwargs and len(args) in (2, 3) and args[1].ndim == 2:
            return _Linear.apply(*args, *[None] * (3 - len(args)))
        if func is functional.cross_entropy and not kwargs and len(args) == 2:
            logits, target = args
            if logits.ndim == 2 and target.ndim == 1 and target.dtype is torch.int64:
                return _cross_entropy(logits, target)
        return func(*args, **kwargs)
