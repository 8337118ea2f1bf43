"""Networks and starts that experiments share, and what flows through them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from fanin.initializers import Initializer, Ones, Zeros
from fanin.materialize import write
from fanin.recipe import Line, Recipe
from fanin.slots import find
from fanin.theory import predict_graph, weight_moments
from fanin.trace import Trace, trace

if TYPE_CHECKING:
    from fanin.signals import Signal

__all__ = [
    "ACTIVATIONS",
    "along",
    "factor",
    "mlp",
    "normal_inputs",
    "predicted",
    "recipe",
    "share_outside",
    "signals",
    "started",
]

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "linear": nn.Identity,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "selu": nn.SELU,
}


def mlp(sizes: Sequence[int], activation: str, *, last: bool = False, bias: bool = True) -> nn.Sequential:
    """Linear layers fc1, fc2, … with act1, act2, … after them.

    Args:
        sizes: units: inputs, hidden layers, outputs.
        activation: a key of ACTIVATIONS.
        last: an activation after the last layer, too.
        bias: with biases.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, (fan_in, fan_out) in enumerate(pairwise(sizes), start=1):
        layers[f"fc{number}"] = nn.Linear(fan_in, fan_out, bias=bias)
        if last or number < len(sizes) - 1:
            layers[f"act{number}"] = ACTIVATIONS[activation]()
    return nn.Sequential(layers)


def recipe(
    model: nn.Module,
    weights: Initializer,
    *,
    biases: Initializer | None = None,
    only: Mapping[str, Initializer] | None = None,
    name: str = "",
) -> Recipe:
    """One initializer for every weight, one for every bias (zeros by default), norms at 1 and 0.

    Args:
        model: whose parameters.
        weights: for weights.
        biases: for biases.
        only: parameter name → another one.
        name: of the recipe.
    """
    laws = {"weight": weights, "bias": biases or Zeros(), "gain": Ones(), "shift": Zeros()}
    lines = []
    for slot in find(model).values():
        assert slot.fans is not None
        law = (only or {}).get(slot.name, laws[slot.role])
        lines.append(Line(slot.name, law, "as the experiment asks", slot.shape, slot.fans))
    return Recipe(lines, scheme=name)


def started(model: nn.Module, plan: Recipe, seed: int) -> nn.Module:
    """The model with that plan written."""
    write(model, plan, seed)
    return model


def normal_inputs(samples: int, units: int, seed: int) -> torch.Tensor:
    """(samples, units) independent N(0, 1) entries."""
    return torch.randn(samples, units, generator=torch.Generator().manual_seed(seed))


def predicted(record: Trace, model: nn.Module, plan: Recipe, *, loss: Any = "cotangent") -> Trace:
    """The trace with what theory says of the same places, from the plan alone.

    Args:
        record: a trace of the model.
        model: the model.
        plan: how its weights were drawn.
        loss: what the gradient starts from; see ``fanin.theory.predict_graph``.
    """
    slots = find(model, record.graph)
    places = {node.place: record.inputs.numpy() for node in record.graph.nodes if node.kind == "input"}
    theory = predict_graph(record.graph, slots, weight_moments(plan, slots), places, loss=loss)
    return replace(record, signals=record.signals.merged(theory))


def signals(
    model: nn.Module, x: torch.Tensor, target: torch.Tensor | None = None, *, seed: int = 0, loss: Any = None
) -> Trace:
    """One forward and backward."""
    return trace(model, x, target, loss, seed=seed)


def along(record: Trace, stem: str, direction: Any = "forward", source: Any = "measured") -> list[Signal]:
    """Signals at ``stem``1, ``stem``2, … in order of execution."""
    found = []
    for node in record.graph.nodes:
        if node.place.startswith(stem) and node.place[len(stem) :].isdecimal():
            signal = record.signals.at(node.place, direction, source)
            if signal is not None:
                found.append(signal)
    return found


def factor(values: Sequence[float]) -> float:
    """Geometric mean of the factors from one value to the next; 0 where the last is 0."""
    return float((values[-1] / values[0]) ** (1 / (len(values) - 1))) if values[0] else float("nan")


def share_outside(signal: Signal, low: float, high: float) -> float:
    """Share of the values of a histogram below ``low`` or above ``high``, by the middles of its bins."""
    histogram = signal.histogram
    assert histogram is not None
    step = (histogram.high - histogram.low) / len(histogram.counts)
    middles = (histogram.low + (index + 0.5) * step for index in range(len(histogram.counts)))
    outside = sum(n for middle, n in zip(middles, histogram.counts) if not low <= middle <= high)
    return outside / max(1, sum(histogram.counts))
