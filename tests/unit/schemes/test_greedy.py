"""Greedy pre-training: features are what the network computes, nothing is left changed, interrupted runs go on."""

from __future__ import annotations

import random
from itertools import count

import numpy as np
import pytest
import torch
from rich.progress import Progress
from torch import nn

import fanin
from fanin.data import Dataset
from fanin.errors import DataError, InputError, PlanError, TraceError
from fanin.initializers import Normal, Values
from fanin.materialize import write
from fanin.schemes import _greedy_inputs
from fanin.schemes._examples import ResNet, Transformer, batch
from fanin.schemes._greedy_examples import logistic, pooled
from fanin.schemes.autoencoder import Autoencoder
from fanin.schemes.rbm import RBM
from fanin.slots import find

SCHEMES = {"rbm": RBM, "autoencoder": Autoencoder}


def planned(scheme, model, x, **options):
    graph = fanin.trace(model, x, statistics=False).graph
    return fanin.schemes.plan(scheme, find(model, graph), graph, model=model, inputs=x, **options)


def trained(scheme, model, x, **options):
    """The recipe, and the learners that made it."""
    learners = []
    make = scheme.learner
    scheme.learner = lambda *given: learners.append(make(*given)) or learners[-1]
    return planned(scheme, model, x, **options), learners


def trained_lines(recipe):
    return {line.name for line in recipe.lines if isinstance(line.initializer, Values)}


class Bare(nn.Module):
    """Matrices of its own, stored (in, out), a bias added apart, and layers defined in another order than used."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(5, 3)
        self.inner = nn.Linear(7, 5)
        self.w, self.b = nn.Parameter(torch.zeros(6, 7)), nn.Parameter(torch.zeros(7))

    def forward(self, x):
        return self.last(torch.tanh(self.inner(torch.sigmoid(x @ self.w + self.b))))


def conv(**options):
    layers = [nn.Conv2d(1, 4, 3, **options), nn.Tanh(), nn.MaxPool2d(2), nn.Conv2d(4, 3, 2, padding=1), nn.Sigmoid()]
    model = nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(6), nn.ReLU(), nn.Linear(6, 2))
    model(torch.zeros(2, 1, 8, 8))
    return model


def without_bias():
    first, second = nn.Linear(6, 5, bias=False), nn.Linear(5, 4, bias=False)
    return nn.Sequential(first, nn.Tanh(), second, nn.Tanh(), nn.Linear(4, 2))


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 5, bias=False), nn.Linear(5, 4)

    def forward(self, x):
        return self.b(torch.tanh(self.a(x)).mean(1))


UNIT = torch.rand(12, 6, generator=torch.Generator().manual_seed(0))
IMAGES = torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(1))
FEATURES = {
    "sigmoid and tanh": (lambda: logistic()[0], logistic()[1]),
    "gaussian": (lambda: nn.Sequential(nn.Linear(6, 5), nn.Sigmoid(), nn.Linear(5, 2)), 3 * UNIT - 5 + UNIT[:, :1]),
    "mapped": (lambda: nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2)), (4 * UNIT - 2).clamp(min=-1)),
    "without bias": (without_bias, 3 * UNIT - 1),
    "bare": (Bare, UNIT),
    "convolutions": (lambda: conv(padding=1), IMAGES),
    "strided": (lambda: conv(padding="same", dilation=2, bias=False), 2 * IMAGES - 1),
    "tokens": (Tokens, 3 * UNIT.reshape(4, 3, 6) - 2),
}


def following(model, x, learner):
    """What the written model has behind a layer's nonlinearity."""
    graph = fanin.trace(model, x, statistics=False).graph
    seen = {}
    node = learner.problem.layer.node
    activation = next(n for n in graph.nodes[node.id :] if n.op == learner.problem.layer.activation)
    order = [n.id for n in graph.nodes if n.op == activation.op].index(activation.id)

    class Watch(torch.overrides.TorchFunctionMode):
        calls = count()

        def __torch_function__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            if func.__name__ == activation.op and next(self.calls) == order:
                seen["out"] = out.detach()
            return out

    with torch.no_grad(), Watch():
        model(x)
    return seen["out"]


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize("case", FEATURES)
def test_the_units_of_the_network_are_those_that_were_trained(name, case):
    """Whatever change of variables a machine was trained in, it is undone exactly in weights and biases."""
    make, x = FEATURES[case]
    torch.manual_seed(1)
    model = make().eval()
    options = {"lr": 0.05, "patches": 1000, "std": 0.5} if name == "rbm" else {"lr": 0.05}
    recipe, learners = trained(SCHEMES[name](epochs=3, batch_size=4, **options), model, x)
    write(model, recipe, 0)
    assert {learner.problem.layer.name for learner in learners} == {
        n for n in trained_lines(recipe) if len(recipe.line(n).shape) > 1
    }
    index = torch.arange(len(x))
    for learner in learners:
        feature, kind = following(model, x, learner), learner.problem.layer.activation
        if name == "rbm":
            drive = learner.machine.drive(learner.rows(index, torch.Generator()))
            own = {"sigmoid": drive.sigmoid(), "tanh": 2 * drive.sigmoid() - 1, "relu": drive.relu()}[kind]
            # Patches come in a random order of places, samples in between.
            feature = feature.movedim(1, -1) if learner.problem.window else feature
            own, feature = own.sort(0)[0], feature.reshape(len(drive), -1).sort(0)[0]
        else:
            own = learner.encoded(learner.clean(index)).detach().reshape(feature.shape)
        assert torch.allclose(own, feature, atol=2e-5), learner.problem.layer.name
        raw = learner.machine.weight if name == "rbm" else learner.weight
        if learner.problem.units.words != "inputs in [0, 1]" and learner.problem.layer.before == "data":
            assert not torch.allclose(
                raw.flatten(), learner.found()[0].flatten(), atol=1e-4
            )  # twin: it was not trivial


