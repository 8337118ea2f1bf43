"""unit_scaling: signals, their gradients and weight gradients have unit second moment at start; hooks come and go."""

from __future__ import annotations

import copy
import math
import pickle
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional

import fanin
from fanin.errors import InputError
from fanin.slots import find
from fanin.trace import trace

BATCH = 512


class Chain(nn.Module):
    """Maps with an activation between them; keeps what each map returned."""

    def __init__(self, *widths, activation=torch.tanh):
        super().__init__()
        self.maps = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.activation, self.kept = activation, []

    def forward(self, x):
        self.kept = []
        for index, layer in enumerate(self.maps):
            x = layer(self.activation(x) if index else x)
            if x.requires_grad:
                x.retain_grad()
            self.kept.append(x)
        return x


def rms(tensor):
    return float(tensor.detach().double().square().mean().sqrt())


def batch(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def run(model, x, seed=3):
    """Forward and backward from a gradient of unit variance."""
    model.zero_grad()
    out = model(x)
    out.backward(torch.randn(out.shape, generator=torch.Generator().manual_seed(seed)))
    return out


def started(model, x, **options):
    rewired = fanin.rewire_(model, x, scheme="unit_scaling", **options)
    fanin.init_(model, x, scheme="unit_scaling", seed=1, **options)
    return rewired


# A mean square over a layer of n units errs by √(2/n) for each of the layers before it.
def near_one(value, layers, width):
    return abs(value - 1) < 4 * math.sqrt(layers / (2 * width))


@pytest.mark.parametrize("activation", [torch.relu, torch.tanh, functional.gelu], ids=["relu", "tanh", "gelu"])
def test_everything_starts_at_unit_variance(activation):
    model, x = Chain(64, 256, 256, 256, 256, 256, activation=activation), batch(BATCH, 64)
    rewired = started(model, x)
    out = run(model, x)
    hidden = model.kept[:-1]
    for index, values in enumerate(hidden):
        assert near_one(rms(values), index + 1, 256)
    # f of unit inputs has E f² and E f′² of its own; "to_output" undoes the first in both directions.
    q = activation(batch(100_000)).square().mean().item()
    probe = batch(100_000).requires_grad_()
    slope = torch.autograd.grad(activation(probe).sum(), probe)[0].square().mean().item()
    steps = len(hidden)
    for index, values in enumerate(hidden):
        # Into the last hidden layer by fan_out^-½, whole; further up by the forward factor.
        tied = (slope / q) ** ((steps - 1 - index) / 2)
        assert near_one(rms(values.grad) / tied, steps - index, 256)
    for index, layer in enumerate(model.maps[1:], 1):
        above = rms(model.kept[index].grad) if index < len(model.maps) - 1 else 1.0
        assert near_one(rms(layer.weight.grad) / above, index + 1, 256)
    assert near_one(rms(out) * math.sqrt(256 / q), steps + 1, 256)  # the readout is times 1/fan_in
    assert all(rms(layer.weight) > 0.97 for layer in model.maps)
    rewired.undo()
    with torch.no_grad():
        assert rms(model(x)) > 10  # twin: N(0, 1) without the scaled ops


def test_free_factors_make_both_directions_unit_in_maps_that_are_not_square():
    widths = (64, 512, 128, 512, 128, 10)
    x = batch(BATCH, 64)
    free, tied, mean = (Chain(*widths) for _ in range(3))
    started(free, x, constraint="none")
    started(tied, x)
    started(mean, x, constraint="gmean")
    for model in (free, tied, mean):
        run(model, x)
    for index, values in enumerate(free.kept[:-1]):
        assert near_one(rms(values), index + 1, 128)
        assert near_one(rms(values.grad), 5 - index, 128)
    assert abs(rms(tied.kept[2].grad) - 1) > 0.3  # fan_in^-½ is not fan_out^-½
    assert rms(mean.kept[0]) < 0.7  # (64/512)^¼


def test_gradients_are_true_ones_times_a_factor_for_each_parameter():
    """The factors may not turn a gradient: along each parameter it is the plain one, scaled."""
    model, x = Chain(16, 32, 32, 5), batch(20, 16)
    rewired = started(model, x)
    scaled = copy.deepcopy(model)
    rewired.undo()
    with torch.no_grad():  # the same function without scaled ops
        for layer, factor in zip(model.maps, (16**-0.5, 1.592537 / 32**0.5, 1 / 32), strict=True):
            layer.weight.mul_(factor)
    assert torch.allclose(model(x), scaled(x), atol=1e-5)
    for each in (model, scaled):
        run(each, x)
    for layer, other in zip(model.maps, scaled.maps, strict=True):
        cosine = functional.cosine_similarity(layer.weight.grad.flatten(), other.weight.grad.flatten(), dim=0)
        assert float(cosine) > 1 - 1e-5
    assert abs(rms(scaled.maps[0].weight.grad) - 1) < 0.4
    assert abs(rms(model.maps[0].weight.grad) - 1) > 0.4  # twin


def test_convolutions():
    layers = [part for _ in range(3) for part in (nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1, padding_mode="circular"))]
    model = nn.Sequential(nn.Conv2d(8, 32, 3, padding=1, stride=2, padding_mode="circular"), *layers)
    model.append(nn.Conv2d(32, 32, 1))
    x = batch(16, 8, 16, 16)
    started(model, x)
    with torch.no_grad():
        assert abs(rms(model[:-1](x)) - 1) < 0.25
    run(model, x)
    assert abs(rms(model[-1].weight.grad) - 1) < 0.25
    assert 0.5 < rms(model[4].weight.grad) < 2


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.body, self.head = nn.Embedding(50, 64), nn.Linear(64, 64), nn.Linear(64, 50, bias=False)
        self.head.weight = self.table.weight

    def forward(self, ids):
        return self.head(self.body(self.table(ids)))


