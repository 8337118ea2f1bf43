"""Gates inside a recurrent call, which torch computes in one function: run again, step by step, on a few samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch

__all__ = ["Gate", "gates"]

_SAMPLES, _STEPS = 8, 32
"""Enough for a share of saturated values (8 · 32 · hidden size of them); costs little beside the call itself."""

_LAYOUT = {  # order of the stacked blocks and what each goes through, as in torch's documentation
    "lstm": (("i", "sigmoid"), ("f", "sigmoid"), ("g", "tanh"), ("o", "sigmoid")),
    "gru": (("r", "sigmoid"), ("z", "sigmoid"), ("n", "tanh")),
    "rnn_tanh": (("h", "tanh"),),
    "rnn_relu": (("h", "relu"),),
}


class Gate(NamedTuple):
    """One gate: ``name`` such as "f_l0", the function behind it, its layer, values (steps, samples, hidden)."""

    name: str
    op: str
    layer: int
    values: torch.Tensor


class _Weights(NamedTuple):
    ih: torch.Tensor
    hh: torch.Tensor
    bias_ih: torch.Tensor | None
    bias_hh: torch.Tensor | None


def gates(
    op: str, tensors: Mapping[str, torch.Tensor], states: Sequence[torch.Tensor], attrs: Mapping[str, Any]
) -> list[Gate]:
    """Gate values of every layer and direction.

    Args:
        op: "lstm", "gru", "rnn_tanh", "rnn_relu" or one of these with "_cell".
        tensors: operands by argument name: "input", "weight_ih_l0", ….
        states: initial hidden (and cell) state.
        attrs: recorded arguments: layers, directions, ``batch_first``.

    Returns:
        One :class:`Gate` each; none for a packed sequence or a projected LSTM, whose steps differ.
    """
    kind = op.removesuffix("_cell")
    if "batch_sizes" in tensors or any(name.startswith("weight_hr") for name in tensors):
        return []
    x = tensors["input"]
    if op.endswith("_cell"):
        weights = _Weights(tensors["weight_ih"], tensors["weight_hh"], tensors.get("bias_ih"), tensors.get("bias_hh"))
        steps = x.reshape(1, -1, x.shape[-1])[:, :_SAMPLES]
        state = [s.reshape(1, -1, s.shape[-1])[0, :_SAMPLES] for s in states]
        return [Gate(name, fn, 0, values) for name, fn, values in _run(kind, steps, state, weights)[1]]
    if x.dim() == 2:
        x = x.unsqueeze(0 if attrs.get("batch_first") else 1)
        states = [s.unsqueeze(1) for s in states]
    x = (x.transpose(0, 1) if attrs.get("batch_first") else x)[:_STEPS, :_SAMPLES]
    found = []
    directions = ("", "_reverse") if attrs.get("bidirectional") else ("",)
    for layer in range(int(attrs.get("num_layers", 1))):
        outputs = []
        for index, direction in enumerate(directions):
            suffix = f"_l{layer}{direction}"
            weights = _Weights(*(tensors.get(name + suffix) for name in _NAMES))  # type: ignore[arg-type]
            row = layer * len(directions) + index
            state = [s[row, :_SAMPLES] for s in states]
            output, parts = _run(kind, x.flip(0) if direction else x, state, weights)
            outputs.append(output.flip(0) if direction else output)
            found += [Gate(f"{name}{suffix}", fn, layer, values) for name, fn, values in parts]
        x = torch.cat(outputs, -1)
    return found


_NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def _run(
    kind: str, x: torch.Tensor, state: list[torch.Tensor], weights: _Weights
) -> tuple[torch.Tensor, Iterator[tuple[str, str, torch.Tensor]]]:
    layout = _LAYOUT[kind]
    hidden = state[0]
    cell = state[1] if len(state) > 1 else None
    outputs, collected = [], []
    for step in x:
        incoming = torch.nn.functional.linear(step, weights.ih, weights.bias_ih).chunk(len(layout), -1)
        recurrent = torch.nn.functional.linear(hidden, weights.hh, weights.bias_hh).chunk(len(layout), -1)
        values = _gate_values(kind, incoming, recurrent)
        hidden, cell = _advance(kind, values, hidden, cell)
        outputs.append(hidden)
        collected.append(values)
    parts = ((name, fn, torch.stack([v[i] for v in collected])) for i, (name, fn) in enumerate(layout))
    return torch.stack(outputs), parts


def _gate_values(kind: str, incoming: Sequence[torch.Tensor], recurrent: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    if kind == "gru":  # the reset gate acts on the recurrent part of the candidate
        reset, update = (torch.sigmoid(a + b) for a, b in zip(incoming[:2], recurrent[:2]))
        return [reset, update, torch.tanh(incoming[2] + reset * recurrent[2])]
    functions = [getattr(torch, fn) for _, fn in _LAYOUT[kind]]
    return [function(a + b) for function, a, b in zip(functions, incoming, recurrent)]


def _advance(
    kind: str, values: list[torch.Tensor], hidden: torch.Tensor, cell: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    if kind == "lstm":
        assert cell is not None
        i, f, g, o = values
        cell = f * cell + i * g
        return o * torch.tanh(cell), cell
    if kind == "gru":
        _, update, candidate = values
        return (1 - update) * candidate + update * hidden, None
    return values[0], None