@pytest.mark.parametrize("name", SCHEMES)
def test_inputs_are_those_of_the_real_model_with_the_weights_so_far(name):
    below = [nn.Linear(6, 8), nn.Sigmoid(), nn.Dropout(0.5), nn.BatchNorm1d(8)]
    model, x = nn.Sequential(*below, nn.Linear(8, 5), nn.Tanh(), nn.Linear(5, 2)), UNIT
    recipe, (_, second) = trained(SCHEMES[name](epochs=2), model, x)
    write(model, recipe, 0)
    model.eval()[3].train()
    with torch.no_grad():
        assert torch.allclose(second.problem.inputs[torch.arange(12)], model[:4](x), atol=1e-6)
        model.train()  # twin: with dropout they would be others
        assert not torch.allclose(second.problem.inputs[torch.arange(12)], model[:4](x), atol=1e-2)
    model[3].reset_running_stats()
    model[3].eval()  # as for a norm that shall stay as it is
    _, (_, second) = trained(SCHEMES[name](epochs=1), model, x)
    seen = second.problem.inputs[torch.arange(12)]
    assert seen.min() > 0  # sigmoid units through running statistics of 0 and 1
    assert seen.max() < 1


class Jumpy(nn.Module):
    """Draws, counts calls, updates a buffer, and raises at a call of its choice."""

    def __init__(self, fail: int = -1) -> None:
        super().__init__()
        self.net, self.norm, self.calls, self.fail = logistic()[0], nn.BatchNorm1d(12), [], fail
        self.drop = nn.Dropout(0.3)

    def forward(self, x):
        self.calls.append(len(x))
        if len(self.calls) == self.fail:
            raise RuntimeError("no more")
        x = self.drop(torch.sigmoid(self.norm(x))) + 1e-3 * torch.rand(()) * random.random() * np.random.rand()
        return self.net(x)


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize("how", ["finished", "model raised", "diverged", "interrupted"])
def test_the_model_and_every_generator_are_as_before(name, how, monkeypatch):
    model, x = Jumpy(3 if how == "model raised" else -1), logistic()[1].requires_grad_()
    model.net[0].weight.grad = torch.ones(9, 12)
    model.drop.eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    torch.manual_seed(3), np.random.seed(3), random.seed(3)
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    options = {"epochs": 3, "lr": 1e30 if how == "diverged" else 0.01}
    if name == "autoencoder":
        options |= {"optimizer": "sgd", "visible": "gaussian"}
    scheme = SCHEMES[name](**options)
    expected = {"model raised": TraceError, "diverged": PlanError, "interrupted": KeyboardInterrupt}
    if how == "interrupted":
        scheme.learner = raising(scheme.learner, 2, KeyboardInterrupt)
    if how == "finished":
        planned(scheme, model, x)
    else:
        with pytest.raises(expected[how]):
            planned(scheme, model, x)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert model.training
    assert not model.drop.training
    assert model.calls == []
    assert torch.equal(model.net[0].weight.grad, torch.ones(9, 12))
    assert all(p.requires_grad for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])
    assert random.getstate() == states[2]
    assert torch.is_grad_enabled()


