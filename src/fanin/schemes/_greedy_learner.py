"""Learner: what trains one layer on its own inputs; a machine or an autoencoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from fanin.keys import Key

if TYPE_CHECKING:
    from fanin.schemes._greedy_chain import Layer
    from fanin.schemes._greedy_inputs import Inputs
    from fanin.schemes._greedy_units import Units, Window

__all__ = ["Learner", "Problem"]

_JUDGED = 2000
"""Samples on which reconstruction errors are measured: their mean is then known to about 1/√2000 = 2 %."""


@dataclass(frozen=True, eq=False)
class Problem:
    """What a learner is given.

    Args:
        layer: the layer.
        inputs: its inputs, one entry for each sample.
        units: how they become visible units.
        window: of a convolution, else None.
        weight: what it starts as: (out, in) or (out, in, *window).
        bias: (out,), the biases; None where they are to be found.
        key: the stream of everything random.
        batch_size: samples per update.
    """

    layer: Layer
    inputs: Inputs
    units: Units
    window: Window | None
    weight: torch.Tensor
    bias: torch.Tensor | None
    key: Key
    batch_size: int

    @property
    def centre(self) -> torch.Tensor | None:
        """What visible units are counted from.

        Where the biases are given, W(v − c) + b = (W·scale) x + b needs none of its own; else the origin, None.
        """
        return None if self.bias is None else self.units.shift

    def generator(self, label: str) -> torch.Generator:
        """A generator at the start of its own stream."""
        return torch.Generator().manual_seed(self.key.child(label).number)

    def batches(self, generator: torch.Generator) -> Iterator[torch.Tensor]:
        """All samples once, in random order."""
        yield from torch.randperm(self.inputs.count, generator=generator).split(self.batch_size)

    def judged(self) -> torch.Tensor:
        """Indices of the samples that errors are measured on, evenly spaced."""
        count = self.inputs.count
        return torch.arange(min(count, _JUDGED)) * count // min(count, _JUDGED)


class Learner(ABC):
    """One layer under training.

    Args:
        problem: what it is given.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    @abstractmethod
    def epoch(self, number: int, tick: Callable[[], None]) -> None:
        """One pass over all samples.

        Args:
            number: 0 for the first; everything random follows from the key and it.
            tick: called after each update.
        """

    @abstractmethod
    def error(self) -> float:
        """Mean square of what the reconstruction misses of an undisturbed visible unit."""

    @abstractmethod
    def remark(self) -> str:
        """What else is worth telling of the trained layer; "" for nothing."""

    @abstractmethod
    def found(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The layer's own weight and bias (None where it was given)."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Everything that the next epoch depends on."""

    @abstractmethod
    def load(self, state: dict[str, Any]) -> None:
        """Inverse of :meth:`state`."""

    def finite(self) -> bool:
        """Whether all numbers still are."""
        weight, bias = self.found()
        return bool(weight.isfinite().all()) and (bias is None or bool(bias.isfinite().all()))

    def folded(self, weight: torch.Tensor, bias: torch.Tensor | None, gain: float) -> tuple[Any, Any]:
        """Weight and bias on the layer's own inputs x of what acts on v = scale · x + shift with gain · its output."""
        units = self.problem.units
        axes = [1] * (weight.dim() - 2)
        own = weight * units.scale.view(1, -1, *axes) / gain
        if self.problem.bias is not None or bias is None:
            return own, None
        return own, (bias + (weight * units.shift.view(1, -1, *axes)).flatten(1).sum(1)) / gain
