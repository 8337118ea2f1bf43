"""LSUV in one pass: equal to the procedure that runs the model once per layer, also where order or aliasing mislead."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import fanin
from fanin.errors import InputError, PlanError, TraceError
from fanin.initializers import Blocks, Normal, Rescaled, Zeros
from fanin.materialize import write
from fanin.recipe import Recipe
from fanin.schemes import names, observe, plan
from fanin.schemes._examples import ResNet, Transformer, batch
from fanin.slots import find
from fanin.trace import trace

from ._nets import OutOfOrder, same, snapshot

MAPS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d)


def layer_by_layer(model, x, seed=0):
    """The published procedure: draw, then for each layer in order of execution run the model and rescale."""
    base = fanin.plan(model, x, scheme="lsuv", seed=seed)
    plain = [line.initializer for line in base.lines]
    recipe = Recipe(
        [
            type(line)(line.name, unscaled(law), line.reason, line.shape, line.fans, line.zero_rows)
            for line, law in zip(base.lines, plain, strict=True)
        ]
    )
    write(model, recipe, seed=seed)
    order, done = [], set()
    hooks = [
        m.register_forward_hook(lambda module, _, out: order.append((module, float(out.var(correction=0)))))
        for m in model.modules()
        if isinstance(m, MAPS)
    ]
    with torch.no_grad():
        model(x)
        layers = list(dict.fromkeys(module for module, _ in order))
        for layer in layers:
            if layer.weight in done:
                continue
            done.add(layer.weight)
            for _ in range(10):
                order.clear()
                model(x)
                variance = next(v for module, v in order if module is layer)
                if abs(variance - 1) < 1e-6:
                    break
                layer.weight /= math.sqrt(variance)
    for hook in hooks:
        hook.remove()
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def unscaled(law):
    if isinstance(law, Rescaled):
        return law.inner
    if isinstance(law, Blocks):
        return Blocks(law.axis, [(n, size, unscaled(inner), *own) for n, size, inner, *own in law.config["parts"]])
    return law


def cnn():
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(8, 8, 3, groups=2), nn.BatchNorm2d(8)]
    more = [nn.ReLU(inplace=True), nn.ConvTranspose2d(8, 4, 2, stride=2), nn.GELU(), nn.Flatten(), nn.LazyLinear(5)]
    model = nn.Sequential(*layers, *more)
    model(batch(2, 3, 8, 8))
    return model


NETS = {
    "out_of_order": (OutOfOrder, batch(64, 5)),
    "cnn": (cnn, batch(16, 3, 8, 8)),
    "resnet": (ResNet, batch(8, 3, 8, 8)),
    "transformer": (lambda: Transformer(2, gated=True), torch.arange(24).reshape(4, 6) % 19),
}


@pytest.mark.parametrize("name", NETS)
def test_equal_to_the_procedure_layer_by_layer(name):
    build, x = NETS[name]
    torch.manual_seed(0)
    model = build()
    expected = layer_by_layer(model, x)
    fanin.init_(model, x, scheme="lsuv", seed=0)
    for key, value in model.named_parameters():
        # Sums of n products of float32: 1e-6 of the scale, through up to 20 layers.
        assert torch.allclose(value, expected[key], rtol=2e-5, atol=2e-6 * float(expected[key].abs().max() + 1)), key


def test_every_output_has_unit_variance():
    model, x = cnn(), batch(16, 3, 8, 8)
    seen = []
    fanin.init_(model, x, scheme="lsuv", seed=3)
    for layer in model:
        if isinstance(layer, MAPS):
            layer.register_forward_hook(lambda _, __, out: seen.append(out.detach().var(correction=0).item()))
    model(x)
    assert seen == pytest.approx([1] * 4, rel=1e-4)
    fanin.init_(model, x, scheme="orthogonal", seed=3)  # twin
    seen.clear()
    model(x)
    assert max(abs(v - 1) for v in seen) > 0.1


def test_packed_projections_one_by_one():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attend = nn.MultiheadAttention(16, 2, batch_first=True)

        def forward(self, x):
            return self.attend(x, x, x, need_weights=False)[0]

    model, x = Net(), batch(8, 5, 16) * torch.linspace(0.1, 3, 16)
    recipe = fanin.init_(model, x, scheme="lsuv", seed=0)
    q, k, v = F.linear(x, model.attend.in_proj_weight.detach()).chunk(3, -1)
    assert [float(part.var(correction=0)) for part in (q, k, v)] == pytest.approx([1] * 3, rel=1e-4)
    assert float(model(x).detach().var(correction=0)) == pytest.approx(1, rel=1e-4)
    factors = [part[2].config["factor"] for part in recipe["attend.in_proj_weight"].config["parts"]]
    assert len(set(factors)) == 3


def test_with_a_bias_the_weight_alone_is_rescaled():
    model, x = nn.Sequential(nn.Linear(6, 40), nn.ReLU(), nn.Linear(40, 4)), batch(64, 6)
    recipe = fanin.init_(model, x, scheme="lsuv", overrides={"0.bias": Normal(std=0.5)})
    y = model[0](x).detach()
    assert float(y.var(correction=0)) == pytest.approx(1, rel=1e-4)
    assert float(model[0].bias.detach().std()) == pytest.approx(0.5, abs=0.2)
    assert recipe["0.weight"].config["factor"] != pytest.approx(1 / float(y.std()), rel=1e-3)
    loud = plan("lsuv", find(model), model=model, inputs=x, overrides={"0.bias": Normal(std=5.0)})
    assert "times 1" in loud.line("0.weight").reason  # the bias alone varies more than the goal


def test_the_model_is_put_back():
    model, x = cnn(), batch(16, 3, 8, 8)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = torch.get_rng_state()
    recipe = fanin.plan(model, x, scheme="lsuv")
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert not any(p.grad_fn for p in model.parameters())
    again = Recipe.from_json(recipe.to_json())
    assert again == recipe
    write(model, again, seed=0)
    assert any(not torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_also_where_it_raises():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.calls = nn.Linear(3, 3), 0

        def forward(self, x):
            self.calls += 1
            x = self.a(x)
            if self.calls > 1:
                raise RuntimeError("second run")
            return x

    model, x = Net(), batch(4, 3)
    before = model.a.weight.detach().clone()
    model.calls = 1
    with pytest.raises(TraceError, match="second run"):
        plan("lsuv", find(model), model=model, inputs=x)
    assert torch.equal(model.a.weight, before)
    assert model.calls == 1


def test_what_is_not_rescaled_is_told():
    model = nn.Sequential(nn.Linear(4, 8), nn.utils.parametrizations.weight_norm(nn.Linear(8, 8)), nn.Linear(8, 2))
    x = batch(16, 4)
    recipe = fanin.plan(model, x, scheme="lsuv", overrides={"0.weight": Zeros()}, seed=5)
    assert recipe["0.weight"] == Zeros()
    assert any("seed 5" in note for note in recipe.notes)
    assert any("parametrizations.weight.original1" in note for note in recipe.notes)
    assert any("does not vary" in note and "2.weight" in note for note in recipe.notes)
    with pytest.raises(PlanError, match="not finite"):
        fanin.plan(nn.Linear(4, 2), torch.full((3, 4), float("nan")), scheme="lsuv")
    with pytest.raises(PlanError, match="needs batch"):
        fanin.plan(nn.Linear(4, 2), scheme="lsuv")
    with pytest.raises(InputError, match="head_std"):
        plan("lsuv", find(nn.Linear(2, 2)), head_std=0)


def test_heads_and_the_seed():
    model, x = nn.Sequential(nn.Linear(6, 40), nn.ReLU(), nn.Linear(40, 4)), batch(64, 6)
    fanin.init_(model, x, scheme="lsuv", head_std=0.25, seed=7)
    assert float(model(x).detach().std(correction=0)) == pytest.approx(0.25, rel=1e-4)
    recipe = fanin.plan(model, x, scheme="lsuv", seed=7)
    other = fanin.plan(model, x, scheme="lsuv", seed=8)
    assert recipe["0.weight"] != other["0.weight"]


def test_half_precision_and_meta():
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4)).to(torch.bfloat16)
    fanin.init_(model, batch(64, 16).bfloat16(), scheme="lsuv")
    out = model(batch(64, 16).bfloat16()).detach().float()
    assert float(out.var(correction=0)) == pytest.approx(1, rel=0.03)  # 8 bits of mantissa
    with torch.device("meta"):
        meta = nn.Linear(3, 3)
    with pytest.raises(InputError, match="meta"):
        fanin.plan(meta, torch.ones(2, 3), scheme="lsuv")


def strip(graph):
    return graph.nodes, graph.outputs, dict(graph.modules), graph.batch_size


@pytest.mark.parametrize("name", NETS)
def test_the_run_that_measures_lends_its_graph(name):
    build, x = NETS[name]
    torch.manual_seed(0)
    model = build()
    expected = trace(model, x, statistics=False).graph
    before = snapshot(model)
    assert strip(observe("he", model, x)) == strip(expected)
    lent = observe("lsuv", model, x)
    assert strip(lent) == strip(expected)
    assert same(before, snapshot(model))
    runs = []
    handle = model.register_forward_hook(lambda *_: runs.append(1))
    slots = find(model, lent)
    recipe = plan("lsuv", slots, lent, model=model, inputs=x)
    known = len(runs)
    again = plan("lsuv", slots, lent, model=model, inputs=x)  # what the run measured was taken out
    handle.remove()
    assert len(runs) == known + 1
    # The table of positions of the transformer is known by its use alone: its first plan had to wait for the graph.
    assert known == (1 if name == "transformer" else 0)
    assert again == recipe


def test_what_was_measured_serves_the_same_plan_alone():
    model, x = cnn(), batch(16, 3, 8, 8)
    direct = plan("lsuv", find(model), model=model, inputs=x, seed=3)
    for seed, runs_expected in ((3, 0), (4, 1)):
        lent = observe("lsuv", model, x, seed=3)
        runs = []
        handle = model.register_forward_hook(lambda *_, to=runs: to.append(1))
        found = plan("lsuv", find(model, lent), lent, model=model, inputs=x, seed=seed)
        handle.remove()
        assert len(runs) == runs_expected
        assert (dict(found) == dict(direct)) == (seed == 3)
    lent = observe("lsuv", model, x, seed=3)
    other = plan("lsuv", find(model, lent), lent, model=model, inputs=x, seed=3, overrides={"0.weight": Normal(std=1)})
    assert other["2.weight"] != direct["2.weight"]  # overrides that the run did not know of: measured again
    lent = observe("lsuv", model, x, head_std=0.5)
    found = plan("lsuv", find(model, lent), lent, model=model, inputs=x)  # another goal for the head
    assert dict(found) == dict(plan("lsuv", find(model), model=model, inputs=x))


def test_observing_refuses_what_planning_does():
    model, x = nn.Linear(4, 2), batch(8, 4)
    assert strip(observe("lsuv", model, x, no_such_option=1)) == strip(observe("he", model, x))
    with pytest.raises(InputError, match="lsvu"):
        observe("lsvu", model, x)
    with pytest.raises(InputError, match="inputs"):
        observe("lsuv", model, 3)
    assert strip(observe("lsuv", model, x, overrides={"nothing": Zeros()})) == strip(observe("he", model, x))
    frozen = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)).requires_grad_(False)
    assert strip(observe("lsuv", frozen, x)) == strip(trace(frozen, x, statistics=False).graph)
    assert "lsuv" in names()


@pytest.mark.parametrize("scheme", ["he", "lsuv"])
def test_the_batch_is_put_back(scheme):
    model, x = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(6, 4)), batch(16, 6)
    before = x.clone()
    graph = observe(scheme, model, x)
    assert torch.equal(x, before)
    plan("lsuv", find(model), model=model, inputs=x)
    assert torch.equal(x, before)
    assert [node.op for node in graph.nodes] == ["argument", "relu", "linear"]
    model(x)
    assert not torch.equal(x, before)  # twin


def test_projections_that_come_one_after_the_other():
    """Cross attention multiplies by rows of the packed weight: first those of q, then those of k and v."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attend = nn.MultiheadAttention(16, 2, batch_first=True)

        def forward(self, x, y):
            return self.attend(x, y, y, need_weights=False)[0]

    model, (x, y) = Net(), (batch(8, 5, 16) * 3, batch(8, 7, 16) * 0.2)
    write(model, plan("lsuv", find(model), model=model, inputs=(x, y)))
    q, k, v = model.attend.in_proj_weight.detach().chunk(3)
    spreads = [float(F.linear(given, w).var(correction=0)) for given, w in ((x, q), (y, k), (y, v))]
    assert spreads == pytest.approx([1] * 3, rel=1e-4)
