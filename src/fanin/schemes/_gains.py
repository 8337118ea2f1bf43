"""What a linear map starts as by what follows it: shared by the schemes that decide place by place."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

from fanin import theory
from fanin.errors import InputError
from fanin.initializers import (
    Blocks,
    GlorotLogistic,
    GlorotUniform,
    HeNormal,
    LecunNormal,
    Orthogonal,
    Uniform,
    VarianceScaling,
)
from fanin.schemes._base import Choice, activation, fan, filled
from fanin.theory.activations import Activation, of_op

if TYPE_CHECKING:
    from fanin.initializers import Initializer
    from fanin.schemes._surroundings import Surroundings
    from fanin.slots import Slot

__all__ = ["DEEP", "LOGISTIC", "S_SHAPED", "by_nonlinearity", "deep", "recurrent"]

# Odd (or shifted odd) functions that saturate: any gain above 1 is slowly lost in depth, see ``deep`` below.
S_SHAPED = ("tanh", "softsign", "erf", "sin", "hardtanh", "scaled_tanh")
LOGISTIC = ("sigmoid", "hardsigmoid")
_LEAKY = ("leaky_relu", "prelu", "rrelu")

DEEP = 4
"""Layers without normalization from which the criticality of the chain matters: a tanh chain of gain 1 loses a factor
1 + 2 q L of its second moment in L layers (Taylor: E tanh² ≈ q − 2q²), about a decade at L = 5 for q = 1."""

BIAS_VAR = 0.05
"""Bias variance of critical S-shaped chains: the point of Schoenholz et al. (2017), q* = 0.57 for tanh."""


def recurrent(slot: Slot) -> Choice:
    side = slot.settings.get("side")
    if side == "recurrent":
        each = "one orthogonal matrix for each gate" if len(slot.parts) > 1 else "orthogonal"
        return Choice(filled(slot, Orthogonal()), f"recurrent: {each}, so that the state keeps its length over time")
    if side == "input":
        return Choice(GlorotUniform(), f"into the gates: Glorot, {fan(slot)}, {fan(slot, 'fan_out')}")
    return Choice(LecunNormal(), f"projection of the state: LeCun, {fan(slot)}")


def by_nonlinearity(slot: Slot, around: Surroundings) -> Choice:
    follows = slot.nonlinearity
    if any(part.nonlinearity or part.name in ("0", "1") for part in slot.parts) and slot.kind != "attention":
        return _packed_gate(slot)
    if "gated_by" in slot.settings:
        return _multiplied(slot)
    if slot.settings.get("gate") and follows not in LOGISTIC:
        reason = f"LeCun: {fan(slot)}, {follows} follows as a gate; the map it multiplies carries the gain"
        return Choice(filled(slot, LecunNormal()), reason)
    if slot.settings.get("factor", 1.0) != 1 and follows not in (None, "linear"):
        return _scaled(slot, around)
    point = deep(slot, around)
    if point is not None:
        law = VarianceScaling(point.weight_var, "fan_in", "normal")
        reason = (
            f"{fan(slot)}, {follows} follows in a chain of {around.depth(slot.name)} without norm: critical point "
            f"σ_w² = {point.weight_var:.4g}, σ_b² = {point.bias_var:.4g}"
        )
        return Choice(filled(slot, law), reason)
    if follows in (None, "linear", "softmax", "log_softmax"):
        unknown = "what follows is not known without inputs" if around.graph is None else "no nonlinearity follows"
        what = {None: unknown, "linear": "no nonlinearity follows"}.get(follows, f"{follows} follows")
        return Choice(filled(slot, LecunNormal()), f"LeCun: {fan(slot)}, {what}; gain 1")
    if follows in S_SHAPED:
        return Choice(
            filled(slot, GlorotUniform()),
            f"Glorot: {fan(slot)}, {fan(slot, 'fan_out')}, {follows} follows: slope 1 at 0 passes both directions",
        )
    if follows in LOGISTIC:
        if around.feeds_map(slot.name):
            return Choice(
                filled(slot, GlorotLogistic()), f"4 × Glorot: {fan(slot)}, {follows} follows, whose slope at 0 is 1/4"
            )
        return Choice(
            filled(slot, GlorotUniform()), f"Glorot: {fan(slot)}, {follows} follows as a gate, to start half open"
        )
    return _gain(slot)


def _scaled(slot: Slot, around: Surroundings) -> Choice:
    """A constant ω multiplies the output before the activation: the gain is divided by it."""
    omega, follows = float(slot.settings["factor"]), slot.nonlinearity
    assert slot.fans is not None
    if follows in ("sin", "cos") and around.is_first(slot.name):
        bound = 1 / max(slot.fans.fan_in, 1)
        reason = f"SIREN: {fan(slot)}, {follows}({omega:g} ·) on coordinates: U(±1/fan_in) spreads the frequencies"
        return Choice(Uniform(-bound, bound), reason)
    if follows in ("sin", "cos"):
        law = VarianceScaling(2 / omega**2, "fan_in", "uniform")
        return Choice(law, f"SIREN: {fan(slot)}, {follows}({omega:g} ·) follows: U(±√(6/fan_in)/{omega:g})")
    found = activation(slot)
    value = (theory.gain(found) if found is not None else 1.0) / omega
    law = VarianceScaling(value**2, "fan_in", "normal")
    reason = f"{fan(slot)}, {found or follows} of {omega:g} times the output follows; gain {value:.6g}"
    return Choice(filled(slot, law), reason)


def _multiplied(slot: Slot) -> Choice:
    """The value branch of a gated unit f(g)·u: with g, u of unit scale, E (f u)² = E f², which its gain undoes."""
    op, args = slot.settings["gated_by"]
    found = of_op(op, args)
    if found is None:
        reason = f"LeCun: {fan(slot)}; multiplied by {op}, of which no gain is known; gain 1"
        return Choice(filled(slot, LecunNormal()), reason)
    value = theory.gain(found)
    reason = f"{fan(slot)}, multiplied by {found} of a gate; its exact gain (E f²)^-½ = {value:.6g}"
    return Choice(filled(slot, VarianceScaling(value**2, "fan_in", "normal")), reason)


def _packed_gate(slot: Slot) -> Choice:
    """Maps packed in one tensor of which one gates the other (GEGLU, SwiGLU in one matrix)."""
    gates = [part.nonlinearity for part in slot.parts if part.nonlinearity]
    found = of_op(gates[0]) if len(slot.parts) == 2 and len(gates) == 1 else None
    if found is None:
        return Choice(filled(slot, LecunNormal()), f"LeCun: {fan(slot)}; gain 1")
    value = theory.gain(found)
    laws = [
        LecunNormal() if part.nonlinearity else VarianceScaling(value**2, "fan_in", "normal") for part in slot.parts
    ]
    parts = [(part.name, part.stop - part.start, law) for part, law in zip(slot.parts, laws, strict=True)]
    reason = f"{fan(slot)}: gate by LeCun, the map that {found} multiplies with its exact gain {value:.6g}"
    return Choice(Blocks(slot.parts[0].axis, parts), reason)


def _gain(slot: Slot) -> Choice:
    follows, found = slot.nonlinearity, activation(slot)
    if found is None:
        reason = f"LeCun: {fan(slot)}; no gain is known for {follows}, which follows; gain 1"
        return Choice(filled(slot, LecunNormal()), reason)
    if found.name in ("relu", *_LEAKY):
        slope = next(iter(found.parameters.values()), 0.0) if found.name in ("leaky_relu", "prelu") else 0.0
        if found.name != "rrelu":
            law: Initializer = HeNormal(slope)
            gain = "√2" if slope == 0 else f"{math.sqrt(2 / (1 + slope**2)):.4g}"
            return Choice(filled(slot, law), f"He: {fan(slot)}, {found} follows; gain {gain}")
    value = theory.gain(found)
    law = VarianceScaling(value**2, "fan_in", "normal")
    return Choice(filled(slot, law), f"{fan(slot)}, {found} follows; its exact gain (E f²)^-½ = {value:.6g}")


def deep(slot: Slot, around: Surroundings) -> theory.Critical | None:
    """The critical point of a long chain without norm, for functions that no gain alone keeps steady in depth."""
    if slot.normalized or slot.parts or slot.is_head or around.depth(slot.name) <= DEEP:
        return None
    found = activation(slot)
    if not isinstance(found, Activation) or found.name in ("relu", "relu6", "linear", "selu", *_LEAKY, *LOGISTIC):
        return None
    return _critical(found, BIAS_VAR if slot.nonlinearity in S_SHAPED else None)


@cache
def _critical(found: Activation, bias_var: float | None) -> theory.Critical | None:
    try:
        return theory.critical(found, bias_var=bias_var)
    except InputError:  # no usable point: the plain gain is the best there is
        return None
