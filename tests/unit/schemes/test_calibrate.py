"""auto on a batch: the scale of inputs, heads, norm-free residual networks, targets, gates of recurrent layers."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import fanin
from fanin.initializers import Blocks, ChronoBias, Zeros

GENERATOR = torch.Generator().manual_seed(0)


def mlp(inputs=20, outputs=4):
    return nn.Sequential(nn.Linear(inputs, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, outputs))


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.a, self.b = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x):
        return torch.relu(x + self.b(torch.relu(self.a(x))))


class ResNet(nn.Module):
    def __init__(self, blocks=6, width=12, norm=False):
        super().__init__()
        self.stem, self.head = nn.Conv2d(1, width, 3, padding=1), nn.Linear(width, 4)
        self.norm = nn.BatchNorm2d(width) if norm else nn.Identity()
        self.blocks = nn.Sequential(*(Block(width) for _ in range(blocks)))

    def forward(self, x):
        return self.head(self.blocks(torch.relu(self.norm(self.stem(x)))).mean((2, 3)))


def written(model, x, y=None, seed=0, **options):
    recipe = fanin.plan(model, x, y, seed=seed, **options)
    fanin.materialize(model, recipe, seed=seed)
    return recipe


@pytest.mark.parametrize("scale", [1e-3, 1.0, 100.0])
def test_the_scale_of_the_inputs_is_found(scale):
    x = scale * torch.randn(256, 20, generator=GENERATOR)
    model = mlp()
    recipe = written(model, x)
    rms = model[0](x).detach().square().mean().sqrt().item()
    assert rms == pytest.approx(math.sqrt(2), rel=0.3)  # He's gain on inputs of unit scale
    assert ("divided by it" in recipe.line("0.weight").reason) == (scale != 1)
    plain = written(mlp_ := mlp(), x, calibrate=False)  # twin
    assert "divided" not in plain.line("0.weight").reason
    assert scale == 1 or mlp_[0](x).detach().std().item() != pytest.approx(math.sqrt(2), rel=0.3)


def test_heads_tell_samples_apart():
    x = 3 + 0.1 * torch.randn(256, 20, generator=GENERATOR)  # mostly what all samples have in common
    model = mlp()
    written(model, x)
    out = model(x).detach()
    assert out.std(0, correction=0).tolist() == pytest.approx([0.25] * 4, rel=1e-3)
    assert out.mean(0).tolist() == pytest.approx([0] * 4, abs=1e-4)
    written(model, x, calibrate=False)  # twin
    assert model(x).std(0).max() < 0.1


def test_norm_free_residual_networks_are_centred_channel_by_channel():
    x, model = torch.rand(32, 1, 10, 10, generator=GENERATOR), ResNet()
    recipe = written(model, x)
    seen = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda m, i, o, name=name: seen.setdefault(name, o.detach()))
    model(x)
    for name, out in seen.items():
        goal = 1 / math.sqrt(6) if name.endswith(".b") else 1.0
        assert out.mean((0, 2, 3)).abs().max() < 1e-4
        assert out.std((0, 2, 3), correction=0).tolist() == pytest.approx([goal] * 12, rel=1e-3)
    assert fanin.plan(model, x, seed=1) != recipe  # the factors belong to the seed
    normed = fanin.plan(ResNet(norm=True), x)  # twin: a norm centres by itself
    assert "−μ/σ" not in normed.line("blocks.0.a.bias").reason


def test_nothing_is_measured_where_norms_tell_the_scale():
    model = nn.Sequential(nn.LayerNorm(20), nn.Linear(20, 64), nn.GELU(), nn.LayerNorm(64), nn.Linear(64, 4))
    recipe = fanin.plan(model, torch.randn(8, 20))
    assert recipe == fanin.plan(model, torch.randn(8, 20), calibrate=False)


def test_a_batch_that_tells_nothing_is_said_so():
    recipe = fanin.plan(mlp(), torch.zeros(8, 20))
    assert any("do not vary" in note for note in recipe.notes)
    fanin.materialize(mlp(), recipe)


def test_the_plan_leaves_the_model_alone():
    model, x = ResNet(norm=True), torch.rand(8, 1, 10, 10)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    fanin.plan(model, x)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())


def bias_of(target, outputs=4, loss_free=True):
    model = nn.Sequential(nn.Linear(20, 32), nn.Tanh(), nn.Linear(32, outputs))
    x = torch.randn(len(target), 20, generator=GENERATOR)
    recipe = fanin.plan(model, x, target, calibrate=False)
    return recipe.line("2.bias"), recipe


def test_the_head_starts_at_the_class_prior():
    target = torch.tensor([0] * 700 + [1] * 200 + [2] * 100 + [-100] * 50)
    line, _ = bias_of(target)
    shares = torch.tensor([701, 201, 101, 1]) / 1004
    assert line.initializer.config["probabilities"] == pytest.approx(shares.tolist())
    even, _ = bias_of(torch.arange(1000) % 4)  # twin: even shares need no bias
    assert even.initializer == Zeros()
    chance, _ = bias_of(torch.randint(0, 4, (1000,), generator=GENERATOR))
    assert chance.initializer == Zeros()


def test_the_head_starts_at_the_share_of_positives_and_at_means():
    rare = (torch.arange(1000) % 50 == 0).float().reshape(-1, 1)
    line, _ = bias_of(rare, outputs=1)
    assert line.initializer.config["probability"] == pytest.approx(21 / 1002)
    shifted, _ = bias_of(torch.randn(500, 4, generator=GENERATOR) + torch.tensor([5.0, 0, 0, -3]))
    assert shifted.initializer.array == pytest.approx([5, 0, 0, -3], abs=0.3)
    centred, _ = bias_of(torch.randn(500, 4, generator=GENERATOR))
    assert centred.initializer == Zeros()


def test_measured_and_asked_bias_add_up():
    target, x = torch.tensor([0] * 200 + [1] * 40 + [2] * 10 + [3] * 6), 2 + torch.randn(256, 20, generator=GENERATOR)
    model = mlp()
    written(model, x, target)
    shares = torch.tensor([201, 41, 11, 7]) / 260
    assert model(x).detach().mean(0).tolist() == pytest.approx(shares.log().tolist(), abs=1e-3)


class Recurrent(nn.Module):
    def __init__(self, cell, read):
        super().__init__()
        self.cell, self.head, self.read = getattr(nn, cell)(3, 8, batch_first=True), nn.Linear(8, 2), read

    def forward(self, x):
        out, state = self.cell(x)
        ways = {
            "last": lambda: out[:, -1],
            "state": lambda: (state[0] if isinstance(state, tuple) else state)[-1],
            "tail": lambda: out[:, -5:],
            "all": lambda: out,
            "mean": lambda: out.mean(1),
            "half": lambda: out[:, -15:],
            "first": lambda: out[:, 0],
        }
        return self.head(ways[self.read]())


@pytest.mark.parametrize("cell", ["LSTM", "GRU"])
@pytest.mark.parametrize("read", ["last", "state", "tail", "all", "mean", "half", "first"])
def test_gates_remember_the_sequence_where_only_its_end_is_read(cell, read):
    law = fanin.plan(Recurrent(cell, read), torch.randn(4, 30, 3))["cell.bias_ih_l0"]
    if read in ("last", "state", "tail"):
        assert law == ChronoBias(30, cell.lower())
    else:
        assert isinstance(law, Blocks if cell == "LSTM" else Zeros)
    if read == "last":
        assert not isinstance(fanin.plan(Recurrent(cell, read), torch.randn(4, 4, 3))["cell.bias_ih_l0"], ChronoBias)
