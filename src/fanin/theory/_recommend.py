"""recommend: which scale an activation needs at a depth, what that rule is called, and what the others would cost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fanin.errors import InputError
from fanin.theory._callable import resolve
from fanin.theory._critical import critical
from fanin.theory._mean_field import averages, elementwise
from fanin.theory._moments import moments
from fanin.theory.activations import Gated

if TYPE_CHECKING:
    from fanin.theory._scalar import Scalar

__all__ = ["Cost", "Recommendation", "recommend"]

CLASSIC = {
    "LeCun (σ_w² = 1; Glorot in a square layer)": 1.0,
    "He (σ_w² = 2)": 2.0,
    "torch's nn.Linear default (σ_w² = 1/3)": 1 / 3,
}
"""Rules of thumb that ignore the activation: LeCun et al., 1998; He et al., 2015; torch.nn.Linear.reset_parameters."""


@dataclass(frozen=True)
class Cost:
    """What a rule does to a chain of layers without normalization.

    Args:
        rule: its name.
        weight_var: σ_w².
        bias_var: σ_b².
        start: second moment of the first pre-activations.
        forward: factor of the pre-activations' second moment after all layers.
        backward: factor of the gradient's second moment after all layers.
    """

    rule: str
    weight_var: float
    bias_var: float
    start: float
    forward: float
    backward: float


@dataclass(frozen=True)
class Recommendation:
    """The scale to use.

    Args:
        activation: its name.
        depth: layers.
        weight_var: σ_w² = fan_in · Var W.
        bias_var: σ_b².
        gain: σ_w: weights of standard deviation gain/√fan_in.
        rule: "He", "LeCun", "exact gain" or "critical".
        why: the reason, in a sentence or two.
        cost: of this rule and of the classic ones, over the given depth without normalization.
    """

    activation: str
    depth: int
    weight_var: float
    bias_var: float
    gain: float
    rule: str
    why: str
    cost: tuple[Cost, ...]


def recommend(activation: Any, depth: int, norm: str | bool | None = None) -> Recommendation:
    """The scale for a chain of ``depth`` layers of one activation, and the price of the rules of thumb.

    With normalization the exact gain g = (E f²)^−½ at q = 1, which each normalization restores. Without it the critical
    point of the activation (χ⊥ = 1), if it has a usable one, else the exact gain with the warning it needs.

    Args:
        activation: a name, module or callable; also a gated unit such as "swiglu".
        depth: number of layers, >= 1.
        norm: name of the normalization ("layer", "batch", "rms", …) or True; None for a norm-free chain.

    Returns:
        The recommendation.

    Raises:
        InputError: for a depth below 1 or an activation that cannot be integrated.

    Example:
        >>> r = recommend("relu", 50)
        >>> r.rule, round(r.gain, 6)
        ('He', 1.414214)
        >>> r = recommend("gelu", 60)
        >>> r.rule, round(r.weight_var, 6), round(r.bias_var, 6)
        ('critical', 1.983058, 0.172922)

    Source: He et al., 2015; Schoenholz et al., 2017; Roberts, Yaida & Hanin, 2022.
    """
    if isinstance(depth, bool) or not isinstance(depth, (int, np.integer)) or depth < 1:
        raise InputError.of("depth", depth, "an integer >= 1, the number of layers")
    found = resolve(activation)
    at = moments(found)
    exact = at.q / at.second_moment
    if isinstance(found, Gated):
        why = f"the down-projection sees {found.name} = f(g)·u of independent branches: E h² = E f², so g² = 1/E f²"
        return _made(at.name, depth, exact, 0.0, "exact gain", why, ())
    f = elementwise(found)
    if norm:
        rule = _named(exact, f)
        why = (
            f"normalization returns every block to q = 1, where g = (E f²)^-1/2 = {math.sqrt(exact):.6g} keeps the "
            "second moment until the next one"
        )
        return _made(at.name, depth, exact, 0.0, rule, why, _costs(f, depth, exact, 0.0, rule))
    try:
        point = critical(f)
    except InputError as error:
        perp = exact * at.derivative_second_moment
        why = (
            f"{error} The exact gain keeps the second moment at q = 1, but gradients change by χ⊥ = {perp:.4g} per "
            f"layer, {perp**depth:.2g} over {depth}: use a normalization, skip connections or another activation "
            "when deep."
        )
        return _made(at.name, depth, exact, 0.0, "exact gain", why, _costs(f, depth, exact, 0.0, "exact gain"))
    rule = _named(point.weight_var, f) if point.bias_var == 0 else "critical"
    why = {
        "He": "f is positively homogeneous: at σ_w² = 1/E f′² every q is kept and so is the gradient",
        "LeCun": "f is linear: σ_w² = 1 keeps signal and gradient exactly",
    }.get(
        rule,
        f"without normalization gradients need χ⊥ = 1: σ_w² = {point.weight_var:.6g} with σ_b² = {point.bias_var:.6g} "
        f"holds q = {point.q:.5g} ({point.stability}, χ∥ = {point.chi_par:.4g})",
    )
    costs = _costs(f, depth, point.weight_var, point.bias_var, rule, start=point.q)
    return _made(at.name, depth, point.weight_var, point.bias_var, rule, why, costs)


def _made(
    name: str, depth: int, weight_var: float, bias_var: float, rule: str, why: str, costs: tuple[Cost, ...]
) -> Recommendation:
    return Recommendation(name, int(depth), weight_var, bias_var, math.sqrt(weight_var), rule, why, costs)


def _named(weight_var: float, f: Scalar) -> str:
    """He for a rectifier of slopes a and 1, LeCun for σ_w² = 1, else the exact gain."""
    if abs(weight_var - 1) < 1e-9:
        return "LeCun"
    at = f._evaluate(np.array([-2.0, -1.0, 1.0, 2.0]))
    rectifier = max(abs(at[3] - 2 * at[2]), abs(at[0] - 2 * at[1]), abs(at[2] - 1)) < 1e-12
    return "He" if rectifier else "exact gain"


def _costs(
    f: Scalar, depth: int, weight_var: float, bias_var: float, rule: str, start: float = 1.0
) -> tuple[Cost, ...]:
    """The recommended rule from its own q, the others from q = 1."""
    rules = {f"{rule} (recommended)": (weight_var, bias_var, start)}
    rules |= {name: (w, 0.0, 1.0) for name, w in CLASSIC.items()}
    exact = 1 / moments(f).second_moment
    if rule != "exact gain" and all(abs(exact - w) > 1e-9 for w, _, _ in rules.values()):
        rules["exact gain at q = 1"] = (exact, 0.0, 1.0)
    return tuple(Cost(name, w, b, q, *_chain(f, depth, w, b, q)) for name, (w, b, q) in rules.items())


def _chain(f: Scalar, depth: int, weight_var: float, bias_var: float, start: float) -> tuple[float, float]:
    """Factor of the second moment over ``depth`` layers and the product of χ⊥ on the way; 0 or ∞ out of range."""
    q, log_gradient = start, 0.0
    for _ in range(depth):
        if not 1e-200 < q < 1e8:
            return (0.0, math.exp(log_gradient)) if q < 1 else (math.inf, math.inf)
        at = averages(f, np.array([q]))
        log_gradient += math.log(max(weight_var * float(at.slope_square[0]), 1e-300))
        q = weight_var * float(at.square[0]) + bias_var
    return q / start, math.exp(min(log_gradient, 700.0))
