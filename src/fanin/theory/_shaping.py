"""Shaping an activation for the network it stands in: Deep Kernel Shaping and Tailored Activation Transformations.

A local C map takes the correlation of two inputs' pre-activations through one activation; a network's C map is their
composition, and at a sum of signals of shares w² (that add up to 1) the weighted mean. Its slope at 1 is therefore the
product of local slopes along a chain, its curvature C″(1) (where slopes are 1) their sum.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from fanin.errors import InputError
from fanin.theory._callable import resolve
from fanin.theory._mean_field import averages, pair_average
from fanin.theory._moments import moments
from fanin.theory._quadrature import Array
from fanin.theory._scalar import Scalar, scalar_of
from fanin.theory._shaping_solve import Constants, centred, curved, leaky_slope, rectified
from fanin.theory.activations import Activation, LeakyReLU
from fanin.theory.activations.shaped import Shaped

__all__ = ["Network", "Shaping", "dks", "leaky_correlation", "tat"]

Network = int | Callable[[Any, Callable[[Any], Any]], Any]
"""A depth, or (x, r) → the largest value over all subnetworks of x passed through them, r in place of an activation."""

LEAKY = ("relu", "leaky_relu", "prelu", "rrelu")
"""Functions a·x below 0 and x above: TAT chooses a."""


@dataclass(frozen=True)
class Shaping:
    """f̂(x) = output_scale·(f(input_scale·x + input_shift) + output_shift).

    Args:
        method: "dks" or "tat".
        base: f, by the name and with the parameters that :func:`fanin.theory.activations.find` reads.
        input_scale: α.
        input_shift: β.
        output_shift: δ.
        output_scale: γ.
        conditions: condition → (wanted, found); found is measured on f̂ by a quadrature of its own.
    """

    method: str
    base: str
    input_scale: float
    input_shift: float
    output_shift: float
    output_scale: float
    conditions: Mapping[str, tuple[float, float]]
    scalar: Scalar = field(compare=False, repr=False)

    @property
    def constants(self) -> Constants:
        """(input_scale, input_shift, output_shift, output_scale)."""
        return self.input_scale, self.input_shift, self.output_shift, self.output_scale

    @property
    def residuals(self) -> dict[str, float]:
        """Condition → found − wanted."""
        return {name: found - wanted for name, (wanted, found) in self.conditions.items()}

    def __call__(self, x: Any) -> Array:
        """f̂ on an array, in float64."""
        return self.scalar._evaluate(np.asarray(x, dtype=np.float64))

    def correlation(self, c: float) -> float:
        """The local C map at q = 1: E f̂(u₁) f̂(u₂)/E f̂², u of correlation c in (−1, 1], by 2-D quadrature."""
        if not -1 < c <= 1:
            raise InputError.of("c", c, "a correlation in (-1, 1]")
        return pair_average(self.scalar, 1.0, c) / moments(self.scalar).second_moment


def dks(fn: Any, network: Network, *, zeta: float = 1.5) -> Shaping:
    """Deep Kernel Shaping: Q(1) = 1, Q′(1) = 1, C(0) = 0 and a network whose steepest C map has slope ζ at 1.

    Every activation of the network gets the same local slope C′(1). For the leaky ReLU the negative slope is chosen
    instead of α and β; ReLU has one constant less, so its Q′(1) is only reported (Martens et al. advise against it).

    Args:
        fn: a name, an ``nn.Module`` or a callable.
        network: how deep: the number of activations in a chain, or (x, r) → the largest value over all subnetworks
            when x enters and every activation does r to it (1 → the product of slopes). Sums take weighted means.
        zeta: ζ > 1, largest slope of a subnetwork's C map.

    Returns:
        The constants with every condition, wanted and found.

    Raises:
        InputError: if an argument is not acceptable, or no constants meet the conditions.

    Example:
        >>> shaping = dks("tanh", 50)
        >>> max(abs(error) for error in shaping.residuals.values()) < 1e-9
        True
        >>> round(shaping.input_scale, 6), round(shaping.output_scale, 4)
        (0.12844, 10.6044)

    Source: Martens et al., 2021 (Deep Kernel Shaping).
    """
    zeta = _number("zeta", zeta, 1.0)
    run = _network(network)
    local = _target(lambda slope: float(run(1.0, lambda x: x * slope)), zeta, 1.0, zeta)
    found = resolve(fn)
    base, scalar, constants = _centred(found if isinstance(found, Activation) else _scalar(fn, found), local)
    shaped = _shaped(base, scalar, constants)
    at_one = moments(shaped)
    slope = at_one.derivative_second_moment / at_one.second_moment
    conditions = {
        "Q(1)": (1.0, at_one.second_moment),
        "Q'(1)": (1.0, float(averages(shaped, np.array([1.0])).length_slope[0])),
        "C(0)": (0.0, at_one.mean**2 / at_one.second_moment),
        "C'(1)": (local, slope),
        "network C'(1)": (zeta, float(run(1.0, lambda x: x * slope))),
    }
    return Shaping("dks", base, *constants, conditions, shaped)


def tat(fn: Any, network: Network, *, eta: float = 0.9, tau: float = 0.3) -> Shaping:
    """Tailored Activation Transformations: a network of no slope, with a set C(0) (leaky ReLU) or C″(1) (smooth f).

    (Leaky) ReLU: the negative slope a for which the network's largest C(0) is η, and the gain √(2/(1 + a²)), which
    make Q(q) = q for all q. Where even a = 0 stays below η, a = 0. Smooth f: Q(1) = 1, Q′(1) = 1, C′(1) = 1 and the
    network's largest C″(1) = τ.

    Args:
        fn: a name, an ``nn.Module`` or a callable.
        network: as for :func:`dks`; x = 0 enters.
        eta: η in (0, 1).
        tau: τ > 0.

    Returns:
        The constants with every condition, wanted and found.

    Raises:
        InputError: if an argument is not acceptable, f′ of a function that is no leaky ReLU jumps, or no constants
            meet the conditions.

    Example:
        >>> shaping = tat("relu", 50)
        >>> shaping.base[:32], round(shaping.output_scale, 5)
        ('leaky_relu(negative_slope=0.4305', 1.29895)

    Source: Zhang, Botev & Martens, 2022 (Deep learning without shortcuts).
    """
    eta, tau = _number("eta", eta, 0.0, 1.0), _number("tau", tau, 0.0)
    run = _network(network)
    found = resolve(fn)
    if isinstance(found, Activation) and found.name in LEAKY:
        return _tat_leaky(run, eta)
    local = _target(lambda bend: float(run(0.0, lambda x: x + bend)), tau, 0.0, tau)
    base, scalar, constants = _curved(found if isinstance(found, Activation) else _scalar(fn, found), local)
    shaped = _shaped(base, scalar, constants)
    at_one = moments(shaped)
    bend = at_one.second_derivative_second_moment / at_one.second_moment
    conditions = {
        "Q(1)": (1.0, at_one.second_moment),
        "Q'(1)": (1.0, float(averages(shaped, np.array([1.0])).length_slope[0])),
        "C'(1)": (1.0, at_one.derivative_second_moment / at_one.second_moment),
        "C''(1)": (local, bend),
        "network C''(1)": (tau, float(run(0.0, lambda x: x + bend))),
    }
    return Shaping("tat", base, *constants, conditions, shaped)


def leaky_correlation(c: Any, slope: float) -> Any:
    """C map of the leaky ReLU, C(c) = c + (1 − a)²/(π(1 + a²))·(√(1 − c²) − c arccos c).

    Args:
        c: correlations in [−1, 1].
        slope: negative slope a.

    Example:
        >>> round(float(leaky_correlation(0.0, 0.0)), 8)  # ReLU: 1/π
        0.31830989

    Source: Cho & Saul, 2009 (a = 0); Zhang et al., 2022.
    """
    c = np.clip(c, -1.0, 1.0)
    share = (1 - slope) ** 2 / (math.pi * (1 + slope**2))
    return c + share * (np.sqrt(1 - np.square(c)) - c * np.arccos(c))


def _tat_leaky(run: Callable[..., Any], eta: float) -> Shaping:
    def highest(a: float) -> float:
        return float(run(0.0, lambda c: leaky_correlation(c, a)))

    if highest(1.0 - 1e-12) > 1e-6:
        raise InputError.of("network", "a value above 0 without nonlinearity", "(x, r) → values of r alone")
    slope = 0.0 if highest(0.0) <= eta else 1 - _target(lambda b: highest(1 - b), eta, 0.0, 1.0)
    constants = (1.0, 0.0, 0.0, math.sqrt(2 / (1 + slope**2)))
    base = _name(LeakyReLU(slope))
    shaped = _shaped(base, None, constants)
    at_one = moments(shaped)
    conditions = {
        "Q(1)": (1.0, at_one.second_moment),
        "Q'(1)": (1.0, float(averages(shaped, np.array([1.0])).length_slope[0])),
        "C'(1)": (1.0, at_one.derivative_second_moment),
        "network C(0)": (eta, highest(slope)),
    }
    return Shaping("tat", base, *constants, conditions, shaped)


@lru_cache(maxsize=256)
def _solved(activation: Activation, method: str, local: float) -> tuple[str, Constants]:
    """Constants of a registered activation; remembered, as a network asks for the same ones many times."""
    if method == "tat":
        return _name(activation), curved(scalar_of(activation), local)
    if activation.name == "relu":
        return _name(activation), rectified(scalar_of(activation), local)
    if activation.name in LEAKY:
        slope, constants = leaky_slope(local)
        return _name(LeakyReLU(slope)), constants
    return _name(activation), centred(scalar_of(activation), local)


def _centred(found: Activation | Scalar, local: float) -> tuple[str, Scalar | None, Constants]:
    if isinstance(found, Scalar):
        return found.name, found, centred(found, local)
    base, constants = _solved(found, "dks", local)
    return base, None, constants


def _curved(found: Activation | Scalar, local: float) -> tuple[str, Scalar | None, Constants]:
    scalar = found if isinstance(found, Scalar) else scalar_of(found)
    if scalar.kinks:
        raise InputError(
            f"fn: the slope of {scalar.name} jumps at {', '.join(f'{kink:g}' for kink in scalar.kinks[:4])}, so that "
            "C''(1) is infinite; expected a function with a continuous derivative, or the (leaky) ReLU."
        )
    if isinstance(found, Scalar):
        return found.name, found, curved(found, local)
    base, constants = _solved(found, "tat", local)
    return base, None, constants


def _scalar(fn: Any, found: Any) -> Scalar:
    if isinstance(found, Scalar):
        return found
    raise InputError.of("fn", fn, "an activation of one input; shape the gate of a gated unit instead")


def _name(activation: Activation) -> str:
    """A name that reads back to the same value, digit by digit."""
    if isinstance(activation, Shaped):
        raise InputError.of("fn", str(activation), "an activation that is not shaped yet")
    inside = ", ".join(f"{key}={value!r}" for key, value in activation.parameters.items())
    return f"{activation.name}({inside})" if inside else activation.name


def _shaped(base: str, scalar: Scalar | None, constants: Constants) -> Scalar:
    if scalar is None:
        return scalar_of(Shaped(base, *constants))
    scale, shift, offset, gain = constants
    kinks = tuple((kink - shift) / scale for kink in scalar.kinks)
    low, high = (gain * (limit + offset) for limit in scalar.limits)

    def value(x: Array) -> Array:
        return gain * (scalar.value(scale * x + shift) + offset)

    # What is left after the offset is smaller than what was added, and so are its correct digits.
    rounding = scalar.rounding * max(1.0, gain * abs(offset))
    return Scalar(f"shaped {scalar.name}", value, None, kinks, (low, high), rounding)


def _network(network: Network) -> Callable[[Any, Callable[[Any], Any]], Any]:
    if callable(network):
        return network
    if isinstance(network, bool) or not isinstance(network, (int, np.integer)) or network < 1:
        accepted = "a number of activations >= 1, or (x, r) → the largest value over all subnetworks"
        raise InputError.of("network", network, accepted)
    depth = int(network)

    def chain(x: Any, r: Callable[[Any], Any]) -> Any:
        for _ in range(depth):
            x = r(x)
        return x

    return chain


def _target(value: Callable[[float], float], wanted: float, low: float, high: float) -> float:
    """x in [low, high] where an increasing function has the wanted value."""
    if not value(low) < wanted <= value(high) * (1 + 1e-12):
        raise InputError.of(
            "network",
            f"{value(low):.6g} to {value(high):.6g} for every local value from {low:g} to {high:g}",
            f"(x, r) → a value that grows with r and reaches {wanted:g}; is there an activation in it?",
        )
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if value(middle) < wanted else (low, middle)
    return high


def _number(name: str, value: Any, low: float, high: float = math.inf) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.floating, np.integer)):
        raise InputError.of(name, value, f"a number > {low:g}")
    if not low < value < high or math.isinf(value):
        raise InputError.of(name, value, f"a finite number > {low:g}" + (f" and < {high:g}" if high < math.inf else ""))
    return float(value)
