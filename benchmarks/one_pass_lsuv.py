"""LSUV in one pass against one run per layer and the package ``lsuv`` (where installed), interleaved in one process.

    pip install --no-deps lsuv==0.3.0     # the rival; without it only the plain procedure is compared
    OMP_NUM_THREADS=1 python benchmarks/one_pass_lsuv.py

All start from the same orthogonal weights. "pass" is the measuring alone, "whole" includes drawing the weights, for us
also tracing the model, planning and writing the recipe: ``fanin.init_`` from end to end. Ratios are medians over rounds
that are interleaved. Also printed: the largest difference of the weights, relative to each tensor's largest entry, from
the plain procedure; and, for networks that mislead hooks and registration order, how far the variance of an output is
from 1 after each.
"""

from __future__ import annotations

import argparse
import copy
import math
import statistics
import time

import torch
from torch import nn

import fanin
from fanin.materialize import write
from fanin.schemes import plan
from fanin.schemes._one_pass import one_pass
from fanin.slots import find

try:
    from lsuv import lsuv_with_singlebatch
except ImportError:
    lsuv_with_singlebatch = None

MAPS = (nn.Linear, nn.Conv2d)


class Bottleneck(nn.Module):
    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        out = 4 * width
        self.body = nn.Sequential(
            nn.Conv2d(before, width, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, stride, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(width, out, 1, bias=False),
        )
        self.skip = nn.Identity() if before == out else nn.Conv2d(before, out, 1, stride, bias=False)

    def forward(self, x):
        return torch.relu(self.skip(x) + self.body(x))


def resnet(blocks: tuple[int, ...], width: int) -> nn.Sequential:
    """Bottlenecks as in ResNet-50 (3, 4, 6, 3), narrower."""
    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.ReLU()]
    before = width
    for stage, count in enumerate(blocks):
        for i in range(count):
            layers.append(Bottleneck(before, width << stage, 2 if stage and not i else 1))
            before = 4 * width << stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, 10))


def plain_procedure(model: nn.Module, x: torch.Tensor) -> None:
    """One run to see the order, then for each layer runs until its output has unit variance."""
    seen: list[nn.Module] = []
    hooks = [m.register_forward_hook(lambda m, _, __: seen.append(m)) for m in model.modules() if isinstance(m, MAPS)]
    with torch.no_grad():
        model(x)
        for hook in hooks:
            hook.remove()
        for layer in seen:
            spread: list[float] = []
            hook = layer.register_forward_hook(lambda _, __, out, to=spread: to.append(out.var(correction=0).item()))
            for _ in range(10):
                model(x)
                if abs(spread[-1] - 1) < 1e-5:
                    break
                layer.weight /= math.sqrt(spread[-1])
            hook.remove()


class InPlace(nn.Module):
    """Every output is overwritten by an in-place ReLU right after it was made."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(64, 64, bias=False) for _ in range(8))

    def forward(self, x):
        for layer in self.layers:
            x = torch.relu_(layer(x))
        return x


class Reversed(nn.Module):
    """Used in the opposite order of definition."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(64, 64, bias=False) for _ in range(8))

    def forward(self, x):
        for layer in reversed(self.layers):
            x = torch.relu(layer(x))
        return x


def variances(model: nn.Module, x: torch.Tensor) -> list[float]:
    """Variance of the output of each map, taken before anything can overwrite it."""
    found: list[float] = []
    hooks = [
        m.register_forward_hook(lambda _, __, out: found.append(out.var(correction=0).item()))
        for m in model.modules()
        if isinstance(m, MAPS)
    ]
    with torch.no_grad():
        model(x)
    for hook in hooks:
        hook.remove()
    return found


def misleading() -> None:
    """Largest |Var − 1| over the layers after each procedure."""
    x = 3 * torch.randn(256, 64, generator=torch.Generator().manual_seed(0))
    for build in (InPlace, Reversed):
        torch.manual_seed(0)
        start, line = build().eval(), []
        runs = {"ours": lambda m: fanin.init_(m, x, scheme="lsuv"), "plain": lambda m: plain_procedure(m, x)}
        if lsuv_with_singlebatch is not None:
            runs["lsuv"] = lambda m: lsuv_with_singlebatch(m, x, do_orthonorm=True, verbose=False)
        for name, run in runs.items():
            model = copy.deepcopy(start)
            run(model)
            line.append(f"{name} {max(abs(v - 1) for v in variances(model, x)):.1e}")
        print(f"{build.__name__}: largest |Var − 1| of an output: {', '.join(line)}")


def timed(call):
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def compare(name: str, model: nn.Module, x: torch.Tensor, rounds: int) -> None:
    model.eval()
    slots = find(model)
    base = plan("orthogonal", slots)
    write(model, base)
    goal = {slot.name: 1.0 for slot in slots.values() if slot.role == "weight"}
    rivals = {"plain": lambda m: plain_procedure(m, x)}
    if lsuv_with_singlebatch is not None:
        rivals["lsuv"] = lambda m: lsuv_with_singlebatch(m, x, do_orthonorm=False, verbose=False)
    ratios = {(rival, part): [] for rival in rivals for part in ("pass", "whole")}
    for _ in range(rounds + 1):
        ours, _ = timed(lambda: one_pass(model, x, base, 0, {}, goal))
        fresh = copy.deepcopy(model)
        whole, _ = timed(lambda m=fresh: fanin.init_(m, x, scheme="lsuv"))
        for rival, run in rivals.items():
            theirs = copy.deepcopy(model)
            taken, _ = timed(lambda r=run, m=theirs: r(m))
            drawing, _ = timed(lambda m=theirs: [nn.init.orthogonal_(p.clone()) for p in m.parameters() if p.dim() > 1])
            ratios[rival, "pass"].append(taken / ours)
            ratios[rival, "whole"].append((taken + drawing) / whole)
    reference = copy.deepcopy(model)
    write(reference, base)
    plain_procedure(reference, x)
    mended = copy.deepcopy(model)
    fanin.init_(mended, x, scheme="lsuv")
    pairs = zip(mended.parameters(), reference.parameters(), strict=True)
    difference = max(float((a - b).detach().abs().max() / b.detach().abs().max()) for a, b in pairs if b.dim() > 1)
    print(f"{name}: {len(goal)} layers; largest difference from the plain procedure {difference:.1e}")
    for (rival, part), values in ratios.items():
        values = sorted(values[1:])  # the first round warms up
        print(f"  {rival:5s} / ours, {part:5s} {statistics.median(values):6.1f}x  ({values[0]:.1f} … {values[-1]:.1f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--batch", type=int, default=32)
    arguments = parser.parse_args()
    if lsuv_with_singlebatch is None:
        print("the package lsuv is not installed: compared with the plain procedure alone")
    misleading()
    x = torch.randn(arguments.batch, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    shapes = {"ResNet-14": (1, 1, 1, 1), "ResNet-26": (2, 2, 2, 2), "ResNet-50": (3, 4, 6, 3)}
    for name, blocks in shapes.items():
        compare(f"{name}-shaped", resnet(blocks, arguments.width), x, arguments.rounds)


if __name__ == "__main__":
    main()