def test_embeddings_and_tied_readouts():
    model = Words()
    ids = torch.randint(0, 50, (40, 25), generator=torch.Generator().manual_seed(0))
    rewired = started(model, ids)
    assert {change.where for change in rewired.changes} == {"table", "body", "head"}
    assert model.head.weight is model.table.weight
    assert rms(model.table(ids)) == pytest.approx(1.0, abs=0.05)
    assert rms(model(ids)) == pytest.approx(1 / 8, rel=0.3)
    alone = nn.Sequential(nn.Embedding(50, 64), nn.Linear(64, 64))
    started(alone, ids)
    run(alone, ids)
    assert 0.7 < rms(alone[0].weight.grad) < 1.4


class Attends(nn.Module):
    def __init__(self):
        super().__init__()
        self.attend = nn.MultiheadAttention(32, 2, batch_first=True)
        self.up, self.out = nn.Linear(32, 32), nn.Linear(32, 4)

    def forward(self, x):
        x = x + self.attend(x, x, x, need_weights=False)[0]
        return self.out(torch.relu(self.up(x)))


def test_maps_out_of_reach_have_the_factor_in_their_values():
    model, x = Attends(), batch(4, 6, 32)
    started(model, x)
    recipe = fanin.plan(model, x, scheme="unit_scaling")
    assert recipe.line("attend.in_proj_weight").std == pytest.approx(32**-0.5)
    assert recipe.line("up.weight").std == 1.0
    assert any("attend.in_proj_weight" in note for note in recipe.notes)
    assert any("residual" in note for note in recipe.notes)
    # without hooks at all: the same function at the first step
    bare = fanin.plan(Attends(), x, scheme="unit_scaling")
    assert bare.line("up.weight").std == pytest.approx(32**-0.5)
    assert bare.line("out.weight").std == pytest.approx(1 / 32)
    assert any("rewire_" in note for note in bare.notes)


def test_a_rewired_model_copies_pickles_traces_and_is_restored():
    model, x = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3)), batch(5, 8)
    names, before = list(model.state_dict()), model(x).detach()
    rewired = started(model, x)
    assert list(model.state_dict()) == names
    wanted = model(x).detach()
    assert not torch.allclose(wanted, before)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(twin(x), wanted)
    assert fanin.rewire_(model, x, scheme="unit_scaling").changes == ()
    slots = find(model, trace(model, x, statistics=False).graph)
    assert slots["0.weight"].nonlinearity == "relu"
    assert slots["2.weight"].is_head
    assert not [f for f in fanin.check(model, x).findings if f.severity == "error"]
    assert model.double()(x.double()).dtype is torch.float64
    with pytest.raises(InputError, match="positional"):
        model[0](input=x)
    rewired.undo()
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())


def test_options_are_checked():
    with pytest.raises(InputError, match="constraint"):
        fanin.plan(nn.Linear(4, 4), batch(2, 4), scheme="unit_scaling", constraint="harmonic")
