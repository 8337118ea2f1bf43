"""Fans by their effect: with variance 1/fan_in, unit input gives unit output, for every kind of layer.

The second moment of the output is estimated from the entries of one weight tensor, of one input and of one output
(whose neighbours share a window), so its relative error is about sqrt(2/entries of W + 2/entries of x + 2 window /
entries of y); five of those are allowed. Each twin scales by the fan that
torch.nn.init reads off the shape and must leave the band.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fanin.materialize import write
from fanin.schemes import plan
from fanin.slots import find
from fanin.trace import trace


class Use(nn.Module):
    def __init__(self, shape, use) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(shape))
        self.use = use

    def forward(self, x):
        return self.use(x, self.weight)


def inner(y):
    """Away from the border, where windows hang over."""
    return y[(..., *[slice(4, -4)] * (y.dim() - 2))]


def gates(name):
    def run(module, x):
        return F.linear(x, getattr(module, name))

    return run


def call(module, x):
    return module(x)


def conv(module, x):
    return inner(module(x))


# name: (module, input shape, run, parameter, torch's fan of it is right)
CASES = {
    "Linear": (nn.Linear(256, 300), (64, 256), call, "weight", True),
    "Conv1d": (nn.Conv1d(32, 64, 5), (8, 32, 80), conv, "weight", True),
    "Conv2d": (nn.Conv2d(16, 48, (3, 5)), (4, 16, 24, 24), conv, "weight", True),
    "Conv3d": (nn.Conv3d(8, 32, 3), (2, 8, 16, 16, 16), conv, "weight", True),
    "grouped": (nn.Conv2d(32, 64, 3, groups=4), (8, 32, 20, 20), conv, "weight", True),
    "depthwise": (nn.Conv2d(128, 128, 5, groups=128), (8, 128, 20, 20), conv, "weight", True),
    "ConvTranspose1d": (nn.ConvTranspose1d(64, 16, 5), (16, 64, 60), conv, "weight", False),
    "ConvTranspose2d, stride 1": (nn.ConvTranspose2d(64, 16, 3), (8, 64, 20, 20), conv, "weight", False),
    "ConvTranspose2d, stride 2": (nn.ConvTranspose2d(32, 32, 4, stride=2), (4, 32, 20, 20), conv, "weight", False),
    "ConvTranspose2d, uneven": (nn.ConvTranspose2d(32, 32, 3, stride=2), (4, 32, 21, 21), conv, "weight", False),
    "ConvTranspose2d, groups": (
        nn.ConvTranspose2d(64, 64, 4, stride=2, groups=4),
        (4, 64, 20, 20),
        conv,
        "weight",
        False,
    ),
    "ConvTranspose3d": (nn.ConvTranspose3d(16, 8, 4, stride=2), (2, 16, 8, 8, 8), conv, "weight", False),
    "Bilinear": (nn.Bilinear(24, 30, 40), (512, 24), lambda m, x: m(x, torch.randn(512, 30)), "weight", True),
    "packed qkv": (nn.MultiheadAttention(96, 4), (64, 96), gates("in_proj_weight"), "in_proj_weight", True),
    "LSTM, input": (nn.LSTM(80, 96), (64, 80), gates("weight_ih_l0"), "weight_ih_l0", True),
    "GRU, state": (nn.GRU(80, 96), (64, 96), gates("weight_hh_l0"), "weight_hh_l0", True),
    "x @ W": (Use((256, 64), lambda x, w: x @ w), (64, 256), call, "weight", False),
    "experts, einsum": (
        Use((4, 64, 96), lambda x, w: torch.einsum("ebi,eio->ebo", x, w)),
        (4, 64, 64),
        call,
        "weight",
        False,
    ),
    "experts, bmm": (Use((4, 64, 96), torch.bmm), (4, 64, 64), call, "weight", False),
    "heads, einsum": (
        Use((8, 64, 16), lambda x, w: torch.einsum("bi,hid->bhd", x, w)),
        (64, 64),
        call,
        "weight",
        False,
    ),
}


def scaled(name):
    """The module with variance 1/fan_in written, its input and the band that the sampling error allows."""
    module, shape, run, parameter, right = CASES[name]
    torch.manual_seed(3)
    x = torch.randn(shape)
    graph = trace(module, x).graph if isinstance(module, Use) else None
    write(module, plan("lecun", find(module, graph), graph, only=[parameter]), seed=1)
    for bias_name, bias in module.named_parameters():
        if "bias" in bias_name:
            nn.init.zeros_(bias)
    weight = dict(module.named_parameters())[parameter]
    with torch.no_grad():
        y = run(module, x)
    window = math.prod(weight.shape[2:]) if isinstance(module, nn.modules.conv._ConvNd) else 1
    entries = y.numel() / y.shape[-1 if window == 1 else 1] * x.shape[-1 if window == 1 else 1]
    return module, x, run, weight, right, 5 * math.sqrt(2 / weight.numel() + 2 / entries + 2 * window / y.numel())


@pytest.mark.parametrize("name", CASES)
def test_unit_input_gives_unit_output(name):
    module, x, run, _, _, band = scaled(name)
    with torch.no_grad():
        assert run(module, x).square().mean().item() == pytest.approx(1, abs=band)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case[4]])
def test_the_fan_read_off_the_shape_fails(name):
    module, x, run, weight, _, band = scaled(name)
    with torch.no_grad():
        weight *= weight.var().rsqrt() / math.sqrt(nn.init._calculate_fan_in_and_fan_out(weight)[0])
        assert run(module, x).square().mean().item() != pytest.approx(1, abs=max(band, 0.2))


@pytest.mark.parametrize("name", ["packed qkv", "LSTM, input", "GRU, state"])
def test_glorot_over_the_stack_is_too_small(name):
    module, _x, _run, weight, _, _band = scaled(name)
    blocks = 3 if name != "LSTM, input" else 4
    write(module, plan("glorot", find(module), only=[CASES[name][3]]), seed=1)
    rows, columns = weight.shape
    expected = 2 / (columns + rows / blocks)
    assert weight.var().item() == pytest.approx(expected, rel=5 * math.sqrt(2 / weight.numel()))
    nn.init.xavier_uniform_(weight)
    assert weight.var().item() != pytest.approx(expected, rel=0.3)


def test_he_out_divides_by_the_group():
    depthwise = nn.Conv2d(256, 256, 3, groups=256)
    write(depthwise, plan("he_out", find(depthwise)), seed=0)
    expected = math.sqrt(2 / 9)
    error = 5 * math.sqrt(1 / (2 * depthwise.weight.numel()))
    assert depthwise.weight.std().item() == pytest.approx(expected, rel=error)
    nn.init.kaiming_normal_(depthwise.weight, mode="fan_out")
    assert depthwise.weight.std().item() < expected / 10


def test_embeddings_do_not_divide_by_the_vocabulary():
    table = nn.Embedding(5000, 64)
    write(table, plan("auto", find(table)), seed=0)
    rows = table(torch.arange(5000)).square().mean().item()
    assert rows == pytest.approx(1, rel=5 * math.sqrt(2 / table.weight.numel()))
    nn.init.xavier_normal_(table.weight)
    assert table(torch.arange(5000)).square().mean().item() < 0.01
