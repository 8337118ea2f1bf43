"""What follows each weight, where residual branches end, which weights are heads: on real architectures."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fanin.graph import Graph, activation_after, following, heads, is_normalized, residual_adds, residual_ends
from fanin.trace import Trace, trace


class BasicBlock(nn.Module):
    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(width_in, width, 3, stride, 1), nn.Conv2d(width, width, 3, 1, 1)
        self.na, self.nb = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.short = nn.Sequential()
        if stride != 1 or width_in != width:
            self.short = nn.Sequential(nn.Conv2d(width_in, width, 1, stride), nn.BatchNorm2d(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.nb(self.b(F.relu(self.na(self.a(x)), inplace=True))) + self.short(x))


def resnet18() -> nn.Module:
    stem = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
    widths = [4, 4, 4, 8, 8, 16, 16, 32, 32]
    blocks = [BasicBlock(a, b, 1 if a == b else 2) for a, b in pairwise(widths)]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))


def answers(record: Trace) -> dict[str, str]:
    """Weight op → the activation after it."""
    graph = record.graph
    found = {}
    for node in graph.weight_ops():
        after = activation_after(graph, node)
        found[node.place] = after.op if after is not None else "linear"
    return found


def endings(graph: Graph) -> list[str]:
    return [node.place for node in residual_ends(graph)]


def head_names(graph: Graph) -> list[str]:
    return [node.place for node in heads(graph)]


def test_resnet() -> None:
    record = trace(resnet18(), torch.randn(2, 3, 32, 32), torch.tensor([1, 2]))
    found = answers(record)
    assert len(found) == 21
    assert {place for place, op in found.items() if op != "relu"} == {"14"}
    assert found["14"] == "linear"
    assert endings(record.graph) == [f"{k}.b" for k in range(4, 12)]
    assert len(residual_adds(record.graph)) == 8
    assert head_names(record.graph) == ["14"]
    normalized = {n.place for n in record.graph.weight_ops() if is_normalized(record.graph, n)}
    assert normalized == set(found) - {"14"}


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_transformer_encoder(norm_first: bool, activation: str) -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, activation=activation, norm_first=norm_first, batch_first=True)
    record = trace(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), torch.randn(3, 5, 8))
    found = answers(record)
    assert len(found) == 8
    expected = {place: activation if place.endswith("linear1") else "linear" for place in found}
    assert found == expected
    ends = endings(record.graph)
    assert len(ends) == 4
    assert [place for place in ends if place.endswith("linear2")] == ["layers.0.linear2", "layers.1.linear2"]
    assert all(r.add.kind == "add" for r in residual_adds(record.graph))
    assert head_names(record.graph) == []


def test_lstm_classifier() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.rnn = nn.Embedding(9, 4), nn.LSTM(4, 6, 2, batch_first=True)
            self.hidden, self.head = nn.Linear(6, 5), nn.Linear(5, 3)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return self.head(torch.tanh(self.hidden(self.rnn(self.table(tokens))[0][:, -1])))

    record = trace(Model(), torch.randint(9, (3, 5)), torch.tensor([0, 1, 2]))
    assert answers(record) == {"table": "linear", "rnn": "linear", "hidden": "tanh", "head": "linear"}
    assert head_names(record.graph) == ["head"]
    assert endings(record.graph) == []


# -- Hugging Face ------------------------------------------------------------

_SMALL = {
    "vocab_size": 50, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip


def hugging_face(name: str) -> tuple[nn.Module, dict[str, torch.Tensor]]:
    transformers = pytest.importorskip("transformers")
    tokens = torch.randint(5, 50, (2, 8), generator=torch.Generator().manual_seed(0))
    batch = {"input_ids": tokens, "labels": tokens}
    grouped = {**_SMALL, "num_key_value_heads": 1}
    makers: dict[str, Callable[[], nn.Module]] = {
        "gpt2": lambda: transformers.GPT2LMHeadModel(
            transformers.GPT2Config(
                vocab_size=50,
                n_embd=16,
                n_layer=2,
                n_head=2,
                n_positions=16,
                bos_token_id=1,
                eos_token_id=2,
                loss_type="ForCausalLMLoss",
            )
        ),
        "gpt2 eager": lambda: transformers.GPT2LMHeadModel(
            transformers.GPT2Config(
                vocab_size=50,
                n_embd=16,
                n_layer=2,
                n_head=2,
                n_positions=16,
                bos_token_id=1,
                eos_token_id=2,
                attn_implementation="eager",
                loss_type="ForCausalLMLoss",
            )
        ),
        "llama": lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(**grouped)),
        "bert": lambda: transformers.BertForMaskedLM(transformers.BertConfig(**_SMALL)),
        "t5": lambda: transformers.T5ForConditionalGeneration(
            transformers.T5Config(
                vocab_size=50, d_model=16, d_ff=24, num_layers=2, num_heads=2, d_kv=8, decoder_start_token_id=0
            )
        ),
        "mixtral": lambda: transformers.MixtralForCausalLM(transformers.MixtralConfig(**grouped, num_local_experts=4)),
        "qwen2 moe": lambda: transformers.Qwen2MoeForCausalLM(
            transformers.Qwen2MoeConfig(
                **grouped, num_experts=4, moe_intermediate_size=8, shared_expert_intermediate_size=8
            )
        ),
        "mamba": lambda: transformers.MambaForCausalLM(
            transformers.MambaConfig(vocab_size=50, hidden_size=16, state_size=4, num_hidden_layers=1)
        ),
        "vit": lambda: transformers.ViTForImageClassification(
            transformers.ViTConfig(
                hidden_size=16,
                intermediate_size=24,
                num_hidden_layers=2,
                num_attention_heads=2,
                image_size=8,
                patch_size=4,
                num_labels=3,
            )
        ),
    }
    if name == "vit":
        batch = {"pixel_values": torch.randn(2, 3, 8, 8), "labels": torch.tensor([0, 2])}
    torch.manual_seed(0)
    return makers[name](), batch


NONLINEAR: dict[str, dict[str, str]] = {  # end of a place → what follows; everything else is "linear"
    "gpt2": {"mlp.c_fc": "gelu_tanh"},
    "gpt2 eager": {"mlp.c_fc": "gelu_tanh"},
    "llama": {"gate_proj": "silu", "up_proj": "silu"},
    "bert": {"intermediate.dense": "gelu", "transform.dense": "gelu"},
    "t5": {".wi": "relu"},
    "vit": {"mlp.fc1": "gelu"},
    "mixtral": {"experts/grouped_mm": "silu"},
    "qwen2 moe": {
        "gate_proj": "silu", "up_proj": "silu", "experts/grouped_mm": "silu", "shared_expert_gate": "sigmoid",
    },
    "mamba": {"in_proj": "silu", "conv1d": "silu", "mixer/matmul": "softplus"},
}  # fmt: skip

ENDS = {
    "gpt2": ("c_proj", 4), "gpt2 eager": ("c_proj", 4), "llama": (("o_proj", "down_proj"), 4),
    "bert": ("output.dense", 4), "t5": ((".o", ".wo"), 10), "vit": (("o_proj", "fc2"), 4), "mamba": ("out_proj", 1),
    "mixtral": (("o_proj", "experts/grouped_mm#2"), 4),
    "qwen2 moe": (("o_proj", "experts/grouped_mm#2", "down_proj"), 6),
}  # fmt: skip

HEADS = {"bert": "cls.predictions.decoder", "vit": "classifier"}


@pytest.mark.parametrize("name", NONLINEAR)
@pytest.mark.filterwarnings("ignore")
def test_hugging_face(name: str) -> None:
    model, batch = hugging_face(name)
    record = trace(model.eval(), batch)
    graph, expected = record.graph, NONLINEAR[name]
    for place, found in answers(record).items():
        wanted = next((op for end, op in expected.items() if place.endswith(end)), "linear")
        assert found == wanted, place
    ending, count = ENDS[name]
    assert len(endings(graph)) == count
    assert all(place.endswith(ending) for place in endings(graph))
    assert head_names(graph) == [HEADS.get(name, "lm_head")]
    assert all(record.signals.at(node.place, "backward") is not None for node in graph.weight_ops())
    assert all(s.nonfinite_fraction == 0 and s.max_abs < 1e4 for s in record.signals)
    assert "other" not in {node.kind for node in graph.nodes}  # every op of these models is understood


# -- small shapes of networks ------------------------------------------------------------


class Small(nn.Module):
    def __init__(self, forward: Callable[..., Any]) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = (nn.Linear(4, 4) for _ in range(4))
        self.norm, self.gain, self.function = nn.LayerNorm(4), nn.Parameter(torch.zeros(1)), forward

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(self, x)


def small(forward: Callable[..., Any]) -> Graph:
    return trace(Small(forward), torch.randn(6, 4)).graph


def test_a_gate_answers_with_its_activation_and_says_so() -> None:
    graph = small(lambda m, x: m.c(F.silu(m.a(x)) * m.b(x)))
    gate, value = (following(graph, graph.by_place[name]) for name in "ab")
    assert gate.activation is value.activation is not None
    assert (gate.gated, value.gated) == (False, True)


def test_bias_norm_dropout_and_scale_are_passed() -> None:
    graph = small(lambda m, x: m.b(torch.tanh(F.dropout(m.norm(m.a(x)), 0.1) * 3 + m.gain)))
    after = activation_after(graph, graph.by_place["a"])
    assert after is not None
    assert after.op == "tanh"
    assert is_normalized(graph, graph.by_place["a"])
    assert activation_after(graph, graph.by_place["b"]) is None


RESIDUAL: dict[str, tuple[Callable[..., Any], list[str], list[str]]] = {  # ends of branches, heads
    "plain": (lambda m, x: m.d(torch.relu(m.c(torch.relu(m.b(x))))), [], ["d"]),
    "skip": (lambda m, x: (lambda h: m.d(h + m.c(torch.relu(m.b(h)))))(m.a(x)), ["c"], ["d"]),
    "in place": (lambda m, x: (lambda h: m.d(m.c(torch.relu(m.b(h))).add_(h)))(m.a(x)), ["c"], ["d"]),
    "zero gain": (lambda m, x: (lambda h: m.d(h + m.gain * m.c(m.b(h).tanh())))(m.a(x)), ["c"], ["d"]),
    "normed branch": (lambda m, x: (lambda h: m.d(h + m.norm(m.c(m.b(h).tanh()))))(m.a(x)), ["c"], ["d"]),
    "subtracted": (lambda m, x: x - m.c(torch.relu(m.b(x))), ["c"], ["c"]),
    "two sums of one input": (lambda m, x: m.d(m.a(x) + m.b(x)), [], ["d"]),
    "a low-rank update": (lambda m, x: m.d(m.a(x) + m.c(m.b(x))), [], ["d"]),
    "a projected shortcut": (lambda m, x: m.d(m.a(x) + m.c(torch.relu(m.b(x)))), ["c"], ["d"]),
    "two heads": (lambda m, x: (lambda h: (m.b(h), m.c(h)))(m.a(x).tanh()), [], ["b", "c"]),
    "a stream without head": (lambda m, x: (lambda h: h + m.c(torch.relu(m.b(h))))(m.a(x)), ["c"], []),
    "recurrence": (
        lambda m, x: (lambda p, q: m.d(torch.tanh(m.a(q) + m.b(torch.tanh(m.c(p))))))(*x.chunk(2)),
        [],
        ["d"],
    ),
    "shared recurrence": (lambda m, x: m.d(torch.tanh(m.a(x) + m.b(torch.tanh(m.a(x))))), [], ["d"]),
}


@pytest.mark.parametrize("name", RESIDUAL)
def test_residual_branches_and_heads(name: str) -> None:
    forward, ends, last = RESIDUAL[name]
    graph = small(forward)
    assert endings(graph) == ends
    assert head_names(graph) == last


def test_where_skip_and_branch_part() -> None:
    graph = small(lambda m, x: (lambda h: m.d(h + m.c(torch.relu(m.b(h)))))(m.a(x)))
    (residual,) = residual_adds(graph)
    assert graph.nodes[residual.source].place == graph.nodes[residual.skip].place == "a"
    assert [graph.nodes[i].place for i in residual.branch] == ["b", "relu", "c"]


def test_a_graph_survives_json() -> None:
    graph = small(lambda m, x: m.b(F.leaky_relu(m.a(x), 0.2)))
    again = Graph.from_json(graph.to_json())
    assert again == graph
    after = activation_after(again, again.by_place["a"])
    assert after is not None
    assert after.attrs["negative_slope"] == 0.2
