"""auto: to each place what its use asks for."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

from fanin import theory
from fanin.errors import InputError
from fanin.initializers import (
    Blocks,
    Constant,
    GlorotLogistic,
    GlorotUniform,
    HeNormal,
    LecunNormal,
    Normal,
    Orthogonal,
    Uniform,
    VarianceScaling,
    Zeros,
)
from fanin.initializers._base import number
from fanin.schemes._base import Choice, Context, Keep, Scheme, activation, fan, filled, usual
from fanin.schemes._surroundings import Surroundings
from fanin.theory.activations import Activation, of_op

if TYPE_CHECKING:
    from fanin.initializers import Initializer
    from fanin.slots import Slot

__all__ = ["Auto"]

# Odd (or shifted odd) functions that saturate: any gain above 1 is slowly lost in depth, see _deep below.
_S_SHAPED = ("tanh", "softsign", "erf", "sin", "hardtanh", "scaled_tanh")
_LOGISTIC = ("sigmoid", "hardsigmoid")
_AT_OUTPUT = (None, "linear", "softmax", "log_softmax", "sigmoid", "log_sigmoid", "tanh")
_LEAKY = ("leaky_relu", "prelu", "rrelu")

DEEP = 4
"""Layers without normalization from which the criticality of the chain matters: a tanh chain of gain 1 loses a factor
1 + 2 q L of its second moment in L layers (Taylor: E tanh² ≈ q − 2q²), about a decade at L = 5 for q = 1."""

HEAD_STD = 0.25
"""Standard deviation of the first outputs: logits of std s raise the first cross-entropy by about s²/2 = 0.03 nat."""

BIAS_VAR = 0.05
"""Bias variance of critical S-shaped chains: the point of Schoenholz et al. (2017), q* = 0.57 for tanh."""


class Auto(Scheme):
    """To each place what its use asks for: the gain of the nonlinearity that follows, residual depth, a quiet head.

    Args:
        head_std: standard deviation of the first outputs, for inputs of unit scale at the head; 0 starts it at zero.
        residual: "depth" scales the last map of each of N residual branches by 1/√N, so that the stream grows by e^½
            at most; "zero" starts it at 0 (the block is the identity); "none" leaves it.
        forget_bias: bias of the LSTM's forget gate.
        head_prior: share π of positives of a sigmoid head with rare positives: its bias starts at log(π/(1−π)).

    Source: He et al., 2015; Glorot & Bengio, 2010; Saxe et al., 2013; Schoenholz et al., 2017; Radford et al., 2019
    (depth scaling); Gers et al., 2000 (forget bias).
    """

    name = "auto"
    title = "to each place what its use asks for: gain of the nonlinearity that follows, residual depth, a quiet head"
    source = "He et al., 2015; Glorot & Bengio, 2010; Saxe et al., 2013; Schoenholz et al., 2017; Gers et al., 2000"

    def __init__(
        self,
        head_std: float = HEAD_STD,
        residual: str = "depth",
        forget_bias: float = 1.0,
        head_prior: float | None = None,
    ) -> None:
        if residual not in ("depth", "zero", "none"):
            raise InputError.of("residual", residual, "'depth', 'zero' or 'none'", "scheme 'auto'")
        self.head_std = number("scheme 'auto'", "head_std", head_std, low=0)
        self.forget_bias = number("scheme 'auto'", "forget_bias", forget_bias)
        self.residual = residual
        self.head_prior = head_prior
        if head_prior is not None and not 0 < number("scheme 'auto'", "head_prior", head_prior, low=0, high=1) < 1:
            raise InputError.of("head_prior", head_prior, "a share strictly between 0 and 1", "scheme 'auto'")

    def choose(self, slot: Slot, context: Context) -> Choice | Keep | None:
        """See :class:`Scheme`."""
        if slot.role == "weight":
            return self.weight(slot, context)
        if slot.role == "embedding":
            return self._embedding(slot, context)
        if slot.role == "bias":
            return self._bias(slot, context)
        return usual(slot)

    def weight(self, slot: Slot, context: Context) -> Choice:
        """See :class:`Scheme`."""
        around = _around(context)
        if slot.kind == "recurrent":
            return _recurrent(slot)
        if around.beside_frozen(slot.name):
            return Choice(Zeros(), "added to the output of a frozen map: zero, so that the frozen function stands")
        if slot.settings.get("modulates"):
            return Choice(Zeros(), "multiplies a signal as 1 + s: zero, so that the modulation starts as none")
        if _is_quiet_head(slot):
            return self._head(slot)
        if slot.ends_residual:
            return self._branch_end(slot, around)
        return _by_nonlinearity(slot, around)

    def notes(self, context: Context) -> tuple[str, ...]:
        """See :class:`Scheme`."""
        around = _around(context)
        chains = [s for s in context.slots.values() if s.role == "weight" and s.nonlinearity in _LOGISTIC]
        depth = max((around.depth(slot.name) for slot in chains if around.feeds_map(slot.name)), default=0)
        if depth <= DEEP:
            return ()
        return (
            f"A chain of {depth} logistic layers without normalization has no start that keeps its gradients "
            "(no critical point exists): use tanh or ReLU, a norm, or residual connections.",
        )

    def _head(self, slot: Slot) -> Choice:
        if self.head_std == 0:
            return Choice(Zeros(), "head: zero, so that the first outputs are those of ignorance")
        law = VarianceScaling(self.head_std**2, "fan_in", "normal")
        return Choice(
            filled(slot, law),
            f"head: {fan(slot)}; outputs of std {self.head_std:g}, so that the first loss is that of ignorance",
        )

    def _branch_end(self, slot: Slot, around: Surroundings) -> Choice:
        plain = _by_nonlinearity(slot, around)
        stream = around.stream(slot.name)
        if slot.normalized:
            return Choice(plain.initializer, f"{plain.reason}; ends a residual branch, in which a norm follows")
        if stream.scaled:
            return Choice(plain.initializer, f"{plain.reason}; a learned multiplier scales this residual branch")
        if self.residual == "none":
            return plain
        if self.residual == "zero":
            return Choice(Zeros(), "ends a residual branch: zero, so that the block starts as the identity")
        rms = math.sqrt(sum(self._lookup_std(name, around)[0] ** 2 for name in stream.lookups)) or 1.0
        scale = rms / math.sqrt(stream.branches)
        law = VarianceScaling(scale**2, "fan_in", "normal")
        size = "" if math.isclose(rms, 1) else f" · {rms:.3g}, the scale of the embeddings it is added to"
        reason = f"ends one of {stream.branches} residual branches: {fan(slot)}, gain 1/√{stream.branches}{size}"
        return Choice(filled(slot, law), reason)

    def _embedding(self, slot: Slot, context: Context) -> Choice:
        std, reason = self._lookup_std(slot.name, _around(context))
        return Choice(Normal(std=std), reason)

    def _lookup_std(self, name: str, around: Surroundings) -> tuple[float, str]:
        """Standard deviation of an embedding, and why."""
        slot = around.slots[name]
        width, head = slot.shape[-1], self.head_std or HEAD_STD
        summed, factor, product = around.lookups_with(slot.name)
        tied = [other for other in around.slots.values() if other.role == "embedding" and other.is_head]
        partners = [around.slots[other].name for other in summed]
        if any(other.name in partners for other in tied) or (tied and around.graph is None):
            with_head = "also the head" if slot.is_head else "added to the embedding that is also the head"
            return head / math.sqrt(
                width
            ), f"embedding, {with_head}: {head:g}/√{width}, so that logits have std {head:g}"
        if product:
            return (head**2 / width) ** 0.25, f"embedding in a dot product of width {width}: products of std {head:g}"
        std = 1 / (math.sqrt(len(summed)) * factor)
        share = f" in {len(summed)} equal shares" if len(summed) > 1 else ""
        scaled = f", before it is multiplied by {factor:.4g}" if factor != 1 else ""
        return std, f"embedding: the signal starts at unit scale{share}{scaled}"

    def _bias(self, slot: Slot, context: Context) -> Choice | Keep | None:
        if slot.settings.get("cell") == "LSTM":
            return self._lstm_bias(slot)
        if self.head_prior is not None and _is_quiet_head(slot):
            start = math.log(self.head_prior / (1 - self.head_prior))
            reason = f"head: log(π/(1−π)) for a share π = {self.head_prior:g} of positives (Lin et al., 2017)"
            return Choice(Constant(start), reason)
        weight = context.weight_of(slot)
        if weight is not None and weight.role == "weight" and not (weight.ends_residual or _is_quiet_head(weight)):
            point = _deep(weight, _around(context))
            if point is not None and point.bias_var > 0:
                std = math.sqrt(point.bias_var)
                return Choice(Normal(std=std), f"critical chain of {weight.nonlinearity}: σ_b² = {point.bias_var:.4g}")
        return usual(slot)

    def _lstm_bias(self, slot: Slot) -> Choice:
        if slot.settings["side"] == "recurrent":
            return Choice(Zeros(), "torch adds both biases: this one 0")
        parts = [
            (part.name, part.stop - part.start, Constant(self.forget_bias) if part.name == "f" else Zeros())
            for part in slot.parts
        ]
        return Choice(Blocks(0, parts), f"forget gate {self.forget_bias:g}, so that the cell remembers; other gates 0")


def _around(context: Context) -> Surroundings:
    if "surroundings" not in context.memo:
        context.memo["surroundings"] = Surroundings(context.slots, context.graph)
    return context.memo["surroundings"]  # type: ignore[no-any-return]


def _is_quiet_head(slot: Slot) -> bool:
    return slot.is_head and not slot.normalized and slot.nonlinearity in _AT_OUTPUT


def _recurrent(slot: Slot) -> Choice:
    side = slot.settings.get("side")
    if side == "recurrent":
        each = "one orthogonal matrix for each gate" if len(slot.parts) > 1 else "orthogonal"
        return Choice(filled(slot, Orthogonal()), f"recurrent: {each}, so that the state keeps its length over time")
    if side == "input":
        return Choice(GlorotUniform(), f"into the gates: Glorot, {fan(slot)}, {fan(slot, 'fan_out')}")
    return Choice(LecunNormal(), f"projection of the state: LeCun, {fan(slot)}")


def _by_nonlinearity(slot: Slot, around: Surroundings) -> Choice:
    follows = slot.nonlinearity
    if any(part.nonlinearity or part.name in ("0", "1") for part in slot.parts) and slot.kind != "attention":
        return _packed_gate(slot)
    if "gated_by" in slot.settings:
        return _multiplied(slot)
    if slot.settings.get("gate") and follows not in _LOGISTIC:
        reason = f"LeCun: {fan(slot)}, {follows} follows as a gate; the map it multiplies carries the gain"
        return Choice(filled(slot, LecunNormal()), reason)
    if slot.settings.get("factor", 1.0) != 1 and follows not in (None, "linear"):
        return _scaled(slot, around)
    point = _deep(slot, around)
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
    if follows in _S_SHAPED:
        return Choice(
            filled(slot, GlorotUniform()),
            f"Glorot: {fan(slot)}, {fan(slot, 'fan_out')}, {follows} follows: slope 1 at 0 passes both directions",
        )
    if follows in _LOGISTIC:
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


def _deep(slot: Slot, around: Surroundings) -> theory.Critical | None:
    """The critical point of a long chain without norm, for functions that no gain alone keeps steady in depth."""
    if slot.normalized or slot.parts or slot.is_head or around.depth(slot.name) <= DEEP:
        return None
    found = activation(slot)
    if not isinstance(found, Activation) or found.name in ("relu", "relu6", "linear", "selu", *_LEAKY, *_LOGISTIC):
        return None
    return _critical(found, BIAS_VAR if slot.nonlinearity in _S_SHAPED else None)


@cache
def _critical(found: Activation, bias_var: float | None) -> theory.Critical | None:
    try:
        return theory.critical(found, bias_var=bias_var)
    except InputError:  # no usable point: the plain gain is the best there is
        return None
