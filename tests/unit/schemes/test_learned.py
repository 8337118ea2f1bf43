"""metainit and gradinit: equal to the published procedures step by step, their effect, and a model left as it was."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import fanin
from fanin.compare import train
from fanin.data import load
from fanin.errors import InputError, PlanError, TraceError
from fanin.initializers import Normal, Rescaled, Zeros
from fanin.materialize import write
from fanin.recipe import Recipe
from fanin.schemes import Choice
from fanin.schemes._examples import ResNet, Transformer, batch
from fanin.schemes._minibatches import overlapping
from fanin.schemes.gradinit import GradInit
from fanin.schemes.he import He
from fanin.schemes.metainit import EPSILON, MetaInit, gradient_quotient

BOTH = ("metainit", "gradinit")


def small(width=7):
    return nn.Sequential(nn.Linear(5, width), nn.Tanh(), nn.LayerNorm(width), nn.Linear(width, 3)).double()


X, Y = batch(12, 5).double(), torch.arange(12) % 3


def factors_of(recipe):
    return {
        line.name: line.initializer.config["factor"] for line in recipe.lines if isinstance(line.initializer, Rescaled)
    }


def quotient_of(model, x, y):
    """The quotient from the whole Hessian, row by row."""
    names, sizes = zip(*[(name, p.numel()) for name, p in model.named_parameters()])
    shapes = [p.shape for p in model.parameters()]
    flat = torch.cat([p.detach().reshape(-1) for p in model.parameters()])

    def value(entries):
        parts = [part.reshape(shape) for part, shape in zip(entries.split(sizes), shapes)]
        return F.cross_entropy(torch.func.functional_call(model, dict(zip(names, parts)), (x,)), y)

    g = torch.autograd.functional.jacobian(value, flat)
    product = torch.autograd.functional.hessian(value, flat) @ g
    sign = torch.where(g >= 0, 1.0, -1.0)
    return g, product, float(((g - product) / (g + EPSILON * sign) - 1).abs().mean())


def test_the_quotient_is_that_of_the_whole_hessian():
    model = small()
    g, product, expected = quotient_of(model, X, Y)
    assert float(gradient_quotient([g], [product])) == pytest.approx(expected, rel=1e-12)
    halves = [part.split([3, len(part) - 3]) for part in (g, product)]
    assert float(gradient_quotient(*halves)) == pytest.approx(expected, rel=1e-12)
    assert float(gradient_quotient([g], [2 * product])) != pytest.approx(expected, rel=0.1)  # twin
    # What the scheme reports at its first step is the same number; compute_loss works in float32.
    write(model, fanin.plan(model, X, scheme="he"), seed=4)
    recipe = fanin.plan(model, X, Y, scheme="metainit", data="batch", iterations=1, seed=4)
    assert f"Gradient quotient {quotient_of(model, X, Y)[2]:.3g}" in recipe.notes[-1]


def published_metainit(model, loss, steps, lr, momentum):
    """The loop in the appendix of the paper, on the module's own parameters, with the batch as data."""
    tuned = [p for p in model.parameters() if p.dim() >= 2]
    memory = [0.0] * len(tuned)
    for _ in range(steps):
        everything = list(model.parameters())
        g = torch.autograd.grad(loss(), everything, create_graph=True)
        h = torch.autograd.grad(sum((a**2).sum() / 2 for a in g), everything, create_graph=True)
        out = sum(
            ((a - b) / (a + EPSILON * (2 * (a >= 0).double() - 1).detach()) - 1).abs().sum() for a, b in zip(g, h)
        )
        slopes = torch.autograd.grad(out / sum(p.numel() for p in everything), tuned)
        for j, (p, slope) in enumerate(zip(tuned, slopes)):
            norm = p.data.norm().item()
            memory[j] = momentum * memory[j] - lr * float(torch.sign((p.data * slope).sum()))
            p.data.mul_((norm + memory[j]) / norm)


def test_metainit_is_the_published_loop():
    model, options = small(), {"lr": 0.05, "momentum": 0.6}
    write(model, fanin.plan(model, X, scheme="he"), seed=2)
    published_metainit(model, lambda: F.cross_entropy(model(X), Y), 12, **options)
    ours = small()
    fanin.init_(ours, X, Y, scheme="metainit", data="batch", iterations=12, seed=2, **options)
    for name, value in ours.named_parameters():
        assert torch.allclose(value, model.get_parameter(name), rtol=1e-5, atol=1e-12), name
    fanin.init_(ours, X, Y, scheme="metainit", data="batch", iterations=11, seed=2, **options)  # twin
    assert not torch.allclose(ours[0].weight, model[0].weight, rtol=1e-3)


