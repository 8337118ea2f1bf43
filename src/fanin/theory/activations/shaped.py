"""Shaped activation: f(x) = output_scale·(base(input_scale·x + input_shift) + output_shift)."""

# ruff: noqa: D102  (the methods are documented once, on the base class)

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fanin.errors import InputError
from fanin.theory.activations._base import Activation, Array
from fanin.theory.activations._lookup import find

__all__ = ["Shaped"]


@dataclass(frozen=True)
class Shaped(Activation):
    """Another activation between two affine maps: f(x) = γ·(base(αx + β) + δ).

    Args:
        base: the activation inside, as :func:`find` reads it: "tanh", "leaky_relu(negative_slope=0.43)".
        input_scale: α > 0.
        input_shift: β.
        output_shift: δ.
        output_scale: γ > 0.
    """

    name = "shaped"
    source = "Martens et al., 2021 (Deep Kernel Shaping)"

    base: str = "tanh"
    input_scale: float = 1.0
    input_shift: float = 0.0
    output_shift: float = 0.0
    output_scale: float = 1.0

    def __post_init__(self) -> None:
        for name in ("input_scale", "output_scale"):
            if not getattr(self, name) > 0:
                raise InputError.of(name, getattr(self, name), "a number > 0", "activation 'shaped'")

    @cached_property
    def inner(self) -> Activation:
        """The activation inside."""
        found = find(self.base)
        if not isinstance(found, Activation):
            raise InputError.of("base", self.base, "an activation of one input", "activation 'shaped'")
        return found

    def function(self, x: Array) -> Array:
        inside = self.input_scale * np.asarray(x) + self.input_shift
        return self.output_scale * (self.inner.function(inside) + self.output_shift)

    def derivative(self, x: Array) -> Array:
        inside = self.input_scale * np.asarray(x) + self.input_shift
        return self.output_scale * self.input_scale * self.inner.derivative(inside)

    @property
    def kinks(self) -> tuple[float, ...]:
        return tuple((kink - self.input_shift) / self.input_scale for kink in self.inner.kinks)

    @property
    def limits(self) -> tuple[float, float]:
        low, high = (self.output_scale * (limit + self.output_shift) for limit in self.inner.limits)
        return low, high

    @property
    def parameters(self) -> dict[str, float]:
        return {name: getattr(self, name) for name in _CONSTANTS}

    @classmethod
    def configured(cls, options: Mapping[str, Any]) -> Shaped:
        constants = {name: float(options[name]) for name in _CONSTANTS if options.get(name) is not None}
        return cls(str(options.get("base", cls.base)), **constants)

    def __str__(self) -> str:
        return f"shaped({self.base}, {', '.join(f'{key}={value:g}' for key, value in self.parameters.items())})"


_CONSTANTS = ("input_scale", "input_shift", "output_shift", "output_scale")
