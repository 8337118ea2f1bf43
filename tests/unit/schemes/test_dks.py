"""dks: a deep plain network keeps second moments and correlations as predicted; residual streams; refusals; undo."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

import fanin
from fanin import theory
from fanin.errors import PlanError
from fanin.schemes._shaped import ShapedActivation
from fanin.slots import find
from fanin.theory.activations import Shaped
from fanin.trace import trace

DEPTH, WIDTH, PAIRS = 50, 256, 64


def plain(activation, depth=DEPTH, width=WIDTH, outside=64):
    layers = [part for _ in range(depth) for part in (activation(), nn.Linear(width, width))]
    return nn.Sequential(nn.Linear(outside, width), *layers)


def pairs(correlation, size=64):
    """Rows i and i + PAIRS have unit second moment and this correlation, exactly."""
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, PAIRS, size, generator=generator, dtype=torch.float64)
    a = a / a.square().mean(1, keepdim=True).sqrt()
    b = b - (a * b).mean(1, keepdim=True) * a
    b = b / b.square().mean(1, keepdim=True).sqrt()
    return torch.cat([a, correlation * a + (1 - correlation**2) ** 0.5 * b]).float()


def kernel(model, correlation):
    """Second moment of the output, and the correlation of pairs with its standard error over the pairs."""
    with torch.no_grad():
        y = model(pairs(correlation))
    each = nn.functional.cosine_similarity(y[:PAIRS], y[PAIRS:])
    return float(y.square().mean()), float(each.mean()), float(each.std()) / PAIRS**0.5


@pytest.mark.parametrize(("activation", "name"), [(nn.Tanh, "tanh"), (nn.SiLU, "silu")])
def test_a_plain_network_of_fifty_layers_keeps_its_kernel(activation, name):
    model = plain(activation)
    rewired = fanin.rewire_(model, pairs(0.0), scheme="dks")
    assert len(rewired.changes) == DEPTH
    fanin.init_(model, pairs(0.0), scheme="dks", seed=1)
    shaping = theory.dks(name, DEPTH)
    for start in (0.0, 0.5, 0.9):
        expected = start
        for _ in range(DEPTH):
            expected = shaping.correlation(expected)
        q, found, error = kernel(model, start)
        # Orthogonal maps keep kernels exactly; the curved part, a share 1.5^(1/50) − 1 of each layer, errs by 1/√width.
        spread = (DEPTH * (1.5 ** (1 / DEPTH) - 1)) ** 0.5 / WIDTH**0.5
        assert abs(q - 1) < 5 * spread
        assert abs(found - expected) < 5 * error + spread
    rewired.undo()
    q, _, _ = kernel(model, 0.0)
    assert q < 0.1  # twin: the same weights without the shaped functions


def test_predictions_of_the_rewired_model_are_what_is_measured():
    model = plain(nn.GELU, depth=12)
    fanin.rewire_(model, pairs(0.0), scheme="dks")
    fanin.init_(model, pairs(0.0), scheme="dks")
    measured = {s.place: s for s in trace(model, pairs(0.0)).signals if s.direction == "forward"}
    predicted = [s for s in theory.predict(model, pairs(0.0)) if s.direction == "forward"]
    assert len(predicted) > 20
    for signal in predicted:
        assert abs(signal.second_moment / measured[signal.place].second_moment - 1) < 0.15
        assert abs(signal.second_moment - 1) < 0.15
    assert not [f for f in fanin.check(model, pairs(0.0)).findings if f.severity == "error"]
    slot = find(model, trace(model, pairs(0.0), statistics=False).graph)["2.weight"]
    assert slot.nonlinearity == "shaped"
    assert slot.nonlinearity_args["base"] == "gelu"


class Residual(nn.Module):
    def __init__(self, blocks=6, width=WIDTH):
        super().__init__()
        self.stem = nn.Linear(64, width)
        self.branches = nn.ModuleList(
            nn.Sequential(nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, width)) for _ in range(blocks)
        )
        self.act, self.head = nn.Tanh(), nn.Linear(width, 10)

    def forward(self, x):
        x = self.stem(x)
        for branch in self.branches:
            x = x + branch(x)
        return self.head(self.act(x))


def test_residual_streams_are_normalised_where_they_are_read():
    model, x = Residual(), pairs(0.0)
    rewired = fanin.rewire_(model, x, scheme="dks")
    fanin.init_(model, x, scheme="dks")
    inside = model.branches[0][0].input_scale
    for index, branch in enumerate(model.branches):
        assert abs(branch[0].input_scale * (index + 1) ** 0.5 / inside - 1) < 1e-9
        assert abs(branch[2].input_scale / inside - 1) < 1e-9
    # Block l adds a share 1/(l + 2) of slope ψ² beside a skip of slope 1. The steepest subnetwork ends in the last
    # branch, before its sum: the first blocks, then ψ².
    scale, shift, offset, gain = inside, model.act.input_shift, model.act.output_shift, model.act.output_scale
    psi = theory.moments(Shaped("tanh", scale, shift, offset, gain)).derivative_second_moment
    before = 1.0
    for index in range(len(model.branches) - 1):
        before *= (index + 1 + psi**2) / (index + 2)
    last = before * (len(model.branches) + psi**2) / (len(model.branches) + 1)
    assert last * psi < before * psi**2
    assert abs(before * psi**2 - 1.5) < 1e-6
    streams = []
    handles = [branch.register_forward_hook(lambda _m, args, _o: streams.append(args[0])) for branch in model.branches]
    with torch.no_grad():
        model(x)
    for handle in handles:
        handle.remove()
    for index, stream in enumerate(streams):
        assert abs(float(stream.square().mean()) / (index + 1) - 1) < 0.15
    rewired.undo()
    assert not any(isinstance(part, ShapedActivation) for part in model.modules())


def test_inputs_of_another_scale_are_met_by_the_first_map():
    model, x = plain(nn.Tanh, depth=3), 0.1 * pairs(0.0)
    fanin.rewire_(model, x, scheme="dks")
    recipe = fanin.init_(model, x, scheme="dks")
    assert "gain 10 for inputs of second moment 0.01" in recipe.line("0.weight").reason
    with torch.no_grad():
        assert abs(float(model(x).square().mean()) - 1) < 0.1


def test_convolutions_have_delta_weights_and_unit_signals():
    layers = [part for _ in range(10) for part in (nn.Tanh(), nn.Conv2d(32, 32, 3, padding=1))]
    model = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), *layers)
    x = torch.randn(8, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    fanin.rewire_(model, x, scheme="dks")
    recipe = fanin.init_(model, x, scheme="dks")
    assert "SUO-delta" in recipe.line("2.weight").reason
    with torch.no_grad():
        # ten layers, each curved by a share 1.5^(1/10) − 1, of 32 channels
        assert abs(float(model(x).square().mean()) - 1) < 3 * (10 * (1.5**0.1 - 1) / 32) ** 0.5
    assert not model[2].weight[:, :, 0, 0].any()


def test_a_rewired_model_copies_pickles_and_computes_in_16_bits():
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(inplace=True), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 8))
    x = pairs(0.0)
    names = list(model.state_dict())
    fanin.rewire_(model, x, scheme="dks", zeta=1.2)
    fanin.init_(model, x, scheme="dks")
    assert list(model.state_dict()) == names
    wanted = model(x).detach()
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(twin(x), wanted)
    narrow = copy.deepcopy(model).bfloat16()(x.bfloat16()).detach()
    assert narrow.dtype is torch.bfloat16
    assert float((narrow.float() - wanted).abs().mean()) < 0.05
    # nothing is left to change, and a plan says so
    assert fanin.rewire_(model, x, scheme="dks").changes == ()
    assert not any("rewire_" in note for note in fanin.plan(model, x, scheme="dks").notes)


def test_a_plan_for_a_model_that_is_not_rewired_says_what_is_missing():
    recipe = fanin.plan(plain(nn.Tanh, depth=3), pairs(0.0), scheme="dks")
    assert any("3 plain activations (tanh)" in note and "rewire_" in note for note in recipe.notes)


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(64, 8), nn.Linear(8, 8)

    def forward(self, x):
        return self.b(torch.relu(self.a(x)))


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.act = nn.Linear(64, 8), nn.Linear(8, 8), nn.Linear(8, 8), nn.Tanh()

    def forward(self, x):
        x = self.a(x)
        return self.c(self.act(x + self.b(self.act(x))))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Functional(), r"relu at '.*', in Functional: called as a function[\s\S]*self\.act = nn\.ReLU\(\)"),
        (Shared(), r"act is called 2 times, on signals of second moment 1, 2"),
        (nn.Sequential(nn.Linear(64, 8), nn.PReLU(), nn.Linear(8, 8)), r"slope is trained; use nn\.LeakyReLU"),
        (nn.Sequential(nn.Linear(64, 8), nn.Hardtanh(), nn.Linear(8, 8)), r"hardtanh at '1'[\s\S]*smaller zeta"),
        (nn.Linear(64, 8), r"looked for linear maps with activations after them; found none"),
    ],
    ids=["function", "shared", "learned", "unsolvable", "linear"],
)
def test_refusals_leave_the_model_alone(model, words):
    before = [(path, type(part)) for path, part in model.named_modules()]
    with pytest.raises(PlanError, match=words):
        fanin.rewire_(model, pairs(0.0), scheme="dks", zeta=1.05)
    assert [(path, type(part)) for path, part in model.named_modules()] == before


def test_an_output_activation_is_not_touched():
    model = nn.Sequential(nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 8), nn.Sigmoid())
    assert [change.where for change in fanin.rewire_(model, pairs(0.0), scheme="dks", zeta=1.2).changes] == ["1"]
    assert isinstance(model[3], nn.Sigmoid)
