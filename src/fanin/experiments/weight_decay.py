"""weight-decay: over-fitting on 300 samples, with and without decay, from two starts."""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import Any

import torch
from torch import nn

from fanin.compare import run
from fanin.experiments._base import Claim, Experiment, Measured, Settings
from fanin.experiments._images import images
from fanin.experiments._nets import mlp, recipe
from fanin.experiments._races import margin, retitled, rows
from fanin.initializers import GlorotNormal, HeNormal
from fanin.report.figures import figure

__all__ = ["EXPERIMENT"]

DECAY = 0.1


def _sgd(decay: float, parameters: Any, lr: float) -> torch.optim.Optimizer:
    """SGD that pulls weights, not biases, to zero."""
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=lr)


def measure(settings: Settings) -> Measured:
    """784-100×6-10 with ReLU, 300 images, batches of 100, SGD with rate 0.01: the textbook's setting."""
    data, words = images(settings, train=settings.pick(300, 300, 30), test=settings.pick(2000, 1000, 50))
    hidden, steps = settings.pick([100] * 6, [100] * 6, [10] * 2), settings.pick(600, 600, 4)
    x, y = torch.from_numpy(data.train_x), torch.from_numpy(data.train_y)

    def train_accuracy(model: nn.Module, step: int) -> float:
        with torch.no_grad():
            return float((model(x).argmax(1) == y).float().mean())

    table: list[dict[str, Any]] = []
    numbers: dict[str, float] = {}
    curves: list[dict[str, Any]] = []
    gaps: dict[str, list[float]] = {}
    make = partial(mlp, [data.sample_shape[0], *hidden, data.classes or 1], "relu")
    starts = {"He": recipe(make(), HeNormal()), "Xavier": recipe(make(), GlorotNormal())}
    every = max(1, steps // 10)
    for decay in (0.0, DECAY):
        race = run(
            make,
            data,
            starts,
            lrs=[0.01],
            optimizer=partial(_sgd, decay),
            seeds=settings.seeds(settings.pick(4, 2, 1)),
            steps=steps,
            batch_size=100,
            test_every=every,
            probe=train_accuracy,
            probe_at=range(0, steps + 1, every),
            n_jobs=settings.jobs,
            progress=False,
        )
        for name in starts:
            key = f"{name.lower()}_{'decay' if decay else 'plain'}"
            runs = race.of(name)
            gaps[key] = [one.probes[-1][1] - (one.test_accuracy or 0.0) for one in runs]
            numbers[f"{key}_gap"] = median(gaps[key])
            numbers[f"{key}_train"] = median(one.probes[-1][1] for one in runs)
            numbers[f"{key}_test"] = median(one.test_accuracy or 0.0 for one in runs)
            if name == "He":
                curves += _curves(runs, f"decay {decay:g}")
        accuracy = {(one.scheme, one.seed): one.probes[-1][1] for one in race.runs}
        table += [{**row, "train_accuracy": accuracy[row["start"], row["seed"]]} for row in rows(race, decay=decay)]
    numbers["decay_narrows"] = margin(gaps["he_plain"], gaps["he_decay"])
    numbers["start_matters"] = abs(numbers["he_plain_gap"] - numbers["xavier_plain_gap"])
    numbers["decay_helps_test"] = numbers["he_decay_test"] - numbers["he_plain_test"]
    source = f"{words}; He, SGD, lr 0.01, band: all seeds"
    found = figure("race", curves, metric="accuracy", source=source)
    title = "Training minus test accuracy: {he_plain_gap:.0%} without decay, {he_decay_gap:.0%} with decay 0.1"
    figures = {"accuracy": retitled(found, title.format(**numbers))}
    return Measured(table, numbers, figures, words)


def _curves(runs: Any, label: str) -> list[dict[str, Any]]:
    """Training and test accuracy by update, median over seeds between lowest and highest."""
    found = []
    for part in ("training", "test"):
        columns: dict[int, list[float]] = {}
        for one in runs:
            pairs = one.probes if part == "training" else zip(one.curve.test_steps, one.curve.test_accuracies)
            for step, value in pairs:
                columns.setdefault(step, []).append(value)
        found += [
            {"scheme": f"{part}, {label}", "step": k, "median": median(v), "low": min(v), "high": max(v)}
            for k, v in sorted(columns.items())
        ]
    return found


EXPERIMENT = Experiment(
    name="weight-decay",
    question="Does weight decay, or the start, keep a deep network from over-fitting 300 samples?",
    known="Without decay training reaches 100 % and tests stay far below; decay narrows the gap. The start does not: "
    "that it prevents over-fitting is often said and not supported.",
    source="Krogh & Hertz, 1992; Saitoh, Deep Learning from Scratch, 2016, §6.4",
    claims=(
        Claim("without decay every sample is learned by heart", "he_plain_train", low=0.99, why="training accuracy"),
        Claim("tests stay far below", "he_plain_gap", low=0.1, why="training minus test accuracy, median over seeds"),
        Claim(
            "decay 0.1 narrows the gap with every seed",
            "decay_narrows",
            low=0.0,
            why="smallest gap without minus largest gap with decay",
        ),
        Claim("the start does not prevent it: Xavier over-fits, too", "xavier_plain_gap", low=0.1, why="as for He"),
    ),
    measure=measure,
)
