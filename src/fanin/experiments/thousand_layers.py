"""thousand-layers: a plain tanh chain of a thousand layers, from the critical start and from starts beside it."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

from fanin import compare, theory
from fanin.experiments._base import Claim, Experiment, Measured, Settings
from fanin.experiments._images import images
from fanin.experiments._nets import along, mlp, recipe, signals, started
from fanin.experiments._races import accuracies, losses, margin, picture, rows
from fanin.initializers import Initializer, Normal, Orthogonal, VarianceScaling
from fanin.report.figures import figure

if TYPE_CHECKING:
    from torch import nn

    from fanin.compare import Race
    from fanin.data import Dataset
    from fanin.recipe import Recipe

__all__ = ["EXPERIMENT"]

Q = 0.025
"""Second moment at the critical point: σ_w² = 1.05, σ_b² = 2e-5, about where Xiao et al. (2018) train 10,000 layers."""

CRITICAL, GAUSSIAN, ORDERED, CHAOTIC = "critical, orthogonal", "critical, Gaussian", "ordered", "chaotic"
BESIDE = {ORDERED: 0.7, CHAOTIC: 1.5}
"""σ_w² of the orthogonal starts off criticality: ξ_c = 2.8 and 52 layers at the same σ_b²; 1,000 are 19 ξ_c or more."""

LEARNED = 0.95
"""A final training loss below this share of ln(classes) counts as learning."""

BIAS_VAR = 0.05
"""Of the chains on both sides of the border, as in Schoenholz et al. (2017)."""

WEIGHT_VARS = (0.9, 1.2, 2.5)
"""Two ordered chains and a chaotic one: ξ_c = 2.9, 5.9 and 11.8 layers."""

NEAR, FAR = 3.0, 12.0
"""Multiples of ξ_c on either side of Schoenholz et al.'s border of six: half and twice it."""


def measure(settings: Settings) -> Measured:
    """Train the deep chain from four starts, then chains of a few and of many correlation lengths."""
    train, test = settings.pick((10_000, 2_000), (6_400, 1_000), (64, 20))
    data, words = images(settings, train=train, test=test)
    depth = settings.pick(1000, 300, 12)
    # 30 units: below the million parameters up to which the runs of a race are trained as one stack.
    make = partial(mlp, [data.sample_shape[0], *[settings.pick(30, 30, 8)] * (depth - 1), data.classes or 1], "tanh")
    starts = _starts(make())
    race = _race(
        make, data, starts, settings, settings.pick(3, 2, 1), settings.pick((1e-3, 3e-3), (3e-3, 1e-2), (1e-2,))
    )
    border, cells = _border(data, settings)
    level = math.log(data.classes or 1)
    numbers = _numbers(race, level) | border
    numbers["gradient_ratio"] = _gradient_ratio(started(make(), starts[CRITICAL], settings.seed), data, settings)
    figures = {
        "training": picture(race, source=f"{depth} layers; {words}"),
        "border": figure("heatmap", cells, source=f"tanh, orthogonal, σ_b² = {BIAS_VAR:g}; {words}"),
    }
    return Measured([*rows(race, depth=depth), *cells], numbers, figures, words)


def _starts(model: nn.Module) -> dict[str, Recipe]:
    """The four starts; all with the biases of the critical one."""
    point = theory.critical("tanh", q=Q)
    laws: dict[str, Initializer] = {
        CRITICAL: Orthogonal(math.sqrt(point.weight_var)),
        GAUSSIAN: VarianceScaling(point.weight_var, "fan_in", "normal"),
        **{name: Orthogonal(math.sqrt(weight_var)) for name, weight_var in BESIDE.items()},
    }
    biases = Normal(std=math.sqrt(point.bias_var))
    return {name: recipe(model, law, biases=biases, name=name) for name, law in laws.items()}


def _race(
    make: Any, data: Dataset, starts: Mapping[str, Recipe], settings: Settings, seeds: int, lrs: Sequence[float]
) -> Race:
    """One pass over the images at most, by plain SGD, each start at its own best learning rate."""
    steps = settings.pick(150, 100, 3)
    return compare(
        make,
        data,
        starts,
        lrs=lrs,
        seeds=settings.seeds(seeds),
        tuning_seeds=1,
        steps=steps,
        test_every=steps,
        n_jobs=settings.jobs,
        progress=False,
    )


