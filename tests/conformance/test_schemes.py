"""Every scheme: each parameter planned or kept with a reason, nothing written until asked, JSON, options, refusals."""

from __future__ import annotations

import importlib.util
import json
import math
import re
from functools import cache
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


def case(name):
    """A model that the scheme fits, its inputs and targets."""
    example = REGISTRY[name].example()
    return example if example is not None else (Mixed(), IDS, None)


@cache
def traced(name):
    model, inputs, target = case(name)
    return model, trace(model, inputs, statistics=False).graph, inputs, target


def planned(name, model, graph, inputs, target, **options):
    return plan(name, find(model, graph), graph, target=target, model=model, inputs=inputs, **options)


@pytest.mark.parametrize("name", names())
def test_every_parameter_is_planned_or_kept_and_the_model_is_untouched(name):
    model, graph, inputs, target = traced(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    recipe = planned(name, model, graph, inputs, target)
    slots = find(model, graph)
    covered = [*recipe, *(kept.name for kept in recipe.kept)]
    assert sorted(covered) == sorted(slots)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    for line in recipe.lines:
        assert re.search(r"\w", line.reason)
        assert "\n" not in line.reason
        assert line.shape == slots[line.name].shape
        assert math.isfinite(line.std)
    assert Recipe.from_json(json.dumps(recipe.to_json(), allow_nan=False)) == recipe


@pytest.mark.parametrize("name", [name for name in names() if REGISTRY[name].example() is None])
@pytest.mark.parametrize("with_graph", [False, True])
def test_schemes_for_any_model(name, with_graph):
    model, graph, inputs, target = traced(name)
    graph = graph if with_graph else None
    # Without a run nobody can know what a bare parameter does; the caller then says so.
    recipe = planned(name, model, graph, inputs, target, keep=[] if with_graph else ["scale"])
    assert sorted([*recipe, *(kept.name for kept in recipe.kept)]) == sorted(find(model, graph))
    assert {"frozen.weight", "frozen.bias", "scale"} <= {kept.name for kept in recipe.kept}
    assert recipe.line("table.weight").zero_rows == (0,)


@pytest.mark.parametrize("name", names())
def test_a_plan_can_be_written_and_starts_finite(name):
    _, graph, inputs, target = traced(name)
    model = case(name)[0]
    ties = {key: id(value) for key, value in model.named_parameters(remove_duplicate=False)}
    write(model, planned(name, model, graph, inputs, target), seed=1)
    assert all(value.isfinite().all() for value in model.state_dict().values())
    assert {key: id(value) for key, value in model.named_parameters(remove_duplicate=False)} == ties
    out = model(*inputs) if isinstance(inputs, tuple) else model(inputs)
    assert all(part.isfinite().all() for part in (out if isinstance(out, tuple) else (out,)))


@pytest.mark.parametrize("name", names())
def test_options_are_checked(name):
    model, graph, inputs, target = traced(name)
    with pytest.raises(InputError, match="no_such_option"):
        plan(name, find(model, graph), graph, no_such_option=1)
    weight = next(slot.name for slot in find(model, graph).values() if slot.role == "weight")
    wrong = weight[:-1]
    for argument in ("overrides", "keep", "only"):
        value = {wrong: Normal()} if argument == "overrides" else [wrong]
        with pytest.raises(InputError, match=rf"near: .*{re.escape(weight)}"):
            planned(name, model, graph, inputs, target, **{argument: value})


@pytest.mark.parametrize(
    "name", [n for n in names() if n != "torch" and not REGISTRY[n].needs and REGISTRY[n].example() is None]
)
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


@pytest.mark.parametrize("name", [name for name in names() if REGISTRY[name].looks_for])
def test_a_scheme_that_does_not_fit_says_what_it_looked_for(name):
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.ones(4))

        def forward(self, x):
            return (x * self.gain).relu()

    model, x = Bare(), torch.ones(2, 4)
    graph = trace(model, x, statistics=False).graph
    with pytest.raises(PlanError) as caught:
        planned(name, model, graph, x, None)
    assert f"scheme {name!r} looked for {REGISTRY[name].looks_for}; found" in str(caught.value)
    planned(name, *traced(name))  # twin: its example fits


@pytest.mark.parametrize("name", names())
def test_what_a_scheme_needs_is_what_it_asks_for(name):
    model, needs = traced(name)[0], REGISTRY[name].needs
    assert set(needs) <= {"graph", "batch", "targets"}
    keep = [] if REGISTRY[name].example() else ["scale"]
    if needs:
        with pytest.raises(PlanError, match=rf"scheme {name!r} .*pass "):
            plan(name, find(model))
    elif name == "rl":  # its example is no nn.Sequential, whose order would tell the head
        with pytest.raises(PlanError, match="pass inputs"):
            plan(name, find(model))
    else:
        plan(name, find(model), keep=keep)


def test_the_docs_page_is_up_to_date():
    script = Path(__file__).parents[2] / "docs" / "_schemes.py"
    spec = importlib.util.spec_from_file_location("docs_schemes", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.TARGET.read_text(encoding="utf-8") == module.text(), "run: python docs/_schemes.py"


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
