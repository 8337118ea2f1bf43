"""Recurrent calls: hidden units are drawn one by one in the mean field of all others, step by step through time."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np

from fanin.graph import ParamUse
from fanin.theory.propagation._base import Call, Propagator
from fanin.theory.propagation._flow import FAR, SAMPLE, Array, Flow, Grad, relations

__all__ = ["Recurrent"]

UNITS = 1024
"""Hidden units drawn: second moments to about 4 %."""

STEPS = 48
"""Steps followed; longer sequences have settled and repeat the last one."""


@dataclass(frozen=True)
class _Layer:
    """Scales of one layer's gate pre-activations.

    Args:
        gates: number of gates: 4 (LSTM i, f, g, o), 3 (GRU r, z, n) or 1; the arrays have one entry for each.
        hidden: units.
        input_var: variance that the input adds to a gate; input_common: its part common to all steps.
        weight_hh: E W_hh².
        weight_ih: E W_ih².
        bias_mean: mean of both biases together; bias_var: their variance.
    """

    gates: int
    hidden: int
    input_var: Array
    input_common: Array
    weight_hh: Array
    weight_ih: Array
    bias_mean: Array
    bias_var: Array

    def key(self) -> tuple[Any, ...]:
        """The same numbers in a form that can be looked up; ``_Layer.of`` inverts it."""
        values = (getattr(self, field.name) for field in fields(self))
        return tuple(tuple(value.tolist()) if isinstance(value, np.ndarray) else value for value in values)

    @classmethod
    def of(cls, key: tuple[Any, ...]) -> _Layer:
        """From the form that can be looked up."""
        values: list[Any] = [np.array(value) if isinstance(value, tuple) else value for value in key]
        return cls(*values)


GATES = {"lstm": "ifgo", "gru": "rzn", "rnn": "h"}
"""Order of the gates in torch's packed weights."""


