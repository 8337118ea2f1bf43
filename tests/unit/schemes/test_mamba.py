"""mamba: rates, steps and skips are found by what the run does with them, however they are called or written."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import fanin
from fanin.errors import InputError, PlanError
from fanin.initializers import HeNormal, MambaALog
from fanin.schemes._selective import selective

CHANNELS, STATES, RANK = 24, 5, 4

RATES = {  # how exp(Δ·A) is written: Δ (n, channels) and the stored parameter → (n, channels, states)
    "plain": lambda step, p: (step[..., None] * -torch.exp(p)).exp(),
    "times minus one": lambda step, p: (step[..., None] * p.exp().mul(-1.0)).exp(),
    "zero minus": lambda step, p: (step[..., None] * (0 - p.exp())).exp(),
    "negated step": lambda step, p: (-step[..., None] * p.exp()).exp(),
    "negated product": lambda step, p: torch.exp(-(step[..., None] * p.exp())),
    "einsum": lambda step, p: torch.einsum("nd,ds->nds", step, -p.exp()).exp(),
    "einsum, rate first": lambda step, p: torch.einsum("ds,nd->nds", -p.exp(), step).exp(),
    "views": lambda step, p: torch.exp(step.unsqueeze(-1) * (-p.exp())[None]),
    "in double": lambda step, p: torch.exp(step.double()[..., None] * -p.double().exp()).float(),
    "clamped": lambda step, p: (step.clamp(min=1e-3)[..., None] * -p.exp()).exp(),
    "states first": lambda step, p: (step[..., None] * -p.exp().t()).exp(),
    "states first, einsum": lambda step, p: torch.einsum("nd,sd->nds", step, -p.exp()).exp(),
}
STEPS = {
    "linear": lambda low, w, b: F.softplus(F.linear(low, w, b)),
    "apart": lambda low, w, b: F.softplus(low @ w.t() + b),
    "transposed": lambda low, w, b: F.softplus(w @ low.t() + b[:, None]).t(),
    "by hand": lambda low, w, b: torch.log(1 + torch.exp(F.linear(low, w, b))),
    "in double": lambda low, w, b: F.softplus(F.linear(low, w).double() + b.double()).float(),
}
SKIPS = {
    "plain": lambda y, x, d: y + d * x,
    "first": lambda y, x, d: x * d[None] + y,
    "einsum": lambda y, x, d: y + torch.einsum("nd,d->nd", x, d),
    "in double": lambda y, x, d: y + (x.double() * d.double()).float(),
}


class Block(nn.Module):
    """A residual branch around a scan over time; no attribute is called as in any published model.

    Args:
        rate, step, skip: how these three are written.
        channels: channels of the scan.
        shape: of the stored rates; (channels, states) by default.
    """

    def __init__(self, rate=RATES["plain"], step=STEPS["linear"], skip=SKIPS["plain"], shape=None, channels=CHANNELS):
        super().__init__()
        self.ways = rate, step, skip
        shape = (channels, STATES) if shape is None else shape
        self.norm, self.enter, self.leave = nn.LayerNorm(8), nn.Linear(8, 2 * channels), nn.Linear(channels, 8)
        self.choose = nn.Linear(channels, RANK + 2 * STATES, bias=False)
        self.iota = nn.Parameter(torch.zeros(shape))
        self.kappa, self.lamda = nn.Parameter(torch.zeros(channels, RANK)), nn.Parameter(torch.zeros(channels))
        self.omega = nn.Parameter(torch.zeros(channels))

    def forward(self, x):
        rate, step, skip = self.ways
        u, gate = self.enter(self.norm(x)).chunk(2, -1)
        low, into, out = self.choose(F.silu(u)).split([RANK, STATES, STATES], -1)
        state, read = 0.0, []
        for time in range(x.shape[1]):
            here = u[:, time]
            delta = step(low[:, time], self.kappa, self.lamda)
            given = delta[..., None] * into[:, time, None] * here[..., None]
            state = rate(delta, self.iota) * state + given
            read.append(skip((state * out[:, time, None]).sum(-1), here, self.omega))
        return x + self.leave(torch.stack(read, 1) * F.silu(gate))


class Heads(nn.Module):
    """Mamba-2: one rate, step and skip for each head; the step comes from the same map as all else."""

    def __init__(self, heads=6, length=4, bias=True):
        super().__init__()
        self.heads, self.length = heads, length
        self.sizes = (heads * length, heads * length, STATES, STATES, heads)
        self.norm, self.enter = nn.LayerNorm(8), nn.Linear(8, sum(self.sizes))
        self.leave = nn.Linear(heads * length, 8)
        self.iota, self.omega = nn.Parameter(torch.zeros(heads)), nn.Parameter(torch.zeros(heads, 1))
        self.lamda = nn.Parameter(torch.zeros(heads)) if bias else None

    def forward(self, x):
        gate, u, into, out, step = self.enter(self.norm(x)).split(self.sizes, -1)
        delta = F.softplus(step if self.lamda is None else step + self.lamda)
        decay = torch.exp(delta * -torch.exp(self.iota))
        u, state, read = u.unflatten(-1, (self.heads, self.length)), 0.0, []
        for time in range(x.shape[1]):
            given = (delta[:, time, :, None] * u[:, time])[..., None] * into[:, time, None, None]
            state = decay[:, time, :, None, None] * state + given
            read.append((state * out[:, time, None, None]).sum(-1) + self.omega * u[:, time])
        return x + self.leave(torch.stack(read, 1).flatten(-2) * F.silu(gate))


def signal(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


X = signal(3, 4, 8)


def started(model, x=X, **options):
    recipe = fanin.init_(model, x, scheme="mamba", seed=3, **options)
    assert all(value.isfinite().all() for value in model.state_dict().values())
    assert model(x).isfinite().all()
    return recipe


@pytest.mark.parametrize("name", RATES)
def test_rates_count_the_states_however_the_decay_is_written(name):
    first = name.startswith("states first")
    model = Block(rate=RATES[name], shape=(STATES, CHANNELS) if first else None)
    started(model)
    found = model.iota.detach().exp()
    expected = torch.arange(1.0, STATES + 1).expand(CHANNELS, STATES)
    torch.testing.assert_close(found.t() if first else found, expected)
    assert (model.omega == 1).all()


@pytest.mark.parametrize("turned", [False, True])
def test_as_many_states_as_channels(turned):
    """Lengths do not tell the axes apart; the order of the views does."""
    model = Block(rate=RATES["states first" if turned else "views"], shape=(STATES, STATES), channels=STATES)
    started(model)
    along = model.iota.detach().exp()
    counted = torch.arange(1.0, STATES + 1)
    torch.testing.assert_close(along[:, 0] if turned else along[0], counted)


@pytest.mark.parametrize("name", STEPS)
def test_steps_are_log_uniform_however_they_are_written(name):
    model = Block(step=STEPS[name], channels=96)
    recipe = started(model)
    step = F.softplus(model.lamda.detach())
    assert -6.908 < model.lamda.min() < -6.0  # softplus⁻¹(.001) = −6.907; of 96 the least is above −6 once in 1e9 draws
    assert -3.0 < model.lamda.max() < -2.252
    assert step.min() >= 0.001 * (1 - 1e-4)
    kappa = model.kappa.detach()
    assert kappa.abs().max() <= 1 / math.sqrt(RANK)
    assert kappa.std() == pytest.approx(1 / math.sqrt(3 * RANK), rel=5 * math.sqrt(0.2 / kappa.numel()))
    assert "dt_rank" in recipe.line("kappa").reason


@pytest.mark.parametrize("name", SKIPS)
def test_the_skip_is_one_however_it_is_written(name):
    model = Block(skip=SKIPS[name])
    started(model)
    assert (model.omega == 1).all()


def test_the_mean_step_is_that_of_the_log_uniform_law():
    model = Block(channels=4000)
    started(model, signal(1, 2, 8))
    step = F.softplus(model.lamda.detach().double())
    mean = (0.1 - 0.001) / math.log(100)  # 0.0215
    second = (0.1**2 - 0.001**2) / (2 * math.log(100))
    error = math.sqrt((second - mean**2) / 4000)
    assert step.mean() == pytest.approx(mean, abs=5 * error)
    assert torch.linspace(0.001, 0.1, 4000).mean() != pytest.approx(mean, abs=5 * error)  # twin: a uniform law


def test_heads_have_one_rate_each():
    model = Heads(heads=400, length=1)
    recipe = started(model, signal(1, 2, 8))
    rates = model.iota.detach().exp()
    assert rates.min() >= 1 - 1e-5
    assert rates.max() <= 16 * (1 + 1e-5)
    assert rates.mean() == pytest.approx(8.5, abs=5 * 15 / math.sqrt(12 * 400))
    assert (model.omega == 1).all()
    assert -6.908 < model.lamda.min() < model.lamda.max() < -2.252
    assert "torch's own" in recipe.line("enter.weight").reason  # it makes more than the step
    assert (model.enter.bias == 0).all()


def test_maps_are_as_torch_draws_them_and_branch_ends_smaller():
    model = nn.Sequential(*(Block() for _ in range(3)))
    started(model)
    for block in model:
        assert block.leave.weight.abs().max() <= 1 / math.sqrt(3 * CHANNELS)
        assert block.leave.weight.abs().max() > 0.9 / math.sqrt(3 * CHANNELS)
        assert 0.9 / math.sqrt(8) < block.enter.weight.abs().max() <= 1 / math.sqrt(8)
        assert (block.leave.bias == 0).all()
    alone = Block()
    started(alone)
    assert alone.leave.weight.abs().max() > 1 / math.sqrt(3 * CHANNELS)  # twin: a lone branch is not divided


def test_the_state_remembers():
    """Twin: without the law of the steps the first input is gone after 16 steps."""
    model, x = Block(), signal(2, 16, 8).requires_grad_()

    def influence():
        return torch.autograd.grad(model(x)[:, -1].square().sum(), x)[0][:, 0].square().mean().sqrt()

    recipe = started(model, x.detach())
    kept = influence()
    assert fanin.check(model, x.detach()).ok
    with torch.no_grad():
        model.lamda.zero_()
    assert recipe.line("lamda").std > 0
    assert kept > 10 * influence()


NOT_RATES = {
    "growth": lambda step, p: (step[..., None] * p.exp() * 0.01).exp(),
    "twice negated": lambda step, p: (-step[..., None] * -p.exp()).exp(),
    "no exponential": lambda step, p: (step[..., None] * -p.square()).exp(),
    "another exponent": lambda step, p: (step[..., None] * -torch.exp(-p)).exp(),
    "a quotient": lambda step, p: (step[..., None] / -p.exp()).exp(),
}


@pytest.mark.parametrize("name", NOT_RATES)
def test_what_does_not_decay_so_is_no_rate(name):
    with pytest.raises(PlanError, match=r"looked for selective state spaces .* found \d softplus, none of which"):
        fanin.plan(Block(rate=NOT_RATES[name]), X, scheme="mamba")


def test_a_step_that_is_no_softplus_is_none():
    with pytest.raises(PlanError, match="found no softplus"):
        fanin.plan(Block(step=lambda low, w, b: torch.sigmoid(F.linear(low, w, b))), X, scheme="mamba")
    with pytest.raises(PlanError, match="pass inputs"):
        fanin.plan(Block(), scheme="mamba")


def test_names_tell_nothing():
    class Decoy(nn.Module):
        """The published names on parameters that do something else, next to a true block."""

        def __init__(self):
            super().__init__()
            self.block, self.dt_proj = Block(), nn.Linear(8, 8)
            self.A_log, self.dt_bias = nn.Parameter(torch.full((8, 8), 0.3)), nn.Parameter(torch.full((8,), 0.3))
            self.D = nn.Parameter(torch.full((8,), 0.3))

        def forward(self, x):
            return self.dt_proj(torch.tanh(self.block(x) @ self.A_log + self.dt_bias)) * self.D

    model = Decoy()
    recipe = started(model)
    assert (model.dt_bias == 0).all()
    assert (model.D == 0.3).all()
    assert {recipe.line(name).reason for name in ("A_log", "dt_proj.weight")} == {"torch's own U(±1/√fan_in): fan_in 8"}
    assert torch.equal(model.block.iota[0].exp().round(), torch.arange(1.0, STATES + 1))


def test_a_step_without_bias_is_told():
    assert any("no bias of their own" in note for note in fanin.plan(Heads(bias=False), X, scheme="mamba").notes)
    assert not any("no bias" in note for note in fanin.plan(Block(), X, scheme="mamba").notes)  # twin


def test_a_bias_that_the_model_holds_stays():
    model = Block()
    model.lamda._no_reinit = True
    recipe = fanin.plan(model, X, scheme="mamba")
    assert [kept.name for kept in recipe.kept] == ["lamda"]
    assert any("left alone" in note and "lamda" in note for note in recipe.notes)


def test_rates_whose_layout_is_not_known_are_kept():
    """One step for all channels: channels and states look alike."""
    rate = RATES["plain"]
    model = Block(rate=lambda step, p: rate(step.mean(-1, keepdim=True), p))
    with pytest.raises(PlanError):  # the mean of steps is no step
        fanin.plan(model, X, scheme="mamba")
    model = Block(step=lambda low, w, b: F.softplus(low @ w[:1].t() + b[:1]))
    recipe = fanin.plan(model, X, scheme="mamba")
    (kept,) = [kept for kept in recipe.kept if kept.name == "iota"]
    assert "which of its axes counts the states is not known" in kept.reason
    with torch.no_grad():
        model.iota.fill_(math.nan)
    with pytest.raises(PlanError, match="iota"):
        fanin.plan(model, X, scheme="mamba")


def test_options():
    model = Block(channels=300)
    recipe = started(model, step_min=0.01, step_max=0.02, step_floor=0.015)
    step = F.softplus(model.lamda.detach().double())
    assert step.min() == pytest.approx(0.015, rel=1e-5)
    assert 0.019 < step.max() <= 0.02 * (1 + 1e-5)
    assert "at least 0.015" in recipe.line("lamda").reason
    for wrong in ({"step_min": 0.0}, {"step_max": 1e-4}, {"step_floor": -1.0}, {"std": -1.0}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            fanin.plan(model, X, scheme="mamba", **wrong)


def test_a_rate_can_be_named_in_overrides_of_any_scheme():
    """How it is used is known, entry by entry, so that no fans need be given."""
    for name in ("plain", "einsum"):
        recipe = fanin.plan(Block(rate=RATES[name]), X, scheme="he", overrides={"iota": MambaALog()})
        assert isinstance(recipe.line("iota").initializer, MambaALog)

    class Product(nn.Module):
        def __init__(self):
            super().__init__()
            self.iota = nn.Parameter(torch.zeros(8, 8))

        def forward(self, x):
            return torch.einsum("ntd,de->nte", x, self.iota.exp())

    with pytest.raises(PlanError, match="depends on the fans"):  # twin: here a sum runs over entries
        fanin.plan(Product(), X, scheme="he", overrides={"iota": HeNormal()})


def test_published_models():
    transformers = pytest.importorskip("transformers")
    size = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2}
    heads = {"state_size": 8, "num_heads": 8, "head_dim": 8, "n_groups": 2, "chunk_size": 4}
    hybrid = {"intermediate_size": 48, "num_attention_heads": 2, "num_key_value_heads": 2, "mamba_d_state": 8}
    places = {"attn_layer_period": 2, "attn_layer_offset": 1, "num_experts": 1, "num_experts_per_tok": 1}
    cases = {
        "Mamba": (size | {"state_size": 8}, 1),
        "FalconMamba": (size | {"state_size": 8}, 1),
        "Mamba2": (size | heads, 1),
        "Jamba": (size | hybrid | places, 2),
    }
    ids = torch.arange(18).reshape(2, 9) * 7 % 50
    for name, (options, per_layer) in cases.items():
        config = getattr(transformers, f"{name}Config")(**options)
        for dtype in (torch.float32, torch.bfloat16) if name in ("Mamba", "Mamba2") else (torch.float32,):
            model = getattr(transformers, f"{name}ForCausalLM")(config).to(dtype)
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.zero_()
            recipe = fanin.init_(model, ids, scheme="mamba", seed=0)
            assert not recipe.kept
            laws = {line.name.rpartition("mixer.")[2]: type(line.initializer).__name__ for line in recipe.lines}
            laws |= {line.name.rpartition("mamba.")[2]: type(line.initializer).__name__ for line in recipe.lines}
            assert laws["A_log"] == ("Mamba2ALog" if name == "Mamba2" else "MambaALog")
            assert laws["dt_bias" if name == "Mamba2" else "dt_proj.bias"] == "MambaStepBias"
            assert laws["D"] == "Ones"
            assert name == "Mamba2" or laws["dt_proj.weight"] == "MambaStepWeight"
            ends = [line for line in recipe.lines if "out_proj" in line.name]
            assert {f"one of {2 * per_layer} residual" in line.reason for line in ends} == {True}
            assert fanin.check(model, ids).ok


def test_what_is_found_is_found_once():
    from fanin.schemes import Context
    from fanin.slots import find
    from fanin.trace import trace

    model = Block()
    graph = trace(model, X, statistics=False).graph
    context = Context(find(model, graph), graph)
    found = selective(context)
    assert (found.rates, found.biases, found.maps, found.skips) == ({"iota": 1}, {"lamda"}, {"kappa"}, {"omega"})
    assert len(found.steps) == X.shape[1]
    assert selective(context) is found
