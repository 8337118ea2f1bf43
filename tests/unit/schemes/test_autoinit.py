"""AutoInit: the gain of each activation exactly, and unit variance of every pre-activation."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fanin import theory
from fanin.errors import InputError, PlanError
from fanin.initializers import Normal
from fanin.materialize import write
from fanin.schemes import plan
from fanin.schemes._examples import Transformer, batch
from fanin.schemes.autoinit import AutoInit
from fanin.slots import find
from fanin.trace import trace

from ._nets import IDS, InputFirst, planned, same, snapshot

# g2 = (E f²)^-½ for z ~ N(0, 1), by composite Gauss–Legendre quadrature and in closed form.
G2 = {
    "relu": (nn.ReLU(), 1.41421356),
    "leaky_relu": (nn.LeakyReLU(0.01), 1.41414286),
    "relu6": (nn.ReLU6(), 1.41421357),
    "elu": (nn.ELU(), 1.24519830),
    "selu": (nn.SELU(), 1.0),
    "gelu": (nn.GELU(), 1.53353044),
    "gelu_tanh": (nn.GELU(approximate="tanh"), 1.53358052),
    "silu": (nn.SiLU(), 1.67653247),
    "tanh": (nn.Tanh(), 1.59253742),
    "hardtanh": (nn.Hardtanh(), 1.39203614),
    "sigmoid": (nn.Sigmoid(), 1.84622855),
    "softplus": (nn.Softplus(), 1.04186684),
}
FUNCTIONS = {"erf": (torch.erf, 1.46716695), "sin": (torch.sin, 1.52086662)}


class Between(nn.Module):
    """Linear, a function, Linear."""

    def __init__(self, function, width=64):
        super().__init__()
        self.a, self.function, self.b = nn.Linear(width, width), function, nn.Linear(width, 5)

    def forward(self, x):
        return self.b(self.function(self.a(x)))


@pytest.mark.parametrize(("function", "gain"), [*G2.values(), *FUNCTIONS.values()], ids=[*G2, *FUNCTIONS])
def test_after_an_activation_its_exact_gain(function, gain):
    recipe = planned(AutoInit(), Between(function), batch(8, 64))
    assert recipe.line("a.weight").std == pytest.approx(1 / 8, rel=1e-9)
    assert recipe.line("b.weight").std * 8 == pytest.approx(gain, rel=2e-8)


ELEMENTWISE = ("softsign", "mish", "hardswish", "hardsigmoid", "celu", "tanhshrink", "softshrink", "hardshrink")


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_after_any_other_activation_the_gain_that_theory_gives_it(name):
    recipe = planned(AutoInit(), Between(getattr(F, name)), batch(8, 64))
    assert recipe.line("b.weight").std * 8 == pytest.approx(theory.gain(name), rel=1e-6)


def spread(model, x, recipe, seeds=6):
    """Mean square of each linear map's output over samples, units and draws."""
    found = {}
    for seed in range(seeds):
        write(model, recipe, seed=seed)
        hooks = [
            m.register_forward_hook(
                lambda m, _, out: found.setdefault(m, []).append(float(out.detach().square().mean()))
            )
            for m in model.modules()
            if isinstance(m, nn.Linear)
        ]
        model(x)
        for hook in hooks:
            hook.remove()
    return [sum(values) / len(values) for values in found.values()]


def test_every_preactivation_has_unit_variance():
    torch.manual_seed(0)
    layers = [nn.Linear(200, 400), nn.GELU(), nn.Dropout(0.3), nn.Linear(400, 300), nn.Sigmoid(), nn.Linear(300, 300)]
    model = nn.Sequential(*layers, nn.LayerNorm(300), nn.SiLU(), nn.Linear(300, 300))
    x = batch(64, 200)
    # Relative error of a mean square of 64 correlated samples of 300 units over six draws: below 5 %.
    assert spread(model, x, planned(AutoInit(), model, x)) == pytest.approx([1] * 4, rel=0.05)
    he = spread(model, x, planned("glorot", model, x))  # twin
    assert max(abs(v - 1) for v in he) > 0.2


def test_sums_add_and_dropout_divides():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(50, 50), nn.Linear(50, 50), nn.Linear(50, 50)

        def forward(self, x):
            return self.c(F.dropout(self.a(x) + self.b(x), 0.25))

    recipe = planned(AutoInit(), Net(), batch(8, 50))
    # ν = 1 + 1 after the sum, ν/(1 − p) after dropout
    assert recipe.line("c.weight").std == pytest.approx(math.sqrt(0.75 / 2 / 50), rel=1e-9)
    assert "variance 2.667" in recipe.line("c.weight").reason


