"""Long chains without norm: which layers are paired, that the start is the isometry it claims, and when it is not."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import fanin
from fanin.initializers import SUO, DeltaOrthogonal, HeNormal, Mirrored, Normal
from fanin.slots import find

WIDTH, DEPTH = 32, 12
X = torch.randn(64, WIDTH, generator=torch.Generator().manual_seed(0))


def chain(activation, depth=DEPTH, width=WIDTH, extra=()):
    layers = []
    for _ in range(depth):
        layers += [nn.Linear(width, width), activation(), *(module() for module in extra)]
    return nn.Sequential(*layers, nn.Linear(width, 5))


def started(model, x=X, **options):
    recipe = fanin.plan(model, x, calibrate=False, **options)
    fanin.materialize(model, recipe)
    return recipe


def paired(recipe):
    return [name for name, law in recipe.items() if isinstance(law, Mirrored)]


@pytest.mark.parametrize("activation", [nn.ReLU, nn.GELU, nn.SiLU, nn.Softplus])
def test_the_start_is_a_linear_isometry(activation):
    model = chain(activation).double()
    started(model, X.double())
    body, x = model[:-1], X.double()
    pre = model[: 2 * DEPTH - 1]  # up to the last pre-activation
    first = model[0]
    assert pre(x).square().mean().item() == pytest.approx(first(x).square().mean().item(), rel=1e-5)
    # linear: the pairs of the last layer, subtracted, are an odd and additive function
    half = WIDTH // 2

    def passed(v):
        out = body(v)
        return out[:, :half] - out[:, half:]

    assert torch.allclose(passed(x[:32] + x[32:]), passed(x[:32]) + passed(x[32:]), atol=1e-5)
    assert not torch.allclose(body(x[:32] + x[32:]), body(x[:32]) + body(x[32:]), atol=0.1)  # one unit alone is not


@pytest.mark.parametrize("activation", [nn.Tanh, nn.Sigmoid, nn.ELU, nn.SELU, nn.Softsign])
def test_signals_keep_the_point_they_were_planned_for(activation):
    model = chain(activation, depth=30, width=64)
    x = torch.randn(256, 64, generator=torch.Generator().manual_seed(1))
    recipe = started(model, x)
    point = fanin.theory.paired(activation(), 30)
    h, seen = x, []
    with torch.no_grad():
        for layer in model[:-1]:
            h = layer(h)
            if isinstance(layer, nn.Linear):
                seen.append(float(h.square().mean()))
    assert all(abs(math.log(q / point.q)) < math.log(1.5) for q in seen)
    assert bool(paired(recipe)) == point.pairs


def test_a_short_chain_and_one_with_norms_are_as_before():
    for model in (chain(nn.ReLU, depth=4), chain(nn.ReLU, extra=[lambda: nn.LayerNorm(WIDTH)])):
        assert not paired(fanin.plan(model, X))
    assert fanin.plan(chain(nn.ReLU, depth=3), X, calibrate=False)["0.weight"] == HeNormal()
    assert paired(fanin.plan(chain(nn.ReLU, depth=5), X))


class Reads(nn.Module):
    """A chain whose middle activation something else reads too."""

    def __init__(self, how):
        super().__init__()
        self.layers, self.head, self.how = (
            nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(8)),
            nn.Linear(8, 5),
            how,
        )
        self.last = nn.Linear(WIDTH, 8)

    def forward(self, x):
        taken = None
        for index, layer in enumerate(self.layers):
            x = torch.relu(layer(x))
            if index == 3:
                taken = x
                if self.how == "permuted":
                    x = x.flip(1)
                if self.how == "split":
                    x = torch.cat([x[:, ::2], x[:, 1::2]], 1)
        out = self.head(self.last(x))
        return (out, taken) if self.how == "output" else out


@pytest.mark.parametrize("how", ["output", "permuted", "split"])
def test_units_that_something_else_reads_are_not_paired(how):
    recipe = fanin.plan(Reads(how), X)
    assert "layers.3.weight" not in [n for n in paired(recipe) if recipe[n].config["out"]]
    assert not (isinstance(recipe["layers.4.weight"], Mirrored) and recipe["layers.4.weight"].config["into"])
    plain = fanin.plan(Reads("no"), X)  # twin
    assert plain["layers.3.weight"].config["out"]
    assert plain["layers.4.weight"].config["into"]


def test_a_layer_that_the_caller_decides_on_is_not_paired():
    model = chain(nn.ReLU)
    recipe = fanin.plan(model, X, overrides={"4.weight": Normal(std=0.1)})
    assert recipe["4.weight"] == Normal(std=0.1)
    assert not recipe["2.weight"].config["out"]
    assert not recipe["6.weight"].config["into"]
    assert recipe["8.weight"].config["into"]
    kept = fanin.plan(model, X, keep=["4.weight"])
    assert not kept["2.weight"].config["out"]


class Convs(nn.Module):
    """Convolutions, pooling, flattening, dropout, linear maps."""

    def __init__(self, depth=8, channels=16, flat=True):
        super().__init__()
        ends = [channels] * depth
        maps = zip([1, *ends], ends, strict=False)
        layers = [m for i, o in maps for m in (nn.Conv2d(i, o, 3, padding=1), nn.ReLU())]
        self.body = nn.Sequential(*layers, nn.MaxPool2d(2), nn.Dropout(0.1))
        self.flat, width = flat, channels * 16 if flat else channels
        self.head = nn.Sequential(nn.Linear(width, 32), nn.ReLU(), nn.Linear(32, 5))

    def forward(self, x):
        x = self.body(x)
        return self.head(x.flatten(1) if self.flat else x.mean((2, 3)))


@pytest.mark.parametrize("flat", [True, False])
def test_convolutions_keep_their_pairs_through_pooling_and_flattening(flat):
    model, x = Convs(flat=flat), torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    recipe = started(model.eval(), x)
    assert recipe["head.0.weight"].config["into"]
    assert recipe["head.2.weight"].config["into"]
    with torch.no_grad():
        mirrored = model.body(x)
    # channel i + half is what channel i would be for the mirrored pre-activation: their difference is odd in x
    with torch.no_grad():
        other = model.body(-x)
    half = mirrored.shape[1] // 2
    difference, opposite = mirrored[:, :half] - mirrored[:, half:], other[:, :half] - other[:, half:]
    assert torch.allclose(difference, -opposite, atol=1e-5)
    assert not torch.allclose(mirrored, -other, atol=1e-2)


def test_odd_widths_have_one_unit_without_a_partner_and_flattened_ones_are_left():
    recipe = fanin.plan(chain(nn.ReLU, width=33), torch.randn(8, 33))
    assert paired(recipe)
    assert not fanin.plan(Convs(channels=15), torch.randn(4, 1, 8, 8))["head.0.weight"].config.get("into", False)


def test_long_chains_of_convolutions_are_delta_orthogonal():
    recipe = fanin.plan(Convs(depth=24), torch.randn(4, 1, 8, 8), calibrate=False)
    assert isinstance(recipe["body.4.weight"].inner, DeltaOrthogonal)
    assert isinstance(recipe["body.0.weight"].inner, SUO)
    assert isinstance(fanin.plan(Convs(), torch.randn(4, 1, 8, 8))["body.4.weight"].inner, SUO)


def test_paired_units_are_not_alike_after_a_step():
    model = chain(nn.ReLU)
    started(model)
    y = torch.randint(0, 5, (64,), generator=torch.Generator().manual_seed(0))
    nn.functional.cross_entropy(model(X), y).backward()
    gradient, half = model[4].weight.grad, WIDTH // 2
    alike = (gradient[:half] + gradient[half:]).abs().max() / gradient.abs().max()
    assert alike > 0.1  # mirrored gradients would keep the pairs mirrored for ever


def test_grouped_and_tied_maps_are_left():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(8))
            self.layers[5].weight = self.layers[4].weight

        def forward(self, x):
            for layer in self.layers:
                x = torch.relu(layer(x))
            return x

    recipe, slots = fanin.plan(Tied(), X), find(Tied())
    assert "layers.4.weight" in slots
    assert not isinstance(recipe["layers.4.weight"], Mirrored)
    assert isinstance(recipe["layers.2.weight"], Mirrored)