def published_gradinit(model, pairs, steps, *, adam, eta, gamma, lr, betas, clip):
    """The loop of github.com/zhuchen03/gradinit with its RescaleAdam, on the module's own parameters."""
    start = {n: p.detach().clone() for n, p in model.named_parameters() if float(p.detach().norm()) > 0}
    alpha = dict.fromkeys(start, 1.0)
    state = {(n, kind): [0.0, 0.0, 0] for n in start for kind in (False, True)}
    bound = 0
    for _, (first, second) in zip(range(steps), pairs):
        named = dict(model.named_parameters())
        g = torch.autograd.grad(
            F.cross_entropy(model(first.inputs), first.target), list(named.values()), create_graph=True
        )
        norm = sum(a.abs().sum() for a in g) if adam else sum(a.square().sum() for a in g).sqrt()
        over = norm.item() > gamma
        if over:
            goal, bound = norm, bound + 1
            slopes = torch.autograd.grad(goal, list(named.values()))
        else:
            moves = [a.sign() if adam else a / norm for a in g]
            moved = {n: p - eta * a.detach() for (n, p), a in zip(named.items(), moves)}
            out = torch.func.functional_call(model, moved, (second.inputs,))
            slopes = torch.autograd.grad(F.cross_entropy(out, second.target) / eta, list(named.values()))
        for (name, p), slope in zip(named.items(), slopes):
            if name not in start:
                continue
            d = max(min(float((slope * start[name]).sum()), clip), -clip)
            s = state[name, over]
            s[:] = [s[0] * betas[0] + d * (1 - betas[0]), s[1] * betas[1] + d * d * (1 - betas[1]), s[2] + 1]
            size = math.sqrt(s[1] / (1 - betas[1] ** s[2])) + 1e-8
            alpha[name] = max(alpha[name] - lr / (1 - betas[0] ** s[2]) * s[0] / size, 0.01)
            p.data.copy_(start[name] * alpha[name])
    return alpha, bound


@pytest.mark.parametrize(("optimizer", "gamma"), [("sgd", 0.9), ("adam", 6.0)])
def test_gradinit_is_the_published_loop(optimizer, gamma):
    adam = optimizer == "adam"
    options = {"lr": 0.05, "eta": 0.01 if adam else 0.1, "gamma": gamma}
    fixed = {"betas": (0.9, 0.98), "clip": math.inf} if adam else {"betas": (0.9, 0.999), "clip": 1.0}
    model, steps = small(), 30
    write(model, fanin.plan(model, X, scheme="he"), seed=2)
    pairs = overlapping(model, X, Y, None, 4, 2)
    expected, bound = published_gradinit(model, pairs, steps, adam=adam, **options, **fixed)
    assert 0 < bound < steps  # both kinds of step were met
    plan = {"scheme": "gradinit", "optimizer": optimizer, "iterations": steps, "batch_size": 4, "seed": 2, **options}
    recipe = fanin.plan(small(), X, Y, **plan)
    # Thirty steps of Adam from losses of float32, about 1e-7 each and amplified where a slope is near 0.
    assert factors_of(recipe) == pytest.approx(expected, rel=2e-3)
    assert "2.weight" in expected  # a norm's gain is rescaled
    assert "0.bias" not in expected  # zeros are not
    assert f"γ = {gamma:g} in {bound} of {steps}" in recipe.notes[-1]
    twin = fanin.plan(small(), X, Y, **{**plan, "gamma": math.inf})
    assert factors_of(twin) != pytest.approx(expected, rel=2e-2)


class Weak(He):
    """He's law times a factor: the bad start."""

    def __init__(self, times) -> None:
        super().__init__()
        self.times = times

    def weight(self, slot, context):
        chosen = super().weight(slot, context)
        return Choice(Rescaled(chosen.initializer, self.times), chosen.reason)


