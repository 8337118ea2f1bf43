"""Weight-norm initialization: every channel of every pre-activation has mean 0 and variance 1 on the batch."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import fanin
from fanin.errors import InputError, PlanError, TraceError
from fanin.initializers import Normal, RescaledChannels, Values
from fanin.keys import Key
from fanin.materialize import write
from fanin.recipe import Recipe
from fanin.schemes import plan
from fanin.schemes._examples import batch
from fanin.schemes.weight_norm import WeightNorm
from fanin.slots import find

from ._nets import IDS, NETS, first_outputs, mlp, planned, same, snapshot


@pytest.mark.parametrize("name", NETS)
def test_every_channel_has_mean_0_and_variance_1(name):
    build, x = NETS[name]
    torch.manual_seed(0)
    model = build()
    write(model, planned(WeightNorm(), model, x))
    seen = first_outputs(model, x)
    assert len(seen) >= 3
    for module, y in seen.items():
        # float32 sums of up to 900 products
        assert (y.std(0, correction=0) - 1).abs().max() < 1e-6
        if module.bias is not None:
            assert y.mean(0).abs().max() < 1e-6
    write(model, fanin.plan(model, x, scheme="orthogonal"))  # twin
    assert max((y.std(0, correction=0) - 1).abs().max() for y in first_outputs(model, x).values()) > 0.1


@pytest.mark.parametrize("wrap", [nn.utils.parametrizations.weight_norm, nn.utils.weight_norm])
@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_models_with_weight_norm_get_lengths_and_biases(wrap):
    model = nn.Sequential(wrap(nn.Linear(6, 40)), nn.ReLU(), wrap(nn.Conv1d(8, 5, 2)), nn.ReLU(), nn.Flatten())
    model.insert(2, nn.Unflatten(1, (8, 5)))
    x = batch(64, 6)
    recipe = planned(WeightNorm(), model, x)
    write(model, recipe)
    for module, y in first_outputs(model, x).items():
        assert (y.std(0, correction=0) - 1).abs().max() < 1e-6
        assert y.mean(0).abs().max() < 1e-6
        v, g = directions(module)
        assert torch.allclose(module.weight.detach().flatten(1).norm(dim=1), g.flatten(), rtol=1e-6)
        assert float(v.std()) == pytest.approx(0.05, rel=0.2)
    assert sum(isinstance(law, Values) for law in recipe.values()) == 4
    assert sum(law == Normal(std=0.05) for law in recipe.values()) == 2


def directions(module):
    if hasattr(module, "weight_g"):
        return module.weight_v.detach(), module.weight_g.detach()
    kept = module.parametrizations.weight
    return kept.original1.detach(), kept.original0.detach()


def test_a_plain_weight_is_the_same_function_as_its_weight_norm():
    x, model = batch(64, 6), nn.Linear(6, 40)
    recipe = planned(WeightNorm(), model, x)
    assert isinstance(recipe["weight"], RescaledChannels)
    line = recipe.line("weight")
    v = torch.from_numpy(line.initializer.inner.draw(Key(0, "weight"), line.shape, line.fans)).double()
    # g = 1/σ[t], b = −μ[t]/σ[t], t = v·x/‖v‖, by hand
    t = x.double() @ (v / v.norm(dim=1, keepdim=True)).T
    g, b = 1 / t.std(0, correction=0), -t.mean(0) / t.std(0, correction=0)
    write(model, recipe)
    assert torch.allclose(model.weight.double(), g[:, None] * v / v.norm(dim=1, keepdim=True), rtol=1e-5)
    assert torch.allclose(model.bias.double(), b, atol=1e-6)


def test_one_length_for_several_channels():
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(6, 40), dim=1))
    recipe = planned(WeightNorm(), model, batch(64, 6))
    write(model, recipe)
    (y,) = first_outputs(model, batch(64, 6)).values()
    assert float((y - y.mean(0)).square().mean()) == pytest.approx(1, rel=1e-5)
    assert y.mean(0).abs().max() < 1e-6
    assert any("One factor for all channels" in note for note in recipe.notes)


class Products(nn.Module):
    """Maps that no module kind shows: x W, W x, experts by bmm, einsum, addmm."""

    def __init__(self) -> None:
        super().__init__()
        shapes = {"a": (6, 8), "b": (7, 8), "c": (3, 8, 5), "d": (3, 5, 4), "e": (4, 6), "f": (6,)}
        for name, shape in shapes.items():
            setattr(self, name, nn.Parameter(torch.randn(shape)))

    def forward(self, x):
        self.seen = {}
        x = self.seen["a"] = x @ self.a
        y = self.seen["b"] = self.b @ x.T
        x = self.seen["c"] = torch.bmm((x + y.sum()).expand(3, *x.shape), self.c)
        x = self.seen["d"] = torch.einsum("eni,eio->neo", x, self.d)
        x = self.seen["e"] = torch.addmm(self.f, x.sum(1), self.e)
        return x


def test_maps_in_any_layout():
    model, x = Products(), batch(64, 6)
    write(model, planned(WeightNorm(), model, x))
    model(x)
    over = {"a": 0, "b": 1, "c": 1, "d": 0, "e": 0}
    for name, axis in over.items():
        std = model.seen[name].detach().double().std(axis, correction=0)
        assert torch.allclose(std, torch.ones_like(std), atol=2e-6), name
    assert model.seen["e"].detach().mean(0).abs().max() < 1e-6


def test_attention_and_tied_and_frozen():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attend = nn.MultiheadAttention(16, 2, batch_first=True)
            self.fixed = nn.Linear(16, 16).requires_grad_(False)
            self.left = nn.Linear(16, 16)
            self.right = nn.Linear(16, 16)
            self.right.weight = self.left.weight

        def forward(self, x, y):
            z = self.attend(x, y, y, need_weights=False)[0]
            return self.right(torch.relu(self.left(self.fixed(z))))

    torch.manual_seed(0)
    model, x = Net(), (batch(8, 5, 16), batch(8, 7, 16) * 3 + 1)
    fixed = model.fixed.weight.clone()
    recipe = planned(WeightNorm(), model, x)
    write(model, recipe)
    assert torch.equal(model.fixed.weight, fixed)
    q, k, v = model.attend.in_proj_weight.detach().chunk(3)
    a, b, c = model.attend.in_proj_bias.detach().chunk(3)
    for w, shift, given in ((q, a, x[0]), (k, b, x[1]), (v, c, x[1])):
        y = F.linear(given, w, shift).double().flatten(0, 1)
        assert y.mean(0).abs().max() < 1e-6
        assert (y.std(0, correction=0) - 1).abs().max() < 1e-6
    seen = []
    model.left.register_forward_hook(lambda _, __, out: seen.append(out.detach().double().flatten(0, 1)))
    model(*x)
    assert (seen[0].std(0, correction=0) - 1).abs().max() < 1e-6
    assert model.left.weight is model.right.weight


@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-6), (torch.bfloat16, 0.03)])
def test_other_precisions(dtype, close):
    torch.manual_seed(0)
    model, x = mlp().to(dtype), batch(64, 6).to(dtype)
    write(model, planned(WeightNorm(), model, x))
    for y in first_outputs(model, x).values():
        assert (y.std(0, correction=0) - 1).abs().max() < close
        assert y.mean(0).abs().max() < close


def test_the_model_is_put_back_also_where_it_raises():
    build, x = NETS["resnet"]
    model = build()
    model(x).sum().backward()
    before = snapshot(model)
    recipe = planned(WeightNorm(), model, x)
    assert same(before, snapshot(model))
    assert Recipe.from_json(recipe.to_json()) == recipe

    def explode(*_):
        raise RuntimeError("in the middle")

    graph_slots = find(model)
    handle = model.branches[1].register_forward_hook(explode)
    before = snapshot(model)
    with pytest.raises(TraceError, match="in the middle"):
        plan(WeightNorm(), graph_slots, model=model, inputs=x)
    assert same(before, snapshot(model))
    handle.remove()
    assert not same(before, snapshot(model))  # twin: the comparison sees a hook


def test_the_batch_is_put_back():
    model, x = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(6, 4)), batch(16, 6)
    before = x.clone()
    plan(WeightNorm(), find(model), model=model, inputs=x)
    assert torch.equal(x, before)
    model(x)
    assert not torch.equal(x, before)  # twin


def test_what_does_not_vary_or_is_not_finite():
    x, model = batch(16, 6), nn.Linear(6, 3)
    recipe = planned(WeightNorm(), model, torch.zeros(16, 6))
    assert any("do not vary" in note and "weight (3)" in note for note in recipe.notes)
    with pytest.raises(PlanError, match="not finite"):
        plan(WeightNorm(), find(model), model=model, inputs=torch.full((3, 6), float("nan")))
    with pytest.raises(PlanError, match="needs batch"):
        plan("weight_norm", find(model))
    with pytest.raises(InputError, match="model"):
        plan("weight_norm", find(model), inputs=x)
    with pytest.raises(InputError, match="std"):
        WeightNorm(std=0)


def test_the_seed_belongs_to_the_factors():
    model = nn.Sequential(nn.Embedding(19, 8), nn.Linear(8, 4))
    one, other = (planned(WeightNorm(), model, IDS, seed=seed) for seed in (1, 2))
    assert one["1.weight"] != other["1.weight"]
    assert any("seed 2" in note for note in other.notes)
