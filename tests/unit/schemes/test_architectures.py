"""Schemes for architectures: the published numbers, found without names of attributes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fanin import theory
from fanin.errors import InputError, PlanError
from fanin.initializers import Normal, Ones, Zeros
from fanin.materialize import write
from fanin.schemes import plan
from fanin.schemes._architecture import architecture
from fanin.schemes._base import Context
from fanin.schemes._examples import ResNet, Transformer, batch, modulated, resnet, transformer
from fanin.schemes.deepnorm import constants
from fanin.schemes.sub_ln import gain as sub_ln_gain
from fanin.slots import find
from fanin.trace import trace

IDS = torch.arange(24).reshape(4, 6) % 19


def planned(name, model, x, **options):
    graph = trace(model, x, statistics=False).graph
    return plan(name, find(model, graph), graph, **options)


def blocks_of(model, x):
    graph = trace(model, x, statistics=False).graph
    return architecture(Context(find(model, graph), graph))


def std(recipe, name):
    return recipe.line(name).std


# --- what is found in the run ------------------------------------------------------------------------------------


def test_roles_in_a_transformer_whose_names_tell_nothing():
    found = blocks_of(Transformer(gated=True), IDS)
    roles = {letter: found.role(found.slots[f"blocks.1.{letter}.weight"]) for letter in "abcdefg"}
    assert roles == {"a": "q", "b": "k", "c": "v", "d": "o", "e": "gate", "f": "fc2", "g": "up"}
    assert found.role(found.slots["out.weight"]) == "head"
    (first, second, third, last) = found.branches
    assert [b.attends for b in found.branches] == [True, False, True, False]
    assert (first.layer, second.layer, third.layer, last.layer, last.layers) == (0, 0, 1, 1, 2)
    assert (last.index, last.count, last.terms, last.width) == (3, 4, 4, 16)
    assert last.ends == ("blocks.1.f.weight",)


def test_attention_of_torchs_own_module_and_of_one_packed_by_hand():
    class Packed(nn.Module):
        def __init__(self, interleaved) -> None:
            super().__init__()
            self.one, self.two, self.interleaved = nn.Linear(8, 24), nn.Linear(8, 8), interleaved

        def forward(self, x):
            n, t, _ = x.shape
            if self.interleaved:
                q, k, v = self.one(x).view(n, t, 2, 12).transpose(1, 2).chunk(3, -1)
            else:
                q, k, v = self.one(x).reshape(n, t, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
            mixed = F.scaled_dot_product_attention(q, k, v)
            return x + self.two(mixed.transpose(1, 2).reshape(n, t, 8))

    for interleaved, expected in ((False, [("q", 8), ("k", 8), ("v", 8)]), (True, [(c, 4) for c in "qkvqkv"])):
        found = blocks_of(Packed(interleaved), batch(2, 5, 8))
        assert found.role(found.slots["one.weight"]) == "qkv"
        assert found.role(found.slots["two.weight"]) == "o"
        assert found.packing(found.slots["one.weight"]) == expected
    layer = nn.TransformerDecoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
    found = blocks_of(layer, (batch(2, 5, 8), batch(2, 3, 8)))
    assert [b.crossed for b in found.branches] == [False, True, False]
    assert found.role(found.slots["multihead_attn.in_proj_weight"]) == "qkv"
    assert found.attention_of(found.slots["self_attn.in_proj_weight"]).scale == pytest.approx(0.5)


def test_packed_and_separate_projections_start_alike():
    """DeepNorm scales v but not q and k: in one tensor each third must have the std it has alone."""
    layer = nn.TransformerEncoderLayer(32, 2, 64, batch_first=True, dropout=0.0)
    recipe = planned("deepnorm", nn.Sequential(layer), batch(2, 5, 32))
    write_to = nn.Sequential(layer)
    write(write_to, recipe, seed=0)
    q, k, v = layer.self_attn.in_proj_weight.detach().chunk(3)
    expected, beta = math.sqrt(2 / 64), constants("only", 1)[1]
    for part, value in ((q, expected), (k, expected), (v, beta * expected)):
        assert float(part.std()) == pytest.approx(value, rel=5 / math.sqrt(2 * 1024))
    assert abs(beta - 1) > 0.3  # twin: the tolerance tells β from 1


# --- transformers --------------------------------------------------------------------------------------------------


def test_gpt2_divides_ends_by_the_root_of_twice_the_depth():
    recipe = planned("gpt2", Transformer(12), IDS)
    assert std(recipe, "blocks.7.d.weight") == pytest.approx(0.00408248, abs=5e-9)
    assert std(recipe, "blocks.7.f.weight") == pytest.approx(0.00408248, abs=5e-9)
    for name in ("blocks.7.a.weight", "blocks.7.e.weight", "out.weight", "table.weight", "places"):
        assert std(recipe, name) == 0.02


def test_branches_side_by_side_count_twice():
    class Parallel(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList(nn.MultiheadAttention(8, 2, batch_first=True) for _ in range(3))
            self.a, self.b = (nn.ModuleList(nn.Linear(8, 8) for _ in range(3)) for _ in range(2))

        def forward(self, x):
            for attend, a, b in zip(self.blocks, self.a, self.b, strict=True):
                x = x + (attend(x, x, x, need_weights=False)[0] + b(F.gelu(a(x))))
            return x

    recipe = planned("gpt2", Parallel(), batch(2, 5, 8))
    assert std(recipe, "b.1.weight") == pytest.approx(0.02 / math.sqrt(6))
    assert std(recipe, "blocks.1.out_proj.weight") == pytest.approx(0.02 / math.sqrt(6))


def test_small_init_and_wang():
    model = Transformer(12, width=768, heads=12)
    recipe = planned("small_init", model, IDS)
    assert std(recipe, "blocks.3.e.weight") == pytest.approx(0.02282177, abs=5e-9)
    assert std(recipe, "blocks.3.f.weight") == pytest.approx(0.00601407, abs=5e-9)


def test_mitchell_full_megatron_and_torchtitan():
    model = Transformer(3, gated=True)
    cut = 0.98657839  # standard deviation of a normal cut at ±3
    recipe = planned("mitchell", model, IDS)
    assert std(recipe, "blocks.2.a.weight") == pytest.approx(cut / 4)
    assert std(recipe, "blocks.2.d.weight") == pytest.approx(cut / math.sqrt(2 * 16 * 3))
    assert std(recipe, "blocks.0.f.weight") == pytest.approx(cut / math.sqrt(2 * 64 * 1))
    recipe = planned("full_megatron", model, IDS)
    assert std(recipe, "blocks.0.f.weight") == pytest.approx(cut * 0.02 / math.sqrt(6))
    assert std(recipe, "out.weight") == pytest.approx(cut / 4)
    recipe = planned("torchtitan", model, IDS)
    for letter in "dfg":  # wo, w2, w3
        assert std(recipe, f"blocks.2.{letter}.weight") == pytest.approx(0.02 / math.sqrt(6))
    assert std(recipe, "blocks.2.e.weight") == 0.02
    assert std(recipe, "table.weight") == 1
    assert std(recipe, "out.weight") == pytest.approx(cut / 4)


def test_deepnorm_and_t_fixup_constants():
    assert constants("only", 24) == pytest.approx((2.632148, 0.268642), abs=5e-7)
    assert constants("only", 1000) == pytest.approx((6.687403, 0.105737), abs=5e-7)
    assert constants("decoder", 3, 6) == pytest.approx(((3 * 6) ** 0.25, (12 * 6) ** -0.25))
    assert constants("encoder", 6, 4)[0] == pytest.approx(0.81 * (6**4 * 4) ** (1 / 16))
    recipe = planned("deepnorm", Transformer(24, post=True), IDS)
    assert std(recipe, "blocks.5.c.weight") == pytest.approx(0.268642 / 4, rel=2e-6)
    assert std(recipe, "blocks.5.a.weight") == pytest.approx(1 / 4)
    assert "α = 2.63215" in recipe.notes[0]
    assert sub_ln_gain("encoder", 12, 6) == pytest.approx(math.sqrt(math.log(18) * math.log(24) / 3))


def test_t_fixup_tells_encoder_from_decoder():
    model = nn.Transformer(8, 2, 6, 6, 16, batch_first=True, dropout=0.0)
    recipe = planned("t_fixup", model, (batch(2, 5, 8), batch(2, 3, 8)))
    glorot = math.sqrt(2 / 24)
    assert std(recipe, "encoder.layers.2.linear1.weight") == pytest.approx(0.42809 * glorot, rel=2e-5)
    assert std(recipe, "decoder.layers.2.linear1.weight") == pytest.approx(0.36889 * glorot, rel=2e-5)
    deep = planned("deepnorm", model, (batch(2, 5, 8), batch(2, 3, 8)))
    assert std(deep, "decoder.layers.2.linear1.weight") == pytest.approx(72**-0.25 * glorot)
    assert std(deep, "encoder.layers.2.linear1.weight") == pytest.approx(0.87 * (6**4 * 6) ** (-1 / 16) * glorot)
    assert len(deep.notes) == 2


class Unscaled(nn.Module):
    """Attention without 1/√d_k, as in T5."""

    def __init__(self, scale=1.0, width=32, heads=4) -> None:
        super().__init__()
        self.heads, self.scale = heads, scale
        self.a, self.b, self.c, self.d = (nn.Linear(width, width, bias=False) for _ in range(4))

    def logits(self, x):
        n, t, _ = x.shape
        q, k = (m(x).view(n, t, self.heads, -1).transpose(1, 2) for m in (self.a, self.b))
        return q @ k.transpose(-2, -1) * self.scale

    def forward(self, x):
        n, t, width = x.shape
        v = self.c(x).view(n, t, self.heads, -1).transpose(1, 2)
        return x + self.d((self.logits(x).softmax(-1) @ v).transpose(1, 2).reshape(n, t, width))


@pytest.mark.parametrize("name", ["t5", "auto"])
@pytest.mark.parametrize("scale", [1.0, 8**-0.5])
def test_logits_of_std_one_whatever_the_attention_multiplies_by(name, scale):
    model, x = Unscaled(scale), batch(16, 12, 32)
    recipe = planned(name, model, x)
    assert std(recipe, "a.weight") * math.sqrt(32 * 8) * scale == pytest.approx(1)
    write(model, recipe, seed=0)
    spread = float(model.logits(x).detach().std())
    assert spread == pytest.approx(1, abs=0.25)  # 4 heads of 8 × 8 products: a few percent of scatter
    model.a.weight.data.normal_(0, 32**-0.5)
    if scale == 1:
        assert float(model.logits(x).detach().std()) > 2  # twin


def test_t5_tables():
    recipe = planned("t5", Transformer(), IDS)
    assert std(recipe, "table.weight") == 1
    assert "multiplied" not in recipe.line("table.weight").reason
    assert std(recipe, "blocks.0.f.weight") == pytest.approx(1 / 8)  # d_ff^-½


def test_vit_styles():
    timm = planned("vit", Transformer(), IDS)
    assert std(timm, "blocks.0.e.weight") == 0.02
    jax = planned("vit", Transformer(), IDS, style="jax")
    assert std(jax, "blocks.0.e.weight") == pytest.approx(math.sqrt(2 / (16 + 64)))
    assert jax["out.weight"] == Zeros()
    assert std(jax, "blocks.0.e.bias") == 1e-6
    assert std(jax, "blocks.0.a.bias") == 0


def test_bert_cuts_where_asked():
    assert planned("bert", Transformer(), IDS)["blocks.0.a.weight"] == Normal(std=0.02)
    cut = planned("bert", Transformer(), IDS, truncated=True)
    assert std(cut, "blocks.0.a.weight") == pytest.approx(0.02 * 0.8796256610)


# --- residual networks ---------------------------------------------------------------------------------------------


def test_zero_gamma_finds_the_last_norm():
    model, x, _ = resnet()
    recipe = planned("zero_gamma", model, x)
    assert [name for name in recipe if recipe[name] == Zeros() and name.endswith("weight")] == [
        f"branches.{i}.4.weight" for i in range(4)
    ]
    assert recipe["branches.0.1.weight"] == Ones()
    assert std(recipe, "out.weight") == 0.01
    with pytest.raises(PlanError, match="4 residual branches, none of which ends in a norm"):
        planned("zero_gamma", *resnet(norm=False)[:2])


@pytest.mark.parametrize(("maps", "power"), [(2, -1 / 2), (3, -1 / 4)])
def test_fixup_shrinks_by_the_number_of_branches_and_maps(maps, power):
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.all = nn.ModuleList(nn.ModuleList(nn.Linear(8, 8) for _ in range(maps)) for _ in range(5))

        def forward(self, x):
            for branch in self.all:
                y = branch[0](x)
                for layer in branch[1:]:
                    y = layer(F.relu(y))
                x = x + y
            return x

    model, x = Net(), batch(3, 8)
    recipe = planned("fixup", model, x)
    assert std(recipe, "all.3.0.weight") == pytest.approx(5**power * math.sqrt(2 / 8))
    assert recipe[f"all.3.{maps - 1}.weight"] == Zeros()
    write(model, recipe, seed=0)
    assert torch.equal(model(x), x)  # branches add exactly nothing
    assert any("no learned multiplier" in note for note in recipe.notes)


@pytest.mark.parametrize("name", ["skipinit", "rezero"])
def test_learned_scalars_start_at_zero_and_their_lack_is_told(name):
    model, x, _ = resnet(norm=False, scalar=True)
    recipe = planned(name, model, x)
    assert [recipe[f"scalars.{i}"] for i in range(4)] == [Zeros()] * 4
    assert std(recipe, "branches.0.3.weight") == pytest.approx(math.sqrt(2 / 36))
    assert not any("no learned scalar" in note for note in recipe.notes)
    bare, x, _ = resnet(norm=False)
    recipe = planned(name, bare, x)
    assert any("4 of 4 residual branches have no learned scalar" in note for note in recipe.notes)
    assert recipe["branches.0.3.weight"] == Zeros()


def test_nfnet_gains_and_betas():
    model, x, _ = resnet(norm=False, scalar=True)
    recipe = planned("nfnet", model, x)
    line = recipe.line("branches.0.3.weight")
    assert line.std * math.sqrt(36) == pytest.approx(1.71285855, abs=5e-9)
    assert "β = 1.0000, 1.0198, 1.0392, 1.0198" in recipe.notes[0]
    silu = planned("nfnet", ResNet(norm=False, scalar=True, activation=nn.SiLU), x)
    assert silu.line("branches.0.3.weight").std * 6 == pytest.approx(theory.gain("silu", "variance"))


@pytest.mark.parametrize(("depth", "value"), [(2, 0.1), (20, 1e-5), (25, 1e-6)])
def test_layerscale_shrinks_with_depth(depth, value):
    recipe = planned("layerscale", Transformer(depth, scaled=True), IDS)
    assert recipe["blocks.1.s.0"].config["value"] == value
    assert recipe.notes == ()
    assert "no factor per channel" in planned("layerscale", Transformer(2), IDS).notes[0]


def test_dit_blocks_start_as_the_identity():
    model, (x, t), _ = modulated()
    recipe = planned("dit", model, (x, t))
    assert std(recipe, "cond.weight") == 0.02
    patch = recipe.line("patch.weight")
    assert patch.std == pytest.approx(math.sqrt(2 / (8 + 8)))  # 2·2·2 inputs of a patch, 8 outputs
    write(model, recipe, seed=0)
    assert torch.equal(model(x, t), torch.zeros(5, 4, 8))
    nn.init.normal_(model.out.weight)
    assert torch.equal(model(x, t), model(x, 3 * t))  # the condition has no effect yet
    nn.init.normal_(model.mods[0].weight)
    assert not torch.equal(model(x, t), model(x, 3 * t))  # twin


# --- recurrence, coordinates, convolutions, heads ------------------------------------------------------------------


def test_lstm_and_chrono_biases():
    model, x = nn.LSTM(3, 64), batch(5, 2, 3)
    write(model, planned("lstm", model, x), seed=0)
    assert (model.bias_ih_l0 + model.bias_hh_l0).tolist() == [0.0] * 64 + [1.0] * 64 + [0.0] * 128
    for gate in model.weight_hh_l0.detach().chunk(4):
        assert torch.allclose(gate @ gate.T, torch.eye(64), atol=1e-5)
    write(model, planned("lstm", model, x, max_time=100), seed=0)
    both = (model.bias_ih_l0 + model.bias_hh_l0).detach()
    keep = torch.sigmoid(both[64:128])
    assert bool((keep >= 0.5).all() and (keep <= 0.99).all())
    assert torch.equal(both[:64], -both[64:128])
    gru = nn.GRU(3, 64)
    write(gru, planned("lstm", gru, x, max_time=100), seed=0)
    assert bool((gru.bias_ih_l0[64:128] > 0).all())
    assert bool((gru.bias_ih_l0[:64] == 0).all())


def test_irnn_copies_its_state():
    model = nn.RNN(3, 8, nonlinearity="relu", bias=True)
    write(model, planned("irnn", model, batch(5, 2, 3)), seed=0)
    state = batch(1, 2, 8).abs()
    assert torch.equal(model(torch.zeros(200, 2, 3), state)[1], state)
    with pytest.raises(PlanError, match="kind RNN without ReLU"):
        planned("irnn", nn.RNN(3, 8), batch(5, 2, 3))


def test_siren_reads_its_frequency():
    class Net(nn.Module):
        def __init__(self, omega) -> None:
            super().__init__()
            self.layers, self.omega = (
                nn.ModuleList([nn.Linear(2, 256), *(nn.Linear(256, 256) for _ in range(3))]),
                omega,
            )

        def forward(self, x):
            for layer in self.layers:
                x = torch.sin(self.omega * layer(x))
            return x

    x = torch.linspace(-1, 1, 800).reshape(400, 2).sin()
    for omega in (30.0, 7.0):
        model = Net(omega)
        recipe = planned("siren", model, x, bias="zero")
        bound = recipe["layers.2.weight"].support(recipe.line("layers.2.weight").fans)[1]
        assert bound == pytest.approx(math.sqrt(6 / 256) / omega)
        first = recipe.line("layers.0.weight")
        assert first.initializer.support(first.fans) == pytest.approx((-0.5, 0.5))
    assert std(planned("siren", model, x), "layers.1.bias") == pytest.approx(1 / math.sqrt(3 * 256))
    with pytest.raises(PlanError, match="followed by a sine"):
        planned("siren", nn.Sequential(nn.Linear(2, 3), nn.ReLU()), x)


def test_delta_orthogonal_keeps_gradients_over_a_hundred_layers():
    layers = [
        part for _ in range(100) for part in (nn.Conv1d(16, 16, 3, padding=1, padding_mode="circular"), nn.Tanh())
    ]
    model, x = nn.Sequential(*layers), 0.1 * batch(4, 16, 8)
    recipe = plan("delta_orthogonal", find(model))
    assert recipe["4.weight"].config["gain"] == pytest.approx(
        math.sqrt(theory.critical("tanh", bias_var=2e-5).weight_var)
    )

    def ratio():
        y = x.clone().requires_grad_()
        out = model(y)
        cotangent = batch(*out.shape)
        (grad,) = torch.autograd.grad(out, y, cotangent)
        return float(grad.norm() / cotangent.norm())

    write(model, recipe, seed=0)
    assert 0.2 < ratio() < 5
    write(model, plan("torch", find(model)), seed=0)
    assert ratio() < 1e-6  # twin: torch's default loses it


def test_heads():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    x, y = batch(6, 4), torch.tensor([0, 1, 1, 2, 2, 2])
    before = model[0].weight.detach().clone()
    recipe = planned("zero_head", model, x, target=y)
    write(model, recipe, seed=0)
    assert torch.equal(model[0].weight, before)
    assert model(x).softmax(-1)[0].tolist() == pytest.approx([2 / 9, 3 / 9, 4 / 9])
    means = planned("zero_head", model, x, target=torch.arange(18.0).reshape(6, 3))
    write(model, means, seed=0)
    assert model(x)[0].tolist() == pytest.approx([7.5, 8.5, 9.5])
    recipe = planned("prior_bias", model, x)
    write(model, recipe, seed=0)
    assert model[2].bias[0].item() == pytest.approx(-4.59511985)
    assert std(recipe, "2.weight") == 0.01
    tied = Transformer()
    tied.out.weight = tied.table.weight
    with pytest.raises(PlanError, match="embedding too"):
        planned("zero_head", tied, IDS)


def test_rl_tells_policy_from_value():
    class Two(nn.Module):
        def __init__(self, outputs) -> None:
            super().__init__()
            self.body, self.a, self.b = nn.Linear(4, 8), nn.Linear(8, outputs), nn.Linear(8, 1)

        def forward(self, x):
            x = self.body(x).tanh()
            return self.a(x), self.b(x)

    recipe = planned("rl", Two(3), batch(5, 4))
    gains = [recipe[f"{name}.weight"].config["gain"] for name in ("body", "a", "b")]
    assert gains == pytest.approx([math.sqrt(2), 0.01, 1])
    one = planned("rl", Two(1), batch(5, 4), values="b.*")
    assert [one[f"{name}.weight"].config["gain"] for name in "ab"] == [0.01, 1]
    with pytest.raises(InputError, match="values"):
        planned("rl", Two(1), batch(5, 4), values="c.*")


def test_transformer_schemes_refuse_what_does_not_attend():
    model, x, _ = resnet()
    with pytest.raises(PlanError, match="4 residual branches, none of which attends"):
        planned("gpt2", model, x)
    planned("gpt2", *transformer()[:2])


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("gpt2", {"std": -1}),
        ("small_init", {"ends": "both"}),
        ("vit", {"style": "keras"}),
        ("bert", {"truncated": 1}),
        ("siren", {"bias": "none"}),
        ("irnn", {"epsilon": -1}),
        ("lstm", {"max_time": 1}),
        ("prior_bias", {"prior": 1.0}),
        ("delta_orthogonal", {"bias_var": -1}),
        ("nfnet", {"alpha": "x"}),
        ("layerscale", {"value": "x"}),
        ("rl", {"policy": -1}),
    ],
)
def test_options_are_validated(name, option):
    with pytest.raises(InputError, match=next(iter(option))):
        plan(name, find(nn.Linear(2, 2)), **option)
