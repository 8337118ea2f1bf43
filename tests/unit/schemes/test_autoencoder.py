"""Denoising autoencoders: known solutions, corruption, every nonlinearity, convolutions and their transposes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import fanin
from fanin.data import load
from fanin.errors import InputError, PlanError
from fanin.schemes._denoising import function
from fanin.schemes._greedy_chain import FUNCTIONS, Layer
from fanin.schemes.autoencoder import Autoencoder


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def trained(scheme, model, x, **options):
    """The recipe, and the learners that made it."""
    learners = []
    make = scheme.learner
    scheme.learner = lambda *given: learners.append(make(*given)) or learners[-1]
    graph = fanin.trace(model, x, statistics=False).graph
    recipe = fanin.schemes.plan(scheme, fanin.slots.find(model, graph), graph, model=model, inputs=x, **options)
    return recipe, learners


def test_linear_units_without_corruption_span_the_principal_subspace():
    mixing = torch.linalg.qr(torch.randn(8, 8, generator=generator(1), dtype=torch.float64))[0]
    scales = torch.tensor([3, 2.5, 2, 0.6, 0.5, 0.4, 0.3, 0.2], dtype=torch.float64)
    x = torch.randn(400, 8, generator=generator(2), dtype=torch.float64) * scales @ mixing
    model = nn.Sequential(nn.Linear(8, 3), nn.Linear(3, 2)).double()
    scheme = Autoencoder(corruption=0.0, epochs=150, lr=0.01, batch_size=400)
    recipe, (learner,) = trained(scheme, model, x)
    v = learner.clean(torch.arange(400))
    assert torch.allclose(v.std(0, correction=0), torch.ones(8, dtype=torch.float64))
    values, vectors = torch.linalg.eigh(v.T @ v / 400)
    found = torch.linalg.qr(learner.weight.detach().T)[0]

    def cosines(subspace):
        return torch.linalg.svdvals(found.T @ subspace)

    assert cosines(vectors[:, -3:]).min() > 0.999
    assert cosines(vectors[:, :3]).max() < 0.05  # twin: the last components
    # The error left is that of the components left out (Bourlard & Kamp, 1988; Baldi & Hornik, 1989).
    assert learner.error() == pytest.approx(float(values[:-3].sum()) / 8, rel=0.01)
    assert "standardised" in recipe.line("0.weight").reason


MODULES = {
    "relu": nn.ReLU(), "selu": nn.SELU(), "silu": nn.SiLU(), "mish": nn.Mish(), "hardswish": nn.Hardswish(),
    "hardsigmoid": nn.Hardsigmoid(), "softsign": nn.Softsign(), "tanhshrink": nn.Tanhshrink(),
    "sigmoid": nn.Sigmoid(), "tanh": nn.Tanh(), "log_sigmoid": nn.LogSigmoid(), "leaky_relu": nn.LeakyReLU(0.3),
    "elu": nn.ELU(0.7), "celu": nn.CELU(0.6), "gelu": nn.GELU(), "gelu_tanh": nn.GELU("tanh"),
    "softplus": nn.Softplus(2.0), "hardtanh": nn.Hardtanh(-0.5, 0.7), "softshrink": nn.Softshrink(0.2),
    "hardshrink": nn.Hardshrink(0.4), "rrelu": nn.RReLU(0.1, 0.5), "prelu": nn.PReLU(6, 0.4),
}  # fmt: skip


class Called(nn.Module):
    def __init__(self, call) -> None:
        super().__init__()
        self.call = call

    def forward(self, x):
        return self.call(x)


MODULES |= {name: Called(getattr(torch, name)) for name in ("sin", "cos", "erf")}
MODULES["relu6"] = Called(nn.functional.relu6)  # the module calls hardtanh
MODULES |= {
    "quick_gelu": Called(lambda x: x * torch.sigmoid(1.702 * x)),
    "relu_squared": Called(lambda x: torch.relu(x).square()),
    "linear": nn.Identity(),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_nonlinearity_is_the_one_that_the_network_has(name):
    model = nn.Sequential(nn.Linear(5, 6), MODULES[name], nn.Linear(6, 4)).eval()
    x = torch.randn(40, 5, generator=generator())
    scheme = Autoencoder(epochs=1)
    overrides = {"1.weight": fanin.initializers.Constant(0.4)} if name == "prelu" else {}
    _, (learner,) = trained(scheme, model, x, overrides=overrides)
    assert learner.problem.layer.activation == name
    z = torch.linspace(-2, 2, 60).reshape(10, 6)
    assert torch.allclose(learner.call(z), model[1](z), atol=1e-6)
    others = {"leaky_relu": nn.LeakyReLU(), "elu": nn.ELU(), "softplus": nn.Softplus(), "hardtanh": nn.Hardtanh()}
    if name in others:  # twin: the arguments matter
        assert not torch.allclose(learner.call(z), others[name](z), atol=1e-3)


def test_an_unknown_nonlinearity_is_refused():
    model = nn.Sequential(nn.Linear(5, 6), Called(torch.atan), nn.Linear(6, 4))
    with pytest.raises(PlanError, match=r"0\.weight \(atan follows, which is none of linear, relu"):
        fanin.plan(model, torch.rand(8, 5), scheme="autoencoder")
    layer = Layer("w", None, None, 0, False, "atan", {}, None, False, "data")
    with pytest.raises(KeyError):
        function(layer, None)


def test_corruption_is_what_was_asked_for():
    x = torch.rand(500, 20, generator=generator()) + 0.01
    model = nn.Sequential(nn.Linear(20, 4), nn.Tanh(), nn.Linear(4, 2))
    cases = {
        "mask": {"corruption": 0.25},
        "gaussian": {"noise": "gaussian", "corruption": 0.3},
        "none": {"corruption": 0},
    }
    made = {name: trained(Autoencoder(epochs=1, visible="bernoulli", **o), model, x)[1][0] for name, o in cases.items()}
    v = made["mask"].clean(torch.arange(500))
    masked = made["mask"].corrupted(v, generator())
    share = float((masked == 0).float().mean()) - float((v == 0).float().mean())
    assert abs(share - 0.25) < 5 * math.sqrt(0.25 * 0.75 / v.numel())
    assert torch.equal(masked[masked != 0], v[masked != 0])
    noise = made["gaussian"].corrupted(v, generator()) - v
    assert float(noise.std()) == pytest.approx(0.3, rel=5 / math.sqrt(2 * v.numel()))
    assert made["none"].corrupted(v, generator()) is v


@pytest.mark.parametrize("activation", [nn.Sigmoid, nn.GELU])
def test_trained_on_digits_it_removes_noise_and_reconstructs(activation):
    x = torch.from_numpy(load("digits").flat().train_x[:600].copy())
    model = nn.Sequential(nn.Linear(64, 48), activation(), nn.Linear(48, 32), activation(), nn.Linear(32, 10))
    recipe, learners = trained(Autoencoder(epochs=15, lr=3e-3, batch_size=50), model, x)
    index = torch.arange(600)
    for learner in learners:
        before = type(learner)(learner.problem, learner.options)
        assert learner.error() < 0.5 * before.error()
    clean = learners[0].clean(index)
    noisy = learners[0].corrupted(clean, generator())

    def restored(learner):
        with torch.no_grad():
            return (torch.sigmoid(learner.decoded(learner.encoded(noisy), clean)) - clean).square().mean()

    assert restored(learners[0]) < 0.6 * (noisy - clean).square().mean()
    untrained = type(learners[0])(learners[0].problem, learners[0].options)
    assert restored(untrained) > 0.6 * (noisy - clean).square().mean()  # twin
    assert all("reconstruction error" in note and "rose" not in note for note in recipe.notes[:2])


@pytest.mark.parametrize(
    ("conv", "shape"),
    [
        (nn.Conv1d(3, 4, 3, stride=2), (6, 3, 12)),
        (nn.Conv2d(2, 4, (3, 2), padding=(1, 0), stride=(2, 3)), (6, 2, 9, 10)),
        (nn.Conv2d(2, 4, 3, padding="same", dilation=2), (6, 2, 8, 7)),
        (nn.Conv3d(1, 3, 2, stride=2), (4, 1, 5, 4, 6)),
    ],
)
def test_a_convolution_is_decoded_to_the_shape_of_its_input(conv, shape):
    x = torch.rand(*shape, generator=generator())
    model = nn.Sequential(conv, nn.Tanh(), nn.Flatten(), nn.LazyLinear(3))
    model(x)
    _, (learner,) = trained(Autoencoder(epochs=1), model, x)
    v = learner.clean(torch.arange(len(x)))
    back = learner.decoded(learner.encoded(v), v)
    assert back.shape == v.shape == x.shape
    # Tied weights: the decoder without its bias is the adjoint of the encoder's linear part, ⟨Wv, y⟩ = ⟨v, Wᵀy⟩.
    zeros, window = torch.zeros_like(v), learner.problem.window
    y = torch.randn(learner.encoded(v).shape, generator=generator(1))
    learner.call, learner.bias = (lambda z: z), torch.zeros_like(learner.bias)
    left = float((learner.encoded(v) * y).sum().detach())
    right = float(((learner.decoded(y, v) - learner.decoded(0 * y, v)) * v).sum().detach())
    assert left == pytest.approx(right, rel=1e-4)
    assert torch.equal(window.crop(window.pad(v)), v)
    assert learner.encoded(zeros).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("option", "value"),
    [("corruption", 1.5), ("corruption", -0.1), ("noise", "salt"), ("lr", 0.0), ("optimizer", "lbfgs"), ("visible", 1)],
)
def test_options_are_checked(option, value):
    with pytest.raises(InputError, match=option):
        Autoencoder(**{option: value})
    assert Autoencoder(noise="gaussian", corruption=1.5).corruption == 1.5


@pytest.mark.parametrize("optimizer", ["sgd", "momentum"])
def test_other_optimizers(optimizer):
    x = torch.from_numpy(load("digits").flat().train_x[:200].copy())
    model = nn.Sequential(nn.Linear(64, 32), nn.Sigmoid(), nn.Linear(32, 10))
    recipe, (learner,) = trained(Autoencoder(epochs=5, optimizer=optimizer, batch_size=20), model, x)
    assert learner.error() < 0.7 * type(learner)(learner.problem, learner.options).error()
    assert f"{optimizer} lr 0.1" in recipe.line("0.weight").reason