class Recurrent(Propagator):
    """LSTM, GRU and plain recurrent networks, whole or one cell.

    Given the past, the gates of a unit are Gaussian with covariance n E W_hh² E h_t h_s + the input's part + the
    bias's; units are drawn from that law and give E h_t h_s in turn.

    Source: Chen, Pennington & Schoenholz, 2018; Gilboa et al., 2019 (mean field of LSTM and GRU).
    """

    kinds = ("recurrent",)

    def forward(self, call: Call) -> Flow:
        """Layer by layer; bidirectional halves have the same law."""
        x, steps = call.inputs[0], self._steps(call)
        flow = Flow(x.mean, x.second, x.kernel)
        for layer in range(self._layers(call)):
            flow = self._layer(call, layer, flow, steps)[0]
        return Flow(flow.mean, flow.second, flow.kernel, unit=len(call.node.shape) - 1, exact=False)

    def backward(self, call: Call, output: Flow, grad: Grad) -> tuple[Grad | None, ...]:
        """Through time and layers, with the gates' derivatives of the units drawn forward."""
        x, steps = call.inputs[0], self._steps(call)
        flow = Flow(x.mean, x.second, x.kernel)
        passes: list[tuple[dict[str, Array], _Layer]] = []
        for layer in range(self._layers(call)):
            flow, made = self._layer(call, layer, flow, steps)
            passes.append(made)
        second = grad.second
        for states, law in reversed(passes):
            gates = _backward(states, law, second, call.node.op)
            directions = 2 if call.attrs.get("bidirectional") else 1
            second = directions * law.hidden * float(law.weight_ih @ gates)
        rest: tuple[Grad | None, ...] = (None,) * (len(call.inputs) - 1)
        return (Grad(second), *rest)

    def states(self, call: Call, layer: int) -> dict[str, Array]:
        """Drawn h, c and gates of one layer, (units, steps) each (gates: (units, steps, gates))."""
        x, steps = call.inputs[0], self._steps(call)
        flow = Flow(x.mean, x.second, x.kernel)
        for index in range(layer + 1):
            flow, (made, _) = self._layer(call, index, flow, steps)
        return made

    def _layers(self, call: Call) -> int:
        return 1 if "cell" in call.node.op else int(call.attrs.get("num_layers", 1))

    def _steps(self, call: Call) -> int:
        if "cell" in call.node.op or len(call.shape()) < 2:
            return 1
        shape = call.shape()
        axis = 0 if len(shape) == 2 else 1 if call.attrs.get("batch_first") else 0
        return max(1, min(STEPS, shape[axis]))

    def _layer(self, call: Call, layer: int, x: Flow, steps: int) -> tuple[Flow, tuple[dict[str, Array], _Layer]]:
        suffix = "" if "cell" in call.node.op else f"_l{layer}"
        ih, hh = self._use(call, f"weight_ih{suffix}"), self._use(call, f"weight_hh{suffix}")
        letters = GATES[call.node.op.split("_")[0]]
        second_ih = np.array([_moments(call, ih, gate)[1] for gate in letters])
        biases = [
            np.array([_moments(call, self._use(call, f"{name}{suffix}", optional=True), gate) for gate in letters])
            for name in ("bias_ih", "bias_hh")
        ]
        width = ih.shape[-1] if ih is not None else 1
        law = _Layer(
            len(letters),
            hh.shape[-1] if hh is not None else 1,
            width * second_ih * x.second,
            width * second_ih * float(x.kernel[FAR]),
            np.array([_moments(call, hh, gate)[1] for gate in letters]),
            second_ih,
            sum((bias[:, 0] for bias in biases), start=np.zeros(len(letters))),
            sum((np.maximum(bias[:, 1] - bias[:, 0] ** 2, 0) for bias in biases), start=np.zeros(len(letters))),
        )
        made, twin = _drawn(law.key(), steps, call.node.op, call.node.id)
        h = made["h"]
        later = h[:, -1] if steps == STEPS else h
        far = float((h[:, 0] * h[:, -1]).mean()) if steps > 1 else float((h**2).mean())
        common = float((h * twin).mean())
        near = float((h[:, 1:] * h[:, :-1]).mean()) if steps > 1 else far
        sample = float(np.clip(x.kernel[SAMPLE] / max(x.second, 1e-300), 0, 1))
        second = float((h**2).mean() if steps < STEPS else (later**2).mean())
        kernel = relations(min(second, common + sample * (second - common)), near, far, common)
        return Flow(float(h.mean()), second, kernel), (made, law)

    @staticmethod
    def _use(call: Call, argument: str, optional: bool = False) -> ParamUse | None:
        use = call.node.param(argument)
        if use is None and not optional:
            plain = argument.split("_l")[0]
            use = next((u for u in call.node.params if u.name.rsplit(".", 1)[-1] in (argument, plain)), None)
        return use


def _moments(call: Call, use: ParamUse | None, gate: str) -> tuple[float, float]:
    """Of one gate where the caller gave them ("name#f"), else of the whole tensor."""
    if use is not None and f"{use.name}#{gate}" in call.weights:
        return call.weights[f"{use.name}#{gate}"]
    return call.moments(use)


@lru_cache(maxsize=16)
def _drawn(key: tuple[Any, ...], steps: int, op: str, seed: int) -> tuple[dict[str, Array], Array]:
    """Units through time, and h of the same units for another sample; gates and last states ask for the same draw."""
    law, random = _Layer.of(key), np.random.default_rng(seed)
    bias = law.bias_mean + np.sqrt(law.bias_var) * random.standard_normal((UNITS, law.gates))
    made = _forward(law, steps, op, bias, random)
    return made, _forward(law, steps, op, bias, random)["h"]


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -500, 500))))


def _forward(law: _Layer, steps: int, op: str, bias: Array, random: np.random.Generator) -> dict[str, Array]:
    """Draw units through time: h, c and gate values, (UNITS, steps) each (gates: (UNITS, steps, gates))."""
    g = law.gates
    fixed = bias + np.sqrt(np.maximum(0.0, law.input_common)) * random.standard_normal((UNITS, g))
    fresh = np.sqrt(np.maximum(0.0, law.input_var - law.input_common))
    h, c = np.zeros((UNITS, steps)), np.zeros((UNITS, steps))
    gates = np.zeros((UNITS, steps, g))
    past = np.zeros((UNITS, steps, g))  # the recurrent part: a Gaussian process with covariance n E W² E h h
    for t in range(steps):
        if t:
            past[:, t] = _process(law, h[:, :t], past[:, :t], random)
        inputs = fixed + fresh * random.standard_normal((UNITS, g))
        previous = (h[:, t - 1], c[:, t - 1]) if t else (np.zeros(UNITS), np.zeros(UNITS))
        h[:, t], c[:, t], gates[:, t] = _step(op, inputs, past[:, t], *previous)
    return {"h": h, "c": c, "gates": gates, "past": past}


