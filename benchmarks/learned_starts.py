"""MetaInit and GradInit: what they reach and what they cost, beside their base and LSUV.

    OMP_NUM_THREADS=1 python benchmarks/learned_starts.py

First a plain net (no norms, no skips) whose weights are half of He's: the gradient quotient, and the training loss at
the best of a few learning rates. Then a transformer with layer norm after each sum, trained by Adam without warm-up:
the mean loss of its first updates. Both on the embedded digits; seconds are for planning, tracing included.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time

import torch
from torch import nn

import fanin
from fanin.compare import train
from fanin.data import Batch, Dataset, load
from fanin.initializers import Rescaled
from fanin.keys import Key
from fanin.materialize import write
from fanin.recipe import Recipe
from fanin.schemes import Choice
from fanin.schemes._learned import Scaled, learning
from fanin.schemes.gradinit import GradInit
from fanin.schemes.he import He
from fanin.schemes.metainit import MetaInit


class Half(He):
    """Half of He's standard deviation."""

    def weight(self, slot, context):
        chosen = super().weight(slot, context)
        return Choice(Rescaled(chosen.initializer, 0.5), f"{chosen.reason}, times 1/2")


def plain(depth: int, width: int, activation: type[nn.Module]) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Linear(64, width), activation()]
    for _ in range(depth - 2):
        layers += [nn.Linear(width, width), activation()]
    return nn.Sequential(*layers, nn.Linear(width, 10))


class PostLN(nn.Module):
    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.embed, self.position = nn.Linear(8, width), nn.Parameter(torch.zeros(8, width))
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, 0.0, batch_first=True)
        self.body, self.head = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False), nn.Linear(width, 10)

    def forward(self, x):
        return self.head(self.body(self.embed(x[:, 0]) + self.position).mean(1))


def quotient(model: nn.Module, recipe: Recipe, batch: Batch, draws: int = 5) -> float:
    """Mean gradient quotient of a start, on noise."""
    with learning(model, 0, batch.inputs):
        scaled = Scaled("benchmark", model, recipe, 0, lambda _: True, None)
        weights = scaled.weights(torch.ones(len(scaled.names)).requires_grad_())
        keys = [Key(0, f"benchmark {i}") for i in range(draws)]
        return statistics.mean(float(MetaInit()._quotient(scaled, weights, batch, key).detach()) for key in keys)


def planned(make, batch: Batch, scheme) -> tuple[Recipe, float]:
    start = time.perf_counter()
    return fanin.plan(make(), batch.inputs, batch.target, scheme=scheme), time.perf_counter() - start


def losses(make, recipe: Recipe, data: Dataset, **options) -> tuple[float, ...]:
    model = make()
    write(model, recipe)
    return train(model, data, **options).losses


def metainit(depth: int, width: int, iterations: int) -> None:
    data = load("digits").flat()
    batch = data.batch(64, seed=0)
    for activation in (nn.Tanh, nn.ReLU):
        print(f"\n{depth} layers of {width} {activation.__name__}; MetaInit: {iterations} steps, lr 0.02")
        print(f"{'start':24s}{'quotient':>10s}{'loss':>9s}{'at lr':>8s}{'seconds':>9s}")
        starts = {
            "He / 2": Half(),
            "MetaInit from He / 2": MetaInit(Half(), iterations=iterations, lr=0.02, progress=False),
            "He": "he",
            "LSUV": "lsuv",
        }
        for name, scheme in starts.items():

            def make(activation=activation):
                return plain(depth, width, activation)

            recipe, seconds = planned(make, batch, scheme)
            ends = {}
            for lr in (0.003, 0.01, 0.03):
                curve = losses(make, recipe, data, lr=lr, epochs=10, batch_size=32, optimizer="momentum")
                ends[lr] = statistics.mean(curve[-20:]) if all(map(math.isfinite, curve)) else math.inf
            best = min(ends, key=lambda lr: ends[lr])
            bent = quotient(make(), recipe, batch)
            print(f"{name:24s}{bent:10.3f}{ends[best]:9.3f}{best:8g}{seconds:9.2f}", flush=True)


def gradinit(layers: int, width: int, iterations: int) -> None:
    data = load("digits")
    batch = data.batch(256, seed=0)
    print(f"\nPost-LN transformer, {layers} layers of {width}, Adam; GradInit: {iterations} steps, lr 0.01, γ 1000")
    spans = ((0, 10), (10, 30), (30, 60))
    print(f"{'start':24s}{'lr':>8s}" + "".join(f"{f'{a + 1}–{b}':>9s}" for a, b in spans) + f"{'seconds':>9s}")

    def make():
        return PostLN(width, layers)

    options = {"iterations": iterations, "lr": 0.01, "progress": False}
    starts = {"Glorot": "glorot", "GradInit from Glorot": GradInit("glorot", "adam", **options), "LSUV": "lsuv"}
    for name, scheme in starts.items():
        recipe, seconds = planned(make, batch, scheme)
        for lr in (1e-3, 3e-3):
            curve = losses(make, recipe, data, lr=lr, steps=60, optimizer="adam")
            means = "".join(f"{statistics.mean(curve[a:b]):9.3f}" for a, b in spans)
            print(f"{name:24s}{lr:8g}{means}{seconds:9.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depth", type=int, default=30)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--iterations", type=int, default=200)
    arguments = parser.parse_args()
    metainit(arguments.depth, 64, arguments.iterations)
    gradinit(arguments.layers, 32, arguments.iterations // 2)


if __name__ == "__main__":
    main()
