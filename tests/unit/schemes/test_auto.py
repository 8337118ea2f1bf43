"""auto: the rule for each place, and its effect on whole networks: signals within a decade, first loss near ln C."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fanin import theory
from fanin.errors import InputError, PlanError
from fanin.graph import heads, residual_adds
from fanin.initializers import SUO, Constant, GlorotLogistic, GlorotUniform, HeNormal, LecunNormal, Normal, Ones, Zeros
from fanin.materialize import write
from fanin.schemes import plan
from fanin.slots import find
from fanin.trace import trace


def planned(model, x=None, **options):
    graph = None if x is None else trace(model, x).graph
    return plan("auto", find(model, graph), graph, **options)


def gain(line):
    """Standard deviation times √fan_in."""
    return line.std * math.sqrt(line.fans.fan_in)


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        (nn.ReLU(), HeNormal()),
        (nn.LeakyReLU(0.2), HeNormal(0.2)),
        (nn.PReLU(), HeNormal(0.25)),
        (nn.Tanh(), GlorotUniform()),
        (nn.Sigmoid(), GlorotLogistic()),
        (nn.Identity(), LecunNormal()),
    ],
)
def test_the_classic_recipes(activation, expected):
    model = nn.Sequential(nn.Linear(8, 6), activation, nn.Linear(6, 3))
    for recipe in (planned(model), planned(model, torch.randn(4, 8))):
        assert recipe["0.weight"] == expected
        assert recipe["0.bias"] == Zeros()


@pytest.mark.parametrize(
    "activation", [nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.ELU(0.7), nn.Mish(), nn.SELU(), nn.Softplus()]
)
def test_other_activations_get_their_exact_gain(activation):
    model = nn.Sequential(nn.Linear(8, 6), activation, nn.Linear(6, 3))
    for recipe in (planned(model), planned(model, torch.randn(4, 8))):
        line = recipe.line("0.weight")
        assert gain(line) == pytest.approx(theory.gain(activation), rel=1e-12)
        assert "exact gain" in line.reason


def test_reasons_name_fan_nonlinearity_and_gain():
    model = nn.Sequential(nn.Linear(512, 4), nn.ReLU(), nn.Linear(4, 3))
    assert planned(model).line("0.weight").reason == "He: fan_in 512, relu follows; gain √2"


def test_head_std_is_the_scale_of_the_first_outputs():
    model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 3))
    assert gain(planned(model).line("2.weight")) == pytest.approx(0.25)
    assert gain(planned(model, head_std=1.0).line("2.weight")) == pytest.approx(1)
    assert planned(model, head_std=0)["2.weight"] == Zeros()
    prior = planned(model, head_prior=0.01)["2.bias"]
    assert prior.config["value"] == pytest.approx(-4.59511985)  # Lin et al., 2017
    assert planned(model, head_prior=0.01)["0.bias"] == Zeros()


@pytest.mark.parametrize("option", [{"head_std": -1}, {"residual": "deep"}, {"head_prior": 1.0}, {"forget_bias": "1"}])
def test_options_are_validated(option):
    with pytest.raises(InputError, match=next(iter(option))):
        planned(nn.Linear(2, 2), **option)


def test_lstm_orthogonal_per_gate_and_forget_bias():
    model = nn.LSTM(6, 5)
    recipe = planned(model)
    write(model, recipe, seed=0)
    for gate in model.weight_hh_l0.detach().chunk(4):
        assert torch.allclose(gate @ gate.T, torch.eye(5), atol=1e-5)
    both = model.bias_ih_l0 + model.bias_hh_l0
    assert both.tolist() == [0.0] * 5 + [1.0] * 5 + [0.0] * 10
    assert recipe.line("weight_ih_l0").std == pytest.approx(math.sqrt(2 / 11))
    joint = nn.init.orthogonal_(torch.empty(20, 5))[:5]  # twin: one draw for the stack is not orthogonal per gate
    assert not torch.allclose(joint @ joint.T, torch.eye(5), atol=0.1)


class Residual(nn.Module):
    def __init__(self, depth, norm=False, scale=None, width=64) -> None:
        super().__init__()
        self.stem = nn.Linear(width, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), *([nn.BatchNorm1d(width)] if norm else [])
            )
            for _ in range(depth)
        )
        self.scale = None if scale is None else nn.Parameter(torch.full((width,), scale))
        self.head = nn.Linear(width, 5)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            y = block(x)
            x = x + (y if self.scale is None else self.scale * y)
        return self.head(x)


def test_residual_ends_shrink_with_the_number_of_branches():
    x = torch.randn(8, 64)
    assert gain(planned(Residual(4), x).line("blocks.2.2.weight")) == pytest.approx(1 / 2)
    assert gain(planned(Residual(9), x).line("blocks.2.2.weight")) == pytest.approx(1 / 3)
    assert gain(planned(Residual(4), x, residual="none").line("blocks.2.2.weight")) == pytest.approx(1)
    assert planned(Residual(4), x, residual="zero")["blocks.2.2.weight"] == Zeros()
    # a norm in the branch or a learned multiplier already sets its scale
    assert gain(planned(Residual(4, norm=True), x).line("blocks.2.2.weight")) == pytest.approx(1)
    scaled = planned(Residual(4, scale=1e-4), x)
    assert gain(scaled.line("blocks.2.2.weight")) == pytest.approx(1)
    assert [kept.name for kept in scaled.kept] == ["scale"]


def test_gated_units_keep_unit_scale():
    class SwiGLU(nn.Module):
        def __init__(self, packed) -> None:
            super().__init__()
            self.packed = packed
            self.wide = nn.Linear(256, 1024) if packed else None
            self.gate, self.up = (None, None) if packed else (nn.Linear(256, 512), nn.Linear(256, 512))
            self.down = nn.Linear(512, 256)

        def unit(self, x):
            gate, up = self.wide(x).chunk(2, -1) if self.packed else (self.gate(x), self.up(x))
            return F.silu(gate) * up

        def forward(self, x):
            return self.down(self.unit(x))

    x = torch.randn(128, 256)
    for packed in (False, True):
        model = SwiGLU(packed)
        write(model, planned(model, x), seed=0)
        second = model.unit(x).square().mean().item()
        # 512 units of heavy-tailed products (kurtosis about 20): 5 · sqrt(20/512/...) is below 0.3
        assert second == pytest.approx(1, abs=0.3)
    he = nn.Linear(256, 512)
    nn.init.kaiming_normal_(he.weight)  # twin: He on both branches doubles and doubles
    assert (F.silu(he(x)) * he(x).roll(1, 1)).square().mean().item() > 1.3


def test_what_a_frozen_map_is_added_to_and_what_modulates_start_at_zero():
    class Adapter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.base = nn.Linear(8, 8).requires_grad_(False)
            self.a, self.b = nn.Linear(8, 2, bias=False), nn.Linear(2, 8, bias=False)
            self.ada, self.head = nn.Linear(8, 8), nn.Linear(8, 3)

        def forward(self, x):
            h = self.base(x) + 2.0 * self.b(self.a(x))
            return self.head(torch.tanh(h) * (1 + self.ada(x)))

    recipe = planned(Adapter(), torch.randn(4, 8))
    assert recipe["b.weight"] == Zeros()
    assert recipe["a.weight"] == LecunNormal()
    assert recipe["ada.weight"] == Zeros()
    assert {kept.name for kept in recipe.kept} == {"base.weight", "base.bias"}


def test_siren_divides_by_its_frequency():
    class Sine(nn.Module):
        def forward(self, x):
            return torch.sin(30.0 * x)

    model = nn.Sequential(
        nn.Linear(2, 256), Sine(), nn.Linear(256, 256), Sine(), nn.Linear(256, 256), Sine(), nn.Linear(256, 1)
    )
    x = torch.rand(512, 2) * 2 - 1
    recipe = planned(model, x)
    assert recipe.line("0.weight").initializer.support(recipe.line("0.weight").fans) == (-0.5, 0.5)
    bound = recipe.line("2.weight").initializer.support(recipe.line("2.weight").fans)[1]
    assert bound == pytest.approx(math.sqrt(6 / 256) / 30)  # Sitzmann et al., 2020
    write(model, recipe, seed=0)
    assert (30 * model[:5](x)).square().mean().item() == pytest.approx(0.797, abs=0.2)  # fixed point of q = 1 − e^(−2q)


def test_summed_embeddings_share_the_unit_scale_and_a_tied_head_is_quiet():
    class Tokens(nn.Module):
        def __init__(self, tied) -> None:
            super().__init__()
            self.token, self.place = nn.Embedding(50, 16), nn.Embedding(12, 16)
            self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 50, bias=False)
            if tied:
                self.head.weight = self.token.weight

        def forward(self, i):
            return self.head(self.norm(self.token(i) + self.place(torch.arange(i.shape[1]))))

    i = torch.randint(0, 50, (3, 12))
    free, tied = planned(Tokens(False), i), planned(Tokens(True), i)
    assert free.line("token.weight").std == pytest.approx(math.sqrt(1 / 2))
    assert free.line("place.weight").std == pytest.approx(math.sqrt(1 / 2))
    assert tied.line("token.weight").std * 4 == pytest.approx(0.25)
    assert tied.line("place.weight").std == tied.line("token.weight").std


def test_gains_of_norms_and_multipliers():
    class Norms(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.centred, self.plain = nn.Parameter(torch.zeros(8)), nn.Parameter(torch.ones(8))
            self.multiplier, self.log_scale = nn.Parameter(torch.full((8,), 0.1)), nn.Parameter(torch.zeros(()))

        def forward(self, x):
            x = F.rms_norm(x, (8,)) * (1.0 + self.centred)
            x = self.plain * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))
            return torch.tanh(x) * self.multiplier * self.log_scale.exp()

    recipe = planned(Norms(), torch.randn(4, 8))
    assert recipe["centred"] == Constant(0.0)
    assert recipe["plain"] == Ones()
    assert {kept.name: "design" in kept.reason for kept in recipe.kept} == {"multiplier": True, "log_scale": True}


def test_the_step_of_a_state_space_layer_is_the_models_own():
    class Steps(nn.Module):
        def __init__(self, rate) -> None:
            super().__init__()
            self.step, self.value, self.out, self.rate = nn.Linear(4, 6), nn.Linear(4, 6), nn.Linear(6, 3), rate

        def forward(self, x):
            step = F.softplus(self.step(x))
            return self.out(step * self.value(x) if self.rate else step)

    kept = {kept.name for kept in planned(Steps(rate=True), torch.randn(4, 4)).kept}
    assert kept == {"step.bias"}
    assert not planned(Steps(rate=False), torch.randn(4, 4), keep=["value.*"]).line("step.bias").std


def test_a_multiplier_that_is_not_finite_is_not_kept():
    class Scaled(nn.Module):
        def __init__(self, value) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.tensor([value]))

        def forward(self, x):
            return torch.tanh(x) * self.scale

    with pytest.raises(PlanError, match=r"scale.*not finite"):
        planned(Scaled(float("nan")), torch.randn(4, 8))
    assert [kept.name for kept in planned(Scaled(1.0), torch.randn(4, 8)).kept] == ["scale"]


# --- whole networks -----------------------------------------------------------------------------------------------

CLASSES = 10


def chain(activation, depth=30, width=256):
    layers = [layer for _ in range(depth) for layer in (nn.Linear(width, width), activation())]
    return nn.Sequential(*layers, nn.Linear(width, CLASSES)), torch.randn(64, width), torch.randint(0, CLASSES, (64,))


def plain_cnn():
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1, groups=64),
        nn.ReLU(),
        *[layer for _ in range(8) for layer in (nn.Conv2d(64, 64, 3, padding=1, padding_mode="circular"), nn.ReLU())],
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, CLASSES),
    )
    return model, torch.randn(16, 3, 16, 16), torch.randint(0, CLASSES, (16,))


class Encoder(nn.Module):
    def __init__(self, norm_first) -> None:
        super().__init__()
        self.table, self.places = nn.Embedding(CLASSES, 64), nn.Parameter(torch.randn(1, 12, 64) * 0.02)
        layer = nn.TransformerEncoderLayer(64, 4, 256, batch_first=True, norm_first=norm_first, dropout=0.0)
        final = nn.LayerNorm(64) if norm_first else None
        self.body = nn.TransformerEncoder(layer, 6, final, enable_nested_tensor=False)
        self.head = nn.Linear(64, CLASSES)

    def forward(self, i):
        return self.head(self.body(self.table(i) + self.places)).transpose(1, 2)


def encoder(norm_first):
    i = torch.randint(0, CLASSES, (8, 12))
    return Encoder(norm_first), i, torch.randint(0, CLASSES, (8, 12))


def language_model(kind):
    transformers = pytest.importorskip("transformers")
    special = {"bos_token_id": 0, "eos_token_id": 0, "vocab_size": CLASSES}
    if kind == "gpt2":
        config = transformers.GPT2Config(n_positions=12, n_embd=64, n_layer=4, n_head=4, **special)
        model = transformers.GPT2LMHeadModel(config)
    else:
        config = transformers.LlamaConfig(
            hidden_size=64,
            intermediate_size=172,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            **special,
        )
        model = transformers.LlamaForCausalLM(config)
    return model.eval(), torch.randint(0, CLASSES, (8, 12)), torch.randint(0, CLASSES, (8, 12))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.body = nn.Embedding(CLASSES, 64), nn.LSTM(64, 64, 2, batch_first=True)
        self.head = nn.Linear(64, CLASSES)

    def forward(self, i):
        return self.head(self.body(self.table(i))[0]).transpose(1, 2)


NETWORKS = {
    "30 ReLU layers": lambda: chain(nn.ReLU),
    "30 tanh layers": lambda: chain(nn.Tanh),
    "30 GELU layers": lambda: chain(nn.GELU),
    "30 SiLU layers": lambda: chain(nn.SiLU),
    "30 ELU layers": lambda: chain(nn.ELU),
    "30 SELU layers": lambda: chain(nn.SELU),
    "plain CNN": plain_cnn,
    "pre-LN": lambda: encoder(True),
    "post-LN": lambda: encoder(False),
    "GPT-2": lambda: language_model("gpt2"),
    "Llama": lambda: language_model("llama"),
    "residual MLP": lambda: (Residual(12), torch.randn(64, 64), torch.randint(0, 5, (64,))),
    "LSTM": lambda: (Recurrent(), torch.randint(0, CLASSES, (8, 12)), torch.randint(0, CLASSES, (8, 12))),
}


def cross_entropy(output, target):
    logits = output.logits.transpose(1, 2) if hasattr(output, "logits") else output
    return F.cross_entropy(logits, target)


def spans(run):
    """Largest over smallest second moment, forward and backward, along the residual stream or the chain."""
    sums = [residual.add.id for residual in residual_adds(run.graph)]
    outlets = {node.id for node in heads(run.graph)}
    # The first sum holds the embeddings, whose scale the norm after it takes out where there is one.
    places = sums[1:] if len(sums) > 1 else [n.id for n in run.graph.weight_ops() if n.id not in outlets]
    found = []
    for direction in ("forward", "backward"):
        values = [s.second_moment for s in run.signals.select(direction) if s.node in places]
        found.append(max(values) / min(values))
    return found


def started(name, scheme):
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, x, y = NETWORKS[name]()
    graph = trace(model, x, y, cross_entropy).graph
    write(model, plan(scheme, find(model, graph), graph), seed=0)
    return trace(model, x, y, cross_entropy)


@pytest.mark.parametrize("name", NETWORKS)
def test_signals_stay_within_a_decade_and_the_first_loss_is_that_of_ignorance(name):
    run = started(name, "auto")
    forward, backward = spans(run)
    if name != "LSTM":  # torch runs its layers in one op, whose gradient sums over time
        assert forward < 10
        assert backward < 10
    classes = 5 if name == "residual MLP" else CLASSES
    # logits of std s add s²/2 on average; with random targets their mean moves by s/√targets
    assert run.loss == pytest.approx(math.log(classes), abs=0.25**2 * 3)


@pytest.mark.parametrize("name", ["30 ReLU layers", "30 tanh layers", "plain CNN"])
def test_torchs_default_does_not(name):
    assert max(spans(started(name, "torch"))) > 10


def test_a_shallow_tanh_net_is_glorot_and_a_deep_one_orthogonal_or_critical():
    shallow, x, _ = chain(nn.Tanh, depth=4, width=16)
    deep, _, _ = chain(nn.Tanh, depth=5, width=16)
    assert planned(shallow, x)["0.weight"] == GlorotUniform()
    assert planned(deep, x)["2.weight"] == SUO(theory.paired("tanh", 5).gain)
    assert planned(deep, x)["2.bias"] == Zeros()
    line = planned(deep).line("0.weight")  # without inputs: Schoenholz et al., 2017, σ_b² = 0.05
    assert gain(line) ** 2 == pytest.approx(1.76095464)
    assert planned(deep)["0.bias"] == Normal(std=math.sqrt(0.05))


def test_a_chain_that_no_start_can_save_is_said_so():
    deep, x, _ = chain(nn.Sigmoid, depth=6, width=16)
    assert "logistic" in planned(deep).notes[0]
    assert not planned(deep, x).notes  # its units are paired
    assert not planned(*chain(nn.Tanh, depth=6, width=16)[:2]).notes
