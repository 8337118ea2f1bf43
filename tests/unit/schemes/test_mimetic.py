"""mimetic: products of the written maps are noise plus identity, head by head, however they are packed."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import fanin
from fanin.errors import InputError, PlanError
from fanin.fans import linear
from fanin.initializers import Initializer, MimeticProjection, mimetic
from fanin.keys import Key

WIDTH, HEADS = 64, 4
LENGTH = WIDTH // HEADS


class Attention(nn.Module):
    """Self-attention in one of the ways that people write it.

    Args:
        kind: "separate", "packed" (q, k, v one after the other), "by head" (q, k, v of each head), "grouped".
    """

    def __init__(self, kind, width=WIDTH, heads=HEADS):
        super().__init__()
        self.kind, self.heads, self.kv = kind, heads, heads // 2 if kind == "grouped" else heads
        self.length = width // heads
        if kind in ("packed", "by head"):
            self.qkv = nn.Linear(width, 3 * width)
        else:
            self.q, self.k = nn.Linear(width, width), nn.Linear(width, self.kv * self.length)
            self.v = nn.Linear(width, self.kv * self.length)
        self.o = nn.Linear(width, width)

    def forward(self, x):
        n, t, width = x.shape
        if self.kind == "packed":
            q, k, v = self.qkv(x).view(n, t, 3, self.heads, self.length).permute(2, 0, 3, 1, 4)
        elif self.kind == "by head":
            q, k, v = self.qkv(x).view(n, t, self.heads, 3, self.length).permute(3, 0, 2, 1, 4)
        else:
            q, k, v = (m(x).view(n, t, -1, self.length).transpose(1, 2) for m in (self.q, self.k, self.v))
            k, v = (part.repeat_interleave(self.heads // self.kv, 1) for part in (k, v))
        mixed = functional.scaled_dot_product_attention(q, k, v)
        return self.o(mixed.transpose(1, 2).reshape(n, t, width))

    def maps(self):
        """Weights (head, length, width) of q, k, v, and the output (width, head, length)."""
        if self.kind == "packed":
            q, k, v = self.qkv.weight.detach().view(3, self.heads, self.length, -1)
        elif self.kind == "by head":
            q, k, v = self.qkv.weight.detach().view(self.heads, 3, self.length, -1).transpose(0, 1)
        else:
            q, k, v = (m.weight.detach().view(-1, self.length, m.in_features) for m in (self.q, self.k, self.v))
            k, v = (part.repeat_interleave(self.heads // self.kv, 0) for part in (k, v))
        return q, k, v, self.o.weight.detach().view(-1, self.heads, self.length)


class Model(nn.Module):
    def __init__(self, kind, blocks=2):
        super().__init__()
        self.stem, self.head = nn.Linear(12, WIDTH), nn.Linear(WIDTH, 5)
        self.blocks = nn.ModuleList(Attention(kind) for _ in range(blocks))

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(functional.layer_norm(x, (WIDTH,)))
        return self.head(x)


X = torch.randn(2, 7, 12, generator=torch.Generator().manual_seed(0))


def traces(model):
    """Mean diagonal of W_Q W_Kᵀ (of each head) and of W_V W_O, over the blocks."""
    found = []
    for block in model.blocks:
        q, k, v, o = block.maps()
        heads = torch.einsum("hla,hla->h", q, k) / WIDTH
        found.append((float(heads.mean()), float(torch.einsum("hla,ahl->", v, o)) / WIDTH, heads))
    return found


KINDS = ("separate", "packed", "by head", "grouped")


@pytest.mark.parametrize("kind", KINDS)
def test_products_are_noise_plus_identity(kind):
    model = Model(kind)
    recipe = fanin.init_(model, X, scheme="mimetic", seed=2)
    # A product of rank LENGTH keeps the largest singular values of 0.7 Z + 0.7 I: its trace is at least the share of I.
    for query_key, value_output, heads in traces(model):
        assert query_key > 0.7 * LENGTH / WIDTH
        assert float(heads.min()) > 0
        assert -0.55 < value_output < (-0.1 if kind == "grouped" else -0.3)
    assert "W_Q W_Kᵀ of each head ≈ 0.7·Z + 0.7·I" in recipe.line(next(n for n in recipe if "blocks.0" in n)).reason
    twin = Model(kind)
    fanin.init_(twin, X, scheme="he", seed=2)
    for query_key, value_output, _ in traces(twin):
        assert abs(query_key) < 0.1
        assert abs(value_output) < 0.1


@pytest.mark.parametrize("kind", KINDS[:3])
def test_packing_changes_nothing_but_the_place(kind):
    """The full product of values and output is what was drawn, and its singular values are those of 0.4 Z − 0.4 I."""
    model = Model(kind)
    fanin.init_(model, X, scheme="mimetic", seed=5)
    _, _, v, o = model.blocks[0].maps()
    product = torch.einsum("hla,bhl->ab", v, o).double()
    noise = (product + 0.4 * torch.eye(WIDTH)) / 0.4
    assert abs(float(noise.square().mean()) * WIDTH - 1) < 5 * math.sqrt(2) / WIDTH
    assert abs(float(noise.diagonal().mean())) < 5 / WIDTH
    assert float(torch.linalg.svdvals(noise)[0]) < 2.5


def test_language_models_have_the_other_signs():
    model = Model("separate")
    recipe = fanin.init_(model, X, scheme="mimetic", vision=False)
    for query_key, value_output, _ in traces(model):
        assert query_key < -0.7 * LENGTH / WIDTH
        assert value_output > 0.3
    assert "0.7·Z − 0.7·I" in recipe.line("blocks.0.q.weight").reason


def test_heads_that_share_a_key_differ():
    model = Model("grouped")
    fanin.init_(model, X, scheme="mimetic")
    q, k, _, _ = model.blocks[0].maps()
    assert torch.equal(k[0], k[1])
    assert float((q[0] - q[1]).abs().max()) > 0.1
    for head in range(HEADS):
        assert float((q[head] * k[head]).sum()) / WIDTH > 0.1


class Torch(nn.Module):
    def __init__(self):
        super().__init__()
        self.attend = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, x):
        return self.head(x + self.attend(x, x, x, need_weights=False)[0])


def test_multihead_attention_of_torch():
    model, x = Torch(), torch.randn(2, 5, WIDTH)
    recipe = fanin.init_(model, x, scheme="mimetic")
    q, k, v = model.attend.in_proj_weight.detach().view(3, WIDTH, WIDTH)
    for rows in range(0, WIDTH, LENGTH):
        assert float((q[rows : rows + LENGTH] * k[rows : rows + LENGTH]).sum()) / WIDTH > 0.7 * LENGTH / WIDTH
    assert float((v.T * model.attend.out_proj.weight.detach()).sum()) / WIDTH < -0.3
    assert "LeCun" in recipe.line("head.weight").reason


def test_a_vision_transformer_of_hugging_face():
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        intermediate_size=32,
        image_size=16,
        patch_size=8,
    )
    model, x = transformers.ViTForImageClassification(config), torch.randn(2, 3, 16, 16)
    recipe = fanin.init_(model, x, scheme="mimetic")
    assert sum("mimetic" in line.reason for line in recipe.lines) == 8
    names = dict(model.named_parameters())
    (query,) = [name for name in names if "0.attention" in name and name.endswith(("query.weight", "q_proj.weight"))]
    key = query.replace("query", "key").replace("q_proj", "k_proj")
    product = names[query].detach()[:LENGTH].T @ names[key].detach()[:LENGTH]
    assert float(product.trace()) / WIDTH > 0.7 * LENGTH / WIDTH


def test_the_halves_are_those_of_the_function():
    """Another road: the function that returns all four, through an SVD."""
    whole = mimetic(WIDTH, HEADS, key=Key(7, "pair"))
    draw = {
        kind: MimeticProjection(kind, LENGTH, HEADS, pair="pair", noise=noise, identity=identity).draw(
            Key(7, f"whatever {kind}"), (WIDTH, WIDTH), linear((WIDTH, WIDTH))
        )
        for kind, noise, identity in (
            ("query", 0.7, 0.7),
            ("key", 0.7, 0.7),
            ("value", 0.4, -0.4),
            ("output", 0.4, -0.4),
        )
    }
    first = slice(0, LENGTH)
    assert np.allclose(
        draw["query"][first].T @ draw["key"][first], whole["query"][first].T @ whole["key"][first], atol=1e-5
    )
    assert np.allclose(draw["output"] @ draw["value"], whole["output"] @ whole["value"], atol=1e-5)
    alone = MimeticProjection("key", LENGTH, HEADS).draw(Key(7, "other"), (WIDTH, WIDTH), linear((WIDTH, WIDTH)))
    assert not np.allclose(
        draw["query"][first].T @ alone[first], whole["query"][first].T @ whole["key"][first], atol=1e-2
    )


def test_a_part_of_the_heads_is_a_part_of_the_draw():
    full = MimeticProjection("query", LENGTH, HEADS, 2, pair="p").draw(Key(1), (WIDTH, WIDTH), linear((WIDTH, WIDTH)))
    part = MimeticProjection("query", LENGTH, HEADS, 2, pair="p", first=3)
    assert np.array_equal(part.draw(Key(1), (LENGTH, WIDTH), linear((LENGTH, WIDTH))), full[3 * LENGTH :])
    assert Initializer.from_json(part.to_json()) == part


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: MimeticProjection("queries", 8, 4), (32, 32)),
        (lambda: MimeticProjection("query", 8, 4, 3), (32, 32)),
        (lambda: MimeticProjection("query", 8, 4, noise=0.0), (32, 32)),
        (lambda: MimeticProjection("query", 8, 4, pair=3), (32, 32)),
        (lambda: MimeticProjection("query", 8, 4), (30, 32)),
        (lambda: MimeticProjection("query", 8, 4, first=1), (32, 32)),
        (lambda: MimeticProjection("key", 8, 4), (32, 4)),
        (lambda: MimeticProjection("output", 8, 4), (32, 16)),
    ],
)
def test_what_does_not_fit_is_refused(make, shape):
    with pytest.raises(InputError, match="MimeticProjection"):
        make().draw(Key(0), shape, linear(shape))


class Crossed(Torch):
    def __init__(self):
        super().__init__()
        self.other = nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        memory = torch.tanh(self.other(x))
        return self.head(x + self.attend(x, memory, memory, need_weights=False)[0])


class Wide(nn.Module):
    """Heads that together are wider than the stream."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(16, 64) for _ in range(3))
        self.o = nn.Linear(64, 16)

    def forward(self, x):
        q, k, v = (m(x).unflatten(-1, (4, 16)).transpose(1, 2) for m in (self.q, self.k, self.v))
        mixed = functional.scaled_dot_product_attention(q, k, v)
        return x + self.o(mixed.transpose(1, 2).flatten(2))


