"""A 1,000-layer plain tanh perceptron and a 100-layer plain tanh CNN: which starts begin to learn within one epoch.

A run has started to learn where its mean training loss over the last 20 updates of the epoch is at least 0.1 below
ln 10, the loss of a network to which all classes are alike (a network that learns nothing stays within 0.01 of it),
and the test accuracy is five standard errors above guessing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
from benchmarks.training._table import Row, Settings
from torch import nn

from fanin import theory
from fanin.data import Dataset, load
from fanin.initializers import DeltaOrthogonal, Initializer, Normal, Orthogonal
from fanin.materialize import write
from fanin.recipe import Line, Recipe
from fanin.slots import find

DATA = ("mnist", "fashion-mnist")
TRAIN, TEST = 5_000, 2_000
LEARNED = math.log(10) - 0.1
WIDTH, LAYERS = 30, 1000
CHANNELS, CONVOLUTIONS = 8, 100
Q = 0.025
"""Second moment of the published critical start: tanh nearly linear, σ_w² = 1.05 and σ_b² = 2e-5 as in Xiao et al."""


@cache
def images(name: str, pool: int) -> Dataset:
    """Images of (1, side, side), average-pooled and standardized again."""
    whole = load(name).take(TRAIN, TEST)
    side = 28 // pool

    def pooled(x: np.ndarray) -> np.ndarray:
        return x.reshape(len(x), 1, side, pool, side, pool).mean((3, 5)).astype(np.float32)

    train, test = pooled(whole.train_x), pooled(whole.test_x)
    mean, std = train.mean(), train.std()
    words = f"{name}: the first {TRAIN:,} training and {TEST:,} test images, average-pooled to {side} × {side}"
    return replace(whole, train_x=(train - mean) / std, test_x=(test - mean) / std, source=words)


def perceptron(layers: int) -> nn.Module:
    """``layers`` linear maps with tanh between any two."""
    sizes = [196, *[WIDTH] * (layers - 1)]
    hidden: list[nn.Module] = [nn.Flatten()]
    for fan_in, fan_out in itertools.pairwise(sizes):
        hidden += [nn.Linear(fan_in, fan_out), nn.Tanh()]
    return nn.Sequential(*hidden, nn.Linear(WIDTH, 10))


def convolutions(layers: int) -> nn.Module:
    """``layers`` convolutions of 3 × 3 with tanh after each, and a linear head on all positions."""
    channels = [1, *[CHANNELS] * layers]
    hidden: list[nn.Module] = []
    for fan_in, fan_out in itertools.pairwise(channels):
        hidden += [nn.Conv2d(fan_in, fan_out, 3, padding=1), nn.Tanh()]
    return nn.Sequential(*hidden, nn.Flatten(), nn.Linear(CHANNELS * 49, 10))


def critical(model: nn.Module) -> None:
    """The published start: (delta-)orthogonal weights and biases at the critical point for a small second moment."""
    point = theory.critical("tanh", q=Q)
    gain = math.sqrt(point.weight_var)
    lines = []
    for slot in find(model).values():
        assert slot.fans is not None
        law: Initializer = Normal(std=math.sqrt(point.bias_var))
        if slot.role == "weight":
            law = DeltaOrthogonal(gain, scaled=True) if slot.fans.window_axes else Orthogonal(gain)
        lines.append(Line(slot.name, law, "critical", slot.shape, slot.fans))
    import torch

    write(model, Recipe(lines), int(torch.randint(1 << 31, ()).item()))


def rows(settings: Settings) -> list[Row]:
    """The perceptron, then the CNN."""
    usual: dict[str, Any] = {name: name for name in ("torch", "glorot", "he", "orthogonal")}
    shrink = 4 if settings.quick else 1

    def row(
        name: str, make: Callable[[], nn.Module], starts: dict[str, Any], pool: int, batch: int, **more: Any
    ) -> Row:
        return Row(
            table="deep_tanh",
            name=name,
            make=make,
            data=images(settings.data, pool),
            starts={**usual, **starts, "auto": "auto"},
            optimizer="sgd",
            steps=TRAIN // batch // shrink,
            batch_size=batch,
            learned_below=LEARNED,
            **more,
        )

    return [
        row(
            "tanh MLP of 1,000 layers",
            partial(perceptron, LAYERS),
            {"critical orthogonal": critical},
            2,
            100,
            lrs=(1e-3, 3e-3),
            labels={"depth": LAYERS, "kind": "MLP"},
        ),
        row(
            "tanh CNN of 100 layers",
            partial(convolutions, CONVOLUTIONS),
            {"delta_orthogonal": "delta_orthogonal"},
            4,
            100,
            lrs=(1e-2, 3e-2),
            labels={"depth": CONVOLUTIONS, "kind": "CNN"},
        ),
    ]
