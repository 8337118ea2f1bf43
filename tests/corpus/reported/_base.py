"""How a case is written down: ``@bug(...)`` builds a broken model and its mended twin, ``@healthy`` a sound one."""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn import init


@dataclass(frozen=True)
class Case:
    """A model, one batch, and how its output is judged (``loss=None``: what ``fanin.check`` takes by default)."""

    model: nn.Module
    inputs: Any
    target: Any = None
    loss: Callable[[Any, Any], Tensor] | None = None


@dataclass(frozen=True)
class Bug:
    """A public report: ``build(broken, seed)``, categories any of which names it, and where a finding should point."""

    name: str
    build: Callable[[bool, int], Case]
    expect: tuple[str, ...]
    where: str
    source: str


BUGS: dict[str, Bug] = {}
HEALTHY: dict[str, Callable[[int], Case]] = {}


def bug(expect: str, where: str, source: str) -> Callable[[Callable[[bool], Case]], Callable[[bool], Case]]:
    """Register ``build(broken)`` under its function's name."""

    def register(build: Callable[[bool], Case]) -> Callable[[bool], Case]:
        name = build.__name__

        def seeded(broken: bool, seed: int) -> Case:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(zlib.crc32(name.encode()) % 99991 + 104729 * seed)
                return build(broken)

        BUGS[name] = Bug(name, seeded, tuple(expect.split()), where, source)
        return build

    return register


def healthy(build: Callable[[], Case]) -> Callable[[], Case]:
    """Register ``build()`` under its function's name."""
    name = build.__name__

    def seeded(seed: int) -> Case:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(zlib.crc32(name.encode()) % 99991 + 104729 * seed)
            return build()

    HEALTHY[name] = seeded
    return build


class Compute(nn.Module):
    """A function with parameters: ``Compute(f, w=..., layer=...)`` runs ``f(self, *inputs)``."""

    def __init__(self, function: Callable[..., Any], **parts: Any) -> None:
        super().__init__()
        self._function = function
        for name, part in parts.items():
            setattr(self, name, nn.ModuleList(part) if isinstance(part, list) else part)

    def forward(self, *inputs: Any, **keywords: Any) -> Any:
        return self._function(self, *inputs, **keywords)


class Residual(nn.Module):
    """``x + branch(x)``."""

    def __init__(self, *branch: nn.Module) -> None:
        super().__init__()
        self.branch = nn.Sequential(*branch)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


class Lambda(nn.Module):
    """A function without parameters as a layer."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._function = function

    def forward(self, x: Tensor) -> Tensor:
        return self._function(x)


class Attention(nn.Module):
    """Multi-head self-attention with its own projections; ``scale=None`` is 1/sqrt(head width)."""

    def __init__(self, width: int, heads: int = 4, scale: float | None = None, causal: bool = False) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))
        self.heads, self.scale, self.causal = heads, scale or (width // heads) ** -0.5, causal

    def forward(self, x: Tensor, memory: Tensor | None = None) -> Tensor:
        memory = x if memory is None else memory
        q, k, v = (
            layer(t).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, t in ((self.q, x), (self.k, memory), (self.v, memory))
        )
        scores = q @ k.transpose(-1, -2) * self.scale
        if self.causal:
            scores = scores.masked_fill(torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1), -math.inf)
        return self.out((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))


def block(width: int, heads: int = 4, causal: bool = False, act: type[nn.Module] = nn.GELU) -> nn.Module:
    """A pre-LN transformer block."""
    feed = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 4 * width), act(), nn.Linear(4 * width, width))
    return nn.Sequential(
        Residual(nn.LayerNorm(width), Attention(width, heads, causal=causal)),
        Residual(feed),
    )


def mlp(*widths: int, act: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """Linear layers with an activation between them."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in itertools.pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), act()]
    return nn.Sequential(*layers[:-1])


WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d)


def fill(model: nn.Module, write: Callable[[Tensor], object], bias: float | None = 0.0) -> nn.Module:
    """Write the weight of each linear or convolution layer, and a constant into its bias."""
    for module in model.modules():
        if isinstance(module, WEIGHTED):
            write(module.weight)
            if module.bias is not None and bias is not None:
                init.constant_(module.bias, bias)
    return model


def he(model: nn.Module, nonlinearity: str = "relu") -> nn.Module:
    """He's initialization, zero biases."""
    return fill(model, lambda w: init.kaiming_normal_(w, nonlinearity=nonlinearity))


def classes(count: int, *shape: int) -> Tensor:
    return torch.randint(0, count, shape)


def token_loss(output: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(output.flatten(0, -2), target.flatten())


def tokens(vocabulary: int = 200, batch: int = 4, length: int = 16) -> tuple[Tensor, Tensor]:
    return classes(vocabulary, batch, length), classes(vocabulary, batch, length)
