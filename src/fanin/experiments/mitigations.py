"""mitigations: what else is said to help, each from a good and from a bad start."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from fanin import compare
from fanin.experiments._base import Claim, Experiment, Measured, Settings
from fanin.experiments._images import images
from fanin.experiments._nets import mlp, recipe
from fanin.experiments._races import accuracies, curves, rows
from fanin.initializers import GlorotNormal, HeNormal, Initializer, Normal
from fanin.report.figures import figure

if TYPE_CHECKING:
    from fanin.data import Dataset

__all__ = ["EXPERIMENT"]

SMALL: dict[str, Initializer] = {"good": HeNormal(), "bad": Normal(std=0.01)}
"""For ReLU: the signal vanishes."""

LARGE: dict[str, Initializer] = {"good": GlorotNormal(), "bad": Normal(std=1.0)}
"""For tanh: every unit is saturated."""

RATES = {"sgd": (0.01, 0.1), "rmsprop": (1e-4, 1e-3), "adam": (1e-4, 1e-3)}


@dataclass(frozen=True)
class Variant:
    """One network and way to train it."""

    make: Callable[[], nn.Module]
    data: Dataset
    starts: dict[str, Initializer]
    optimizer: str = "sgd"
    loss: Callable[[Any, torch.Tensor], torch.Tensor] | None = None


def squared_error(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean over the batch of ‖softmax(output) − one-hot‖²."""
    hot = nn.functional.one_hot(target, output.shape[-1]).to(output.dtype)
    return (output.softmax(-1) - hot).square().sum(-1).mean()