def plain_net(depth=12, width=24):
    layers = [nn.Linear(64, width), nn.Tanh()]
    for _ in range(depth - 2):
        layers += [nn.Linear(width, width), nn.Tanh()]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def test_metainit_repairs_a_start_that_cannot_be_trained():
    data = load("digits").flat()
    sample = data.batch(32, seed=0)

    def trained(scheme, **options):
        model = plain_net()
        recipe = fanin.init_(model, sample.inputs, sample.target, scheme=scheme, **options)
        curve = train(model, data.take(600, 300), lr=0.1, epochs=12, optimizer="momentum")
        return sum(curve.losses[-20:]) / 20, recipe

    weak = Weak(0.4)
    stuck, _ = trained(weak)
    moving, recipe = trained(MetaInit(weak, iterations=60, lr=0.05))
    assert stuck == pytest.approx(math.log(10), abs=0.02)  # twin: the loss of knowing nothing
    assert moving < 0.8 * stuck
    first, last = recipe.notes[-1].split("quotient ")[1].split(" in ")[0].split(" → ")
    assert float(last) < 0.6 * float(first)


class PostLN(nn.Module):
    """Rows of an image as tokens, layer norm after each sum."""

    def __init__(self, width=16, layers=2) -> None:
        super().__init__()
        self.embed, self.position = nn.Linear(8, width), nn.Parameter(torch.zeros(8, width))
        layer = nn.TransformerEncoderLayer(width, 2, 2 * width, 0.1, batch_first=True)
        self.body, self.head = nn.TransformerEncoder(layer, layers), nn.Linear(width, 10)

    def forward(self, x):
        return self.head(self.body(self.embed(x[:, 0]) + self.position).mean(1))


def test_gradinit_lowers_the_first_losses_of_a_post_ln_transformer():
    data = load("digits")
    sample = data.batch(48, seed=0)

    def first_losses(recipe):
        model = PostLN()
        write(model, recipe, seed=0)
        curve = train(model, data.take(640, 100), lr=1e-3, steps=20, optimizer="adam")
        return sum(curve.losses) / 20

    options = {"optimizer": "adam", "base": "glorot", "lr": 0.02, "iterations": 40, "gamma": 500.0}
    base = fanin.plan(PostLN(), sample.inputs, scheme="glorot")
    recipe = fanin.plan(PostLN(), sample.inputs, sample.target, scheme="gradinit", **options)
    before, after = first_losses(base), first_losses(recipe)
    assert after < before - 0.1
    # twin: the same factors the other way round
    turned = [
        replace(line, initializer=Rescaled(line.initializer.inner, 1 / line.initializer.config["factor"]))
        if isinstance(line.initializer, Rescaled)
        else line
        for line in recipe.lines
    ]
    assert first_losses(Recipe(turned)) > after + 0.1


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.body, self.head = nn.Embedding(11, 6), nn.Linear(6, 6), nn.Linear(6, 11, bias=False)
        self.head.weight = self.table.weight
        self.frozen = nn.Linear(6, 6).requires_grad_(False)

    def forward(self, ids):
        return self.head(torch.tanh(self.frozen(self.body(self.table(ids)))))


class Recurrent(nn.Module):
    def __init__(self, kind=nn.LSTM) -> None:
        super().__init__()
        self.rnn, self.head = kind(4, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.drop, self.head = (
            nn.Conv2d(2, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.Dropout(0.5),
            nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)),
        )

    def forward(self, x):
        return self.head(self.drop(F.relu_(self.norm(self.conv(x)))).mean((2, 3)))


def hugging_face():
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(vocab_size=13, n_positions=8, n_embd=8, n_layer=1, n_head=2))


IDS = torch.arange(12).reshape(3, 4) % 11
MODELS = {
    "tied, frozen": (Tied, IDS, IDS),
    "lstm": (Recurrent, batch(6, 5, 4), torch.arange(6) % 3),
    "gru": (lambda: Recurrent(nn.GRU), batch(6, 5, 4), torch.arange(6) % 3),
    "batch norm, dropout, weight norm": (Normed, batch(6, 2, 4, 4), torch.arange(6) % 3),
    "transformer": (lambda: PostLN(8, 1), batch(6, 1, 8, 8), torch.arange(6)),
    "pre-norm transformer": (lambda: Transformer(1), IDS, None),
    "resnet": (ResNet, batch(4, 3, 8, 8), None),
    "regression in bf16": (lambda: nn.Linear(3, 2).bfloat16(), batch(6, 3).bfloat16(), batch(6, 2)),
    "own loss": (hugging_face, {"input_ids": IDS, "labels": IDS}, None),
    "logits": (hugging_face, {"input_ids": IDS}, IDS),
}


