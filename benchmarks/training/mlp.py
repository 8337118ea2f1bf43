"""Plain perceptrons of depth 10, 50 and 200: no norm, no skip connection, every usual activation.

Images are average-pooled to 14 × 14 and standardized, so that a row of nine starts takes a minute on one core.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
from benchmarks.training._table import Row, Settings
from torch import nn

from fanin.data import Dataset, load

DATA = ("mnist", "fashion-mnist")
WIDTH = 64
TRAIN, TEST = 20_000, 2_000
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "sigmoid": nn.Sigmoid,
}
STEPS = {10: 500, 20: 500, 50: 300, 200: 120}
"""Depth → updates: what fifteen minutes on one core allow, and enough for a good start to sort most images."""

BATCH = {10: 64, 20: 64, 50: 32, 200: 32}
LRS = {
    10: (3e-4, 1e-3, 3e-3),
    20: (3e-4, 1e-3, 3e-3),
    50: (1e-4, 3e-4, 1e-3),
    200: (3e-5, 1e-4, 3e-4),
}
"""Depth → learning rates of Adam: the deeper, the smaller the steps that a composition of maps bears."""

STARTS = ("torch", "glorot", "he", "lecun", "orthogonal", "lsuv")


def deepest(activation: str) -> tuple[str, ...]:
    """Starts of the rows of 200 layers, which cost most: torch's own, the textbook's, and what keeps a chain steady."""
    textbook = {"tanh": "glorot", "selu": "lecun"}.get(activation, "he")
    return ("torch", textbook, "orthogonal", "lsuv")


@cache
def images(name: str) -> Dataset:
    """The first 20,000 and 2,000 images, average-pooled to 14 × 14 and standardized again."""
    whole = load(name).take(TRAIN, TEST)

    def pooled(x: np.ndarray) -> np.ndarray:
        x = x.reshape(len(x), 14, 2, 14, 2).mean((2, 4)).reshape(len(x), -1)
        return x.astype(np.float32)

    train, test = pooled(whole.train_x), pooled(whole.test_x)
    mean, std = train.mean(), train.std()
    words = f"{name}: the first {TRAIN:,} training and {TEST:,} test images, average-pooled to 14 × 14"
    return replace(whole, train_x=(train - mean) / std, test_x=(test - mean) / std, source=words)


def network(depth: int, activation: str) -> nn.Module:
    """``depth`` linear maps, an activation between any two."""
    sizes = [196, *[WIDTH] * (depth - 1)]
    hidden: list[nn.Module] = []
    for fan_in, fan_out in itertools.pairwise(sizes):
        hidden += [nn.Linear(fan_in, fan_out), ACTIVATIONS[activation]()]
    return nn.Sequential(*hidden, nn.Linear(sizes[-1], 10))


def rows(settings: Settings) -> list[Row]:
    """One row per depth and activation; sigmoid at depths 10 and 20 only, for no start carries it deeper."""
    found = []
    for activation in ACTIVATIONS:
        for depth in (10, 20) if activation == "sigmoid" else (10, 50, 200):
            starts: dict[str, Any] = dict.fromkeys(STARTS if depth < 200 else deepest(activation))
            if activation == "sigmoid":
                starts["glorot4"] = None
            starts["auto"] = None
            found.append(
                Row(
                    table="mlp",
                    name=f"{activation} {depth}",
                    make=partial(network, depth, activation),
                    data=images(settings.data),
                    starts={name: name for name in starts},
                    optimizer="adam",
                    lrs=LRS[depth],
                    steps=STEPS[depth] // (4 if settings.quick else 1),
                    batch_size=BATCH[depth],
                    labels={"depth": depth, "activation": activation},
                )
            )
    return found
