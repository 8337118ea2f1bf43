"""Formulas written out as arithmetic come under their names, however they are written; others do not."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fanin.graph import activation_after, is_normalized
from fanin.trace import Trace, trace

Formula = Callable[[torch.Tensor], torch.Tensor]


class Between(nn.Module):
    """A formula between two linear maps."""

    def __init__(self, formula: Formula) -> None:
        super().__init__()
        self.formula, self.first, self.second = formula, nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.formula(self.first(x)))


def run(formula: Formula) -> Trace:
    return trace(Between(formula), torch.randn(8, 6))


WRITTEN: list[tuple[str, Formula]] = [
    ("silu", lambda x: x * torch.sigmoid(x)),
    ("silu", lambda x: x / (1 + torch.exp(-x))),
    ("silu", lambda x: torch.sigmoid(x).clone().mul_(x)),
    ("gelu", lambda x: 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))),
    ("gelu", lambda x: x * (torch.erf(x * 0.5**0.5) + 1.0) / 2),
    ("gelu_tanh", lambda x: 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * torch.pow(x, 3))))),
    ("gelu_tanh", lambda x: 0.5 * x * (1 + torch.tanh(0.7978845608 * x * (1 + 0.044715 * x * x)))),
    ("quick_gelu", lambda x: x * torch.sigmoid(1.702 * x)),
    ("relu_squared", lambda x: F.relu(x) ** 2),
    ("relu_squared", lambda x: torch.square(F.relu(x))),
    ("relu", lambda x: x.clamp(min=0)),
    ("relu6", lambda x: torch.clamp(x, 0, 6)),
    ("hardtanh", lambda x: x.clamp(-1, 1)),
    ("mish", lambda x: x * torch.tanh(F.softplus(x))),
    ("softplus", lambda x: torch.log(1 + torch.exp(x))),
    ("softsign", lambda x: x / (1 + x.abs())),
    ("sigmoid", lambda x: 1 / (1 + torch.exp(-x))),
    ("hardswish", lambda x: x * F.relu6(x + 3) / 6),
]


@pytest.mark.parametrize(("name", "formula"), WRITTEN)
def test_written_out_activations(name: str, formula: Formula) -> None:
    record = run(formula)
    first = record.graph.by_place["first"]
    after = activation_after(record.graph, first)
    assert after is not None
    assert (after.op, after.kind, after.inputs) == (name, "activation", (first.id,))
    signal = record.signals.at(after.place)
    x = record.graph.by_place["second"].inputs
    assert x == (after.id,)
    assert signal is not None


OTHER: list[tuple[str | None, Formula]] = [
    ("sigmoid", lambda x: torch.sigmoid(x) * 2),
    ("relu", lambda x: F.relu(x) * x.detach().new_tensor(0.5)),
    ("sigmoid", lambda x: x + torch.sigmoid(x)),
    ("tanh", lambda x: 1.7159 * torch.tanh(x * 2 / 3)),
    (None, lambda x: 2 * x - 1),
    (None, lambda x: x.clamp(-50, 50)),
]


@pytest.mark.parametrize(("name", "formula"), OTHER)
def test_formulas_without_a_name_stay_as_they_are(name: str | None, formula: Formula) -> None:
    record = run(formula)
    after = activation_after(record.graph, record.graph.by_place["first"])
    assert (after.op if after else None) == name
    assert not any("part_of" in node.attrs for node in record.graph.nodes)


NORMS: list[tuple[str, Formula]] = [
    ("rms_norm", lambda x: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)),
    ("rms_norm", lambda x: x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()),
    ("layer_norm", lambda x: (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-6)),
    ("layer_norm", lambda x: (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, correction=0) + 1e-5).sqrt()),
    ("normalize", lambda x: x / x.norm(dim=-1, keepdim=True)),
    ("normalize", lambda x: x / x.norm(dim=-1, keepdim=True).clamp(min=1e-6)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "formula"), NORMS)
def test_written_out_norms(name: str, formula: Formula) -> None:
    record = run(formula)
    first = record.graph.by_place["first"]
    (node,) = [n for n in record.graph.nodes if n.kind == "norm"]
    assert (node.op, node.inputs) == (name, (first.id,))
    assert node.attrs["normalized_axes"] == [1]
    assert is_normalized(record.graph, first)
    assert activation_after(record.graph, first) is None


NO_NORMS: list[Formula] = [
    lambda x: x * x.mean(-1, keepdim=True),
    lambda x: x - x.mean(-1, keepdim=True),
    lambda x: x * torch.sigmoid(x.mean(-1, keepdim=True)),
]


@pytest.mark.parametrize("formula", NO_NORMS)
def test_what_only_looks_like_a_norm(formula: Formula) -> None:
    record = run(formula)
    assert not any(n.kind == "norm" for n in record.graph.nodes)
    assert not is_normalized(record.graph, record.graph.by_place["first"])


def test_a_written_out_softmax() -> None:
    record = run(lambda x: torch.exp(x) / torch.exp(x).sum(-1, keepdim=True))
    assert [n.op for n in record.graph.nodes if n.kind == "softmax"] == ["softmax"]


def rotate_half(x: torch.Tensor) -> torch.Tensor:
    left, right = x.chunk(2, -1)
    return torch.cat([-right, left], -1)


def interleaved(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    turned = torch.stack([-x[..., 1::2], x[..., ::2]], -1).flatten(-2)
    return x * cos + turned * sin


ROTATIONS: list[Callable[..., torch.Tensor]] = [lambda x, c, s: x * c + rotate_half(x) * s, interleaved]


@pytest.mark.parametrize("rotation", ROTATIONS)
def test_a_rotation_is_no_residual_sum(rotation: Callable[..., torch.Tensor]) -> None:
    angles = torch.outer(torch.arange(8.0), 10.0 ** -torch.arange(3.0)).repeat(1, 2)
    record = run(lambda x: rotation(x, angles.cos(), angles.sin()))
    (node,) = [n for n in record.graph.nodes if n.op == "rotary"]
    assert (node.kind, node.inputs) == ("shape", (record.graph.by_place["first"].id,))


def test_a_condition_is_not_taken_for_a_product() -> None:
    """x · (x > 0) is a product with a mask, not x²."""
    record = run(lambda x: x * (x > 0))
    assert not any(n.op in ("square", "relu_squared") for n in record.graph.nodes)
