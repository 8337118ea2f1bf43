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
    ("normalize", lambda x: x / torch.linalg.vector_norm(x, ord=2, dim=-1, keepdim=True)),
    ("rms_norm", lambda x: x / (x.norm(dim=-1, keepdim=True) / math.sqrt(6))),
    ("rms_norm", lambda x: x / (x.norm(dim=-1, keepdim=True) * 6**-0.5).clamp(min=1e-8)),
    ("rms_norm", lambda x: (x * 6**0.5) / x.norm(dim=-1, keepdim=True)),
    ("rms_norm", lambda x: x * (x.pow(2).sum(-1, keepdim=True) / 6 + 1e-6).rsqrt()),
    ("rms_norm", lambda x: x.float() * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + 1e-6)),
    ("layer_norm", lambda x: (x - x.mean(-1, keepdim=True)) / x.std(-1, unbiased=False, keepdim=True)),
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
    lambda x: x / x.sum(-1, keepdim=True),
    lambda x: x / (x.sum(-1, keepdim=True) + 1e-9),
    lambda x: F.relu(x) / F.relu(x).sum(-1, keepdim=True).clamp(min=1e-6),
    lambda x: x / x.mean(-1, keepdim=True),
    lambda x: x / x.abs().mean(-1, keepdim=True),
    lambda x: x / x.abs().amax(-1, keepdim=True),
    lambda x: x / x.norm(p=1, dim=-1, keepdim=True),
    lambda x: x / torch.linalg.vector_norm(x, ord=3, dim=-1, keepdim=True),
    lambda x: (x - x.mean(-1, keepdim=True)) / x.sum(-1, keepdim=True),
    lambda x: x / (x.norm(dim=-1, keepdim=True) * math.sqrt(6)),
    lambda x: x.softmax(-1).topk(3)[0] / x.softmax(-1).topk(3)[0].sum(-1, keepdim=True) @ torch.ones(3, 6),
]


@pytest.mark.parametrize("formula", NO_NORMS)
def test_what_only_looks_like_a_norm(formula: Formula) -> None:
    record = run(formula)
    assert not any(n.kind == "norm" for n in record.graph.nodes)
    assert not is_normalized(record.graph, record.graph.by_place["first"])


class WithGain(nn.Module):
    """Llama's and T5's w x/rms, Gemma's (1 + w) x/rms, and PaLM's x/(‖x‖/√d) w."""

    def __init__(self, formula: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.formula, self.w = formula, nn.Parameter(torch.rand(6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.formula(x, self.w)


GAINS = [
    lambda x, w: w * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)),
    lambda x, w: (1 + w) * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)),
    lambda x, w: x * (1 + w) * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6),
    lambda x, w: x / (x.norm(dim=-1, keepdim=True) * 6**-0.5).clamp(min=1e-8) * w,
]


@pytest.mark.parametrize("formula", GAINS)
def test_rms_norms_with_a_gain(formula: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
    record = trace(nn.Sequential(nn.Linear(6, 6), WithGain(formula), nn.Linear(6, 3)), torch.randn(8, 6))
    assert [n.op for n in record.graph.nodes if n.kind == "norm"] == ["rms_norm"]
    assert is_normalized(record.graph, record.graph.by_place["0"])
    wrong = WithGain(lambda x, w: w * (x / x.sum(-1, keepdim=True)))
    record = trace(nn.Sequential(nn.Linear(6, 6), wrong, nn.Linear(6, 3)), torch.randn(8, 6))
    assert not any(n.kind == "norm" for n in record.graph.nodes)


@pytest.mark.parametrize("width", [2, 5, 64, 1000])
def test_of_any_width(width: int) -> None:
    """The size that a formula divides by is that of the axis, not of the numbers it is tried on."""
    x = torch.randn(4, 3, width)
    for name, formula in (
        ("rms_norm", lambda x: x / (x.norm(dim=-1, keepdim=True) / math.sqrt(width))),
        ("layer_norm", lambda x: (x - x.mean(-1, keepdim=True)) / x.std(-1, keepdim=True)),
        ("softmax", lambda x: x.exp() / x.exp().sum(-1, keepdim=True)),
        (None, lambda x: x / (x.norm(dim=-1, keepdim=True) / math.sqrt(2 * width))),
        (None, lambda x: x.exp() / (x.exp().sum(-1, keepdim=True) / 2)),
    ):
        nodes = trace(Alone(formula), x).graph.nodes
        assert [n.op for n in nodes if n.kind in ("norm", "softmax")] == ([name] if name else [])


class Alone(nn.Module):
    def __init__(self, formula: Formula) -> None:
        super().__init__()
        self.formula, self.gain = formula, nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.formula(x) + self.gain


def test_real_rms_norms_and_a_router() -> None:
    """Mixtral divides the weights of its two experts by their sum: Σp, not the root mean square."""
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    special = {"vocab_size": 32, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "num_key_value_heads": 2}
    ids = {"input_ids": torch.randint(3, 32, (2, 6))}
    t5 = {"vocab_size": 32, "d_model": 16, "d_ff": 24, "num_layers": 1, "num_heads": 2, "d_kv": 8}
    models = {
        "mixtral": (
            transformers.MixtralForCausalLM,
            transformers.MixtralConfig(**sizes, **special, num_local_experts=4),
        ),
        "llama": (transformers.LlamaForCausalLM, transformers.LlamaConfig(**sizes, **special)),
        "gemma": (transformers.GemmaForCausalLM, transformers.GemmaConfig(**sizes, **special, head_dim=8)),
        "t5": (transformers.T5EncoderModel, transformers.T5Config(**t5)),
    }
    for name, (kind, config) in models.items():
        nodes = trace(kind(config), ids).graph.nodes
        norms = [(n.op, n.place.rpartition("/")[0]) for n in nodes if n.kind == "norm"]
        assert [op for op, _ in norms] == 3 * ["rms_norm"], name
        assert all("norm" in place for _, place in norms), name


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