def test_moments_of_the_batch():
    model, x = nn.Linear(50, 50), batch(64, 50) * 3 + 2
    recipe = planned(AutoInit(inputs="batch"), model, x)
    assert recipe.line("weight").std == pytest.approx(1 / math.sqrt(50 * float(x.square().mean())), rel=1e-5)
    assert planned(AutoInit(), model, x).line("weight").std == pytest.approx(1 / math.sqrt(50))  # twin


def test_keyword_inputs_of_the_batch():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(50, 10), nn.Linear(50, 10)

        def forward(self, left, right):
            return self.a(left) + self.b(right)

    x = {"left": batch(8, 50) * 2, "right": batch(8, 50) * 5}
    recipe = planned(AutoInit(inputs="batch"), Net(), x)
    assert recipe.line("a.weight").std / recipe.line("b.weight").std == pytest.approx(2.5, rel=1e-5)


def test_maps_that_add_their_bias_first():
    model = nn.Sequential(InputFirst(64, 64), nn.ReLU(), InputFirst(64, 5))
    recipe = planned(AutoInit(), model, batch(8, 64))
    assert recipe.line("2.weight").std * 8 == pytest.approx(math.sqrt(2), rel=1e-9)
    noisy = planned(AutoInit(), model, batch(8, 64), overrides={"0.bias": Normal(std=1.0)})
    assert noisy.line("2.weight").std * 8 == pytest.approx(1, rel=1e-9)  # 1 + 1 before the ReLU


def test_weight_norm_follows():
    model = nn.Sequential(nn.Linear(100, 100), nn.ReLU(), nn.utils.parametrizations.weight_norm(nn.Linear(100, 100)))
    recipe = planned(AutoInit(), model, batch(8, 100))
    write(model, recipe)
    assert float(model[2].weight.detach().square().mean()) == pytest.approx(2 / 100, rel=0.01)


def test_what_is_overridden_or_kept_is_followed():
    model, x = nn.Sequential(nn.Linear(100, 100), nn.Linear(100, 100), nn.Linear(100, 100)), batch(8, 100)
    with torch.no_grad():
        model[1].weight.fill_(0.0).fill_diagonal_(3.0)
    recipe = planned(AutoInit(), model, x, overrides={"0.weight": Normal(std=0.2)}, keep=["1.weight"])
    assert recipe["0.weight"] == Normal(std=0.2)
    # 100 · 0.04 = 4 after the first; entries of mean square 9/100 · 100 terms after the second
    assert recipe.line("2.weight").std == pytest.approx(math.sqrt(1 / (4 * 9) / 100), rel=0.02)


def test_what_cannot_be_followed_is_named():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.unused = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(3, 3)

        def forward(self, x):
            return self.b(torch.cumsum(self.a(x), -1))

    recipe = planned(AutoInit(), Net(), batch(8, 8))
    assert any("estimated" in note and "cumsum at cumsum" in note for note in recipe.notes)
    assert any("none reaches them: unused.weight" in note for note in recipe.notes)
    assert not planned(AutoInit(), Between(nn.ReLU()), batch(8, 64)).notes  # twin


def test_a_tied_weight_is_decided_at_its_first_use():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(64, 64)

        def forward(self, x):
            return self.a(torch.relu(self.a(x)))

    assert planned(AutoInit(), Net(), batch(8, 64)).line("a.weight").std == pytest.approx(1 / 8)


def test_a_transformer_and_the_model_is_untouched():
    model = Transformer(2, gated=True)
    before = snapshot(model)
    recipe = planned(AutoInit(), model, IDS)
    assert same(before, snapshot(model))
    assert recipe.line("blocks.0.f.weight").std == pytest.approx(1.67653247 / 8, rel=1e-3)
    assert planned(AutoInit(distribution="uniform"), model, IDS)["out.weight"].config["distribution"] == "uniform"


def test_refusals():
    with pytest.raises(InputError, match="inputs"):
        AutoInit(inputs="none")
    with pytest.raises(InputError, match="distribution"):
        AutoInit(distribution="cauchy")
    with pytest.raises(PlanError, match="pass inputs"):
        plan("autoinit", find(nn.Linear(2, 2)))
    graph = trace(nn.Linear(2, 2), torch.ones(1, 2), statistics=False).graph
    assert plan("autoinit", find(nn.Linear(2, 2)), graph)["weight"].config["scale"] == 1.0
