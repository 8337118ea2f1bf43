"""symmetry: equal weights stay equal; zero biases and a zero output layer do no harm."""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import Any

import torch
from torch import nn

from fanin.compare import run
from fanin.experiments._base import Claim, Experiment, Measured, Settings
from fanin.experiments._images import images
from fanin.experiments._nets import mlp, recipe, signals, started
from fanin.experiments._races import accuracies, curves, rows
from fanin.initializers import Constant, GlorotUniform, Initializer, Ones, VarianceScaling, Zeros
from fanin.recipe import Recipe
from fanin.report.figures import figure

__all__ = ["EXPERIMENT"]

SAME: dict[str, Initializer] = {"zeros": Zeros(), "ones": Ones(), "constant 0.1": Constant(0.1)}

ALIKE = 1e-3
"""Second singular value over the first below which a matrix counts as of rank 1: rounding alone drives equal rows about
1e-6 apart in 200 float32 updates."""

LOSS = 0.02
"""Accuracy given up before a start counts as harmful: two standard errors of 2,000 test images at 95 % are 0.01."""


def ranks(model: nn.Module, step: int) -> list[int]:
    """Numerical rank of every weight; 0 for a matrix of zeros."""
    found = []
    for parameter in model.parameters():
        if parameter.ndim == 2:
            values = torch.linalg.svdvals(parameter.detach().double())
            found.append(int((values > ALIKE * values[0]).sum()) if values[0] > 0 else 0)
    return found


def measure(settings: Settings) -> Measured:
    """Train equal starts for 200 updates and look at the rank of each weight; then the harmless zeros."""
    data, words = images(settings)
    inputs, classes = data.sample_shape[0], data.classes or 1
    units, steps = settings.pick(50, 50, 6), settings.pick(200, 100, 3)
    table: list[dict[str, Any]] = []
    numbers: dict[str, float] = {"equal_rank": 0.0, "random_rank": float("inf")}
    for fn in ("sigmoid", "tanh", "relu"):
        make = partial(mlp, [inputs, units, units, classes], fn)
        starts = {name: recipe(make(), law, biases=Constant(0.1), name=name) for name, law in SAME.items()}
        starts["random"] = recipe(make(), GlorotUniform(), biases=Zeros(), name="random")
        race = run(
            make,
            data,
            starts,
            lrs=[0.05],
            seeds=[settings.seed],
            steps=steps,
            probe=ranks,
            probe_at=range(0, steps + 1, max(1, steps // 4)),
            n_jobs=settings.jobs,
            progress=False,
        )
        for name in race.schemes:
            (one,) = race.of(name)
            for step, found in one.probes:
                for layer, rank in enumerate(found, start=1):
                    table.append({"activation": fn, "start": name, "updates": step, "layer": layer, "rank": rank})
            last = one.probes[-1][1]
            if name in SAME:
                numbers["equal_rank"] = max(numbers["equal_rank"], *map(float, last))
            elif name == "random":
                numbers["random_rank"] = min(numbers["random_rank"], float(last[1]))
    numbers["random_rank_share"] = numbers["random_rank"] / units
    figures = _harmless(settings, data, words, table, numbers)
    return Measured(table, numbers, figures, words)


def _harmless(
    settings: Settings, data: Any, words: str, table: list[dict[str, Any]], numbers: dict[str, float]
) -> dict[str, Any]:
    make = partial(mlp, [data.sample_shape[0], 100, 100, data.classes or 1], "tanh")
    law, bias = GlorotUniform(), VarianceScaling(1 / 3, "fan_in", "uniform")
    starts: dict[str, Recipe] = {
        "zero biases": recipe(make(), law),
        "random biases": recipe(make(), law, biases=bias),
        "zero output layer": recipe(make(), law, only={"fc3.weight": Zeros()}),
        "zeros everywhere": recipe(make(), Zeros()),
    }
    batch = data.batch(64, seed=settings.seed)
    record = signals(started(make(), starts["zero output layer"], settings.seed), batch.inputs, batch.target)
    moving = [name for name, gradient in record.gradients.items() if float(gradient.abs().max()) > 0]
    numbers["zero_head_moving"] = float(sum(not name.startswith("fc3") for name in moving))
    steps = settings.pick(1000, 400, 3)
    race = run(
        make,
        data,
        starts,
        lrs=[0.1],
        seeds=settings.seeds(settings.pick(4, 3, 1)),
        steps=steps,
        test_every=steps,
        n_jobs=settings.jobs,
        progress=False,
    )
    table += rows(race)
    scores = {name: median(accuracies(race, name)) for name in race.schemes}
    numbers["zero_biases_lose"] = scores["random biases"] - scores["zero biases"]
    numbers["zero_head_loses"] = scores["zero biases"] - scores["zero output layer"]
    numbers["zeros_everywhere_lose"] = scores["zero biases"] - scores["zeros everywhere"]
    numbers["zero_biases_accuracy"] = scores["zero biases"]
    return {
        "training": figure(
            "race",
            curves({name: race.of(name) for name in race.schemes}),
            source=f"{words}; tanh, SGD, lr 0.1, band: all seeds",
        )
    }


EXPERIMENT = Experiment(
    name="symmetry",
    question="What happens to units that start equal, and which zeros are harmless?",
    known="Units of equal weights get equal gradients and stay equal, whatever the constant; biases and the output "
    "layer may start at zero, for the other weights break the symmetry.",
    source="Rumelhart, Hinton & Williams, 1986; Goodfellow, Bengio & Courville, 2016, §8.4",
    claims=(
        Claim(
            "zeros, ones, constant: after training every weight has rank 1 at most (sigmoid, tanh, ReLU)",
            "equal_rank",
            high=1,
            why="numerical rank at 1e-3 of the largest singular value",
        ),
        Claim(
            "random weights: the hidden matrix keeps its full rank", "random_rank_share", low=0.9, why="of the units"
        ),
        Claim("zero biases cost no accuracy", "zero_biases_lose", high=LOSS, why="medians over seeds"),
        Claim("a zero output layer costs no accuracy", "zero_head_loses", high=LOSS, why="medians over seeds"),
        Claim("it only delays the rest: no hidden gradient at the first update", "zero_head_moving", 0, 0, "exact"),
        Claim("zeros everywhere cost nearly all of it", "zeros_everywhere_lose", low=0.5, why="medians over seeds"),
    ),
    measure=measure,
)
