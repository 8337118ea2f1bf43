"""A causal transformer on characters: norm before, after or nowhere, skip paths with or without a factor."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from fanin.data import Dataset
from fanin.materialize import write
from fanin.schemes import plan
from fanin.slots import find
from fanin.trace import trace

__all__ = ["Block", "Transformer", "admin", "bits", "unigram"]

Norm = Literal["post", "pre", "none"]


class Block(nn.Module):
    """An attention and a feed-forward branch, each added to its input.

    Args:
        width: features.
        heads: of the attention.
        norm: "post": LN(αx + f(x)); "pre": αx + f(LN(x)); "none": αx + f(x).
        skip: α, or "omega" for a learned vector in each branch, which starts at ones.
    """

    def __init__(self, width: int, heads: int, norm: Norm, skip: float | str) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.norm1, self.norm2 = (nn.Identity() if norm == "none" else nn.LayerNorm(width) for _ in range(2))
        self.heads, self.norm, self.skip = heads, norm, skip
        if skip == "omega":
            self.omega1, self.omega2 = (nn.Parameter(torch.ones(width)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, time, width) → the same."""
        if self.norm == "pre":
            x = self.kept(x, 1) + self.attention(self.norm1(x))
            return self.kept(x, 2) + self.feed_forward(self.norm2(x))
        x = self.norm1(self.kept(x, 1) + self.attention(x))
        out: Tensor = self.norm2(self.kept(x, 2) + self.feed_forward(x))
        return out

    def attention(self, x: Tensor) -> Tensor:
        """The first branch, without norm and sum."""
        q, k, v = (f(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in (self.q, self.k, self.v))
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        out: Tensor = self.o(mixed.transpose(1, 2).flatten(2))
        return out

    def feed_forward(self, x: Tensor) -> Tensor:
        """The second branch, without norm and sum."""
        out: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return out

    def kept(self, x: Tensor, branch: int) -> Tensor:
        """What the skip path carries to the sum of that branch."""
        if self.skip == "omega":
            return x * (self.omega1 if branch == 1 else self.omega2)
        return x if self.skip == 1.0 else x * float(self.skip)


class Transformer(nn.Module):
    """Tokens and positions, blocks, a linear head.

    Args:
        layers: number of blocks.
        width: features.
        context: characters.
        classes: of characters.
        norm: see :class:`Block`; with "pre" a norm stands before the head.
        skip: see :class:`Block`.
        heads: of each attention.
    """

    def __init__(
        self,
        layers: int,
        width: int,
        context: int,
        classes: int,
        norm: Norm = "post",
        skip: float | str = 1.0,
        heads: int = 4,
    ) -> None:
        super().__init__()
        self.token, self.position = nn.Embedding(classes, width), nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads, norm, skip) for _ in range(layers))
        self.last = nn.LayerNorm(width) if norm == "pre" else nn.Identity()
        self.head = nn.Linear(width, classes)

    def embedded(self, tokens: Tensor) -> Tensor:
        """(batch, time) → (batch, time, width)."""
        out: Tensor = self.token(tokens) + self.position(torch.arange(tokens.shape[1]))
        return out

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, time) → (batch, time, classes)."""
        x = self.embedded(tokens)
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.head(self.last(x))
        return out

    def each(self) -> Iterator[Block]:
        """The blocks, in order."""
        for block in self.blocks:
            assert isinstance(block, Block)
            yield block


def admin(model: Transformer, tokens: Tensor, seed: int) -> None:
    """Glorot, and ω of each branch from one batch: ω_i² = 1 + Σ_{j<i} Var f_j, as the authors' code has it.

    Args:
        model: with skip "omega"; written in place.
        tokens: (batch, time).
        seed: of the weights.

    Source: Liu et al., EMNLP 2020.
    """
    graph = trace(model, tokens, statistics=False).graph
    write(model, plan("glorot", find(model, graph), graph), seed)
    square = 1.0
    with torch.no_grad():
        x = model.embedded(tokens)
        for block in model.each():
            for branch, omega, norm in (
                (block.attention, block.omega1, block.norm1),
                (block.feed_forward, block.omega2, block.norm2),
            ):
                omega.fill_(math.sqrt(square))
                added = branch(x)
                square += float(added.var(-1).mean())
                x = norm(x * omega + added)


def bits(output: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy in bits per character; (batch, time, classes) and (batch, time)."""
    return functional.cross_entropy(output.flatten(0, 1), target.flatten()) / math.log(2)


def unigram(data: Dataset) -> float:
    """Held-out bits of predicting each character by its share of the training part, one added to each count."""
    counts = torch.bincount(torch.from_numpy(data.train_y.ravel()), minlength=data.classes or 0).double() + 1
    shares = counts / counts.sum()
    return float(-shares.log2()[torch.from_numpy(data.test_y.ravel())].mean())
