"""Krähenbühl's initialization: channels of mean β and variance 1, then equal rates with the function unchanged."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fanin.errors import InputError, PlanError, TraceError
from fanin.initializers import Normal, Values, Zeros
from fanin.materialize import write
from fanin.recipe import Recipe
from fanin.schemes import plan
from fanin.schemes._examples import ResNet, batch
from fanin.schemes._patches import kmeans, principal
from fanin.schemes.krahenbuhl import Krahenbuhl
from fanin.slots import find
from fanin.trace import trace

from ._nets import NETS, InputFirst, cnn, first_outputs, mlp, planned, same, snapshot


def rates(model, x, target=None):
    """r = √(mean ∇W² / mean W²) of each matrix, by a backward pass of its own."""
    model.zero_grad()
    if target is None:
        found = trace(model, x, statistics=False).gradients
    else:
        nn.functional.cross_entropy(model(x), target).backward()
        found = {name: p.grad for name, p in model.named_parameters()}
    weights = {name: p.detach() for name, p in model.named_parameters() if p.dim() > 1}
    return {name: float((found[name].square().mean() / w.square().mean()).sqrt()) for name, w in weights.items()}


def apart(values):
    return max(values.values()) / min(values.values())


@pytest.mark.parametrize("filters", ["gaussian", "pca", "kmeans"])
@pytest.mark.parametrize("name", NETS)
def test_every_channel_has_mean_beta_and_variance_1(name, filters):
    build, x = NETS[name]
    torch.manual_seed(0)
    model = build()
    write(model, planned(Krahenbuhl(filters=filters, beta=0.1, between=False), model, x))
    # Filters of whitened patches weigh directions of small variance most: terms cancel, and float32 loses digits.
    close = 5e-5 if filters == "kmeans" else 2e-6
    for module, y in first_outputs(model, x).items():
        assert (y.std(0, correction=0) - 1).abs().max() < close
        if module.bias is not None:
            assert (y.mean(0) - 0.1).abs().max() < close


def chain():
    body = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(8, 8, 3, groups=2), nn.LeakyReLU(0.2)]
    return nn.Sequential(*body, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(72, 30), nn.ReLU(), nn.Linear(30, 5))


@pytest.mark.parametrize("target", [None, torch.arange(16) % 5])
@pytest.mark.parametrize("beta", [0.0, 0.1])
def test_rates_of_a_homogeneous_chain_are_equal_after_and_not_before(beta, target):
    model, x = chain(), batch(16, 3, 8, 8)
    write(model, planned(Krahenbuhl(beta=beta, between=False), model, x))
    before, out = rates(model, x, target), model(x).detach()
    recipe = planned(Krahenbuhl(beta=beta), model, x, target=target)
    write(model, recipe)
    after = rates(model, x, target)
    assert apart(before) > 2  # twin
    assert apart(after) < 1 + 1e-4
    assert torch.allclose(model(x).detach(), out, atol=1e-5)
    assert any("after, with the function unchanged" in note for note in recipe.notes)
    # The target of a chain is the geometric mean, so that the output stays.
    logs = torch.tensor([list(before.values()), list(after.values())]).log()
    assert torch.allclose(logs.mean(1)[0], logs.mean(1)[1], atol=1e-4)


@pytest.mark.parametrize("name", NETS)
def test_the_function_never_changes(name):
    build, x = NETS[name]
    torch.manual_seed(0)
    model = build()
    outs, spreads, weights = [], [], []
    for between in (False, True):
        write(model, planned(Krahenbuhl(between=between, beta=0.1), model, x))
        outs.append(model(x).detach())
        spreads.append(torch.tensor(list(rates(model, x).values())).log().std())
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.allclose(*outs, atol=3e-5 * float(outs[0].abs().max()))
    assert spreads[1] <= spreads[0] + 1e-6
    if name in ("cnn", "resnet", "transformer"):  # tanh holds almost all weights of the others in place
        assert spreads[1] < 0.97 * spreads[0]
        assert not torch.allclose(*weights, rtol=0.05)


@pytest.mark.parametrize("filters", ["gaussian", "pca"])
def test_maps_that_add_their_bias_first(filters):
    model, x = (
        nn.Sequential(InputFirst(6, 40), nn.ReLU(), InputFirst(40, 20), nn.ReLU(), InputFirst(20, 4)),
        batch(64, 6),
    )
    write(model, planned(Krahenbuhl(filters=filters, beta=0.5, between=False), model, x))
    before, out = rates(model, x), model(x).detach()
    for y in first_outputs(model, x, InputFirst).values():
        assert (y.std(0, correction=0) - 1).abs().max() < 2e-6
        assert (y.mean(0) - 0.5).abs().max() < 2e-6
    write(model, planned(Krahenbuhl(filters=filters, beta=0.5), model, x))
    assert apart(before) > 2  # twin
    assert apart(rates(model, x)) < 1 + 1e-4
    assert torch.allclose(model(x).detach(), out, atol=1e-5)


def test_what_cannot_be_rescaled_is_told():
    model, x = nn.Sequential(nn.Linear(6, 40), nn.Tanh(), nn.Linear(40, 20), nn.Linear(20, 4)), batch(64, 6)
    recipe = planned(Krahenbuhl(), model, x)
    apart_note = next(note for note in recipe.notes if "left apart" in note)
    assert "0.weight" in apart_note
    assert "not homogeneous" in apart_note
    assert "for equal rates" not in recipe.line("0.weight").reason
    assert "for equal rates" in recipe.line("2.weight").reason
    model[3].bias.requires_grad_(False).fill_(0.5)  # a shift that stays pins the scale of what it is added to
    assert "left apart" in str(planned(Krahenbuhl(), chain_with_fixed_bias(), x).notes)


def chain_with_fixed_bias():
    model = nn.Sequential(nn.Linear(6, 40), nn.ReLU(), nn.Linear(40, 20), nn.ReLU(), nn.Linear(20, 4))
    with torch.no_grad():
        model[2].bias.requires_grad_(False).fill_(0.5)
    return model


def test_a_norm_removes_the_scale_and_its_running_statistics_do_not():
    x = batch(16, 3, 8, 8)
    factors = []
    for training in (True, False):
        model = ResNet().train(training)
        recipe = planned(Krahenbuhl(), model, x)
        factors.append(sum("for equal rates" in recipe.line(f"branches.{i}.0.weight").reason for i in range(4)))
    assert factors == [4, 0]


def test_filters_are_the_principal_directions_of_the_patches():
    x = batch(200, 6) * torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0, 0.5])
    model = nn.Linear(6, 4)
    recipe = planned(Krahenbuhl(filters="pca", between=False), model, x)
    assert isinstance(recipe["weight"], Values)
    write(model, recipe)
    w = nn.functional.normalize(model.weight.detach().double(), dim=1)
    y = x.double() - x.double().mean(0)
    cov = y.T @ y / len(y)
    assert torch.allclose(w @ w.T, torch.eye(4, dtype=torch.float64), atol=1e-5)
    assert (w @ cov @ w.T - torch.diag((w @ cov @ w.T).diagonal())).abs().max() < 1e-4
    assert torch.allclose((w @ cov @ w.T).diagonal(), torch.linalg.eigvalsh(cov).flip(0)[:4], rtol=1e-5)
    write(model, planned(Krahenbuhl(between=False), model, x))  # twin: random directions are not orthogonal
    w = nn.functional.normalize(model.weight.detach().double(), dim=1)
    assert not torch.allclose(w @ w.T, torch.eye(4, dtype=torch.float64), atol=0.1)


def test_filters_of_a_convolution_see_its_patches():
    """Of a map with 1 × 1 windows the patches are the pixels; padding, stride, dilation and groups as in unfold."""
    x = batch(8, 4, 9, 9)
    for conv in (nn.Conv2d(4, 5, 1), nn.Conv2d(4, 6, 3, 2, 1), nn.Conv2d(4, 6, 3, padding="same", dilation=2)):
        write(conv, planned(Krahenbuhl(filters="pca", between=False), conv, x))
        pad = conv.padding if not isinstance(conv.padding, str) else 2
        rows = nn.functional.unfold(x, conv.kernel_size, conv.dilation, pad, conv.stride).transpose(1, 2).flatten(0, 1)
        expected = principal(rows, conv.out_channels)
        found = nn.functional.normalize(conv.weight.detach().double().flatten(1), dim=1)[: len(expected)]
        assert torch.allclose(
            (found * expected).sum(1).abs(), torch.ones(len(expected), dtype=torch.float64), atol=1e-4
        )


def test_clusters_are_found():
    generator = torch.Generator().manual_seed(0)
    centres = torch.eye(6)[:3]
    rows = centres.repeat(50, 1) + 0.01 * batch(150, 6)
    found = kmeans(rows, 3, generator)
    assert found.shape == (3, 6)
    hits = (rows - rows.mean(0)).double() @ found.T
    assert set(hits[:3].argmax(1).tolist()) == {0, 1, 2}
    assert len(kmeans(rows[:2], 3, generator)) == 0


def test_filters_that_cannot_be_found_stay_random():
    x = batch(64, 6)
    model = nn.Sequential(nn.Linear(6, 40), nn.ReLU(), nn.Linear(40, 4))
    recipe = planned(Krahenbuhl(filters="pca"), model, x)
    assert "34 random filters" in recipe.line("0.weight").reason
    few = planned(Krahenbuhl(filters="kmeans"), model, x[:20])
    assert any("Random directions kept" in note and "0.weight" in note for note in few.notes)
    kept = planned(Krahenbuhl(filters="pca"), model, x, overrides={"0.weight": Normal(std=2.0), "2.weight": Zeros()})
    assert "principal" not in kept.line("0.weight").reason
    assert kept["2.weight"] == Zeros()


@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 2e-6), (torch.bfloat16, 0.04)])
def test_other_precisions(dtype, close):
    torch.manual_seed(0)
    model, x = mlp().to(dtype), batch(64, 6).to(dtype)
    write(model, planned(Krahenbuhl(between=False), model, x))
    for y in first_outputs(model, x).values():
        assert (y.std(0, correction=0) - 1).abs().max() < close


def test_the_model_is_put_back_also_where_it_raises():
    model, x = cnn(), batch(16, 3, 8, 8)
    model(x).sum().backward()
    before = snapshot(model)
    recipe = planned(Krahenbuhl(filters="kmeans"), model, x)
    assert same(before, snapshot(model))
    assert Recipe.from_json(recipe.to_json()) == recipe
    again = planned(Krahenbuhl(filters="kmeans"), model, x)
    assert again == recipe

    class Second(RuntimeError):
        pass

    def explode(grad):
        raise Second("in the backward pass")

    handle = model[-1].weight.register_hook(explode)
    before = snapshot(model)
    with pytest.raises(TraceError, match="in the backward pass"):
        plan(Krahenbuhl(), find(model), model=model, inputs=x)
    assert same(before, snapshot(model))
    handle.remove()


def test_options_are_checked():
    with pytest.raises(InputError, match="filters"):
        Krahenbuhl(filters="ica")
    with pytest.raises(InputError, match="between"):
        Krahenbuhl(between=1)
    with pytest.raises(PlanError, match="needs batch"):
        plan("krahenbuhl", find(mlp()))