def raising(make, at, error=RuntimeError):
    """Learners of which the ``at``-th update of all raises."""
    updates = count(1)

    def wrapped(*given):
        learner = make(*given)
        epoch = learner.epoch

        def watched(number, tick):
            def ticked():
                tick()
                if next(updates) == at:
                    raise error

            epoch(number, ticked)

        learner.epoch = watched
        return learner

    return wrapped


RESUMED = {
    "rbm": (lambda f: RBM(epochs=4, batch_size=5, lr=0.1, resume=f), logistic),
    "persistent": (
        lambda f: RBM(epochs=4, batch_size=5, k=2, persistent=True, sample_visible=True, resume=f),
        logistic,
    ),
    "autoencoder": (lambda f: Autoencoder(epochs=4, batch_size=5, resume=f), logistic),
    "convolutions": (lambda f: Autoencoder(epochs=4, batch_size=4, noise="gaussian", resume=f), pooled),
}


@pytest.mark.parametrize("at", [2, 6, 21])
@pytest.mark.parametrize("case", RESUMED)
def test_an_interrupted_run_goes_on_to_the_same_bits(case, at, tmp_path):
    """20 samples in batches of 5 are 4 updates an epoch, 16 a layer."""
    make, example = RESUMED[case]
    model, x, _ = example()
    whole = planned(make(None), model, x, seed=3)
    file = tmp_path / "state.pt"
    broken = make(file)
    broken.learner = raising(broken.learner, at, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        planned(broken, model, x, seed=3)
    again, epochs = make(file), []
    learner = again.learner
    again.learner = lambda *given: watched(learner(*given), epochs)
    assert planned(again, model, x, seed=3) == whole
    layers = 3 if case == "convolutions" else 2
    assert len(epochs) == 4 * layers - (at - 1) // 4  # twin: what was done is not done again
    epochs.clear()
    assert planned(again, model, x, seed=3) == whole
    assert epochs == []
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]


def watched(learner, epochs):
    epoch = learner.epoch
    learner.epoch = lambda number, tick: epochs.append(number) or epoch(number, tick)
    return learner


def test_without_momentum_or_particles_it_would_be_another_run(tmp_path, monkeypatch):
    """Twin of the above: a state that forgets something is noticed."""
    model, x, _ = logistic()
    whole = planned(RBM(epochs=4, batch_size=5), model, x)
    broken = RBM(epochs=4, batch_size=5, resume=tmp_path / "a")
    broken.learner = raising(broken.learner, 6)
    with pytest.raises(RuntimeError):
        planned(broken, model, x)
    kept = torch.load(tmp_path / "a", weights_only=True)
    kept["current"]["state"]["speed"] = [0 * part for part in kept["current"]["state"]["speed"]]
    torch.save(kept, tmp_path / "a")
    assert planned(RBM(epochs=4, batch_size=5, resume=tmp_path / "a"), model, x) != whole


