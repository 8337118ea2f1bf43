"""Activation: an elementwise nonlinearity as a frozen value; Gated: an activation times a second branch."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fanin._registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["REGISTRY", "Activation", "Array", "Gated", "erf", "erfc", "normal_cdf", "normal_pdf", "sigmoid"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Activation(ABC):
    """An elementwise function f with its derivative; the dataclass fields of a subclass are its parameters.

    Class attributes:
        name: canonical name.
        aliases: other names: class names of ``torch.nn``, names of ``torch.nn.functional`` and of papers.
        variant_of: (name, options): this is what that name means when these options are set.
        source: authors and year.
    """

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    variant_of: ClassVar[tuple[str, Mapping[str, Any]] | None] = None
    source: ClassVar[str] = ""

    @abstractmethod
    def function(self, x: Array) -> Array:
        """f(x), entry by entry, in float64."""

    @abstractmethod
    def derivative(self, x: Array) -> Array:
        """f′(x), entry by entry; at a kink either one-sided value."""

    @property
    def kinks(self) -> tuple[float, ...]:
        """Points where f or one of its derivatives jumps."""
        return ()

    @property
    def limits(self) -> tuple[float, float]:
        """Limits of f at −∞ and +∞; infinite where f does not saturate on that side."""
        return (-math.inf, math.inf)

    def closed_forms(self) -> dict[str, float]:
        """Moments under N(0, 1) known in closed form: field of ``Moments`` → value."""
        return {}

    @property
    def parameters(self) -> dict[str, float]:
        """Name → value of the parameters."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    @classmethod
    def configured(cls, options: Mapping[str, Any]) -> Activation:
        """Build from the options of a traced op or the attributes of a module; unknown ones are ignored."""
        names = [entry.name for entry in fields(cls)]
        return cls(**{name: float(options[name]) for name in names if options.get(name) is not None})

    def __str__(self) -> str:
        arguments = ", ".join(f"{key}={value:g}" for key, value in self.parameters.items())
        return f"{self.name}({arguments})" if arguments else self.name


@dataclass(frozen=True)
class Gated(ABC):
    """A gated unit f(g)·u of two independent branches g and u: 2m inputs make m outputs.

    Class attributes: as for :class:`Activation`.
    """

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    source: ClassVar[str] = "Shazeer, 2020 (GLU variants improve transformer)"
    gate: ClassVar[str]

    @property
    def activation(self) -> Activation:
        """The activation of the gate branch."""
        return REGISTRY[self.gate]()  # type: ignore[return-value]

    @property
    def parameters(self) -> dict[str, float]:
        """Name → value of the parameters: none."""
        return {}

    def __str__(self) -> str:
        return self.name


REGISTRY: Registry[type[Activation] | type[Gated]] = Registry("activation")


@cache
def _ufunc(name: str) -> Callable[[Any], Any]:
    # math.erf is correct to the last bit or so; NumPy has none, and SciPy is no dependency.
    ufunc: Callable[[Any], Any] = np.frompyfunc(getattr(math, name), 1, 1)
    return ufunc


def erf(x: Array) -> Array:
    """Error function, entry by entry."""
    return np.asarray(_ufunc("erf")(x), dtype=np.float64)


def erfc(x: Array) -> Array:
    """Complementary error function, entry by entry; keeps its relative precision in the tail."""
    return np.asarray(_ufunc("erfc")(x), dtype=np.float64)


def normal_cdf(x: Array) -> Array:
    """Φ(x) = P(z < x) for z ~ N(0, 1)."""
    return erfc(-np.asarray(x) / math.sqrt(2)) / 2


def normal_pdf(x: Array) -> Array:
    """φ(x), the density of N(0, 1)."""
    return np.asarray(np.exp(-np.square(x) / 2) / math.sqrt(2 * math.pi))


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^−x) without overflow."""
    e = np.exp(-np.abs(x))
    return np.asarray(np.where(np.asarray(x) >= 0, 1.0, e) / (1.0 + e))