def test_what_the_scheme_does_not_reach():
    with pytest.raises(PlanError, match="found none"):
        fanin.plan(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), torch.randn(2, 4), scheme="mimetic")
    with pytest.raises(PlanError, match="found 1 attentions, none of that form"):
        fanin.plan(Crossed(), torch.randn(2, 5, WIDTH), scheme="mimetic")
    recipe = fanin.plan(Wide(), torch.randn(2, 5, 16), scheme="mimetic")
    assert "mimetic" in recipe.line("q.weight").reason
    assert "mimetic" not in recipe.line("v.weight").reason
    for name, value in (("query_key", (0.7,)), ("query_key", (-0.7, 0.7)), ("value_output", "ab"), ("vision", 1)):
        with pytest.raises(InputError, match=name):
            fanin.plan(Model("separate"), X, scheme="mimetic", **{name: value})


def test_a_model_of_words_is_told_of_the_signs():
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.body = nn.Embedding(9, WIDTH), Torch()

        def forward(self, i):
            return self.body(self.table(i))

    ids = torch.randint(0, 9, (2, 5))
    assert any("vision=False" in note for note in fanin.plan(Words(), ids, scheme="mimetic").notes)
    assert not fanin.plan(Words(), ids, scheme="mimetic", vision=False).notes
