"""The table of ops: complete over its kinds, the same name however torch spells it."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fanin.graph import OpKind, classify, saturation_bounds
from fanin.graph._ops import _ALIASES, KINDS


def test_every_kind_but_three_has_names() -> None:
    assert set(get_args(OpKind)) - set(KINDS.values()) == {"input", "other"}


def test_aliases_point_into_the_table_and_hide_nothing() -> None:
    assert set(_ALIASES.values()) <= set(KINDS) | {"rdiv"}
    assert not set(_ALIASES) & set(KINDS)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("relu_", ("relu", "activation")),
        ("__rsub__", ("rsub", "add")),
        ("__imul__", ("mul", "mul")),
        ("aten.gelu.default", ("default", "other")),
        ("__getitem__", ("getitem", "shape")),
        ("logsigmoid", ("log_sigmoid", "activation")),
        ("never_heard_of", ("never_heard_of", "other")),
    ],
)
def test_spellings(name: str, expected: tuple[str, str]) -> None:
    assert classify(name) == expected


def test_every_activation_of_torch_is_known() -> None:
    modules = [m for m in vars(nn.modules.activation).values() if isinstance(m, type) and issubclass(m, nn.Module)]
    special = {"MultiheadAttention", "Softmax2d", "Module", "GLU"}
    names = {m.__name__ for m in modules if m.__name__ not in special}
    functions = {
        name
        for name in dir(F)
        if not name.startswith("_") and name.replace("_", "").lower() in {n.lower() for n in names}
    }
    assert len(functions) >= 25
    for name in functions - {"softmax", "log_softmax", "softmin"}:
        assert classify(name)[1] == "activation", name
    assert all(classify(name)[1] == "softmax" for name in ("softmax", "log_softmax", "softmin"))


@pytest.mark.parametrize("op", ["tanh", "sigmoid", "softsign", "erf", "hardsigmoid", "relu6", "hardtanh"])
def test_beyond_the_bounds_the_slope_is_small(op: str) -> None:
    function = getattr(F, op, None) or getattr(torch, op)
    x = torch.linspace(-300, 300, 60001, dtype=torch.float64, requires_grad=True)
    y = function(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    bounds = saturation_bounds(op)
    assert bounds is not None
    flat = (y <= bounds.low) | (y >= bounds.high)
    assert flat.any()
    assert not flat.all()
    assert float(slope[flat].max()) < 0.04 * float(slope.max())
    assert saturation_bounds("relu") is None
