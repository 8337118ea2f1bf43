"""mnist-tanh: a narrowing tanh network on images, from zeros, N(0, 1), U(±1/√n) and Xavier."""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import Any

from fanin.compare import run
from fanin.experiments._base import Claim, Experiment, Measured, Settings
from fanin.experiments._images import images
from fanin.experiments._nets import along, factor, mlp, predicted, recipe, signals, started
from fanin.experiments._races import accuracies, curves, losses, margin, rows
from fanin.initializers import GlorotUniform, Initializer, Normal, VarianceScaling, Zeros
from fanin.report.figures import figure

__all__ = ["EXPERIMENT"]

STARTS: dict[str, Initializer] = {
    "zeros": Zeros(),
    "N(0, 1)": Normal(std=1.0),
    "U(±1/√n)": VarianceScaling(1 / 3, "fan_in", "uniform"),
    "Xavier": GlorotUniform(),
}


def measure(settings: Settings) -> Measured:
    """Trace each start on a batch of images, then train all with one learning rate."""
    data, words = images(settings)
    inputs, classes = data.sample_shape[0], data.classes or 1
    hidden = settings.pick((500, 400, 300, 200, 100), (500, 400, 300, 200, 100), (50, 40, 30, 20, 10))
    make = partial(mlp, [inputs, *hidden, classes], "tanh")
    starts = {name: recipe(make(), law, name=name) for name, law in STARTS.items()}
    batch = data.batch(settings.pick(1000, 500, 20), seed=settings.seed)
    table, numbers, records = [], {}, {}
    for name, plan in starts.items():
        model = started(make(), plan, settings.seed)
        record = signals(model, batch.inputs, batch.target)
        records[name] = record
        layers = _layers(name, record)
        table += layers
        stds, back = [row["std"] for row in layers], [row["gradient_rms"] for row in layers]
        key = {"zeros": "zeros", "N(0, 1)": "normal", "U(±1/√n)": "heuristic", "Xavier": "xavier"}[name]
        numbers[f"{key}_saturated"] = layers[-1]["saturated_fraction"] or 0.0
        if key != "zeros":
            # From layer 2 on: the first layer sees images, whose pixels are not independent.
            numbers[f"{key}_variance_factor"] = factor(stds[1:]) ** 2
            numbers[f"{key}_gradient_factor"] = factor(back[::-1]) ** 2
            theory = along(predicted(record, model, plan, loss="cross_entropy"), "act", "backward", "predicted")
            numbers[f"{key}_gradient_theory"] = factor([signal.rms for signal in theory][::-1]) ** 2
        else:
            moving = [name for name, grad in record.gradients.items() if float(grad.abs().max()) > 0]
            numbers["zeros_tensors_with_gradient"] = float(len(moving))
    numbers["gradient_gain"] = numbers["xavier_gradient_factor"] / numbers["heuristic_gradient_factor"]
    numbers["gradient_against_theory"] = numbers["xavier_gradient_factor"] / numbers["xavier_gradient_theory"]
    steps = settings.pick(600, 300, 3)
    race = run(
        make,
        data,
        starts,
        lrs=[0.01],
        seeds=settings.seeds(settings.pick(3, 2, 1)),
        optimizer="sgd",
        steps=steps,
        batch_size=64,
        test_every=steps,
        n_jobs=settings.jobs,
        progress=False,
    )
    table += rows(race)
    for key, name in zip(("zeros", "normal", "heuristic", "xavier"), STARTS):
        numbers[f"{key}_loss"], numbers[f"{key}_accuracy"] = (
            median(losses(race, name)),
            median(accuracies(race, name)),
        )
    numbers["xavier_over_normal"] = margin(accuracies(race, "Xavier"), accuracies(race, "N(0, 1)"))
    numbers["xavier_over_heuristic"] = margin(losses(race, "U(±1/√n)"), losses(race, "Xavier"))
    share = max(float((data.test_y == label).mean()) for label in range(classes))
    numbers["zeros_over_guessing"] = numbers["zeros_accuracy"] - share
    shown = {name: record for name, record in records.items() if name != "zeros"}
    figures = {
        "histograms": figure("histograms", shown, at="activations"),
        "variance": figure("variance", shown),
        "gradients": figure("gradients", shown),
        "training": figure(
            "race", curves({name: race.of(name) for name in STARTS}), source=f"{words}; SGD, lr 0.01, band: all seeds"
        ),
    }
    return Measured(table, numbers, figures, words)


def _layers(name: str, record: Any) -> list[dict[str, Any]]:
    return [
        {
            "start": name,
            "layer": layer,
            "std": signal.std,
            "saturated_fraction": signal.saturated_fraction,
            "gradient_rms": back.rms,
        }
        for layer, (signal, back) in enumerate(zip(along(record, "act"), along(record, "act", "backward")), start=1)
    ]


EXPERIMENT = Experiment(
    name="mnist-tanh",
    question="What do zeros, N(0, 1), U(±1/√n) and Xavier do to five tanh layers on handwritten digits?",
    known="Zeros never train anything but the last bias; N(0, 1) saturates every layer; U(±1/√n) leaves a third of the "
    "variance per layer; Xavier keeps it and learns fastest.",
    source="Glorot & Bengio, AISTATS 2010, figures 6, 7 and 11",
    claims=(
        Claim("zeros: only the last bias has a gradient", "zeros_tensors_with_gradient", 1, 1, "exact: tanh(0) = 0"),
        Claim(
            "zeros: after training no better than always guessing the commonest class",
            "zeros_over_guessing",
            high=0.0,
            why="share of the commonest class in the test part",
        ),
        Claim("N(0, 1): most units of the last hidden layer are saturated", "normal_saturated", low=0.5, why="half"),
        Claim(
            "U(±1/√n): a third of the variance survives a layer",
            "heuristic_variance_factor",
            0.28,
            0.36,
            "1/3 in the linear regime, a little less where tanh bends; 100 units move it by 14 % at most",
        ),
        Claim(
            "Xavier: most of it survives",
            "xavier_variance_factor",
            0.75,
            1.25,
            "2 fan_in/(fan_in + fan_out) = 1.11 to 1.33, less what tanh takes",
        ),
        Claim(
            "U(±1/√n): the gradient falls by more than half a layer",
            "heuristic_gradient_factor",
            high=0.5,
            why="fan_out/(3 fan_in), and the slope of tanh",
        ),
        Claim(
            "Xavier leaves at least twice as much of it at each layer",
            "gradient_gain",
            low=2.0,
            why="6 fan_in/(fan_in + fan_out) = 3.3 to 4, less where larger signals meet smaller slopes of tanh",
        ),
        Claim(
            "Xavier's gradient falls as theory says (these layers are not square)",
            "gradient_against_theory",
            0.9,
            1.1,
            "measured factor per layer over predicted",
        ),
        Claim(
            "Xavier beats N(0, 1) on test images with every seed",
            "xavier_over_normal",
            low=0.0,
            why="worst of Xavier minus best of N(0, 1), test accuracy",
        ),
        Claim(
            "Xavier trains faster than U(±1/√n) with every seed",
            "xavier_over_heuristic",
            low=0.0,
            why="best of U(±1/√n) minus worst of Xavier, final training loss",
        ),
    ),
    measure=measure,
)
