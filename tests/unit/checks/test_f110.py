"""F110: quiet on independent weights of any scale, loud where entries depend on each other, on the input or on code."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import fanin
from fanin.checks import Finding
from fanin.checks.f110_prediction import _chance
from fanin.errors import InputError
from fanin.initializers import Zeros


def found(model: nn.Module, x: object, **options) -> list[Finding]:
    return list(fanin.check(model, x, select="F110", **options).findings)


def mlp(width: int = 128, depth: int = 4, gain: float = math.sqrt(2)) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layer = nn.Linear(width, width)
        nn.init.normal_(layer.weight, 0, gain / math.sqrt(width))
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, 4))


@pytest.mark.parametrize("gain", [0.05, 1.0, 1.4, 8.0])
def test_the_scale_alone_is_no_disagreement(gain: float) -> None:
    torch.manual_seed(0)
    assert not found(mlp(gain=gain), torch.randn(64, 128))
    assert not found(mlp(gain=gain), 100 * torch.rand(64, 128))


@pytest.mark.parametrize(
    "scheme", [name for name in fanin.schemes.names() if name in ("auto", "he", "orthogonal", "sparse")]
)
def test_schemes_agree_with_their_own_prediction(scheme: str) -> None:
    torch.manual_seed(1)
    model, x = mlp(), torch.randn(64, 128)
    recipe = fanin.init_(model, x, scheme=scheme)
    report = fanin.check(model, x, select="F110", recipe=recipe)
    assert not report.findings
    assert report.recipe == recipe


def rank_one(model: nn.Sequential) -> str:
    for layer in model[:-1:2]:
        layer.weight.data = torch.outer(torch.randn(128), torch.randn(128)) * math.sqrt(2 / 128)
    return "correlated"


SIGNS = torch.tensor([1.0, -1.0]).repeat(64)[:, None]


def sums(model: nn.Sequential) -> str:
    model[4].weight.data = (SIGNS * math.sqrt(2 / 128)).expand(128, 128).clone()  # each unit sees ± the sum of all
    return "repeat another"


def fitted(model: nn.Sequential) -> str:
    with torch.no_grad():  # a tenth of the weight along the mean of what the layer sees, as training would put there
        seen = model[:4](torch.randn(256, 128)).mean(0)
        spike = SIGNS * seen / seen.norm() * model[4].weight.norm() / math.sqrt(128)
        model[4].weight.mul_(math.sqrt(0.9)).add_(math.sqrt(0.1) * spike)
    return ""


@pytest.mark.parametrize("fault", [rank_one, sums, fitted])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_dependent_entries_are_found_and_the_cause_is_named(fault, seed: int) -> None:
    torch.manual_seed(seed)
    model, x = mlp(depth=8), torch.randn(64, 128)
    assert not found(model, x)
    cause = fault(model)
    (finding,) = found(model, x)
    assert finding.category == "disagreement"
    assert cause in finding.message
    assert finding.severity == ("warning" if cause else "info")
    assert cause or finding.where == "4.weight"
    ratio = finding.evidence["measured"] / finding.evidence["predicted"]
    assert finding.evidence["log2"] == pytest.approx(math.log2(ratio))


def test_a_factor_the_graph_shows_is_part_of_the_prediction() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(128, 128))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.linear(x, self.weight * math.sqrt(2 / 128))  # equalized learning rate

    torch.manual_seed(0)
    report = fanin.check(
        nn.Sequential(Scaled(), nn.ReLU(), Scaled(), nn.ReLU(), nn.Linear(128, 4)), torch.randn(64, 128)
    )
    for node in report.graph.weight_ops():
        predicted = report.signals.at(node.place, source="predicted")
        measured = report.signals.at(node.place)
        assert abs(math.log2(predicted.second_moment / measured.second_moment)) < 1
    assert "F110" not in [finding.code for finding in report.findings]


def test_a_factor_that_nothing_shows_is_found() -> None:
    class Hidden(nn.Module):
        """A weight whose values change between the moment they are read and the moment they are used."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(128, 128) * math.sqrt(2 / 128))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            array = self.weight.detach().numpy()
            array *= 6
            out = F.linear(x, self.weight)
            array /= 6
            return out

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(128, 128), nn.ReLU(), Hidden(), nn.ReLU(), nn.Linear(128, 4))
    (finding,) = found(model, torch.randn(64, 128))
    assert (finding.where, finding.severity) == ("2.weight", "warning")
    assert finding.evidence["log2"] == pytest.approx(math.log2(36), abs=4 * math.sqrt(2 / 128) / math.log(2))
    assert "unseen" in finding.message


def test_parameters_that_the_recipe_did_not_write_are_named() -> None:
    torch.manual_seed(0)
    model, x = mlp(), torch.randn(64, 128)
    recipe = fanin.init_(model, x, seed=3, force=True)
    assert not found(model, x, recipe=recipe)
    with torch.no_grad():
        model[2].weight.normal_(0, 0.02)
        model[4].bias.fill_(0.1)
    findings = found(model, x, recipe=recipe)
    assert {f.category for f in findings} == {"overwritten"}
    named = {name for f in findings for name in (f.where, *f.also)}
    assert named == {"2.weight", "4.bias"}
    assert all(f.severity == "warning" for f in findings)
    assert not found(model, x)  # without the recipe these are weights like any others
    predicted = fanin.check(model, x, recipe=recipe).signals.at("2", source="predicted")
    assert predicted.second_moment > 0.5  # the recipe's word, not the weights'


def test_laws_with_few_free_numbers_are_not_called_overwritten() -> None:
    model, x = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)), torch.randn(32, 6)
    for seed in range(20):
        recipe = fanin.init_(model, x, scheme="sparse", seed=seed)
        assert not found(model, x, recipe=recipe), seed


def test_recipes_are_validated() -> None:
    model, x = mlp(), torch.randn(8, 128)
    with pytest.raises(InputError, match="recipe"):
        fanin.check(model, x, recipe={"0.weight": Zeros()})  # type: ignore[arg-type]
    with pytest.raises(InputError, match="shape"):
        fanin.check(mlp(64), torch.randn(8, 64), recipe=fanin.plan(model, x))


def test_further_uses_of_a_weight_are_left_out() -> None:
    class Memory(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patterns = nn.Parameter(3 * torch.randn(64, 32))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(x @ self.patterns.T) @ self.patterns

    torch.manual_seed(0)
    assert not found(Memory(), torch.randn(64, 32))


@pytest.mark.parametrize("n", [2, 8, 64, 1024])
def test_chance_holds_the_mean_square_of_n_gaussians(n: int) -> None:
    low, high = _chance(n, 4.5)
    bits = torch.randn(4000, n, generator=torch.Generator().manual_seed(n)).square().mean(1).log2()
    # Two-sided 4.5 sigma is 7e-6, so of 4000 hardly one; at two sigma about 5 % must fall outside.
    assert int(((bits < low) | (bits > high)).sum()) <= 1
    narrow = _chance(n, 2.0)
    outside = float(((bits < narrow[0]) | (bits > narrow[1])).float().mean())
    assert 0.02 < outside < 0.09 or n == 2