def state_of(model):
    tensors = {name: (id(value), value.clone()) for name, value in model.state_dict(keep_vars=True).items()}
    grads = [(id(p.grad), None if p.grad is None else p.grad.clone()) for p in model.parameters()]
    return tensors, grads, [m.training for m in model.modules()], torch.get_rng_state()


def assert_same(left, right):
    assert left[0].keys() == right[0].keys()
    assert all(a[0] == right[0][n][0] and torch.equal(a[1], right[0][n][1]) for n, a in left[0].items())
    assert [a[0] for a in left[1]] == [b[0] for b in right[1]]
    assert left[2] == right[2]
    assert torch.equal(left[3], right[3])


@pytest.mark.parametrize("scheme", BOTH)
@pytest.mark.parametrize("name", MODELS)
def test_real_models_are_planned_and_put_back(name, scheme):
    build, inputs, target = MODELS[name]
    torch.manual_seed(0)
    model = build()
    if scheme == "gradinit" and target is None and name != "own loss":
        with pytest.raises(PlanError, match="pass a target"):
            fanin.plan(model, inputs, target, scheme=scheme, iterations=3)
        return
    first = next(model.parameters())
    first.grad = torch.ones_like(first)
    before, given = state_of(model), [v.clone() for v in ([inputs] if torch.is_tensor(inputs) else inputs.values())]
    # γ halfway up makes both kinds of step likely; inf and 0 are in the tests of the loop.
    options = {"iterations": 3, "lr": 0.02, **({"gamma": 1.0} if scheme == "gradinit" else {})}
    keep = [n for n, p in model.named_parameters() if name == "transformer" and n == "position"]
    recipe = fanin.plan(model, inputs, target, scheme=scheme, keep=keep, **options)
    assert_same(before, state_of(model))
    assert all(map(torch.equal, given, [inputs] if torch.is_tensor(inputs) else inputs.values()))
    found = factors_of(recipe)
    assert found
    assert any(factor != 1 for factor in found.values())
    assert not any(n.startswith("frozen") for n in found)
    assert all(line.initializer.std(line.fans, line.shape) >= 0 for line in recipe.lines)
    assert Recipe.from_json(recipe.to_json()) == recipe
    again = fanin.plan(model, inputs, target, scheme=scheme, keep=keep, **options)
    assert again == recipe  # dropout and noise come from the seed alone
    assert fanin.plan(model, inputs, target, scheme=scheme, keep=keep, seed=1, **options) != recipe  # twin
    write(model, recipe, seed=0)


@pytest.mark.parametrize("scheme", BOTH)
def test_put_back_also_where_the_model_raises(scheme):
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.norm, self.calls = nn.Linear(5, 3), nn.BatchNorm1d(3), 0

        def forward(self, x):
            self.calls += 1
            if self.calls > 2:
                raise RuntimeError("third run")
            return self.norm(self.body(x))

    model = Net().double()
    before = state_of(model)
    with pytest.raises(TraceError, match="third run"):
        fanin.plan(model, X, Y, scheme=scheme)
    assert_same(before, state_of(model))
    assert model.calls == 0


@pytest.mark.parametrize("scheme", BOTH)
def test_what_is_not_finite_is_named(scheme):
    wild = {"0.weight": Normal(std=1e30)}
    model = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3))
    with pytest.raises(PlanError, match=r"gradient of 0\.weight is not finite"):
        fanin.plan(model, X.float(), Y, scheme=scheme, overrides={**wild, "1.weight": Normal(std=1e30)})
    with pytest.raises(PlanError, match="no tensor to rescale"):
        fanin.plan(model, X.float(), Y, scheme=scheme, overrides={"*": Zeros()})


class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        return grad * 2


def test_an_op_without_a_second_derivative_is_told():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Linear(5, 3)

        def forward(self, x):
            return Once.apply(self.body(x))

    model = Net().double()
    for scheme, options in (("metainit", {}), ("gradinit", {"gamma": 1e-6})):
        with pytest.raises(PlanError, match=r"cannot be differentiated twice .*attn_implementation='eager'"):
            fanin.plan(model, X, Y, scheme=scheme, **options)
    assert factors_of(fanin.plan(model, X, Y, scheme="gradinit", gamma=math.inf, iterations=3))  # needs none


