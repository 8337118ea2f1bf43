"""A model that writes to its input or its weights leaves the caller's tensors bit for bit as they were."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import fanin
from fanin.errors import FaninError, TraceError
from fanin.trace import trace

Write = Callable[[torch.Tensor], torch.Tensor]


_SHAPES = {"dropout2d": (6, 5, 1, 1), "dropout3d": (6, 5, 1, 1, 1)}


def flagged() -> dict[str, Write]:
    """Every function of torch.nn.functional that takes ``inplace``, by keyword and by position."""
    extra: dict[str, tuple[Any, ...]] = {"threshold": (0.3, -1.0)}
    found: dict[str, Write] = {}
    for name in dir(F):
        function = getattr(F, name)
        try:
            parameters = inspect.signature(function).parameters
        except (TypeError, ValueError):
            continue
        if "inplace" not in parameters or name.startswith("_"):
            continue
        given = extra.get(name, ())
        between = list(parameters.values())[1 + len(given) : list(parameters).index("inplace")]
        rest = [True if p.name == "training" else p.default for p in between]
        training = {"training": True} if "training" in parameters else {}
        shape = _SHAPES.get(name, (6, 5))

        def keyword(x: torch.Tensor, f=function, g=given, t=training, s=shape) -> torch.Tensor:
            return f(x.view(s), *g, inplace=True, **t).view(6, 5)

        def position(x: torch.Tensor, f=function, g=given, r=rest, s=shape) -> torch.Tensor:
            return f(x.view(s), *g, *r, True).view(6, 5)

        found |= {f"{name}, keyword": keyword, f"{name}, position": position}
    return found


def by_numpy(x: torch.Tensor) -> torch.Tensor:
    x.numpy()[:] *= 2
    return x


def swapped(x: torch.Tensor) -> torch.Tensor:
    x.data = torch.zeros(2, 5)
    return x


def foreach(x: torch.Tensor) -> torch.Tensor:
    torch._foreach_mul_([x], 2.0)
    return x


WRITES: dict[str, Write] = flagged() | {
    "method": lambda x: x.mul_(2),
    "operator": lambda x: x.__imul__(2),
    "item": lambda x: (x.__setitem__(0, 3.0), x)[1],
    "data": lambda x: (x.data.mul_(2), x)[1],
    "a view": lambda x: (F.relu(x[:, 1:], inplace=True), x)[1],
    "out": lambda x: torch.exp(x, out=x),
    "out of a view": lambda x: (torch.exp(x[0], out=x[0]), x)[1],
    "two outs": lambda x: (torch.max(x.clone(), 1, out=(x[:, 0], torch.zeros(6, dtype=torch.long))), x)[1],
    "foreach": foreach,
    "aten": lambda x: torch.ops.aten.relu_(x),
    "numpy": by_numpy,
    "other memory": swapped,
}
MODULES = [nn.CELU, nn.Dropout, nn.Dropout1d, nn.ELU, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh, nn.LeakyReLU, nn.Mish,
           nn.RReLU, nn.ReLU, nn.ReLU6, nn.SELU, nn.SiLU]  # fmt: skip


class Wrote(nn.Module):
    def __init__(self, write: Write, raises: bool = False) -> None:
        super().__init__()
        self.write, self.raises, self.linear = write, raises, nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.write(x)
        if self.raises:
            raise ZeroDivisionError("on purpose")
        return self.linear(x)


def batch() -> torch.Tensor:
    x = torch.randn(6, 5, generator=torch.Generator().manual_seed(3))
    x[1, 2] = -0.0
    return x


def same(x: torch.Tensor, y: torch.Tensor) -> bool:
    """Bit for bit: −0 is not 0, NaN is NaN."""
    return torch.equal(x.view(torch.int32), y.view(torch.int32))


def test_the_battery_is_whole() -> None:
    assert len(flagged()) >= 2 * 18


@pytest.mark.parametrize("name", WRITES)
def test_the_batch_is_as_before(name: str) -> None:
    x = batch()
    memory = x.data_ptr()
    trace(Wrote(WRITES[name]), x)
    assert same(x, batch())
    assert x.data_ptr() == memory
    with pytest.raises(TraceError, match="on purpose"):
        trace(Wrote(WRITES[name], raises=True), x)
    assert same(x, batch())
    assert x.data_ptr() == memory
    Wrote(WRITES[name])(x)  # the twin: without care it is overwritten
    assert not same(x, batch()) or x.data_ptr() != memory


@pytest.mark.parametrize("kind", MODULES)
@pytest.mark.parametrize("frozen", [False, True])
def test_modules_that_come_first(kind: type[nn.Module], frozen: bool) -> None:
    x = batch()
    model = nn.Sequential(kind(inplace=True), nn.Linear(5, 3)).requires_grad_(not frozen)
    trace(model, x)
    assert same(x, batch())
    assert not x.requires_grad
    model(x)
    assert not same(x, batch())


def test_check_plan_and_theory_leave_the_batch() -> None:
    x, target = batch(), torch.tensor([0, 1, 2, 0, 1, 2])
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(5, 4), nn.ReLU(inplace=True), nn.Linear(4, 3))
    fanin.check(model, x, target)
    assert same(x, batch())
    fanin.plan(model, x, scheme="lsuv")
    assert same(x, batch())
    with pytest.raises(FaninError):
        fanin.check(nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 3)), x, target)
    assert same(x, batch())
    model(x)
    assert not same(x, batch())


def test_keywords_targets_and_nan_too() -> None:
    class Greedy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(5, 5)

        def forward(self, first: torch.Tensor, rest: dict[str, torch.Tensor]) -> torch.Tensor:
            return self.linear(F.relu(first, inplace=True)) + F.relu(rest["second"], True)

    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (output.nan_to_num() - F.relu(target, inplace=True)).square().mean()

    inputs, target = {"first": batch(), "rest": {"second": batch()}}, batch()
    inputs["first"][0, 0] = inputs["rest"]["second"][0, 0] = float("nan")
    before = [t.clone() for t in (inputs["first"], inputs["rest"]["second"], target)]
    trace(Greedy(), inputs, target, loss)
    assert all(same(t, old) for t, old in zip((inputs["first"], inputs["rest"]["second"], target), before))


@pytest.mark.parametrize(
    "write", [lambda w: F.relu(w, inplace=True), lambda w: F.relu(w, True), lambda w: F.elu(w, 1.0, True)]
)
def test_a_weight_that_is_written_by_a_flag(write: Write) -> None:
    class Positive(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(5, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                write(self.linear.weight)
            return self.linear(x)

    model = Positive()
    before = model.linear.weight.detach().clone()
    trace(model, batch())
    assert same(model.linear.weight.detach(), before)
    model(batch())
    assert not same(model.linear.weight.detach(), before)


def test_a_frozen_model_on_inference_tensors() -> None:
    with torch.inference_mode():
        x = batch()
    model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(inplace=True)).requires_grad_(False)
    assert "the gradient is that of the inputs" in trace(model, x).notes[0]
    assert same(x.clone(), batch())
