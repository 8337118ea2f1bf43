"""xavier-or-he: which of the two for which activation, and the networks for which neither is the answer."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import mean, median
from typing import Any

import torch
from torch import nn

from fanin import theory
from fanin.experiments._base import Claim, Experiment, Measured, Settings
from fanin.experiments._nets import along, factor, mlp, normal_inputs, predicted, recipe, signals, started
from fanin.initializers import GlorotNormal, HeNormal, Initializer, VarianceScaling
from fanin.report.figures import figure

__all__ = ["EXPERIMENT"]

DEPTH = 30
FUNCTIONS = ("linear", "tanh", "relu", "leaky_relu", "gelu", "silu", "selu", "sigmoid")


def laws(fn: str) -> dict[str, Initializer]:
    """The two rules, and the exact gain at unit second moment."""
    exact = VarianceScaling(theory.gain(fn) ** 2, "fan_in", "normal")
    return {"Xavier": GlorotNormal(), "He": HeNormal(), "exact gain": exact}


def measure(settings: Settings) -> Measured:
    """Chains of square layers for each activation and rule; then the special cases, each a measured ratio."""
    width = settings.pick(500, 200, 16)
    x = normal_inputs(settings.pick(100, 100, 10), width, settings.seed)
    rows: list[dict[str, Any]] = []
    numbers: dict[str, float] = {}
    shown: dict[str, Any] = {}
    for fn in FUNCTIONS:
        for name, law in laws(fn).items():
            found: list[dict[str, float]] = []
            for seed in settings.seeds(settings.pick(3, 3, 1)):
                model = mlp([width] * (DEPTH + 1), fn, bias=False)
                plan = recipe(model, law, name=name)
                record = signals(started(model, plan, seed), x, seed=seed)
                found.append(_factors(predicted(record, model, plan)))
                if fn in ("tanh", "relu") and name != "exact gain":
                    shown.setdefault(f"{fn}, {name}", record)
            row = {key: median(entry[key] for entry in found) for key in found[0]}
            rows.append({"case": fn, "start": name, **row})
            key = f"{fn}_{name.split()[0].lower()}"
            for part in ("forward", "backward", "late_forward", "late_backward"):
                numbers[f"{key}_{part}"] = row[part]
    for case, (start, ratio, expected) in _special(settings).items():
        rows.append({"case": case, "start": start, "ratio": ratio, "ratio_theory": expected})
        numbers[case.replace(" ", "_")] = ratio
    numbers["off"] = max(_apart(row["ratio"], row["ratio_theory"]) for row in rows if "ratio" in row)
    figures = {"variance": figure("variance", shown), "gradients": figure("gradients", shown)}
    words = f"N(0, 1) inputs, {DEPTH} layers of {width} units, medians over seeds"
    return Measured(rows, numbers, figures, words)


def _factors(record: Any) -> dict[str, float]:
    """Factor of the second moment per layer, both ways, measured and predicted; late: over the deeper half alone."""
    found = {}
    for key, direction in (("forward", "forward"), ("backward", "backward")):
        for suffix, source in (("", "measured"), ("_theory", "predicted")):
            values = [signal.rms for signal in along(record, "fc", direction, source)]
            found[key + suffix] = factor(values if key == "forward" else values[::-1]) ** 2
            deep = values[DEPTH // 2 :]
            found[f"late_{key}{suffix}"] = factor(deep if key == "forward" else deep[::-1]) ** 2
    return found


def _apart(measured: float, expected: float) -> float:
    return math.exp(abs(math.log(measured / expected)))


def _special(settings: Settings) -> dict[str, tuple[str, float, float]]:
    """case → (start, measured ratio of variances, what theory says)."""
    repeats = settings.pick(10, 5, 2)
    source = torch.Generator().manual_seed(settings.seed)

    def ratio(build: Callable[[], tuple[torch.Tensor, torch.Tensor]]) -> float:
        with torch.no_grad():
            pairs = [build() for _ in range(repeats)]
        return mean(float(out.square().mean() / x.square().mean()) for x, out in pairs)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=source)

    def transposed() -> tuple[torch.Tensor, torch.Tensor]:
        layer, x = nn.ConvTranspose2d(64, 16, 3, padding=1, bias=False), normal(4, 64, 12, 12)
        nn.init.kaiming_normal_(layer.weight, nonlinearity="linear", generator=source)
        return x[..., 1:-1, 1:-1], layer(x)[..., 1:-1, 1:-1]

    def depthwise() -> tuple[torch.Tensor, torch.Tensor]:
        layer, x = nn.Conv2d(256, 256, 3, groups=256, bias=False), normal(1, 256, 12, 12)
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", generator=source)
        return x, layer(x)

    def residual() -> tuple[torch.Tensor, torch.Tensor]:
        start = x = normal(64, 256)
        for _ in range(8):
            h = x
            for _ in range(2):
                h = torch.relu(h) @ (normal(256, 256) * math.sqrt(2 / 256))
            x = x + h
        return start, x

    def normed(scale: float) -> Callable[[], tuple[torch.Tensor, torch.Tensor]]:
        def build() -> tuple[torch.Tensor, torch.Tensor]:
            start = x = normal(64, 256)
            for _ in range(8):
                x = torch.relu(nn.functional.layer_norm(x @ (normal(256, 256) * scale / 16), (256,)))
            return start, x

        return build

    return {
        # torch reads fan_in off axis 1, which holds a transposed convolution's outputs: 16·9 terms instead of 64·9.
        "transposed convolution": ("kaiming_normal_ (torch)", ratio(transposed), 64 / 16),
        # fan_out off the shape is 256·9; each input of a depthwise convolution feeds 9 outputs. Gain² 2.
        "depthwise convolution": ("kaiming_normal_, fan_out (torch)", ratio(depthwise), 2 / 256),
        "residual chain of 8 blocks": ("He", ratio(residual), 2.0**8),
        "normalised net": ("Xavier", ratio(normed(1.0)), 0.5),
        "normalised net of weights ten times larger": ("10 × Xavier", ratio(normed(10.0)), 0.5),
    }


WIDE = "theory ±10 %: the width moves a product of 30 layers by a few per cent a layer"

EXPERIMENT = Experiment(
    name="xavier-or-he",
    question="Xavier or He?",
    known="Xavier for tanh, He for ReLU and leaky ReLU; neither for sigmoid, GELU and SiLU, residual chains, or layers "
    "whose fans are not those of their shape; and with normalization the scale does not matter forward.",
    source="Glorot & Bengio, 2010; He et al., 2015; De & Smith, 2020; Roberts, Yaida & Hanin, 2022, §5.3",
    claims=(
        Claim(
            "tanh, Xavier: deep down hardly any gradient is lost",
            "tanh_xavier_late_backward",
            0.93,
            1.02,
            "mean field: 1 − 1/l at layer l, 0.96 from layer 15 to 30, a power law rather than an exponential",
        ),
        Claim(
            "tanh, He: there it grows at every layer",
            "tanh_he_late_backward",
            low=1.05,
            why="mean field: χ⊥ = 1.106, ×20 over 30 layers",
        ),
        Claim("ReLU, Xavier: the signal halves", "relu_xavier_forward", 0.45, 0.55, WIDE),
        Claim("ReLU, Xavier: so does the gradient", "relu_xavier_backward", 0.45, 0.55, WIDE),
        Claim("ReLU, He: the signal stays", "relu_he_forward", 0.9, 1.1, WIDE),
        Claim("ReLU, He: the gradient stays", "relu_he_backward", 0.9, 1.1, WIDE),
        Claim("leaky ReLU, He: the signal stays", "leaky_relu_he_forward", 0.9, 1.1, WIDE),
        Claim("sigmoid, Xavier: the gradient vanishes", "sigmoid_xavier_backward", high=0.1, why="theory: 0.056"),
        Claim("sigmoid, He: it vanishes, too", "sigmoid_he_backward", high=0.2, why="theory: about 0.11"),
        Claim("GELU, He: the signal shrinks", "gelu_he_forward", high=0.9, why="by more than a tenth a layer"),
        Claim("SiLU, He: it shrinks, too", "silu_he_forward", high=0.9, why="by more than a tenth a layer"),
        Claim(
            "residual blocks, He: the signal doubles in each",
            "residual_chain_of_8_blocks",
            180,
            360,
            "theory: 2⁸ = 256; ±40 %: 16 layers of 256 units spread it by √(16 · 5/256) = 56 %, a mean of ten by 18 %",
        ),
        Claim("transposed convolution: torch's He is off by in/out = 4", "transposed_convolution", 3.6, 4.4, WIDE),
        Claim("depthwise: torch's He by fan_out is off by the channels", "depthwise_convolution", 0.007, 0.0086, WIDE),
        Claim("normalised: the output is the same ...", "normalised_net", 0.48, 0.52, "E relu² = 1/2"),
        Claim(
            "... for weights ten times larger",
            "normalised_net_of_weights_ten_times_larger",
            0.48,
            0.52,
            "E relu² = 1/2",
        ),
    ),
    measure=measure,
)
