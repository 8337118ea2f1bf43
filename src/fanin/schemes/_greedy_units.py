"""Visible units of a layer: how its inputs become what a machine models, exactly undone in the weights found."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fanin.schemes._greedy_chain import Layer
    from fanin.schemes._greedy_inputs import Inputs

__all__ = ["Units", "Window", "bias_of", "units"]

_FLOOR_SHARE = 0.05
"""Share of the entries on the lowest value from which inputs count as intensities above a floor: no continuous law
puts any there."""

_QUIET = 0.1
"""A unit is scaled by at most 1/0.1 of what the others are: one that hardly varies would be noise blown up."""


@dataclass(frozen=True, eq=False)
class Units:
    """v = scale · x + shift for each input channel of a layer.

    Args:
        kind: "bernoulli" for v in [0, 1], "gaussian" for v of mean 0 and variance 1.
        scale: (channels,).
        shift: (channels,).
        mean: (channels,), mean of v over all samples.
        words: what was done and why.
    """

    kind: str
    scale: torch.Tensor
    shift: torch.Tensor
    mean: torch.Tensor
    words: str


@dataclass
class _Moments:
    """Sums over all samples, for each channel in float64."""

    count: int = 0
    total: torch.Tensor | float = 0.0
    squares: torch.Tensor | float = 0.0
    low: float = math.inf
    high: float = -math.inf
    at_low: int = 0
    entries: int = 0

    def add(self, x: torch.Tensor, axis: int) -> None:
        rows = x.movedim(axis, -1).reshape(-1, x.shape[axis])
        wide = rows.double()
        self.count += len(rows)
        self.total = self.total + wide.sum(0)
        self.squares = self.squares + wide.square().sum(0)
        low = float(rows.min())
        at_low = int((rows == low).sum())
        self.at_low = at_low + (self.at_low if low == self.low else 0) if low <= self.low else self.at_low
        self.low, self.high = min(self.low, low), max(self.high, float(rows.max()))
        self.entries += rows.numel()


def units(layer: Layer, inputs: Inputs, wanted: str = "auto") -> Units:
    """Decide which visible units a layer has, by what made its inputs and, for the first one, by the data.

    Args:
        layer: the layer.
        inputs: its inputs.
        wanted: "auto", "bernoulli" or "gaussian" for a layer that reads the data.
    """
    axis = 1 if layer.window else -1
    found = _Moments()
    for index in inputs.chunks():
        found.add(inputs[index], axis)
    assert isinstance(found.total, torch.Tensor)
    assert isinstance(found.squares, torch.Tensor)
    mean = found.total / found.count
    if layer.before == "sigmoid":
        return _affine("bernoulli", 1.0, 0.0, mean, inputs, "the units below are logistic")
    if layer.before == "tanh":
        return _affine("bernoulli", 0.5, 0.5, mean, inputs, "the units below are tanh, v = (x + 1)/2")
    width = found.high - found.low
    inside = found.low >= 0 and found.high <= 1
    floor = found.at_low >= _FLOOR_SHARE * found.entries
    bounded = layer.before == "data" and width > 0 and (wanted == "bernoulli" or (wanted == "auto" and inside))
    if bounded and inside:
        return _affine("bernoulli", 1.0, 0.0, mean, inputs, "inputs in [0, 1]")
    if bounded or (layer.before == "data" and wanted == "auto" and floor and width > 0):
        share = f", {found.at_low / found.entries:.0%} of them on the lowest value" if wanted == "auto" else ""
        words = f"inputs from {found.low:.3g} to {found.high:.3g}{share}: mapped to [0, 1]"
        return _affine("bernoulli", 1 / width, -found.low / width, mean, inputs, words)
    std = (found.squares / found.count - mean.square()).clamp(min=0).sqrt()
    typical = float(std.square().mean().sqrt())
    std = std.clamp(min=_QUIET * typical) if typical > 0 else torch.ones_like(std)
    words = f"real inputs of mean {float(mean.mean()):.3g} and std {typical:.3g}: standardised"
    return _affine("gaussian", 1 / std, -mean / std, mean, inputs, words)


def _affine(
    kind: str,
    scale: torch.Tensor | float,
    shift: torch.Tensor | float,
    mean: torch.Tensor,
    inputs: Inputs,
    words: str,
) -> Units:
    scale, shift = (value + torch.zeros_like(mean) for value in (scale, shift))
    parts = [value.to(inputs.dtype) for value in (scale, shift, mean * scale + shift)]
    return Units(kind, parts[0], parts[1], parts[2], words)


def bias_of(kind: str, mean: torch.Tensor, samples: int) -> torch.Tensor:
    """Visible biases at which each unit is on as often as in the data: σ(b) = p, or b = the mean.

    Args:
        kind: "bernoulli" or "gaussian".
        mean: mean of each unit.
        samples: number of samples; a unit never on counts as on in half a sample, since log 0 is no bias.

    Source: Hinton, A Practical Guide to Training RBMs, 2010, §8.1.
    """
    if kind == "gaussian":
        return mean.clone()
    p = mean.double().clamp(0.5 / samples, 1 - 0.5 / samples)
    return (p / (1 - p)).log().to(mean.dtype)


@dataclass(frozen=True)
class Window:
    """Where a convolution looks.

    Args:
        size: extent of the window along each axis.
        stride: steps along each axis.
        dilation: spacing of its entries.
        padding: zeros in front of and behind each axis.
    """

    size: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, layer: Layer, shape: Sequence[int]) -> Window:
        """The window of a traced convolution whose weight has this shape."""
        attrs, size = layer.node.attrs, tuple(shape[2:])
        stride, dilation = (_each(attrs.get(name, 1), len(size)) for name in ("stride", "dilation"))
        padding = attrs.get("padding", 0)
        if padding == "same":
            spare = [d * (k - 1) for d, k in zip(dilation, size)]
            both = tuple((s // 2, s - s // 2) for s in spare)
        else:
            both = tuple((p, p) for p in _each(0 if padding == "valid" else padding, len(size)))
        return cls(size, stride, dilation, both)

    def pad(self, x: torch.Tensor) -> torch.Tensor:
        """(n, channels, *space) with zeros around, as the convolution sees it."""
        return functional.pad(x, [p for pair in reversed(self.padding) for p in pair])

    def crop(self, x: torch.Tensor) -> torch.Tensor:
        """Inverse of :meth:`pad`."""
        for axis, (front, back) in enumerate(self.padding, start=2):
            x = x.narrow(axis, front, x.shape[axis] - front - back)
        return x

    def patches(self, x: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
        """(n · count, channels · entries): what the window sees at ``count`` random places, the same for all samples.

        Args:
            x: (n, channels, *space), padded.
            count: places; all where there are fewer.
            generator: of the places.
        """
        for axis, (k, s, d) in enumerate(zip(self.size, self.stride, self.dilation), start=2):
            x = x.unfold(axis, d * (k - 1) + 1, s)[..., ::d]
        axes = len(self.size)
        chosen = torch.randperm(math.prod(x.shape[2 : 2 + axes]), generator=generator)[:count]
        # (n, channels, places, *window): the places lie along one axis, and copied are only those chosen.
        index = [i.to(x.device) for i in torch.unravel_index(chosen, x.shape[2 : 2 + axes])]
        picked = x.movedim((0, 1), (-2, -1))[tuple(index)].movedim((-2, -1), (0, 1))
        return picked.movedim(2, 1).flatten(2).flatten(0, 1)


def _each(value: int | Sequence[int], axes: int) -> tuple[int, ...]:
    found = (value,) * axes if isinstance(value, int) else tuple(value)
    return found * axes if len(found) == 1 else found