def _border(data: Dataset, settings: Settings) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Orthogonal chains off criticality, NEAR and FAR from the border; which of them learn."""
    cells: list[dict[str, Any]] = []
    for weight_var in WEIGHT_VARS[: settings.pick(3, 3, 1)]:
        scale = theory.depth_scale("tanh", weight_var, BIAS_VAR).correlation
        for reach in (NEAR, FAR):
            depth = settings.pick(round(reach * scale), round(reach * scale), int(reach))
            make = partial(mlp, [data.sample_shape[0], *[64] * (depth - 1), data.classes or 1], "tanh")
            plan = recipe(make(), Orthogonal(math.sqrt(weight_var)), biases=Normal(std=math.sqrt(BIAS_VAR)))
            name = f"σ_w² = {weight_var:g}, {reach:g} ξ_c"
            race = _race(make, data, {name: plan}, settings, 1, settings.pick((0.01, 0.03), (0.01, 0.03), (0.01,)))
            share = losses(race, name)[0] / math.log(data.classes or 1)
            cell = {"depth": depth, "scheme": name, "accuracy": accuracies(race, name)[0], "reach": reach}
            cells.append({**cell, "share": share, "learned": share < LEARNED})
    shares = {reach: [cell["share"] for cell in cells if cell["reach"] == reach] for reach in (NEAR, FAR)}
    return {"near_share": max(shares[NEAR]), "far_share": min(shares[FAR])}, cells


def _numbers(race: Race, level: float) -> dict[str, float]:
    found = {f"{name}_share": median(losses(race, name)) / level for name in (ORDERED, CHAOTIC)}
    others = [loss for name in race.schemes if name != CRITICAL for loss in losses(race, name)]
    return {
        **found,
        "critical_share": max(losses(race, CRITICAL)) / level,
        "critical_accuracy": median(accuracies(race, CRITICAL)),
        "gaussian_share": median(losses(race, GAUSSIAN)) / level,
        "critical_margin": margin(others, losses(race, CRITICAL)) / level,
    }


def _gradient_ratio(model: nn.Module, data: Dataset, settings: Settings) -> float:
    """RMS of the gradient at the first layer's output over that at the last but one."""
    batch = data.batch(settings.pick(100, 50, 10), seed=settings.seed)
    backward = along(signals(model, batch.inputs, batch.target), "fc", "backward")
    return backward[0].rms / max(backward[-2].rms, sys.float_info.min)


EXPERIMENT = Experiment(
    name="thousand-layers",
    question="Can a plain tanh network of a thousand layers learn, without normalization or skip connections?",
    known="Yes, from orthogonal weights at the critical point for a small second moment; off that point, or from "
    "Gaussian weights, no. Off criticality a chain trains to about six correlation lengths ξ_c, orthogonal or not.",
    source="Schoenholz et al., 2017; Pennington, Schoenholz & Ganguli, 2017; Xiao et al., ICML 2018",
    claims=(
        Claim(
            "a thousand layers learn within 150 updates from the critical orthogonal start, with every seed",
            "critical_share",
            high=LEARNED,
            why="largest final training loss over ln 10; 1 is guessing",
        ),
        Claim(
            "they sort the test images",
            "critical_accuracy",
            low=0.2,
            why="median test accuracy; guessing 0.1, with 2,000 images ± 0.007",
        ),
        Claim(
            "its gradient has the same length at the first layer as at the last",
            "gradient_ratio",
            0.1,
            10,
            why="RMS over RMS; χ⊥ = 1 on average over inputs; 1 % off per layer would make 1.01^±500, 145 or 1/145",
        ),
        Claim("from the ordered side they do not learn", "ordered_share", low=0.98, why="median final loss over ln 10"),
        Claim("from the chaotic side they do not learn", "chaotic_share", low=0.98, why="median final loss over ln 10"),
        Claim(
            "nor from Gaussian weights at the same point",
            "gaussian_share",
            low=0.98,
            why="median final loss over ln 10; the condition number of a Gaussian product grows with depth over width",
        ),
        Claim(
            "the critical orthogonal start is better than the others with every seed",
            "critical_margin",
            low=0.0,
            why="lowest loss of the others minus highest of its own, over ln 10",
        ),
        Claim(
            "off criticality, chains of 3 ξ_c layers learn",
            "near_share",
            high=LEARNED,
            why="largest final loss over ln 10; Schoenholz et al. find the border at 6 ξ_c",
        ),
        Claim(
            "chains of 12 ξ_c layers do not, though their weights are orthogonal",
            "far_share",
            low=LEARNED,
            why="smallest final loss over ln 10",
        ),
    ),
    measure=measure,
)
