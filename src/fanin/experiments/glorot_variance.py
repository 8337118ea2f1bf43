"""glorot-variance: forward scaling, backward scaling, and the compromise, in layers that are not square."""

from __future__ import annotations

import math
from statistics import mean
from typing import Any

from fanin.experiments._base import Claim, Experiment, Measured, Settings
from fanin.experiments._nets import along, factor, mlp, normal_inputs, predicted, recipe, signals, started
from fanin.initializers import GlorotUniform, Initializer, VarianceScaling
from fanin.report.figures import figure

__all__ = ["EXPERIMENT"]

STARTS: dict[str, Initializer] = {
    "1/fan_in": VarianceScaling(1.0, "fan_in", "uniform"),
    "1/fan_out": VarianceScaling(1.0, "fan_out", "uniform"),
    "Xavier": GlorotUniform(),
    "1/(3 fan_in)": VarianceScaling(1 / 3, "fan_in", "uniform"),
}
"""The last is what Glorot & Bengio call the standard heuristic, U(±1/√n); it is torch's default."""


def measure(settings: Settings) -> Measured:
    """A funnel of linear layers, where each rule's effect is exact in expectation, and a square tanh network."""
    widest = settings.pick(1280, 640, 64)
    funnel = [widest >> step for step in range(5)]
    rows: list[dict[str, Any]] = []
    pictures: dict[str, Any] = {}
    numbers: dict[str, float] = {}
    seeds = settings.seeds(settings.pick(5, 3, 1))
    for name, law in STARTS.items():
        forward, backward, off = [], [], []
        for seed in seeds:
            model = mlp(funnel, "linear", bias=False)
            plan = recipe(model, law, name=name)
            x = normal_inputs(settings.pick(500, 300, 20), widest, seed)
            record = predicted(signals(started(model, plan, seed), x, seed=seed), model, plan)
            pictures.setdefault(name, record)
            rows += _rows(name, seed, record)
            stds = [1.0, *(signal.rms for signal in along(record, "fc"))]
            backs = [signal.rms for signal in along(record, "fc", "backward")][::-1]
            forward.append(factor(stds) ** 2)
            backward.append(factor(backs) ** 2)
            off += [abs(math.log(row["forward"] / row["forward_predicted"])) for row in rows[-4:]]
        key = name.replace("1/", "").replace("(", "").replace(")", "").replace(" ", "_").replace("3_fan", "third_fan")
        key = key.lower()
        numbers[f"forward_{key}"], numbers[f"backward_{key}"] = mean(forward), mean(backward)
        numbers[f"worst_{key}"] = max(abs(math.log(mean(forward))), abs(math.log(mean(backward))))
        numbers["off"] = max(numbers.get("off", 0.0), *off)
    numbers["compromise"] = numbers["worst_xavier"] / min(numbers["worst_fan_in"], numbers["worst_fan_out"])
    figures = {"variance": figure("variance", pictures), "gradients": figure("gradients", pictures)}
    words = f"N(0, 1) inputs, linear layers of {'-'.join(map(str, funnel))} units, {len(seeds)} seeds"
    return Measured(rows, numbers, figures, words)


def _rows(name: str, seed: int, record: Any) -> list[dict[str, Any]]:
    zipped = zip(
        along(record, "fc"),
        along(record, "fc", source="predicted"),
        along(record, "fc", "backward"),
        along(record, "fc", "backward", "predicted"),
    )
    return [
        {
            "start": name,
            "seed": seed,
            "layer": layer,
            "forward": f.second_moment,
            "forward_predicted": fp.second_moment,
            "backward": b.second_moment,
            "backward_predicted": bp.second_moment,
        }
        for layer, (f, fp, b, bp) in enumerate(zipped, start=1)
    ]


WHY = "exact in expectation for linear layers; chance moves it by about √(2/80)/√5 = 7 % at the narrowest layer"

EXPERIMENT = Experiment(
    name="glorot-variance",
    question="Forward and backward ask for different variances: what does the compromise 2/(fan_in + fan_out) buy?",
    known="1/fan_in keeps the signal, 1/fan_out keeps the gradient; in layers that are not square no one number keeps "
    "both, and the mean of the fans errs least in the worse direction. U(±1/√n) loses 2/3 of the variance per layer.",
    source="Glorot & Bengio, AISTATS 2010, equations 8–12",
    claims=(
        Claim("1/fan_in keeps the signal", "forward_fan_in", 0.93, 1.07, WHY),
        Claim("1/fan_in loses half of the gradient where layers halve", "backward_fan_in", 0.46, 0.54, WHY),
        Claim("1/fan_out keeps the gradient", "backward_fan_out", 0.93, 1.07, WHY),
        Claim("1/fan_out doubles the signal where layers halve", "forward_fan_out", 1.86, 2.14, WHY),
        Claim("Xavier gives the signal ×4/3 there", "forward_xavier", 1.24, 1.43, WHY),
        Claim("Xavier gives the gradient ×2/3 there", "backward_xavier", 0.62, 0.71, WHY),
        Claim(
            "Xavier's worse direction errs less than either rule's worse direction",
            "compromise",
            high=0.8,
            why="|ln 2/3| / ln 2 = 0.58 in theory; less than 1 by more than chance",
        ),
        Claim("U(±1/√n) leaves a third of the variance", "forward_third_fan_in", 0.31, 0.357, WHY),
        Claim("theory predicts each layer's variance", "off", high=0.3, why="natural logarithm; 3 standard deviations"),
    ),
    measure=measure,
)