def test_a_state_of_another_run_is_refused_and_stays(tmp_path):
    model, x, _ = logistic()
    file = tmp_path / "state.pt"
    planned(RBM(epochs=1, resume=file), model, x)
    bytes_before = file.read_bytes()
    wider = nn.Sequential(nn.Linear(12, 10), nn.Sigmoid(), nn.Linear(10, 7), nn.Tanh(), nn.Linear(7, 3))
    cases = [
        ("option epochs: 1 there, 2 here", RBM(epochs=2, resume=file), model, x, 0),
        ("option k: 1 there, 2 here", RBM(epochs=1, k=2, resume=file), model, x, 0),
        ("data: 20 samples, hash", RBM(epochs=1, resume=file), model, x + 1e-3, 0),
        ("seed: 0 there, 1 here", RBM(epochs=1, resume=file), model, x, 1),
        (r"layers: 0.weight \(9, 12\)", RBM(epochs=1, resume=file), wider, x, 0),
        ("scheme: rbm there, autoencoder here", Autoencoder(epochs=1, resume=file), model, x, 0),
    ]
    for text, scheme, network, inputs, seed in cases:
        with pytest.raises(InputError, match=text):
            planned(scheme, network, inputs, seed=seed)
    assert file.read_bytes() == bytes_before
    file.write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match="a new file, or one that such a run wrote"):
        planned(RBM(epochs=1, resume=file), model, x)
    with pytest.raises(InputError, match="a folder that exists"):
        planned(RBM(epochs=1, resume=tmp_path / "no" / "state"), model, x)


