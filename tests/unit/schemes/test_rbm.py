"""Restricted Boltzmann machines: energies and gradients against enumeration, and what training does."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn

import fanin
from fanin.data import load
from fanin.errors import InputError, PlanError
from fanin.schemes._cd import Machine
from fanin.schemes._greedy_examples import pooled
from fanin.schemes._greedy_units import bias_of
from fanin.schemes.rbm import RBM

KINDS = [("bernoulli", False), ("bernoulli", True), ("gaussian", False), ("gaussian", True)]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def tiny(visible, centred, *, hidden=4, units=5, scale=0.7):
    draws = torch.randn(hidden + 3, units + hidden, generator=generator(3), dtype=torch.float64) * scale
    centre = torch.rand(units, generator=generator(4), dtype=torch.float64) if centred else None
    biases = draws[hidden, :hidden].clone(), draws[hidden + 1, :units].clone()
    weight = draws[:hidden, :units].clone() * (0.7 if visible == "gaussian" else 1.0)
    return Machine(weight, *biases, visible, centre=centre, sample_visible=True)


def states(units):
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=units)), dtype=torch.float64)


def energy(machine, v, h):
    """E(v, h) of every pair, written out."""
    counted = v if machine.centre is None else v - machine.centre
    pairs = -(counted @ machine.weight.T @ h.T) - h @ machine.hidden_bias - (v @ machine.visible_bias)[:, None]
    return pairs if machine.visible == "bernoulli" else pairs + 0.5 * v.square().sum(1)[:, None]


def log_partition(machine):
    if machine.visible == "bernoulli":
        return (-machine.free_energy(states(machine.weight.shape[1]))).logsumexp(0)
    h = states(machine.weight.shape[0])  # visible units integrated out: a Gaussian integral for each h
    shift = 0 if machine.centre is None else machine.centre
    top = h @ machine.hidden_bias - h @ machine.weight @ (shift + torch.zeros_like(machine.visible_bias))
    top = top + 0.5 * (h @ machine.weight + machine.visible_bias).square().sum(1)
    return top.logsumexp(0) + 0.5 * len(machine.visible_bias) * math.log(2 * math.pi)


def exact_gradient(machine, v):
    """Gradient of the mean log-likelihood by automatic differentiation through the enumerated partition function."""
    parts = [machine.weight, machine.hidden_bias, machine.visible_bias]
    leaves = [part.clone().requires_grad_() for part in parts]
    copy = Machine(*leaves, machine.visible, centre=machine.centre)
    likelihood = -copy.free_energy(v).mean() - log_partition(copy)
    return torch.autograd.grad(likelihood, leaves)


def patterns(visible, copies=8000):
    if visible == "gaussian":
        return torch.randn(copies, 5, generator=generator(8), dtype=torch.float64) + 0.5
    chosen = torch.tensor([[1, 1, 0, 0, 1], [0, 1, 1, 0, 0], [1, 0, 1, 1, 1.0]], dtype=torch.float64)
    return chosen.repeat(copies // 3, 1)


@pytest.mark.parametrize(("visible", "centred"), KINDS)
def test_free_energy_is_the_energy_summed_over_hidden_states(visible, centred):
    machine = tiny(visible, centred)
    v = patterns(visible, 30)
    expected = -(-energy(machine, v, states(4))).logsumexp(1)
    assert torch.allclose(machine.free_energy(v), expected, rtol=1e-12)
    machine.hidden_bias = machine.hidden_bias + 0.01  # twin
    assert not torch.allclose(machine.free_energy(v), expected, rtol=1e-4)


@pytest.mark.parametrize(("visible", "centred"), KINDS)
def test_many_steps_of_sampling_give_the_exact_gradient(visible, centred):
    machine, v = tiny(visible, centred), patterns(visible)
    exact = torch.cat([part.flatten() for part in exact_gradient(machine, v)])

    def contrastive(k):
        return torch.cat([part.flatten() for part in machine.gradient(v, k, generator(1))[0]])

    # A product of a probability and a visible unit has a variance of 1/4 (Bernoulli) or that of the unit, at most 4
    # here; 29 to 30 entries beyond 5 standard errors happen once in 50,000 seeds.
    error = 5 * math.sqrt((0.25 if visible == "bernoulli" else 4.0) / len(v))
    many = contrastive(60)
    assert (many - exact).abs().max() < error
    assert (-many - exact).abs().max() > 5 * error  # twin: descent instead of ascent
    one = contrastive(1)
    assert (one - exact).abs().max() > error  # twin: one step is biased
    assert torch.nn.functional.cosine_similarity(one, exact, 0) > 0.5  # yet it points uphill


def test_means_in_place_of_samples_are_biased():
    machine, v = tiny("bernoulli", False), patterns("bernoulli")
    machine.sample_visible = False
    exact, many = exact_gradient(machine, v)[0], machine.gradient(v, 60, generator(1))[0][0]
    assert 5 * math.sqrt(0.25 / len(v)) < (many - exact).abs().max() < 0.2


def test_a_persistent_chain_does_not_start_from_the_data():
    machine, v = tiny("bernoulli", False), patterns("bernoulli", 30)
    particles = torch.ones(7, 5, dtype=torch.float64)
    (weight, _, bias), last = machine.gradient(v, 2, generator(5), particles)
    (other, _, _), same = machine.gradient(1 - v, 2, generator(5), particles)
    assert last.shape == (7, 5)
    assert torch.equal(last, same)
    assert torch.allclose(bias, v.mean(0) - last.mean(0))
    up = [machine.mean(machine.drive(x)).T @ x / len(v) for x in (v, 1 - v)]
    assert torch.allclose(weight - other, up[0] - up[1])
    assert not torch.equal(machine.gradient(1 - v, 2, generator(5))[1], machine.gradient(v, 2, generator(5))[1])


def test_rectified_units_are_drawn_as_published():
    x = torch.linspace(-1, 6, 10, dtype=torch.float64)
    none = torch.zeros(10, 2, dtype=torch.float64)
    machine = Machine(none, x, none[0], hidden="rectified")
    drawn = machine.draw(x.expand(40_000, 10), generator())
    s = torch.sigmoid(x).sqrt()
    normal = torch.distributions.Normal(0.0, 1.0)
    expected = x * normal.cdf(x / s) + s * normal.log_prob(x / s).exp()
    assert ((drawn.mean(0) - expected).abs() < 5 * drawn.std(0) / 200).all()
    assert ((drawn.mean(0) - x).abs() > 5 * drawn.std(0) / 200)[:3].all()  # twin: it is not x
    copies = torch.sigmoid(x - torch.arange(1, 60, dtype=torch.float64)[:, None] + 0.5).sum(0)
    assert torch.allclose(machine.mean(x), copies, atol=0.011)  # Nair & Hinton: "closely approximated"


def test_visible_biases_start_at_the_base_rates():
    p = torch.tensor([0.0, 0.1, 0.5, 0.93, 1.0], dtype=torch.float64)
    bias = bias_of("bernoulli", p, 100)
    assert torch.allclose(torch.sigmoid(bias)[1:4], p[1:4], rtol=1e-12)
    assert torch.sigmoid(bias)[[0, 4]].tolist() == pytest.approx([0.005, 0.995])  # half a sample of 100
    assert torch.equal(bias_of("gaussian", p, 100), p)
    x = (torch.rand(400, 6, generator=generator()) < torch.linspace(0.1, 0.9, 6)).float()
    learner = trained(RBM(epochs=1, lr=1e-9), nn.Sequential(nn.Linear(6, 4), nn.Sigmoid(), nn.Linear(4, 2)), x)[1][0]
    assert torch.allclose(torch.sigmoid(learner.machine.visible_bias), x.mean(0), atol=1e-5)


def trained(scheme, model, x, **options):
    """The recipe, and the learners that made it."""
    learners = []
    make = scheme.learner
    scheme.learner = lambda *given: learners.append(make(*given)) or learners[-1]
    graph = fanin.trace(model, x, statistics=False).graph
    recipe = fanin.schemes.plan(scheme, fanin.slots.find(model, graph), graph, model=model, inputs=x, **options)
    return recipe, learners


def digits(count=600):
    data = load("digits").flat()
    return torch.from_numpy(data.train_x[:count].copy())


def test_reconstructions_improve_and_data_has_less_free_energy_than_noise():
    x = digits()
    model = nn.Sequential(nn.Linear(64, 48), nn.Sigmoid(), nn.Linear(48, 32), nn.Tanh(), nn.Linear(32, 10))
    recipe, learners = trained(RBM(epochs=20), model, x)
    for learner in learners:
        before = type(learner)(learner.problem, learner.options)
        assert learner.error() < 0.4 * before.error()
        v = learner.rows(torch.arange(600), generator())
        noise = (torch.rand(v.shape, generator=generator(1)) < v.mean(0)).float()  # the same base rates
        gap = learner.machine.free_energy(noise).mean() - learner.machine.free_energy(v).mean()
        assert gap > 3
        flat = before.machine.free_energy(noise).mean() - before.machine.free_energy(v).mean()
        assert abs(flat) < 1  # twin: an untrained machine does not tell them apart
    assert "reconstruction error 0.0" in recipe.notes[0]
    assert "free energy" in recipe.notes[1]


def test_units_are_decided_from_the_data_and_said():
    model = nn.Sequential(nn.Linear(64, 8), nn.Sigmoid(), nn.Linear(8, 2))
    x, normal = digits(100), torch.randn(100, 64, generator=generator())

    def reason(inputs, **options):
        return fanin.plan(model, inputs, scheme="rbm", epochs=1, **options).line("0.weight").reason

    assert reason((x - x.min()) / (x.max() - x.min())).startswith("Bernoulli–Bernoulli machine, CD-1, lr 0.1: 1 epochs")
    assert "inputs in [0, 1]" in reason(normal.sigmoid())
    assert "on the lowest value: mapped to [0, 1]" in reason(x)
    assert reason(normal).startswith("Gaussian–Bernoulli machine, CD-1, lr 0.01")
    assert reason(x, visible="gaussian").startswith("Gaussian–Bernoulli")
    assert "inputs from -" in reason(normal, visible="bernoulli")
    assert "persistent CD-3, lr 0.5" in reason(x, persistent=True, k=3, lr=0.5)


def test_other_nonlinearities_are_refused_by_name():
    model, x, _ = pooled()
    before = [value.clone() for value in model.state_dict().values()]
    with pytest.raises(PlanError, match=r"0\.weight \(gelu follows; sigmoid, tanh and ReLU .*scheme='autoencoder'"):
        fanin.init_(model, x, scheme="rbm")
    assert all(torch.equal(a, b) for a, b in zip(before, model.state_dict().values(), strict=True))
    recipe = fanin.plan(model, x, scheme="rbm", keep=["0.*", "7.*"], epochs=2)  # twin
    assert "10 patches of each sample" in recipe.line("3.weight").reason
    assert any("0.weight (left as asked)" in note for note in recipe.notes)


@pytest.mark.parametrize(
    ("option", "value"),
    [("k", 0), ("lr", 0.0), ("lr", math.nan), ("momentum", 1.5), ("weight_decay", -1.0), ("visible", "binary"),
     ("persistent", 1), ("std", -0.1), ("patches", 0), ("epochs", 0), ("batch_size", 2.5), ("base", "rbm")],
)  # fmt: skip
def test_options_are_checked(option, value):
    with pytest.raises(InputError, match=option):
        RBM(**{option: value})
