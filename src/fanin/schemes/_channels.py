"""Where the channels of an output lie, in it and in the weight that made it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from fanin.schemes._one_pass import Use

__all__ = ["Channels", "channels"]


@dataclass(frozen=True)
class Channels:
    """Where the channels lie.

    Args:
        over: axes of the output that a channel extends over.
        spread: numbers per channel, as reductions with ``keepdim`` leave them → shaped to multiply the weight.
    """

    over: tuple[int, ...]
    spread: Callable[[torch.Tensor], torch.Tensor]


def channels(use: Use) -> Channels | None:
    """Where the channels of an output lie in it and in the weight; None where the op does not tell.

    Args:
        use: the op.
    """
    output, weight, op = use.output, use.weight, use.op
    rank = output.dim()
    if op in ("linear", "bilinear"):
        if weight.dim() == 1:
            return Channels(tuple(range(rank)), lambda s: s.reshape(1))
        return Channels(tuple(range(rank - 1)), lambda s: s.reshape(-1, *[1] * (weight.dim() - 1)))
    if op.startswith("conv") and op[-1:] == "d":
        axis = rank - 1 - int(op[-2])
        return Channels(tuple(a for a in range(rank) if a != axis), lambda s: _kernel(use, s))
    if op in ("matmul", "mm", "bmm", "addmm", "baddbmm") and weight.dim() >= 2 and rank >= 2:
        return _product(use, first=use.position == len(use.tensors) - 2)
    return _contraction(use) if op == "einsum" else None


def _kernel(use: Use, values: torch.Tensor) -> torch.Tensor:
    """Per output channel → per entry of the kernel's axes: (out, in/g, …), or transposed (in, out/g, …)."""
    weight, window = use.weight, [1] * int(use.op[-2])
    if not use.op.startswith("conv_transpose"):
        return values.reshape(-1, 1, *window)
    groups = values.numel() // weight.shape[1]
    rows = values.reshape(groups, 1, -1).expand(groups, weight.shape[0] // groups, -1)
    return rows.reshape(weight.shape[0], -1, *window)


def _product(use: Use, *, first: bool) -> Channels | None:
    """x W or W x, with or without batches of matrices, aligned from the right as matmul does."""
    rank, weight = use.output.dim(), use.weight
    own = weight.dim() - 2
    axis, summed = (rank - 2, -1) if first else (rank - 1, -2)
    if use.output.shape[axis] != weight.shape[-2 if first else -1]:
        return None
    batches = {rank - 3 - i for i in range(own) if weight.shape[own - 1 - i] > 1}
    over = tuple(a for a in range(rank) if a != axis and a not in batches)

    def spread(values: torch.Tensor) -> torch.Tensor:
        shape = [weight.shape[i] for i in range(own)] + [0, 0]
        shape[summed], shape[-1 if summed == -2 else -2] = 1, use.output.shape[axis]
        return values.reshape(shape)

    return Channels(over, spread)


def _contraction(use: Use) -> Channels | None:
    """einsum with letters alone: the letters of the weight that are left in the output."""
    equation = next((value for value in use.args if isinstance(value, str)), "").replace(" ", "")
    left, arrow, out = equation.partition("->")
    letters = left.split(",")
    if not arrow or "." in equation or use.position >= len(letters) or len(out) != use.output.dim():
        return None
    own = letters[use.position]
    if len(own) != use.weight.dim() or len(set(own)) != len(own):
        return None

    def spread(values: torch.Tensor) -> torch.Tensor:
        kept = [letter for letter in own if letter in out]
        by_output = [out.index(letter) for letter in kept]
        order = sorted(range(len(kept)), key=lambda i: by_output[i])
        flat = values.reshape([values.shape[by_output[i]] for i in order])
        arranged = flat.permute([order.index(i) for i in range(len(kept))])
        return arranged.reshape([n if a in out else 1 for a, n in zip(own, use.weight.shape, strict=True)])

    return Channels(tuple(i for i, letter in enumerate(out) if letter not in own), spread)
