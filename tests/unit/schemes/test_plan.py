"""overrides, keep and only, under every scheme alike; weight norm; fans of what nobody knows."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from fanin import fans
from fanin.errors import InputError, PlanError
from fanin.initializers import Constant, GlorotUniform, HeNormal, Normal, Ones, Orthogonal, PerGate, Zeros
from fanin.materialize import write
from fanin.schemes import Choice, Scheme, plan
from fanin.slots import find


def model():
    return nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 6).requires_grad_(False), nn.ReLU(), nn.Linear(6, 3))


def test_overrides_by_name_go_before_patterns():
    recipe = plan("he", find(model()), overrides={"*.weight": Zeros(), "0.weight": Ones()})
    assert recipe["0.weight"] == Ones()
    assert recipe["4.weight"] == Zeros()
    assert "overrides" in recipe.line("4.weight").reason


def test_keep_and_only():
    recipe = plan("he", find(model()), keep=["0.*"])
    assert {kept.name for kept in recipe.kept} == {"0.weight", "0.bias", "2.weight", "2.bias"}
    recipe = plan("he", find(model()), only=["4.weight", "0.b*"])
    assert list(recipe) == ["0.bias", "4.weight"]
    assert len(recipe.kept) == 4


def test_frozen_parameters_are_kept_with_the_reason_unless_overridden():
    recipe = plan("he", find(model()))
    assert {kept.name: kept.reason for kept in recipe.kept}["2.weight"] == "frozen: requires_grad is False"
    assert "2.weight" in plan("he", find(model()), overrides={"2.weight": Normal()})


def test_a_model_may_ask_to_be_left_alone():
    net = nn.Linear(4, 4)
    net.bias._no_reinit = True
    assert [kept.name for kept in plan("auto", find(net)).kept] == ["bias"]


@pytest.mark.parametrize("value", ["zeros", (Zeros(),) * 2, None])
def test_an_override_must_be_an_initializer(value):
    with pytest.raises(InputError, match=r"overrides\['weight'\]"):
        plan("he", find(nn.Linear(2, 2)), overrides={"weight": value})


def test_an_initializer_that_refuses_the_shape_stops_the_plan():
    with pytest.raises(InputError, match="rank"):
        plan("he", find(nn.Linear(2, 2)), overrides={"bias": Orthogonal()})


class Bare(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(8, 6))


def test_fans_of_an_unknown_parameter_must_be_given_where_they_matter():
    slots = find(Bare())
    assert plan("he", slots, overrides={"table": Normal(std=0.1)}).line("table").std == 0.1
    for initializer in (HeNormal(), Orthogonal()):
        with pytest.raises(PlanError, match=r"table.*fans.*fanin\.fans\.linear"):
            plan("he", slots, overrides={"table": initializer})
    given = fans.linear((8, 6), out_axis=1, in_axis=0)
    assert plan("he", slots, overrides={"table": (HeNormal(), given)}).line("table").std == pytest.approx(0.5)


def test_packed_initializers_cut_the_fans_of_the_whole_stack_themselves():
    lstm = nn.LSTM(6, 5)
    recipe = plan("he", find(lstm), overrides={"weight_ih_l0": PerGate(GlorotUniform(), gates=4)})
    assert recipe.line("weight_ih_l0").std == pytest.approx(plan("glorot", find(lstm)).line("weight_ih_l0").std)


@pytest.mark.parametrize("scheme", ["he", "lecun", "orthogonal", "glorot"])
def test_weight_norm_starts_as_the_plain_layer_would(scheme):
    def layer():
        return nn.Conv1d(40, 60, 5)

    plain, normed = layer(), nn.utils.parametrizations.weight_norm(layer())
    for each in (plain, normed):
        write(each, plan(scheme, find(each)), seed=0)
    error = 5 / math.sqrt(2 * plain.weight.numel())
    assert normed.weight.std().item() == pytest.approx(plain.weight.std().item(), rel=2 * error)
    before = nn.utils.parametrizations.weight_norm(layer()).weight.std().item()  # twin: what it was before
    assert before != pytest.approx(plain.weight.std().item(), rel=0.1) or scheme == "never"


@pytest.mark.parametrize("dim", [None, 0, 1])
def test_weight_norm_over_all_entries_starts_so_too(dim):
    plain, normed = nn.Linear(40, 60), nn.utils.parametrizations.weight_norm(nn.Linear(40, 60), dim=dim)
    for each in (plain, normed):
        write(each, plan("he", find(each)), seed=0)
    entries = plain.weight.numel()
    assert normed.weight.std().item() == pytest.approx(plain.weight.std().item(), rel=10 / math.sqrt(2 * entries))
    # Twin: with the root of another number of entries it would start elsewhere.
    with torch.no_grad():
        normed.parametrizations.weight.original0.mul_(math.sqrt(40 / 60))
    assert normed.weight.std().item() != pytest.approx(plain.weight.std().item(), rel=10 / math.sqrt(2 * entries))


def test_a_zero_direction_would_be_a_division_by_zero():
    normed = nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))
    write(normed, plan("constant", find(normed)), seed=0)
    assert normed.weight.eq(0).all()


def test_a_kept_direction_keeps_its_length():
    normed = nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))
    recipe = plan("he", find(normed), keep=["*.original1"])
    assert {kept.name for kept in recipe.kept} == {f"parametrizations.weight.original{i}" for i in (0, 1)}


def test_a_scheme_of_ones_own():
    class Halves(Scheme):
        name, title, source = "halves", "one half", "test"

        def weight(self, slot, context):
            return Choice(Constant(0.5), "half")

    recipe = plan(Halves(), find(nn.Linear(2, 2)))
    assert recipe["weight"] == Constant(0.5)
    assert recipe.scheme == "halves"
    with pytest.raises(InputError, match="options"):
        plan(Halves(), find(nn.Linear(2, 2)), std=1)


def test_any_name_of_a_tied_tensor_will_do():
    net = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 9, bias=False))
    net[1].weight = net[0].weight
    assert list(plan("he", find(net), only=["1.weight"])) == ["0.weight"]


def test_a_frozen_parameter_that_only_names_is_planned():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2).requires_grad_(False))
    assert list(plan("he", find(model), only=["2.weight"])) == ["2.weight"]
    assert not list(plan("he", find(model), only=["2.*"]))  # a pattern asks for none by name
