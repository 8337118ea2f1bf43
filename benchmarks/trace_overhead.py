"""What tracing costs: forward and backward with statistics at every place, against the same without.

Runs are interleaved in one process, so that a loaded machine slows both; read the ratios. Peak memory is measured in
a process of its own for each variant.

    python benchmarks/trace_overhead.py [--rounds 5] [--models gpt2 resnet18 mlp] [--no-memory]
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from fanin.trace import trace


class Block(nn.Module):
    """Pre-norm transformer block in GPT-2's shape."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.c_attn, self.c_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.c_fc, self.c_out = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, length, width = x.shape
        q, k, v = (
            part.view(n, length, self.heads, -1).transpose(1, 2) for part in self.c_attn(self.ln_1(x)).chunk(3, -1)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.c_proj(y.transpose(1, 2).reshape(n, length, width))
        return x + self.c_out(F.gelu(self.c_fc(self.ln_2(x))))


class Gpt2(nn.Module):
    """124 M parameters: 12 blocks of width 768, 50,257 tokens, tied head."""

    def __init__(self) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(50257, 768), nn.Embedding(1024, 768)
        self.blocks = nn.ModuleList(Block(768, 12) for _ in range(12))
        self.ln_f = nn.LayerNorm(768)
        nn.init.normal_(self.wte.weight, std=0.02)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1]))
        for block in self.blocks:
            x = block(x)
        return F.linear(self.ln_f(x), self.wte.weight)


class BasicBlock(nn.Module):
    """Residual block of ResNet-18."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.down = (
            nn.Sequential(nn.Conv2d(width_in, width, 1, stride, bias=False), nn.BatchNorm2d(width))
            if stride != 1 or width_in != width
            else nn.Identity()
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + self.down(x))


def resnet18() -> nn.Module:
    stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    widths = [64, 64, 64, 128, 128, 256, 256, 512, 512]
    blocks = [BasicBlock(a, b, 2 if a != b else 1) for a, b in itertools.pairwise(widths)]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000))


def mlp() -> nn.Module:
    layers = [m for _ in range(8) for m in (nn.Linear(1200, 1200), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(1200, 10))


MODELS: dict[str, Callable[[], tuple[nn.Module, torch.Tensor, torch.Tensor]]] = {
    "gpt2": lambda: (Gpt2(), torch.randint(50257, (4, 128)), torch.randint(50257, (4, 128))),
    "resnet18": lambda: (resnet18(), torch.randn(8, 3, 224, 224), torch.randint(1000, (8,))),
    "mlp": lambda: (mlp(), torch.randn(512, 1200), torch.randint(10, (512,))),
}


def plain(model: nn.Module, inputs: torch.Tensor, target: torch.Tensor) -> Any:
    output = model(inputs)
    loss = F.cross_entropy(output.flatten(0, -2), target.flatten())
    return torch.autograd.grad(loss, list(model.parameters()))


VARIANTS: dict[str, Callable[..., Any]] = {
    "plain": plain,
    "graph only": lambda *args: trace(*args, statistics=False),
    "statistics": trace,
}


def clock(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(name: str, rounds: int) -> None:
    torch.manual_seed(0)
    case = MODELS[name]()
    times: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    for variant in VARIANTS.values():
        variant(*case)
    for _ in range(rounds):
        for variant, run in VARIANTS.items():
            times[variant].append(clock(lambda run=run: run(*case)))  # type: ignore[misc]
    parameters = sum(p.numel() for p in case[0].parameters()) / 1e6
    base = times["plain"]
    print(f"{name}: {parameters:.0f} M parameters, plain {statistics.median(base):.3f} s")
    for variant, values in times.items():
        ratio = statistics.median(v / b for v, b in zip(values, base))
        print(f"  {variant:<12} time ratio {ratio:.3f}")


def peak(name: str, variant: str) -> int:
    """Peak resident memory in kB of one run in a fresh process."""
    command = [sys.executable, __file__, "--child", name, variant]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def child(name: str, variant: str) -> None:
    torch.manual_seed(0)
    case = MODELS[name]()
    VARIANTS[variant](*case)
    # ru_maxrss would report the parent's peak, which a child inherits until it has grown past it
    status = Path("/proc/self/status").read_text()
    print(status.split("VmHWM:")[1].split()[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(*options.child)
        return
    print(
        f"torch {torch.__version__}, Python {platform.python_version()}, {platform.machine()}, "
        f"{os.cpu_count()} CPUs, {torch.get_num_threads()} threads"
    )
    for name in options.models:
        compare(name, options.rounds)
        if not options.no_memory:
            base = peak(name, "plain")
            print(f"  peak memory: plain {base / 1024:.0f} MB, ratio {peak(name, 'statistics') / base:.3f}")


if __name__ == "__main__":
    main()
