"""The verbs: check measures and restores, plan writes nothing, init_ writes all or nothing."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import fanin
from fanin.errors import InputError, PlanError, TraceError, UnhealthyError, UnknownNameError
from fanin.initializers import Normal, Zeros


def deep(depth: int = 20, width: int = 64) -> nn.Module:
    torch.manual_seed(0)
    layers = [m for _ in range(depth) for m in (nn.Linear(width, width), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def batch(width: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(64, width, generator=generator), torch.randint(0, 10, (64,), generator=generator)


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return copy.deepcopy(model.state_dict())


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_sick_then_healthy() -> None:
    model, (x, y) = deep(), batch()
    report = fanin.check(model, x, y)
    assert not report.ok
    assert "F101" in {f.code for f in report.findings}
    with pytest.raises(UnhealthyError, match="F101"):
        fanin.assert_healthy(model, x, y)
    fanin.init_(model, x, y)
    assert fanin.check(model, x, y).ok
    fanin.assert_healthy(model, x, y)


def test_check_and_plan_write_nothing() -> None:
    model, (x, y) = deep(), batch()
    before, random = state(model), torch.get_rng_state()
    fanin.check(model, x, y)
    fanin.plan(model, x, y)
    assert same(before, state(model))
    assert torch.equal(random, torch.get_rng_state())
    assert all(p.grad is None for p in model.parameters())


def test_same_seed_same_bits_whatever_the_random_state() -> None:
    x, _ = batch()
    one, two, other = deep(), deep(), deep()
    fanin.init_(one, x, seed=3)
    torch.manual_seed(99)
    fanin.init_(two, x, seed=3)
    fanin.init_(other, x, seed=4)
    assert same(state(one), state(two))
    assert not same(state(one), state(other))


def test_inputs_as_tensor_tuple_and_keywords() -> None:
    model, (x, y) = deep(), batch()
    reports = [fanin.check(model, form, y) for form in (x, (x,), {"input": x})]
    assert len({report.signals for report in reports}) == 1


def test_only_and_overrides() -> None:
    model, (x, _) = deep(3), batch()
    before = state(model)
    recipe = fanin.init_(model, x, only=["2.weight"], overrides={"2.weight": Normal(std=0.1)})
    assert list(recipe) == ["2.weight"]
    assert recipe["2.weight"] == Normal(std=0.1)
    after = state(model)
    assert {k for k in before if not torch.equal(before[k], after[k])} == {"2.weight"}


def test_recipe_round_trip_writes_the_same() -> None:
    x, _ = batch()
    one, two = deep(3), deep(3)
    recipe = fanin.init_(one, x, seed=7)
    again = fanin.Recipe.from_json(recipe.to_json())
    assert again == recipe
    fanin.materialize(two, again, seed=7)
    assert same(state(one), state(two))


class Opaque(nn.Module):
    """A parameter whose use nothing tells without a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.mystery = nn.Parameter(torch.randn(4, 4, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x)


def test_uncovered_parameter_stops_the_plan_and_names_the_ways() -> None:
    model = Opaque()
    before = state(model)
    with pytest.raises(PlanError, match="mystery") as caught:
        fanin.init_(model, torch.randn(2, 4))
    assert "overrides" in str(caught.value)
    assert "keep" in str(caught.value)
    assert same(before, state(model))
    fanin.init_(model, torch.randn(2, 4), overrides={"mystery": Zeros()})
    assert model.mystery.eq(0).all()


def test_refusals() -> None:
    model, (x, y) = deep(2), batch()
    with pytest.raises(InputError, match=r"torch\.nn\.Module"):
        fanin.check("model", x)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"torch\.nn\.Module"):
        fanin.plan(x)  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="auto"):
        fanin.plan(model, x, scheme="autoo")
    with pytest.raises(UnknownNameError, match="F999"):
        fanin.check(model, x, y, select="F999")
    with pytest.raises(TraceError) as caught:
        fanin.check(model, torch.randn(4, 63), y[:4])
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_failing_line_leaves_the_model_untouched() -> None:
    model, (x, _) = deep(3), batch()
    before = state(model)
    recipe = fanin.plan(model, x)
    broken = nn.Sequential(*list(model)[:-1], nn.Linear(64, 11))
    with pytest.raises(InputError, match=r"6\.weight"):
        fanin.materialize(broken, recipe)
    assert same(
        {k: v for k, v in before.items() if k[0] != "6"}, {k: v for k, v in broken.state_dict().items() if k[0] != "6"}
    )