def test_pairs_share_half_of_their_samples():
    pairs = list(itertools.islice(overlapping(small(), torch.arange(20.0)[:, None], torch.arange(20), None, 8, 0), 2))
    for first, second in pairs:
        assert len(first.target) == len(second.target) == 8
        assert len(set(first.target.tolist()) & set(second.target.tolist())) == 4
        assert torch.equal(first.inputs[:, 0].long(), first.target)
    assert pairs[0][0].target.tolist() != pairs[1][0].target.tolist()
    steps = {"src": torch.arange(12.0).reshape(4, 3, 1).expand(4, 3, 2), "mask": torch.ones(4, 4)}
    model = nn.MultiheadAttention(2, 1)  # samples on axis 1
    first, second = next(overlapping(model, (steps["src"], steps["mask"]), torch.tensor([5, 6, 7]), None, 9, 0))
    assert first.inputs[0].shape == (4, 2, 2)
    assert first.inputs[1].shape == (4, 4)
    assert len(set(first.target.tolist()) & set(second.target.tolist())) == 1
    single = next(overlapping(small(), X[:1], Y[:1], None, 8, 0))
    assert [len(part.target) for part in single] == [1, 1]


def test_batches_are_run_through_again():
    loader = DataLoader(TensorDataset(X, Y), batch_size=6)
    recipe = fanin.plan(small(), X, scheme="gradinit", batches=loader, iterations=5, lr=0.1)
    assert len(set(factors_of(recipe).values())) > 1
    with pytest.raises(PlanError, match="batches: it has no batch"):
        fanin.plan(small(), X, scheme="gradinit", batches=iter(loader), iterations=5)
    with pytest.raises(InputError, match="batches: got 'an entry of Tensor'"):
        fanin.plan(small(), X, scheme="gradinit", batches=[X], iterations=5)


def test_a_loss_of_your_own_and_a_base_that_measures():
    def loss(output, target):
        return ((output - target) ** 2).mean()

    goal = X[:, :3]
    own = fanin.plan(small(), X, goal, scheme="gradinit", loss=loss, iterations=5, lr=0.1)
    assert factors_of(own) == pytest.approx(
        factors_of(fanin.plan(small(), X, goal, scheme="gradinit", iterations=5, lr=0.1)), rel=1e-3
    )
    seen = []
    fanin.plan(small(), X, goal, scheme="metainit", loss=lambda o, t: seen.append(t) or loss(o, t), iterations=2)
    assert all(torch.equal(target, goal) for target in seen)
    recipe = fanin.plan(small(), X, Y, scheme="metainit", base="lsuv", iterations=2)
    assert isinstance(recipe["0.weight"], Rescaled)
    assert not isinstance(recipe["0.weight"].inner, Rescaled)  # one factor, the product of both
    assert "output of std" in recipe.line("0.weight").reason
    assert any("seed 0" in note for note in recipe.notes)


@pytest.mark.parametrize(
    ("scheme", "options", "text"),
    [
        ("metainit", {"iterations": 0}, "iterations"),
        ("metainit", {"data": "images"}, "noise, batch"),
        ("metainit", {"momentum": 1.5}, "momentum"),
        ("metainit", {"loss": 3}, "loss"),
        ("metainit", {"progress": "yes"}, "progress"),
        ("metainit", {"base": "hee"}, "Did you mean 'he'"),
        ("metainit", {"base": 7}, "the name of a scheme"),
        ("gradinit", {"optimizer": "lion"}, "sgd, adam"),
        ("gradinit", {"gamma": 0}, "gamma"),
        ("gradinit", {"eta": float("nan")}, "eta"),
        ("gradinit", {"normalize": 1}, "normalize"),
        ("gradinit", {"batches": X}, "batches"),
        ("gradinit", {"batch_size": 0.5}, "batch_size"),
    ],
)
def test_options_are_validated(scheme, options, text):
    with pytest.raises(InputError, match=text):
        fanin.plan(small(), X, Y, scheme=scheme, **options)


def test_a_bar_only_where_it_is_wanted(capfd, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # what rich takes for a terminal
    options = {"scheme": GradInit(iterations=2, progress=True)}
    fanin.plan(small(), X, Y, **options)
    assert "GradInit" in capfd.readouterr().err
    fanin.plan(small(), X, Y, scheme="gradinit", iterations=2)  # a pipe
    assert capfd.readouterr().err == ""
