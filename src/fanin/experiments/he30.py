"""he30: thirty ReLU layers from Xavier's start and from He's."""

from __future__ import annotations

import math
from functools import partial
from statistics import median
from typing import Any

from fanin import compare
from fanin.experiments._base import Claim, Experiment, Measured, Settings
from fanin.experiments._images import images
from fanin.experiments._nets import along, factor, mlp, recipe, signals, started
from fanin.experiments._races import accuracies, losses, margin, picture, rows
from fanin.initializers import GlorotNormal, HeNormal, Initializer
from fanin.report.figures import figure

__all__ = ["EXPERIMENT"]

STARTS: dict[str, Initializer] = {"Xavier": GlorotNormal(), "He": HeNormal()}
DEPTH, WIDTH = 30, 100
RATES = (0.003, 0.01, 0.03, 0.1)


def measure(settings: Settings) -> Measured:
    """The signal and gradient through 30 layers, then training, each start at its own best learning rate."""
    data, words = images(settings)
    depth, width = settings.pick(DEPTH, DEPTH, 6), settings.pick(WIDTH, WIDTH, 10)
    make = partial(mlp, [data.sample_shape[0], *[width] * (depth - 1), data.classes or 1], "relu")
    starts = {name: recipe(make(), law, name=name) for name, law in STARTS.items()}
    batch = data.batch(settings.pick(500, 200, 20), seed=settings.seed)
    table: list[dict[str, Any]] = []
    numbers: dict[str, float] = {}
    records = {}
    for name, plan in starts.items():
        record = signals(started(make(), plan, settings.seed), batch.inputs, batch.target)
        records[name] = record
        forward = [signal.rms for signal in along(record, "fc")]
        backward = [signal.rms for signal in along(record, "fc", "backward")]
        table += [
            {"start": name, "layer": layer, "forward_rms": f, "gradient_rms": b}
            for layer, (f, b) in enumerate(zip(forward, backward), start=1)
        ]
        # The last layer has 10 outputs and no ReLU after it; the factor is that of the square layers.
        numbers[f"{name.lower()}_forward_factor"] = factor(forward[:-1]) ** 2
    steps = settings.pick(700, 400, 3)
    race = compare(
        make,
        data,
        starts,
        lrs=settings.pick(RATES, RATES[1:3], RATES[:1]),
        seeds=settings.seeds(settings.pick(4, 2, 1)),
        steps=steps,
        tuning_seeds=settings.pick(2, 1, 1),
        test_every=steps,
        n_jobs=settings.jobs,
        progress=False,
    )
    table += rows(race)
    for name in STARTS:
        numbers[f"{name.lower()}_loss"] = median(losses(race, name))
        numbers[f"{name.lower()}_accuracy"] = median(accuracies(race, name))
    numbers["xavier_share"] = median(losses(race, "Xavier")) / math.log(data.classes or 2)
    numbers["he_over_xavier"] = margin(accuracies(race, "He"), accuracies(race, "Xavier"))
    figures = {
        "variance": figure("variance", records),
        "gradients": figure("gradients", records),
        "training": picture(race, source=words),
    }
    return Measured(table, numbers, figures, words)


EXPERIMENT = Experiment(
    name="he30",
    question="Do thirty ReLU layers train from Xavier's start, and from He's?",
    known="Xavier stalls completely, for the signal halves at each layer; He learns.",
    source="He, Zhang, Ren & Sun, ICCV 2015, figure 3",
    claims=(
        Claim(
            "Xavier: the second moment halves at each layer",
            "xavier_forward_factor",
            0.4,
            0.6,
            "1/2; 28 layers of 100 units move one network's factor by √(28 · 5/100)/28 = 4 % a layer; 5 times that",
        ),
        Claim("He: it stays", "he_forward_factor", 0.8, 1.2, "1, as above"),
        Claim(
            "Xavier stalls: the loss stays where all classes are equal, at its best learning rate",
            "xavier_share",
            low=0.95,
            why="median final training loss over ln 10",
        ),
        Claim("He learns", "he_accuracy", low=0.7, why="median test accuracy, guessing: 0.1"),
        Claim("He is better with every seed", "he_over_xavier", low=0.0, why="worst of He minus best of Xavier"),
    ),
    measure=measure,
)
