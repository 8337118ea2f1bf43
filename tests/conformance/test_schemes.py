"""Every scheme: each parameter planned or kept with a reason, nothing written until asked, JSON, options, refusals."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import nn

import fanin.schemes as package
from fanin.errors import InputError, PlanError, UnknownNameError
from fanin.initializers import Normal
from fanin.materialize import write
from fanin.recipe import Recipe
from fanin.schemes import REGISTRY, names, plan
from fanin.slots import find
from fanin.trace import trace


class Mixed(nn.Module):
    """One of each kind, with a tie, a frozen map and a learned multiplier."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(11, 8, padding_idx=0)
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True, add_bias_kv=True)
        self.norm, self.scale = nn.LayerNorm(8), nn.Parameter(torch.full((8,), 1e-4))
        self.lstm = nn.LSTM(8, 8, batch_first=True)
        self.conv = nn.Conv1d(8, 8, 3, padding=1, groups=2)
        self.up = nn.ConvTranspose1d(8, 4, 2, stride=2)
        self.bilinear, self.prelu = nn.Bilinear(4, 4, 8), nn.PReLU()
        self.frozen = nn.Linear(8, 8).requires_grad_(False)
        self.wn = nn.utils.parametrizations.weight_norm(nn.Linear(8, 8))
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.table.weight

    def forward(self, i):
        x = self.norm(self.table(i))
        x = x + self.scale * self.attend(x, x, x, need_weights=False)[0]
        x = self.lstm(x)[0]
        y = self.up(self.prelu(self.conv(x.transpose(1, 2)))).transpose(1, 2)
        return self.head(torch.tanh(self.wn(self.frozen(self.bilinear(y, y)))))


IDS = torch.randint(1, 11, (3, 5), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def traced():
    model = Mixed()
    return model, trace(model, IDS).graph


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("with_graph", [False, True])
def test_every_parameter_is_planned_or_kept_and_the_model_is_untouched(traced, name, with_graph):
    model, graph = traced
    graph = graph if with_graph else None
    before = {key: value.clone() for key, value in model.state_dict().items()}
    slots = find(model, graph)
    # Without a run nobody can know what a bare parameter does; the caller then says so.
    recipe = plan(name, slots, graph, keep=[] if with_graph else ["scale"])
    covered = [*recipe, *(kept.name for kept in recipe.kept)]
    assert sorted(covered) == sorted(slots)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert {"frozen.weight", "frozen.bias", "scale"} <= {kept.name for kept in recipe.kept}
    for line in recipe.lines:
        assert re.search(r"\w", line.reason)
        assert "\n" not in line.reason
        assert line.shape == slots[line.name].shape
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert recipe.line("table.weight").zero_rows == (0,)


@pytest.mark.parametrize("name", names())
def test_a_plan_can_be_written_and_starts_finite(traced, name):
    _, graph = traced
    model = Mixed()
    recipe = plan(name, find(model, graph), graph)
    write(model, recipe, seed=1)
    assert all(value.isfinite().all() for value in model.state_dict().values())
    assert model.head.weight is model.table.weight
    assert model(IDS).isfinite().all()


@pytest.mark.parametrize("name", names())
def test_options_are_checked(name):
    slots = find(nn.Linear(2, 2))
    with pytest.raises(InputError, match="no_such_option"):
        plan(name, slots, no_such_option=1)
    for argument in ("overrides", "keep", "only"):
        value = {"wieght": Normal()} if argument == "overrides" else ["wieght"]
        with pytest.raises(InputError, match="near: weight"):
            plan(name, slots, **{argument: value})


@pytest.mark.parametrize("name", [name for name in names() if name != "torch"])
def test_an_unknown_parameter_stops_the_plan(name):
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(torch.zeros(8, 8))

    with pytest.raises(PlanError, match=r"table \(8, 8\) in Bare[\s\S]*pass inputs[\s\S]*overrides=[\s\S]*keep=\["):
        plan(name, find(Bare()))
    # twins: each of the named ways goes on
    assert list(plan(name, find(Bare()), overrides={"table": Normal(std=0.1)})) == ["table"]
    assert [kept.name for kept in plan(name, find(Bare()), keep=["table"]).kept] == ["table"]


def test_each_scheme_has_its_file_and_says_what_it_is():
    folder = Path(package.__file__).parent
    plugins = {p.stem for p in folder.glob("*.py") if not p.stem.startswith("_")}
    assert {cls.__module__.rpartition(".")[2] for cls in REGISTRY.values()} == plugins
    for cls in REGISTRY.values():
        assert cls.title
        assert cls.source
        assert "Source:" in (cls.__doc__ or "")


def test_unknown_names_list_the_known_ones():
    with pytest.raises(UnknownNameError, match="glorot"):
        plan("glorat", find(nn.Linear(2, 2)))
