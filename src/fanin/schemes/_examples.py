"""Small models that schemes are shown to fit."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional


def batch(*shape: int) -> torch.Tensor:
    """Standard normal numbers, always the same, drawn without touching the global generator."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, *, gated: bool, post: bool, scaled: bool) -> None:
        super().__init__()
        self.heads, self.post, self.gated = heads, post, gated
        self.n1, self.n2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.a, self.b, self.c, self.d = (nn.Linear(width, width) for _ in range(4))
        self.e, self.f = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.g = nn.Linear(width, 4 * width) if gated else None
        self.s = nn.ParameterList(nn.Parameter(torch.zeros(width)) for _ in range(2)) if scaled else None

    def attend(self, x: torch.Tensor) -> torch.Tensor:
        n, t, width = x.shape
        q, k, v = (m(x).view(n, t, self.heads, -1).transpose(1, 2) for m in (self.a, self.b, self.c))
        logits = (q @ k.transpose(-2, -1)) * (width // self.heads) ** -0.5
        mixed: torch.Tensor = self.d((logits.softmax(-1) @ v).transpose(1, 2).reshape(n, t, width))
        return mixed

    def think(self, x: torch.Tensor) -> torch.Tensor:
        hidden = functional.gelu(self.e(x)) if self.g is None else functional.silu(self.e(x)) * self.g(x)
        out: torch.Tensor = self.f(hidden)
        return out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for index, (norm, branch) in enumerate(((self.n1, self.attend), (self.n2, self.think))):
            y = branch(x if self.post else norm(x))
            y = y if self.s is None else y * self.s[index]
            x = norm(x + y) if self.post else x + y
        return x


class Transformer(nn.Module):
    """Tokens to tokens, written with plain linear maps whose names tell nothing.

    Args:
        depth: number of blocks.
        width: features of the stream.
        heads: attention heads.
        gated: SwiGLU instead of GELU.
        post: norm after the sum instead of before the branch.
        scaled: a learned factor per channel at the end of each branch.
    """

    def __init__(
        self,
        depth: int = 2,
        width: int = 16,
        heads: int = 2,
        *,
        gated: bool = False,
        post: bool = False,
        scaled: bool = False,
    ) -> None:
        super().__init__()
        self.table, self.places = nn.Embedding(19, width), nn.Parameter(torch.zeros(1, 6, width))
        self.blocks = nn.ModuleList(_Block(width, heads, gated=gated, post=post, scaled=scaled) for _ in range(depth))
        self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, 19, bias=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Logits of every position."""
        x = self.table(ids) + self.places[:, : ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        logits: torch.Tensor = self.out(self.norm(x))
        return logits


class ResNet(nn.Module):
    """Convolutions with residual branches, a projected shortcut between two stages, and a linear head.

    Args:
        depth: blocks per stage.
        norm: batch normalization in the branches.
        scalar: a learned scalar at the end of each branch.
        activation: the nonlinearity.
    """

    def __init__(
        self, depth: int = 2, *, norm: bool = True, scalar: bool = False, activation: type[nn.Module] = nn.ReLU
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.branches, self.shortcuts = nn.ModuleList(), nn.ModuleList()
        for i, width in enumerate([4] * depth + [8] * depth):
            before = 4 if i <= depth else 8
            self.branches.append(
                nn.Sequential(
                    nn.Conv2d(before, width, 3, 1 + (before != width), 1, bias=False),
                    nn.BatchNorm2d(width) if norm else nn.Identity(),
                    activation(),
                    nn.Conv2d(width, width, 3, 1, 1, bias=False),
                    nn.BatchNorm2d(width) if norm else nn.Identity(),
                )
            )
            self.shortcuts.append(nn.Identity() if before == width else nn.Conv2d(before, width, 1, 2, bias=False))
        self.scalars = nn.ParameterList(nn.Parameter(torch.ones(())) for _ in self.branches) if scalar else None
        self.act, self.out = activation(), nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Class logits."""
        x = self.stem(x)
        for i, (branch, shortcut) in enumerate(zip(self.branches, self.shortcuts, strict=True)):
            y = branch(x) if self.scalars is None else branch(x) * self.scalars[i]
            x = self.act(shortcut(x) + y)
        logits: torch.Tensor = self.out(x.mean((2, 3)))
        return logits


def transformer(**options: Any) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """A :class:`Transformer` with inputs and targets."""
    ids = torch.arange(24).reshape(4, 6) % 19
    return Transformer(**options), ids, ids.roll(-1, 1)


def resnet(**options: Any) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """A :class:`ResNet` with inputs and targets."""
    return ResNet(**options), batch(6, 3, 8, 8), torch.arange(6) % 5


class Modulated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patch, self.cond = nn.Conv2d(2, 8, 2, 2), nn.Linear(4, 8)
        self.norms = nn.ModuleList(nn.LayerNorm(8, elementwise_affine=False) for _ in range(3))
        self.mods = nn.ModuleList([nn.Linear(8, 24), nn.Linear(8, 24), nn.Linear(8, 16)])
        self.wide, self.narrow = nn.ModuleList(nn.Linear(8, 16) for _ in range(2)), nn.ModuleList()
        self.narrow.extend(nn.Linear(16, 8) for _ in range(2))
        self.out = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        x, c = self.patch(x).flatten(2).transpose(1, 2), functional.silu(self.cond(t))
        for i in range(2):
            shift, scale, gate = self.mods[i](c).unsqueeze(1).chunk(3, -1)
            y = self.norms[i](x) * (1 + scale) + shift
            x = x + gate * self.narrow[i](functional.gelu(self.wide[i](y)))
        shift, scale = self.mods[2](c).unsqueeze(1).chunk(2, -1)
        out: torch.Tensor = self.out(self.norms[2](x) * (1 + scale) + shift)
        return out


class Rectified(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = nn.RNN(3, 8, nonlinearity="relu", batch_first=True), nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.out(self.cell(x)[0][:, -1])
        return out


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.more = nn.LSTM(3, 8, batch_first=True), nn.GRU(8, 8, batch_first=True)
        self.out = nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.out(self.more(self.cell(x)[0])[0][:, -1])
        return out


class ActorCritic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.actor, self.critic = nn.Sequential(nn.Linear(4, 8), nn.Tanh()), nn.Linear(8, 3), nn.Linear(8, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.body(x)
        return self.actor(x), self.critic(x)


class Sines(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.ModuleList([nn.Linear(2, 16), nn.Linear(16, 16), nn.Linear(16, 1)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.maps[:-1]:
            x = torch.sin(30.0 * layer(x))
        out: torch.Tensor = self.maps[-1](x)
        return out


def sines() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """A SIREN over two coordinates."""
    x = torch.linspace(-1, 1, 64).reshape(32, 2)
    return Sines(), x, x[:, :1]


def rectified() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """A recurrent network of ReLU units."""
    return Rectified(), torch.linspace(0, 1, 60).reshape(4, 5, 3), torch.arange(4) % 2


def gated() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """An LSTM and a GRU."""
    return Gated(), torch.linspace(-1, 1, 60).reshape(4, 5, 3), torch.arange(4) % 2


def actor_critic() -> tuple[nn.Module, torch.Tensor, None]:
    """A policy and a value head on one body."""
    return ActorCritic(), batch(6, 4), None


def modulated() -> tuple[nn.Module, tuple[torch.Tensor, torch.Tensor], torch.Tensor]:
    """A small diffusion network with adaptive norms."""
    return Modulated(), (batch(5, 2, 4, 4), batch(5, 4)), batch(5, 4, 8)


def classifier() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """Two layers and class indices."""
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), batch(6, 4), torch.tensor([0, 1, 1, 2, 2, 2])


def plain_cnn() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """Convolutions and tanh, without norm or residual branches."""
    same = [part for _ in range(3) for part in (nn.Conv2d(8, 8, 3, padding=1), nn.Tanh())]
    net = nn.Sequential(nn.Conv2d(2, 8, 3, padding=1), nn.Tanh(), *same, nn.Flatten(), nn.Linear(128, 3))
    return net, batch(5, 2, 4, 4), torch.arange(5) % 3
