"""chain: one unit per layer, where the chain rule can be written out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import nn

from fanin.experiments._base import Claim, Experiment, Measured, Settings
from fanin.report.figures import figure
from fanin.signals import Signal, Signals
from fanin.trace import trace

__all__ = ["EXPERIMENT"]

DEPTH = 20

EULER = 0.5772156649015329
LOG_NORMAL = -(EULER + math.log(2)) / 2
"""E ln|z| for z ~ N(0, 1): the typical factor of a linear chain of unit variance is e^−0.635, though E z² = 1."""

LOG_NORMAL_STD = math.pi / math.sqrt(8)
"""Standard deviation of ln|z|: ln z² is log-χ² with one degree of freedom, variance ψ′(1/2) = π²/2."""


def measure(settings: Settings) -> Measured:
    """Autograd against the chain rule, for four kinds of chains."""
    repeats = settings.pick(200, 60, 4)
    cases = {
        "sigmoid, N(0, 1)": _random(settings.seed, 0, 1.0),
        "sigmoid, w = 100": _exploding,
        "linear, N(0, 1)": _random(settings.seed, 1, 1.0),
        "tanh, N(0, 0.5²)": _random(settings.seed, 2, 0.5),
    }
    rows: list[dict[str, Any]] = []
    numbers: dict[str, float] = {"largest_error": 0.0}
    series: dict[str, Signals] = {}
    for name, weights in cases.items():
        fn = name.split(",")[0]
        logs, growth = [], []
        for repeat in range(repeats if "N(" in name else 1):
            w, b, x = weights(repeat)
            measured, expected = _autograd(fn, w, b, x), _by_hand(fn, w, b, x)
            error = float(np.max(np.abs(measured - expected) / np.abs(expected)))
            numbers["largest_error"] = max(numbers["largest_error"], error)
            logs.append(math.log(abs(expected[0] / expected[-1])) / (DEPTH - 1))
            growth.append(abs(expected[0] / expected[-1]))
            if repeat == 0:
                rows += _rows(name, measured, expected)
                series[f"{name}, autograd"], series[f"{name}, by hand"] = _signals(measured), _signals(expected)
        numbers[f"{fn}_log_factor{'' if 'N(' in name else '_exploding'}"] = float(np.mean(logs))
        numbers[f"{fn}_shrinking{'' if 'N(' in name else '_exploding'}"] = float(np.mean(np.array(growth) < 1))
    standard_error = LOG_NORMAL_STD / math.sqrt(repeats * (DEPTH - 1))
    numbers["linear_log_z"] = abs(numbers["linear_log_factor"] - LOG_NORMAL) / standard_error
    numbers["sigmoid_factor"] = math.exp(numbers["sigmoid_log_factor"])
    numbers["exploding_factor"] = math.exp(numbers["sigmoid_log_factor_exploding"])
    shown = {name: record for name, record in series.items() if not name.startswith("tanh")}
    words = f"chains of {DEPTH} layers with one unit, {repeats} random chains of each kind"
    return Measured(rows, numbers, {"gradients": figure("gradients", shown, at="all")}, words)


def _random(seed: int, stream: int, std: float) -> Any:
    def weights(repeat: int) -> tuple[np.ndarray, np.ndarray, float]:
        random = np.random.default_rng([seed, stream, repeat])
        return random.normal(0, std, DEPTH), np.zeros(DEPTH), float(random.normal())

    return weights


def _exploding(repeat: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Nielsen's example: w = 100 and biases that put every unit at σ(0) = 1/2, so that each factor is 100/4."""
    return np.full(DEPTH, 100.0), np.concatenate([[0.0], np.full(DEPTH - 1, -50.0)]), 0.0


def _by_hand(fn: str, w: np.ndarray, b: np.ndarray, x: float) -> np.ndarray:
    """∂output/∂h_l = f′(h_L) Π_{k>l} w_k f′(h_{k−1}) for the pre-activations h_1, …, h_L."""
    slopes = []
    for weight, bias in zip(w, b):
        h = weight * x + bias
        if fn == "sigmoid":
            x = 1 / (1 + math.exp(-h))
            slopes.append(x * (1 - x))
        else:
            x = math.tanh(h) if fn == "tanh" else h
            slopes.append(1 - x * x if fn == "tanh" else 1.0)
    factors = [slopes[-1], *(weight * slope for weight, slope in zip(w[:0:-1], slopes[-2::-1]))]
    return np.cumprod(factors)[::-1]


def _autograd(fn: str, w: np.ndarray, b: np.ndarray, x: float) -> np.ndarray:
    """The same from torch, in float64."""
    layers: list[nn.Module] = []
    make = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "linear": nn.Identity}[fn]
    for weight, bias in zip(w, b):
        layer = nn.Linear(1, 1, dtype=torch.float64)
        with torch.no_grad():
            layer.weight.fill_(float(weight))
            layer.bias.fill_(float(bias))
        layers += [layer, make()]
    model = nn.Sequential(*layers)
    record = trace(model, torch.tensor([[x]], dtype=torch.float64), statistics=False)
    # A cotangent of one entry and unit length is ±1; ∂/∂b_l is the gradient at the pre-activation h_l.
    found = np.array([float(record.gradients[f"{2 * index}.bias"]) for index in range(len(w))])
    return np.asarray(found if found[-1] > 0 else -found)


def _rows(name: str, measured: np.ndarray, expected: np.ndarray) -> list[dict[str, Any]]:
    return [
        {"chain": name, "layer": layer, "gradient_autograd": float(m), "gradient_by_hand": float(e)}
        for layer, (m, e) in enumerate(zip(measured, expected), start=1)
    ]


def _signals(values: np.ndarray) -> Signals:
    return Signals(
        Signal(f"layer {layer}", layer, "backward", "measured", 1, float(value), float(value) ** 2)
        for layer, value in enumerate(values, start=1)
    )


EXPERIMENT = Experiment(
    name="chain",
    question="Why do gradients vanish or explode along a chain of layers?",
    known="The gradient is a product of one factor w·f′ per layer: at most |w|/4 for sigmoid, so it vanishes; with "
    "|w| = 100 at the steepest point it explodes.",
    source="Hochreiter, 1991; Nielsen, Neural Networks and Deep Learning, 2015, chapter 5",
    claims=(
        Claim(
            "autograd gives the product that one writes by hand",
            "largest_error",
            high=1e-9,
            why="20 products in float64, each rounded to 1e-16, and slopes 1 − x² that lose digits at saturation",
        ),
        Claim(
            "sigmoid, weights N(0, 1): the gradient shrinks in every chain",
            "sigmoid_shrinking",
            low=1.0,
            why="share of the chains",
        ),
        Claim(
            "sigmoid, weights N(0, 1): by more than ×1/4 a layer, typically",
            "sigmoid_factor",
            high=0.25,
            why="σ′ ≤ 1/4 and E ln|w| < 0",
        ),
        Claim(
            "sigmoid, w = 100 at σ(0): it explodes ×25 a layer",
            "exploding_factor",
            24.99,
            25.01,
            "100/4, up to rounding",
        ),
        Claim(
            "linear, weights of variance 1: the typical chain vanishes all the same, E ln|w| = −0.635",
            "linear_log_z",
            high=4.0,
            why="standard errors from the expectation",
        ),
    ),
    measure=measure,
)