def normed(sizes: list[int]) -> nn.Sequential:
    """ReLU layers with a LayerNorm before each."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, (fan_in, fan_out) in enumerate(pairwise(sizes), start=1):
        layers[f"fc{number}"] = nn.Linear(fan_in, fan_out)
        if number < len(sizes) - 1:
            layers[f"norm{number}"], layers[f"act{number}"] = nn.LayerNorm(fan_out), nn.ReLU()
    return nn.Sequential(layers)


def convolutional(side: int, classes: int, channels: int) -> nn.Sequential:
    """Four 3×3 convolutions with ReLU, the first two of stride 2, on square images given as rows."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(unflatten=nn.Unflatten(1, (1, side, side)))
    before = 1
    for number in range(1, 5):
        stride = 2 if number <= 2 else 1
        layers[f"conv{number}"] = nn.Conv2d(before, channels, 3, stride=stride, padding=1)
        layers[f"act{number}"], before = nn.ReLU(), channels
    small = -(-side // 4)
    layers["flatten"], layers["fc"] = nn.Flatten(), nn.Linear(channels * small * small, classes)
    return nn.Sequential(layers)


def _variants(settings: Settings, data: Dataset) -> dict[str, Variant]:
    pixels, classes, units = data.sample_shape[0], data.classes or 1, settings.pick(100, 100, 8)
    sizes = [pixels, *[units] * 4, classes]
    relu, tanh = partial(mlp, sizes, "relu"), partial(mlp, sizes, "tanh")
    raw = replace(data, train_x=_raw(data.train_x, data), test_x=_raw(data.test_x, data))
    side = round(pixels**0.5)
    return {
        "tanh": Variant(tanh, data, LARGE),
        "tanh, raw pixels": Variant(tanh, raw, LARGE),
        "tanh, squared error": Variant(tanh, data, LARGE, loss=squared_error),
        "ReLU": Variant(relu, data, SMALL),
        "ReLU, RMSProp": Variant(relu, data, SMALL, "rmsprop"),
        "ReLU, Adam": Variant(relu, data, SMALL, "adam"),
        "ReLU, convolutions": Variant(partial(convolutional, side, classes, settings.pick(8, 8, 2)), data, SMALL),
        "ReLU, LayerNorm": Variant(partial(normed, sizes), data, SMALL),
    }


def _raw(values: Any, data: Dataset) -> Any:
    """Grey levels from 0 to 255, as the file holds them."""
    return (values * data.std + data.mean) * 255


def measure(settings: Settings) -> Measured:
    """Race the good and the bad start of each variant; every start gets its own learning rate."""
    data, words = images(settings)
    steps = settings.pick(400, 300, 3)
    table: list[dict[str, Any]] = []
    runs: dict[str, dict[str, Any]] = {"good": {}, "bad": {}}
    accuracy: dict[str, dict[str, float]] = {}
    for name, variant in _variants(settings, data).items():
        race = compare(
            variant.make,
            variant.data,
            {start: recipe(variant.make(), law) for start, law in variant.starts.items()},
            seeds=settings.seeds(settings.pick(3, 1, 1)),
            lrs=settings.pick(RATES[variant.optimizer], RATES[variant.optimizer], RATES[variant.optimizer][:1]),
            optimizer=variant.optimizer,
            loss=variant.loss,
            steps=steps,
            tuning_seeds=1,
            test_every=max(1, steps // 10),
            n_jobs=settings.jobs,
            progress=False,
        )
        table += [row for row in rows(race, variant=name) if row["updates"] == steps]
        accuracy[name] = {start: median(accuracies(race, start)) for start in race.schemes}
        for start in race.schemes:
            runs[start][name] = race.of(start)
    figures = {
        f"from-{start}": figure(
            "race",
            curves(members, "test accuracy"),
            metric="test accuracy",
            source=f"{words}; {start} start, each variant at its own best learning rate, band: all seeds",
        )
        for start, members in runs.items()
    }
    return Measured(table, _numbers(accuracy), figures, words)


def _numbers(accuracy: dict[str, dict[str, float]]) -> dict[str, float]:
    numbers = {
        f"{name.lower().replace(', ', '_').replace(' ', '_')}_{start}": value
        for name, found in accuracy.items()
        for start, value in found.items()
    }
    tanh, relu = accuracy["tanh"], accuracy["ReLU"]
    good = [found["good"] for name, found in accuracy.items() if name.startswith("ReLU")]
    return {
        **numbers,
        "normalised_gain_good": tanh["good"] - accuracy["tanh, raw pixels"]["good"],
        "cross_entropy_gain_good": tanh["good"] - accuracy["tanh, squared error"]["good"],
        "cross_entropy_gain_bad": tanh["bad"] - accuracy["tanh, squared error"]["bad"],
        "adam_gain_bad": accuracy["ReLU, Adam"]["bad"] - relu["bad"],
        "rmsprop_gain_bad": accuracy["ReLU, RMSProp"]["bad"] - relu["bad"],
        "good_over_bad_adam": accuracy["ReLU, Adam"]["good"] - accuracy["ReLU, Adam"]["bad"],
        "convolution_gain_bad": accuracy["ReLU, convolutions"]["bad"] - relu["bad"],
        "layernorm_gain_bad": accuracy["ReLU, LayerNorm"]["bad"] - relu["bad"],
        "good_spread": max(good) - min(good),
    }


HALF = "test accuracy, median over seeds; guessing is 0.1"

EXPERIMENT = Experiment(
    name="mitigations",
    question="What makes up for a bad start: normalised inputs, cross-entropy, RMSProp, Adam, convolutions, LayerNorm?",
    known="Normalised inputs and cross-entropy help with any start; RMSProp and Adam, whose steps do not shrink with "
    "the gradient, and normalization rescue a vanishing start; convolutions do not.",
    source="LeCun et al., 1998 (inputs); Glorot & Bengio, 2010, §4.1 (cost); Tieleman & Hinton, 2012; Kingma & Ba, "
    "2015; Ba, Kiros & Hinton, 2016",
    claims=(
        Claim("tanh, good start: normalised inputs help", "normalised_gain_good", low=0.02, why=HALF),
        Claim(
            "tanh, good start: cross-entropy learns faster than squared error",
            "cross_entropy_gain_good",
            low=0.0,
            why=HALF,
        ),
        Claim("tanh, saturated start: it does so, too", "cross_entropy_gain_bad", low=0.0, why=HALF),
        Claim("ReLU, std 0.01: SGD does not get past guessing", "relu_bad", high=0.2, why=HALF),
        Claim("RMSProp rescues it", "rmsprop_gain_bad", low=0.4, why=HALF),
        Claim("Adam rescues it", "adam_gain_bad", low=0.4, why=HALF),
        Claim("a good start is still better with Adam", "good_over_bad_adam", low=0.0, why=HALF),
        Claim("convolutions do not rescue it", "relu_convolutions_bad", high=0.2, why=HALF),
        Claim("LayerNorm does", "layernorm_gain_bad", low=0.4, why=HALF),
        Claim("from a good start plain SGD already learns", "relu_good", low=0.8, why=HALF),
    ),
    measure=measure,
)
