"""init_ with auto: looks before and after, leaves what passes, takes back what is worse."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import fanin
from fanin.api import start
from fanin.errors import InputError
from fanin.initializers import Zeros

X, Y = torch.randn(32, 64, generator=torch.Generator().manual_seed(0)), torch.arange(32) % 10


def deep(depth: int) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(*[m for _ in range(depth) for m in (nn.Linear(64, 64), nn.ReLU())], nn.Linear(64, 10))


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(model: nn.Module, before: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_model_that_passes_is_left_as_it_is() -> None:
    model = deep(2)
    before = state(model)
    recipe = fanin.init_(model, X, Y)
    assert same(model, before)
    assert len(recipe) == 0
    assert {kept.name for kept in recipe.kept} == set(dict(model.named_parameters()))
    assert "force=True" in recipe.notes[0]


@pytest.mark.parametrize(
    "asked", [{"force": True}, {"verify": False}, {"only": ["*"]}, {"head_std": 0.5}, {"scheme": "he"}]
)
def test_unless_it_is_asked_for(asked: dict[str, object]) -> None:
    model = deep(2)
    before = state(model)
    recipe = fanin.init_(model, X, Y, **asked)  # type: ignore[arg-type]
    assert not same(model, before)
    assert len(recipe) == len(dict(model.named_parameters()))


def test_without_inputs_nothing_can_be_looked_at() -> None:
    model = deep(2)
    before = state(model)
    assert len(fanin.init_(model)) == 6
    assert not same(model, before)


def test_a_model_that_fails_is_given_a_start_that_passes() -> None:
    model = deep(20)
    started = start(model, X, Y)
    assert started.before is not None
    assert started.after is not None
    assert not started.before.ok
    assert started.after.ok
    assert started.recipe.notes[-1] == "check before: F101 (1 error); after: passes."
    assert fanin.check(model, X, Y).ok


def broken(model: nn.Module, inputs: object, target: object, **options: object) -> fanin.Recipe:
    """A plan of zeros, worse than any start."""
    found = fanin.plan(model, X, Y)
    lines = [type(line)(line.name, Zeros(), "zero", line.shape, line.fans) for line in found.lines]
    return type(found)(lines, scheme="auto")


def test_a_start_that_is_worse_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    model = deep(20)
    before = state(model)
    errors = sum(f.severity == "error" for f in fanin.check(model, X, Y).findings)
    assert errors  # else the model passes and nothing would be written in the first place
    monkeypatch.setattr("fanin.api._init.plan", broken)
    recipe = fanin.init_(model, X, Y)
    after_zeros = deep(20)
    fanin.init_(after_zeros, X, Y, force=True)
    assert sum(f.severity == "error" for f in fanin.check(after_zeros, X, Y).findings) > errors
    assert same(model, before)
    assert len(recipe) == 0
    assert "more errors" in recipe.notes[0]


def test_an_error_while_looking_again_leaves_the_model_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    model, looks = deep(20), []
    before = state(model)
    check = fanin.check

    def once(*arguments: object, **options: object) -> object:
        looks.append(1)
        if len(looks) > 1:
            raise RuntimeError("stop")
        return check(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("fanin.api._init.check", once)
    with pytest.raises(RuntimeError, match="stop"):
        fanin.init_(model, X, Y)
    assert same(model, before)


def test_refusals() -> None:
    for name in ("force", "verify"):
        with pytest.raises(InputError, match=name):
            fanin.init_(deep(1), X, **{name: "yes"})  # type: ignore[arg-type]
