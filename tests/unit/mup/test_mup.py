"""μP: roles from two widths, variances and rates of the paper, and the coordinate check that they exist for."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import fanin.mup as mup
from fanin.errors import InputError
from fanin.initializers import Zeros
from fanin.materialize import write
from fanin.schemes import plan
from fanin.slots import find


def net(width, depth=2):
    hidden = [part for _ in range(depth) for part in (nn.Linear(width, width), nn.ReLU())]
    return nn.Sequential(nn.Linear(8, width), nn.ReLU(), *hidden, nn.Linear(width, 3))


def test_roles_come_from_the_axes_that_grow():
    found = mup.scalings(find(net(256)), net(64))
    assert {name: s.role for name, s in found.items() if name.endswith("weight")} == {
        "0.weight": "input",
        "2.weight": "hidden",
        "4.weight": "hidden",
        "6.weight": "output",
    }
    assert found["2.weight"].wider == 4
    assert (found["2.weight"].rate("adam"), found["6.weight"].rate("adam")) == (0.25, 0.25)
    assert (found["0.weight"].rate("sgd"), found["2.weight"].rate("sgd"), found["6.weight"].rate("sgd")) == (4, 1, 0.25)
    assert (found["0.bias"].rate("adam"), found["0.bias"].rate("sgd")) == (1, 4)


def test_every_trainable_parameter_is_in_one_group():
    model = net(32)
    model[2].weight.requires_grad_(False)
    groups = mup.param_groups(model, base=net(16), lr=0.1, weight_decay=0.01)
    grouped = [id(p) for group in groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters() if p.requires_grad)
    for group in groups:
        if group["role"] != "vector":
            assert group["lr"] * group["weight_decay"] == pytest.approx(0.001)  # decoupled decay is kept
        else:
            assert group["weight_decay"] == 0
    torch.optim.AdamW(groups)


def test_the_start():
    model = net(256)
    recipe = plan("mup", find(model), base=net(64))
    for name, std in (("0.weight", 8**-0.5), ("2.weight", 256**-0.5), ("6.weight", 64**0.5 / 256)):
        assert recipe.line(name).std == pytest.approx(std)
    alone = plan("mup", find(model))
    assert alone.line("2.weight").std == pytest.approx(256**-0.5)
    assert alone.line("6.weight").std == pytest.approx(1 / 256)
    assert plan("mup", find(model), zero_head=True)["6.weight"] == Zeros()
    assert "param_groups" in recipe.notes[0]


def test_coordinate_check():
    """A few steps of Adam move the outputs of a 16 times wider model as far; with one rate for all, farther."""

    def moved(width, parametrized):
        model, base = net(width), net(32)
        x = torch.randn(64, 8, generator=torch.Generator().manual_seed(1))
        y = torch.arange(64) % 3
        write(model, plan("mup" if parametrized else "he", find(model), **({"base": base} if parametrized else {})))
        groups = mup.param_groups(model, base=base, lr=1e-3) if parametrized else model.parameters()
        optimizer = torch.optim.Adam(groups, lr=1e-3)
        before = model(x).detach()
        for _ in range(4):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        return float((model(x).detach() - before).square().mean().sqrt())

    assert 0.5 < moved(512, True) / moved(32, True) < 2
    assert moved(512, False) / moved(32, False) > 4  # twin


@pytest.mark.parametrize(
    "options",
    [
        {"lr": 0.0},
        {"lr": True},
        {"optimizer": "sgdm"},
        {"weight_decay": -1},
        {"base": 64},
        {"base": {"0.weight": (3,)}},
    ],
)
def test_arguments_are_validated(options):
    arguments = {"base": net(16), "lr": 0.1, **options}
    with pytest.raises(InputError, match=next(iter(options))):
        mup.param_groups(net(32), **arguments)


def test_a_parameter_of_unknown_use_asks_for_inputs():
    class Bare(nn.Module):
        def __init__(self, width) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.ones(8, width))

        def forward(self, x):
            return x @ self.w

    with pytest.raises(InputError, match="inputs="):
        mup.param_groups(Bare(8), base=Bare(4), lr=0.1)
    (group,) = mup.param_groups(Bare(8), base=Bare(4), lr=0.1, inputs=torch.ones(2, 8))
    assert group["role"] == "input"
    assert math.isclose(group["lr"], 0.1)
