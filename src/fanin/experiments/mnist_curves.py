"""mnist-curves: the textbook's training curves for std 0.01, Xavier and He, with ReLU and with sigmoid."""

from __future__ import annotations

import math
from functools import partial
from statistics import median
from typing import Any

from fanin.compare import run
from fanin.experiments._base import Claim, Experiment, Measured, Settings
from fanin.experiments._images import images
from fanin.experiments._nets import mlp, recipe
from fanin.experiments._races import curves, losses, margin, rows
from fanin.initializers import GlorotNormal, HeNormal, Initializer, Normal
from fanin.report.figures import figure

__all__ = ["EXPERIMENT"]

STARTS: dict[str, Initializer] = {"std 0.01": Normal(std=0.01), "Xavier": GlorotNormal(), "He": HeNormal()}

KEYS = {"std 0.01": "small", "Xavier": "xavier", "He": "he"}


def measure(settings: Settings) -> Measured:
    """784-100-100-100-100-10, SGD with rate 0.01, batches of 128, 2,000 updates: the textbook's own setting."""
    data, words = images(settings)
    classes, steps = data.classes or 1, settings.pick(2000, 500, 4)
    sizes = [data.sample_shape[0], 100, 100, 100, 100, classes]
    table: list[dict[str, Any]] = []
    numbers: dict[str, float] = {"chance_loss": math.log(classes)}
    figures = {}
    for fn in ("relu", "sigmoid"):
        make = partial(mlp, sizes, fn)
        race = run(
            make,
            data,
            {name: recipe(make(), law, name=name) for name, law in STARTS.items()},
            lrs=[0.01],
            seeds=settings.seeds(settings.pick(3, 3, 1)),
            steps=steps,
            batch_size=128,
            test_every=steps,
            n_jobs=settings.jobs,
            progress=False,
        )
        table += rows(race, activation=fn)
        for name, key in KEYS.items():
            numbers[f"{fn}_{key}_loss"] = median(losses(race, name))
            numbers[f"{fn}_{key}_share"] = min(losses(race, name)) / math.log(classes)
            numbers[f"{fn}_{key}_updates"] = median(one.steps_to(1.0) for one in race.of(name))
        if fn == "relu":
            numbers["relu_xavier_over_small"] = margin(losses(race, "std 0.01"), losses(race, "Xavier"))
            slow, fast = ([one.steps_to(1.0) for one in race.of(name)] for name in ("Xavier", "He"))
            numbers["relu_he_sooner"] = margin(slow, fast) if math.isfinite(max(fast)) else -math.inf
        series = {name: race.of(name) for name in STARTS}
        figures[fn] = figure("race", curves(series), source=f"{fn}, {words}; SGD, lr 0.01, band: all seeds")
    return Measured(table, numbers, figures, words)


EXPERIMENT = Experiment(
    name="mnist-curves",
    question="What do std 0.01, Xavier and He mean for training five layers on handwritten digits?",
    known="With ReLU, std 0.01 learns nothing, Xavier and He learn, He faster. With sigmoid none of the three gets "
    "going in the same time.",
    source="Saitoh, Deep Learning from Scratch, 2016, §6.2.4; Glorot & Bengio, 2010, §3.1 (sigmoid)",
    claims=(
        Claim(
            "ReLU, std 0.01: the loss stays where all classes are equal",
            "relu_small_share",
            low=0.95,
            why="lowest final training loss of all seeds over ln 10",
        ),
        Claim(
            "ReLU: Xavier learns, std 0.01 does not, with every seed",
            "relu_xavier_over_small",
            low=1.0,
            why="final training loss",
        ),
        Claim("ReLU: He learns", "relu_he_loss", high=0.5, why="median final training loss"),
        Claim(
            "ReLU: He gets to a loss of 1 sooner than Xavier, with every seed",
            "relu_he_sooner",
            low=1.0,
            why="updates: fewest of Xavier minus most of He",
        ),
        Claim("sigmoid, std 0.01: nothing is learned", "sigmoid_small_share", low=0.95, why="as for ReLU"),
        Claim(
            "sigmoid, Xavier: nothing is learned, although often recommended",
            "sigmoid_xavier_share",
            low=0.95,
            why="as above",
        ),
        Claim("sigmoid, He: nothing is learned", "sigmoid_he_share", low=0.95, why="as above"),
    ),
    measure=measure,
)