def test_all_forms_of_data_give_the_same_weights():
    model, x, _ = logistic()
    more = torch.cat([x, 1 - x, x.flip(0)])
    whole = planned(RBM(data=more, epochs=2), model, x[:4])
    labels = torch.zeros(60, dtype=torch.long)
    dataset = Dataset("mine", more.numpy(), labels.numpy())
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(more, labels), batch_size=7)
    for data in (more.double().numpy(), (more, labels), dataset, loader, [more[:30], more[30:]]):
        assert planned(RBM(data=data, epochs=2), model, x[:4]) == whole
    assert planned(RBM(epochs=2), model, x) != whole  # twin: the batch alone
    assert "60 samples" in whole.line("0.weight").reason

    class Keyword(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = model

        def forward(self, *, pixels, scale):
            return {"logits": self.net(pixels * scale)}

    inputs = {"pixels": x[:4], "scale": 1.0}
    data = {"pixels": more.numpy(), "scale": 1.0}
    named = planned(RBM(data=data, epochs=2), Keyword(), inputs)
    assert named.line("net.0.weight").reason == whole.line("0.weight").reason


@pytest.mark.parametrize(
    ("data", "error", "text"),
    [
        (torch.zeros(5, 3, 4), InputError, r"samples of shape \(3, 4\).*expected \(12,\)"),
        (torch.zeros(0, 12), DataError, "no sample"),
        ([], DataError, "no sample"),
        (iter([]), DataError, "no batch"),
        (7, InputError, "data.*int.*iterable of batches"),
        ([torch.zeros(2, 12), torch.zeros(2, 11)], DataError, "do not fit together"),
        (["text"], DataError, "expected arrays or tensors"),
    ],
)
def test_unusable_data_are_refused(data, error, text):
    model, x, _ = logistic()
    with pytest.raises(error, match=text):
        planned(RBM(data=data, epochs=1), model, x)


@pytest.mark.parametrize("name", SCHEMES)
def test_the_seed_alone_decides(name):
    model, x, _ = logistic()
    torch.manual_seed(5)
    first = planned(SCHEMES[name](epochs=2), model, x, seed=1)
    torch.manual_seed(6)
    assert planned(SCHEMES[name](epochs=2), model, x, seed=1) == first
    assert planned(SCHEMES[name](epochs=2), model, x, seed=2) != first


@pytest.mark.parametrize("name", SCHEMES)
def test_inputs_too_large_to_keep_are_computed_again(name, monkeypatch):
    model, x = conv(padding=1), IMAGES
    kept = planned(SCHEMES[name](epochs=2, batch_size=5), model, x)
    monkeypatch.setattr(_greedy_inputs, "_HELD", 0)
    again = planned(SCHEMES[name](epochs=2, batch_size=5), model, x)
    for line in kept.lines:
        if isinstance(line.initializer, Values):
            # The model's own layers see batches of another size: sums in another order.
            assert np.allclose(line.initializer.array, again[line.name].array, atol=1e-4), line.name


def test_what_cannot_be_trained_is_left_and_named():
    model, x = ResNet(1, norm=False), batch(6, 3, 8, 8)
    recipe = planned(Autoencoder(epochs=1), model, x)
    assert trained_lines(recipe) == {"branches.0.0.weight", "branches.1.0.weight"}
    note = next(note for note in recipe.notes if note.startswith("Not pre-trained"))
    assert "branches.0.3.weight (its output is added to another signal before the nonlinearity)" in note
    assert "out.weight" not in note

    twice = nn.Linear(12, 12)
    recurrent = nn.Sequential(twice, nn.Tanh(), twice, nn.Tanh(), nn.Linear(12, 2))
    with pytest.raises(PlanError, match=r"looked for linear or convolution maps.*0\.weight \(used more than once\)"):
        planned(RBM(epochs=1), recurrent, logistic()[1])
    tokens = Transformer(1)
    found = planned(Autoencoder(epochs=1), tokens, torch.arange(24).reshape(4, 6) % 19)
    assert trained_lines(found) == {"blocks.0.e.weight", "blocks.0.e.bias"}


def test_frozen_kept_and_given_parameters_stay_and_are_used():
    model, x, _ = logistic()
    model[0].requires_grad_(False)
    recipe, (learner,) = trained(RBM(epochs=1), model, x, overrides={"2.bias": Normal(std=0.5)})
    assert learner.problem.layer.name == "2.weight"
    expected = torch.sigmoid(model[0](x)).detach()
    assert torch.allclose(learner.problem.inputs[torch.arange(20)], expected, atol=1e-6)
    given = model[2].bias.detach().clone()
    write(model, recipe, 0)
    assert isinstance(recipe["2.bias"], Normal)
    assert not torch.equal(model[2].bias, given)
    assert torch.allclose(learner.machine.hidden_bias, 2 * model[2].bias)  # tanh(z): a machine of 2z
    feature = torch.tanh(model[2](expected))
    assert torch.allclose(2 * learner.machine.drive(expected).sigmoid() - 1, feature, atol=1e-6)
    with pytest.raises(PlanError, match="only some that shall be left"):
        planned(RBM(epochs=1), model, x, only=["4.*"])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", SCHEMES)
def test_other_precisions(name, dtype):
    model, x, _ = logistic()
    recipe = planned(SCHEMES[name](epochs=2), model.to(dtype), x.to(dtype))
    write(model, recipe, 0)
    assert model(x.to(dtype)).isfinite().all()
    assert recipe["0.weight"].array.shape == (9, 12)


def test_all_else_is_the_base_scheme():
    model, x, _ = logistic()
    auto, glorot = planned(RBM(epochs=1), model, x), planned(RBM(epochs=1, base="glorot"), model, x)
    assert glorot["4.weight"] == planned("glorot", model, x)["4.weight"]
    assert auto["4.weight"] != glorot["4.weight"]
    assert auto["0.weight"] == glorot["0.weight"]


def test_a_bar_on_request_counts_every_update(monkeypatch, tmp_path):
    seen = []

    class Bar(Progress):
        def add_task(self, description, **options):
            seen.append(-options["total"])
            return super().add_task(description, **options)

        def update(self, task, **options):
            seen.append(options["advance"])
            texts.add(options["description"])
            super().update(task, **options)

    monkeypatch.setattr("rich.progress.Progress", Bar)
    model, x, _ = logistic()
    texts = set()
    planned(RBM(epochs=2, batch_size=7, progress=False), model, x)
    assert seen == []
    planned(RBM(epochs=2, batch_size=7, progress=True, resume=tmp_path / "a"), model, x)
    assert (seen[0], sum(seen)) == (-12, 0)  # three updates an epoch, two layers
    assert texts == {f"{name}, epoch {number} of 2" for name in ("0.weight", "2.weight") for number in (1, 2)}
    seen.clear()
    planned(RBM(epochs=2, batch_size=7, progress=True, resume=tmp_path / "a"), model, x)
    assert seen == [-12, 6, 6]


def test_a_pre_trained_recipe_survives_json_and_is_what_is_written():
    model, x, _ = logistic()
    recipe = fanin.init_(model, x, scheme="autoencoder", epochs=1, seed=4)
    assert type(recipe).from_json(recipe.to_json()) == recipe
    assert np.array_equal(recipe["0.weight"].array, model[0].weight.detach().numpy())
