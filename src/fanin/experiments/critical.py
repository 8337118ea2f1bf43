"""critical: how deep a tanh network trains, against the depth to which theory says a signal reaches."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from fanin import compare, theory
from fanin.experiments._base import Claim, Experiment, Measured, Settings
from fanin.experiments._images import images
from fanin.experiments._nets import mlp, recipe
from fanin.experiments._races import rows
from fanin.initializers import Initializer, Normal, Orthogonal, VarianceScaling
from fanin.report.figures import figure

__all__ = ["EXPERIMENT"]

BIAS_VAR = 0.05
"""As in Schoenholz et al., 2017, where tanh is critical at σ_w² = 1.76."""

WEIGHT_VARS = (1.0, 1.3, 1.76, 2.5, 4.0)

REACH = 6.0
"""Schoenholz et al.: networks train down to about six times the depth scale of correlations."""

BAND = 2.0
"""The border is a slope, not a step: depths within this factor of it are left out of the count."""

ISOMETRIC = "critical, orthogonal"
ISOMETRIC_Q = 0.02
"""Second moment at which the orthogonal start is critical: small, so that tanh is nearly linear (Pennington, 2017)."""

LEARNED = 0.95
"""A final loss below this share of ln(classes) counts as learning."""


def measure(settings: Settings) -> Measured:
    """Train every depth and start for a few updates; set the outcome beside the forecast."""
    data, words = images(settings)
    classes, width = data.classes or 1, settings.pick(100, 64, 8)
    depths, steps = settings.pick((10, 30, 100, 300), (10, 30, 100), (3, 6)), settings.pick(200, 120, 3)
    scales = {_name(w): theory.depth_scale("tanh", w, BIAS_VAR).correlation for w in WEIGHT_VARS}
    table: list[dict[str, Any]] = []
    for depth in depths:
        make = partial(mlp, [data.sample_shape[0], *[width] * (depth - 1), classes], "tanh")
        race = compare(
            make,
            data,
            {name: recipe(make(), weights, biases=biases) for name, (weights, biases) in _starts().items()},
            seeds=[settings.seed],
            lrs=settings.pick((0.003, 0.01), (0.01,), (0.01,)),
            tuning_seeds=1,
            steps=steps,
            test_every=steps,
            n_jobs=settings.jobs,
            progress=False,
        )
        for row in rows(race, depth=depth):
            if row["updates"] == steps and row["lr"] == race.best_lr[row["start"]]:
                reach = REACH * scales.get(row["start"], math.inf)
                learned = row["final_loss"] < LEARNED * math.log(classes)
                table.append({**row, "reach": reach, "forecast": depth <= reach, "learned": learned})
    heat = [{"depth": r["depth"], "scheme": r["start"], "accuracy": r["test_accuracy"]} for r in table]
    points = {f"{w:g}": (w, BIAS_VAR) for w in WEIGHT_VARS}
    figures = {
        "depths": figure("heatmap", heat, source=f"tanh, {words}; {steps} updates of SGD, width {width}"),
        "phase": figure("phase", "tanh", points=points, span=(4.6, 0.12)),
    }
    return Measured(table, _numbers(table, width, classes), figures, words, _notes(table, width))


def _name(weight_var: float) -> str:
    return f"σ_w² = {weight_var:g}"


def _starts() -> dict[str, tuple[Initializer, Initializer]]:
    """name → weights, biases."""
    point = theory.critical("tanh", q=ISOMETRIC_Q)
    gaussian: dict[str, tuple[Initializer, Initializer]] = {
        _name(w): (VarianceScaling(w, "fan_in", "normal"), Normal(std=math.sqrt(BIAS_VAR))) for w in WEIGHT_VARS
    }
    isometric = Orthogonal(math.sqrt(point.weight_var)), Normal(std=math.sqrt(point.bias_var))
    return {**gaussian, ISOMETRIC: isometric}


def _numbers(table: list[dict[str, Any]], width: int, classes: int) -> dict[str, float]:
    gaussian = [row for row in table if row["start"] != ISOMETRIC and row["depth"] <= width]
    clear = [row for row in gaussian if max(row["depth"] / row["reach"], row["reach"] / row["depth"]) > BAND]
    # The deepest networks that the mean field can speak of: it neglects depth over width.
    deep = [row for row in gaussian if row["depth"] == max(r["depth"] for r in gaussian)]
    critical = next(row for row in deep if row["start"] == _name(1.76))
    rest = [row for row in deep if row is not critical]
    deepest = [row for row in table if row["depth"] == max(r["depth"] for r in table)]
    far = [row for row in deepest if row["start"] not in (ISOMETRIC, _name(1.76))]
    isometric = next(row for row in deepest if row["start"] == ISOMETRIC)
    own = next(row for row in deepest if row["start"] == _name(1.76))
    return {
        "clear_cells": float(len(clear)),
        "agreement": sum(row["forecast"] == row["learned"] for row in clear) / max(1, len(clear)),
        "critical_margin": min(row["final_loss"] for row in rest) - critical["final_loss"],
        "far_share": min(row["final_loss"] for row in far) / math.log(classes),
        "isometric_accuracy": isometric["test_accuracy"] or 0.0,
        "isometric_share": isometric["final_loss"] / math.log(classes),
        "critical_gaussian_share": own["final_loss"] / math.log(classes),
        "deepest": float(isometric["depth"]),
    }


def _notes(table: list[dict[str, Any]], width: int) -> tuple[str, ...]:
    """Where a finite width breaks the forecast."""
    broken = [r for r in table if r["forecast"] and not r["learned"] and r["depth"] > width and r["start"] != ISOMETRIC]
    return tuple(
        f"depth {row['depth']}, {row['start']}: forecast to train, but does not; depth/width = "
        f"{row['depth'] / width:.2g} is beyond the mean field"
        for row in broken
    )


EXPERIMENT = Experiment(
    name="critical",
    question="How deep a plain tanh network trains: does the depth scale of theory say it beforehand?",
    known="Networks train down to about 6 ξ_c, which diverges at the critical point; with orthogonal weights near the "
    "linear end of the critical line, hundreds of layers train.",
    source="Schoenholz et al., 2017, figure 5; Pennington, Schoenholz & Ganguli, 2017; Xiao et al., 2018",
    claims=(
        Claim(
            "depth < 6 ξ_c forecasts which networks learn",
            "agreement",
            low=0.9,
            why="share of cells with depth ≤ width and not within a factor 2 of the border",
        ),
        Claim(
            "as deep as wide, the critical start learns more than any other",
            "critical_margin",
            low=0.05,
            why="lowest final training loss of the others minus its own; noise of 20 batches is about 0.02",
        ),
        Claim(
            "at the greatest depth no start off the line learns", "far_share", low=LEARNED, why="final loss over ln 10"
        ),
        Claim(
            "there the orthogonal critical start learns",
            "isometric_share",
            high=LEARNED,
            why="final loss over ln 10",
        ),
    ),
    measure=measure,
)
