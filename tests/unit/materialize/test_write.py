"""write and materialize: all or nothing, ties, meta, buffers, dtypes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import fanin
from fanin import fans
from fanin.errors import InputError
from fanin.initializers import Constant, HeNormal, Normal, Orthogonal, Zeros
from fanin.materialize import fill_, materialize, write
from fanin.recipe import Line, Recipe


def line(model, name, initializer=None, **changes):
    shape = tuple(dict(model.named_parameters(remove_duplicate=False))[name].shape)
    found = fans.linear(shape) if len(shape) == 2 else fans.elementwise(shape)
    return Line(
        name, initializer or Normal(), "for the test", changes.get("shape", shape), found, changes.get("zero", ())
    )


def recipe(model, **chosen):
    return Recipe([line(model, name, chosen.get(name)) for name, _ in model.named_parameters()])


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(9, 4)
        self.body = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
        self.head = nn.Linear(4, 9, bias=False)
        self.head.weight = self.table.weight


def values(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_the_key_is_the_name():
    model = Tied()
    write(model, recipe(model), seed=5)
    alone = fill_(torch.empty(4, 4), Normal(), seed=5, name="body.0.weight")
    assert torch.equal(model.body[0].weight, alone)
    assert model.head.weight is model.table.weight


def bad_lines(model):
    integer = nn.Parameter(torch.zeros(4, dtype=torch.long), requires_grad=False)
    model.register_parameter("count", integer)
    model.wide = nn.Parameter(torch.zeros(4, 1).expand(4, 4))
    return {
        "no such name": (Line("body.0.wieght", Normal(), "", (4, 4), fans.linear((4, 4))), "body.0.weight"),
        "another shape": (line(model, "body.0.weight", shape=(4, 5)), r"body\.0\.weight.*\(4, 4\).*\(4, 5\)"),
        "integers": (line(model, "count"), "count.*int64"),
        "expanded": (line(model, "wide"), "wide.*expanded"),
        "refused by the initializer": (line(model, "body.0.bias", Orthogonal()), "rank"),
        "rows that are not there": (line(model, "table.weight", zero=(9,)), "zero_rows.*9"),
    }


@pytest.mark.parametrize("name", bad_lines(Tied()))
def test_one_bad_line_leaves_every_tensor_untouched(name):
    model = Tied()
    bad, text = bad_lines(model)[name]
    before = values(model)
    good = [other for other in recipe(Tied()).lines if other.name != bad.name]
    with pytest.raises(InputError, match=text):
        write(model, Recipe([*good, bad]), seed=0)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_two_lines_for_one_tied_tensor_must_agree():
    model = Tied()
    same = [line(model, "table.weight"), line(model, "head.weight")]
    write(model, Recipe(same), seed=0)
    with pytest.raises(InputError, match="tied"):
        write(model, Recipe([same[0], line(model, "head.weight", Zeros())]), seed=0)


def test_padding_rows():
    model = Tied()
    write(model, Recipe([line(model, "table.weight", zero=(0,))]), seed=0)
    assert model.table.weight[0].eq(0).all()
    assert not model.table.weight[1].eq(0).any()


def test_progress_changes_nothing(capsys):
    first, second = Tied(), Tied()
    write(first, recipe(first), seed=2)
    write(second, recipe(second), seed=2, progress=True)
    assert torch.equal(first.table.weight, second.table.weight)


def on_meta(build):
    with torch.device("meta"):
        return build()


def test_meta_becomes_what_a_real_model_becomes():
    real, meta = Tied(), on_meta(Tied)
    plan = recipe(real)
    write(real, plan, seed=7)
    assert materialize(meta, plan, seed=7) is meta
    assert meta.head.weight is meta.table.weight
    assert type(meta.table.weight) is nn.Parameter
    for name, value in real.state_dict().items():
        assert torch.equal(meta.state_dict()[name], value), name
    assert meta.body[1].running_var.eq(1).all()


def test_the_package_itself_can_be_called():
    meta = on_meta(lambda: nn.Linear(3, 2))
    assert fanin.materialize(meta, recipe(nn.Linear(3, 2)), seed=0).weight.device.type == "cpu"


def test_dtype_and_frozen_parameters_survive():
    meta = on_meta(Tied)
    meta.body[0].weight.requires_grad_(False)
    materialize(meta, recipe(Tied()), seed=1, dtype=torch.bfloat16)
    assert meta.table.weight.dtype == torch.bfloat16
    assert meta.body[1].num_batches_tracked.dtype == torch.long
    assert not meta.body[0].weight.requires_grad
    real = Tied()
    write(real, recipe(real), seed=1)
    assert torch.equal(meta.table.weight, real.table.weight.bfloat16())


def test_real_models_change_type_too():
    model = Tied()
    running = model.body[1].running_mean.fill_(3.0)
    materialize(model, recipe(model), seed=1, dtype=torch.float64)
    assert model.table.weight.dtype == torch.float64
    assert model.head.weight is model.table.weight
    assert torch.equal(model.body[1].running_mean, running.double())


def test_what_nothing_writes_is_named_and_the_model_stays_on_meta():
    class Rotary(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.map = nn.Linear(3, 3)
            self.register_buffer("frequencies", torch.ones(4), persistent=False)

    meta = on_meta(Rotary)
    plan = recipe(Rotary())
    with pytest.raises(InputError, match=r"frequencies \(4,\).*buffers="):
        materialize(meta, plan)
    assert all(p.is_meta for p in meta.parameters())
    with pytest.raises(InputError, match=r"map\.bias \(3,\)"):
        materialize(meta, Recipe(plan.lines[:1]), buffers={"frequencies": torch.zeros(4)})
    with pytest.raises(InputError, match=r"frequencies.*\(3,\)"):
        materialize(meta, plan, buffers={"frequencies": torch.zeros(3)})
    with pytest.raises(InputError, match="frequency"):
        materialize(meta, plan, buffers={"frequency": torch.zeros(3)})
    assert all(p.is_meta for p in meta.parameters())
    materialize(meta, plan, buffers={"frequencies": torch.arange(4.0)})
    assert torch.equal(meta.frequencies, torch.arange(4.0))


def test_lines_may_name_buffers():
    class Features(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("B", torch.zeros(5, 2))

    model = Features()
    write(model, Recipe([Line("B", Normal(std=2.0), "Fourier features", (5, 2), fans.linear((5, 2)))]), seed=0)
    assert model.B.ne(0).all()


def test_wrong_dtype_and_recipe_are_refused():
    with pytest.raises(InputError, match="dtype"):
        materialize(nn.Linear(2, 2), recipe(nn.Linear(2, 2)), dtype=torch.int32)
    with pytest.raises(InputError, match="Recipe"):
        write(nn.Linear(2, 2), {"weight": HeNormal()})
    with pytest.raises(InputError, match="seed"):
        write(nn.Linear(2, 2), recipe(nn.Linear(2, 2)), seed="0")


def test_parameter_attributes_survive():
    meta = on_meta(lambda: nn.Linear(3, 2))
    meta.weight.note = "mine"
    materialize(meta, recipe(nn.Linear(3, 2), weight=Constant(1.0)))
    assert meta.weight.note == "mine"
    assert meta.weight.eq(1).all()
