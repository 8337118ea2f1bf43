"""activations: the textbook histograms of five layers, for four scales of weights and three activations."""

from __future__ import annotations

import math
from statistics import median
from typing import Any

from fanin import theory
from fanin.experiments._base import Claim, Experiment, Measured, Settings
from fanin.experiments._nets import (
    along,
    factor,
    mlp,
    normal_inputs,
    predicted,
    recipe,
    share_outside,
    signals,
    started,
)
from fanin.initializers import HeNormal, Initializer, LecunNormal, Normal
from fanin.report.figures import figure
from fanin.trace import Trace

__all__ = ["EXPERIMENT"]

LAYERS, UNITS = 5, 100

STARTS: dict[str, Initializer] = {
    "std 1": Normal(std=1.0),
    "std 0.01": Normal(std=0.01),
    "1/√n": LecunNormal(distribution="normal"),
    "√(2/n)": HeNormal(),
}
"""In a square layer 1/√n is also Xavier's."""

FUNCTIONS = ("sigmoid", "tanh", "relu")


def measure(settings: Settings) -> Measured:
    """Trace every combination for several networks; numbers are medians over them."""
    samples = settings.pick(1000, 1000, 50)
    x = normal_inputs(samples, UNITS, settings.seed)
    rows: list[dict[str, Any]] = []
    shown: dict[str, dict[str, Trace]] = {fn: {} for fn in FUNCTIONS}
    for fn in FUNCTIONS:
        for name, law in STARTS.items():
            for seed in settings.seeds(settings.pick(9, 3, 1)):
                model = mlp([UNITS] * (LAYERS + 1), fn, last=True, bias=False)
                plan = recipe(model, law, name=name)
                record = signals(started(model, plan, seed), x)
                shown[fn].setdefault(name, record)
                rows += _layers(fn, name, seed, predicted(record, model, plan))
    figures = {fn: figure("histograms", records, at="activations") for fn, records in shown.items()}
    figures["gradients"] = figure("gradients", shown["sigmoid"])
    words = f"{samples:,} inputs from N(0, 1), {LAYERS} layers of {UNITS} units"
    return Measured(rows, _numbers(rows), figures, words)


def _layers(fn: str, name: str, seed: int, record: Trace) -> list[dict[str, Any]]:
    before = along(record, "fc")
    expected = along(record, "fc", source="predicted")
    back = along(record, "fc", "backward")
    return [
        {
            "activation": fn,
            "start": name,
            "seed": seed,
            "layer": layer,
            "preactivation_rms": before[layer - 1].rms,
            "predicted_rms": expected[layer - 1].rms,
            "mean": signal.mean,
            "std": signal.std,
            "zero_fraction": signal.zero_fraction,
            "saturated_fraction": signal.saturated_fraction,
            "near_ends": share_outside(signal, 0.1, 0.9) if fn == "sigmoid" else None,
            "gradient_rms": back[layer - 1].rms,
        }
        for layer, signal in enumerate(along(record, "act"), start=1)
    ]


def _numbers(rows: list[dict[str, Any]]) -> dict[str, float]:
    def at(fn: str, name: str, key: str) -> list[float]:
        """Medians over the networks, layer by layer."""
        chosen = [r for r in rows if r["activation"] == fn and r["start"] == name]
        return [median(float(r[key] or 0.0) for r in chosen if r["layer"] == layer) for layer in range(1, LAYERS + 1)]

    ratios = [
        m / p
        for fn in FUNCTIONS
        for name in STARTS
        for m, p in zip(at(fn, name, "preactivation_rms"), at(fn, name, "predicted_rms"))
    ]
    return {
        "sigmoid_std1_near_ends": at("sigmoid", "std 1", "near_ends")[-1],
        "sigmoid_lecun_near_ends": at("sigmoid", "1/√n", "near_ends")[-1],
        "sigmoid_small_std": at("sigmoid", "std 0.01", "std")[-1],
        "sigmoid_small_gradient_factor": factor(at("sigmoid", "std 0.01", "gradient_rms")[::-1]),
        "tanh_std1_saturated": at("tanh", "std 1", "saturated_fraction")[-1],
        "tanh_small_factor": factor(at("tanh", "std 0.01", "std")),
        "tanh_lecun_std": at("tanh", "1/√n", "std")[-1],
        "relu_small_factor": factor(at("relu", "std 0.01", "std")),
        "relu_lecun_factor": factor(at("relu", "1/√n", "preactivation_rms")) ** 2,
        "relu_he_factor": factor(at("relu", "√(2/n)", "preactivation_rms")) ** 2,
        "worst_against_theory": max(max(r, 1 / r) for r in ratios),
        "sigmoid_small_gradient_theory": math.sqrt(theory.chi_perp("sigmoid", UNITS * 1e-4 / 4, UNITS * 1e-4)),
    }


EXPERIMENT = Experiment(
    name="activations",
    question="How do activations spread over five layers, for four scales of the weights?",
    known="std 1 saturates sigmoid and tanh, 0.01 makes all units alike, 1/√n keeps tanh spread out and √(2/n) ReLU.",
    source="Saitoh, Deep Learning from Scratch, 2016, §6.2; Glorot & Bengio, 2010; He et al., 2015",
    claims=(
        Claim(
            "sigmoid, std 1: most activations of layer 5 lie within 0.1 of 0 or 1",
            "sigmoid_std1_near_ends",
            low=0.5,
            why="most: more than half",
        ),
        Claim("sigmoid, 1/√n: hardly any do", "sigmoid_lecun_near_ends", high=0.01, why="one in a hundred"),
        Claim(
            "sigmoid, std 0.01: all units say about 1/2",
            "sigmoid_small_std",
            high=0.05,
            why="a tenth of the distance to either end",
        ),
        Claim(
            "sigmoid, std 0.01: the gradient vanishes too, ×0.025 a layer (often denied)",
            "sigmoid_small_gradient_factor",
            0.02,
            0.03,
            "theory: √(n σ² E σ′²) = √(100 · 1e-4)/4 = 0.025",
        ),
        Claim("tanh, std 1: most activations are saturated", "tanh_std1_saturated", low=0.5, why="more than half"),
        Claim(
            "tanh, std 0.01: the spread shrinks ×0.1 a layer",
            "tanh_small_factor",
            0.08,
            0.12,
            "theory: √n · 0.01 = 0.1; 100 units move it by 7 % at most layers",
        ),
        Claim("tanh, 1/√n: layer 5 is still spread out", "tanh_lecun_std", low=0.2, why="a fifth of the range to ±1"),
        Claim(
            "ReLU, std 0.01: the spread shrinks ×0.07 a layer",
            "relu_small_factor",
            0.055,
            0.09,
            "theory: √(n/2) · 0.01 = 0.071",
        ),
        Claim(
            "ReLU, 1/√n: the second moment halves at each layer",
            "relu_lecun_factor",
            0.4,
            0.6,
            "theory 1/2; one network of 100 units strays by √(5/100) = 22 % a layer, nine over four layers by 4 %",
        ),
        Claim("ReLU, √(2/n): it stays", "relu_he_factor", 0.8, 1.2, "theory 1, spread as above"),
        Claim(
            "mean field theory predicts the rms of every layer",
            "worst_against_theory",
            high=1.25,
            why="the spread of the rms at layer 5 is √(4 · 5/100)/2 = 22 % for one ReLU network",
        ),
    ),
    measure=measure,
)