def _process(law: _Layer, h: Array, past: Array, random: np.random.Generator) -> Array:
    """The next value of the recurrent part given its earlier ones: W_hh h_{t−1}, conditioned on W_hh h_s, s < t−1."""
    t = h.shape[1]
    scale = np.sqrt(law.hidden * law.weight_hh)
    covariance = (h.T @ h) / len(h)
    own = covariance[-1, -1]
    noise = scale * random.standard_normal((len(h), law.gates))
    if t == 1:
        return np.asarray(math.sqrt(own) * noise)
    known, cross = covariance[:-1, :-1], covariance[:-1, -1]
    solved = np.linalg.lstsq(known + 1e-9 * np.trace(known) * np.eye(t - 1), cross, rcond=None)[0]
    rest = math.sqrt(max(0.0, own - float(cross @ solved)))
    # past[:, s] belongs to h_{s−1}; the first entry has no past.
    return np.asarray(np.einsum("usg,s->ug", past[:, 1:t], solved) + rest * noise)


def _step(op: str, inputs: Array, past: Array, h: Array, c: Array) -> tuple[Array, Array, Array]:
    a = inputs + past
    if op.startswith("lstm"):
        i, f, o = (_sigmoid(a[:, k]) for k in (0, 1, 3))
        candidate = np.tanh(a[:, 2])
        c = f * c + i * candidate
        return o * np.tanh(c), c, np.stack([i, f, candidate, o], axis=-1)
    if op.startswith("gru"):
        r, z = _sigmoid(a[:, 0]), _sigmoid(a[:, 1])
        n = np.tanh(inputs[:, 2] + r * past[:, 2])
        return (1 - z) * n + z * h, c, np.stack([r, z, n], axis=-1)
    value = np.maximum(a[:, 0], 0) if "relu" in op else np.tanh(a[:, 0])
    return value, c, value[:, None]


def _backward(made: dict[str, Array], law: _Layer, second: float, op: str) -> Array:
    """Mean square gradient of each gate's pre-activation over the steps, given E g² at every h_t."""
    h, c, gates = made["h"], made["c"], made["gates"]
    steps = h.shape[1]
    random = np.random.default_rng(steps)
    units = len(h)
    carried_c, carried_h, recurrent = np.zeros(units), np.zeros(units), 0.0
    total = np.zeros(law.gates)
    for t in reversed(range(steps)):
        into = math.sqrt(second) * random.standard_normal(units) + math.sqrt(recurrent) * random.standard_normal(units)
        into = into + carried_h
        before_h = h[:, t - 1] if t else np.zeros(units)
        before_c = c[:, t - 1] if t else np.zeros(units)
        if op.startswith("lstm"):
            i, f, candidate, o = gates[:, t].T
            tanh_c = np.tanh(c[:, t])
            into_c = into * o * (1 - tanh_c**2) + carried_c
            deltas = np.stack(
                [
                    into_c * candidate * i * (1 - i),
                    into_c * before_c * f * (1 - f),
                    into_c * i * (1 - candidate**2),
                    into * tanh_c * o * (1 - o),
                ]
            )
            carried_c = into_c * f
        elif op.startswith("gru"):
            r, z, n = gates[:, t].T
            past = made["past"][:, t, 2]
            new = into * (1 - z) * (1 - n**2)
            deltas = np.stack([new * past * r * (1 - r), into * (before_h - n) * z * (1 - z), new])
            carried_h = into * z
        else:
            value = gates[:, t, 0]
            slope = (value > 0).astype(np.float64) if "relu" in op else 1 - value**2
            deltas = (into * slope)[None]
        mean = (deltas**2).mean(axis=1)
        total += mean
        recurrent = law.hidden * float(law.weight_hh @ mean)
    return np.asarray(total / steps)
