"""A small selective state-space model, written with names that tell nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from fanin.schemes._base import Example

__all__ = ["example"]


class _Block(nn.Module):
    """x + out(scan(silu(conv(a))) · silu(b)), with a and b from one map."""

    def __init__(self, width: int, states: int, rank: int) -> None:
        super().__init__()
        inner = 2 * width
        self.sizes = (rank, states, states)
        self.n = nn.LayerNorm(width)
        self.a, self.b = nn.Linear(width, 2 * inner, bias=False), nn.Conv1d(inner, inner, 3, padding=2, groups=inner)
        self.c, self.d = nn.Linear(inner, rank + 2 * states, bias=False), nn.Linear(rank, inner)
        self.e, self.f = nn.Parameter(torch.zeros(inner, states)), nn.Parameter(torch.zeros(inner))
        self.g = nn.Linear(inner, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        u, gate = self.a(self.n(x)).chunk(2, -1)
        u = functional.silu(self.b(u.transpose(1, 2))[..., : x.shape[1]]).transpose(1, 2)
        step, into, out = self.c(u).split(self.sizes, -1)
        step = functional.softplus(self.d(step))
        kept = torch.exp(step[..., None] * -torch.exp(self.e))
        given = step[..., None] * into[:, :, None] * u[..., None]
        state, read = torch.zeros_like(given[:, 0]), []
        for time in range(x.shape[1]):
            state = kept[:, time] * state + given[:, time]
            read.append((state * out[:, time, None]).sum(-1))
        y = torch.stack(read, 1) + self.f * u
        mixed: torch.Tensor = x + self.g(y * functional.silu(gate))
        return mixed


class _Model(nn.Module):
    def __init__(self, depth: int = 2, width: int = 8) -> None:
        super().__init__()
        self.table = nn.Embedding(13, width)
        self.blocks = nn.Sequential(*(_Block(width, 4, 2) for _ in range(depth)))
        self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, 13, bias=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.out(self.norm(self.blocks(self.table(ids))))
        return logits


def example() -> Example:
    """A model with two blocks, tokens and the tokens that follow."""
    ids = torch.arange(18).reshape(3, 6) * 5 % 13
    return _Model(), ids, ids.roll(-1, 1)
