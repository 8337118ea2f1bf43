"""Places of parameters that no module kind knows, from the op that used them; and the surroundings of each slot."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fanin.slots import find
from fanin.trace import trace


class Use(nn.Module):
    """A parameter of the given shape, used by a function of (x, parameter)."""

    def __init__(self, shape, use) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(shape))
        self.use = use

    def forward(self, x):
        return self.use(x, self.w)


def slot_of(shape, use, x):
    model = Use(shape, use)
    return find(model, trace(model, x).graph)["w"]


X = torch.randn(5, 6)
S = torch.randn(2, 5, 6)
IMAGE = torch.randn(2, 6, 8, 8)

MAPS = {
    "x @ W": ((6, 9), lambda x, w: x @ w, X, (6, 9, (1,), (0,), ())),
    "linear": ((9, 6), F.linear, X, (6, 9, (0,), (1,), ())),
    "linear of W.t()": ((6, 9), lambda x, w: F.linear(x, w.t()), X, (6, 9, (1,), (0,), ())),
    "W @ x": ((9, 6), lambda x, w: w @ x.t(), X, (6, 9, (0,), (1,), ())),
    "vector": ((6,), lambda x, w: x @ w, X, (6, 1, (), (0,), ())),
    "addmm": ((6, 9), lambda x, w: torch.addmm(torch.ones(9), x, w), X, (6, 9, (1,), (0,), ())),
    "bmm of experts": ((3, 6, 9), lambda x, w: torch.bmm(x.expand(3, 5, 6), w), X, (6, 9, (2,), (1,), (0,))),
    "loop of experts": ((3, 6, 9), lambda x, w: sum(x @ w[e] for e in range(3)), X, (6, 9, (2,), (1,), (0,))),
    "einsum, routed": ((3, 9, 6), lambda x, w: torch.einsum("xi,eoi,xe->xo", x, w, x[:, :3].softmax(1)), X, None),
    "einsum of heads": ((4, 6, 3), lambda x, w: torch.einsum("bi,hid->bhd", x, w), X, (6, 12, (0, 2), (1,), ())),
    "einsum, W first": ((9, 6), lambda x, w: torch.einsum("oi,bi->bo", w, x), X, (6, 9, (0,), (1,), ())),
    "einsum, implicit": ((6, 9), lambda x, w: torch.einsum("bi,io", x, w), X, (6, 9, (1,), (0,), ())),
    "a view splits out": (
        (12, 6),
        lambda x, w: torch.einsum("bi,hki->bhk", x, w.view(3, 4, 6)),
        X,
        (6, 12, (0,), (1,), ()),
    ),
    "a slice": ((18, 6), lambda x, w: F.linear(x, w[:9]) * F.linear(x, w[9:]), X, (6, 9, (0,), (1,), ())),
    "grouped conv": ((8, 3, 3, 3), lambda x, w: F.conv2d(x, w, groups=2), IMAGE, (27, 36, (0,), (1,), ())),
    "transposed conv": (
        (6, 4, 4, 4),
        lambda x, w: F.conv_transpose2d(x, w, stride=2, groups=2),
        IMAGE,
        (3 * 16 / 4, 64, (1,), (0,), ()),
    ),
}


@pytest.mark.parametrize("name", [name for name, case in MAPS.items() if case[3] is not None])
def test_fans_come_from_the_op(name):
    shape, use, x, expected = MAPS[name]
    slot = slot_of(shape, use, x)
    f = slot.fans
    assert (slot.role, slot.kind) == ("weight", "traced")
    assert (f.fan_in, f.fan_out, f.out_axes, f.in_axes, f.batch_axes) == expected


def test_a_routed_einsum_tells_in_and_out():
    shape, use, x, _ = MAPS["einsum, routed"]
    slot = slot_of(shape, use, x)
    assert slot.fans.out_axes == (1,)
    assert 2 in slot.fans.in_axes


ENTRYWISE = {
    "gain": ((6,), lambda x, w: x * w, X, "gain", {}),
    "rms norm": (
        (6,),
        lambda x, w: w * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)),
        X,
        "gain",
        {"norm": True},
    ),
    "rms norm, weight first": (
        (6,),
        lambda x, w: (w * x) * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6),
        X,
        "gain",
        {"norm": True},
    ),
    "standardized": (
        (6,),
        lambda x, w: (x - x.mean(-1, True)) / (x.std(-1, keepdim=True) + 1e-5) * w,
        X,
        "gain",
        {"norm": True},
    ),
    "zero-centred gain": (
        (6,),
        lambda x, w: F.rms_norm(x, (6,)) * (1.0 + w),
        X,
        "gain",
        {"offset": 1.0, "norm": True},
    ),
    "norm of 1 + w": ((6,), lambda x, w: F.layer_norm(x, (6,), w + 1), X, "gain", {"offset": 1.0, "norm": True}),
    "functional norm": ((6,), lambda x, w: F.layer_norm(x, (6,), w), X, "gain", {"norm": True}),
    "shift of a norm": ((6,), lambda x, w: F.layer_norm(x, (6,)) + w, X, "shift", {"norm": True}),
    "bias of a matmul": ((6,), lambda x, w: x @ torch.eye(6).requires_grad_() + w, X, "bias", {}),
    "bias argument": ((6,), lambda x, w: F.layer_norm(x, (6,), None, w), X, "shift", {"norm": True}),
    "positions": ((1, 7, 6), lambda x, w: x + w[:, :5], S, "token", {}),
    "class token": ((1, 1, 6), lambda x, w: torch.cat([w.expand(2, -1, -1), x], 1), S, "token", {}),
    "slope": ((1,), F.prelu, X, "slope", {}),
    "lookup": ((11, 4), lambda x, w: F.embedding(x.long().abs() % 11, w), X, "embedding", {}),
    "index": ((11, 4), lambda x, w: w[x.long().abs() % 11], X, "embedding", {}),
    "exp": ((), lambda x, w: x * w.exp(), X, "unknown", {"through": "exp"}),
}


@pytest.mark.parametrize("name", ENTRYWISE)
def test_roles_come_from_the_op(name):
    shape, use, x, role, settings = ENTRYWISE[name]
    slot = slot_of(shape, use, x)
    assert slot.role == role, slot.why
    assert settings.items() <= dict(slot.settings).items()


def test_a_plain_multiplier_is_not_the_gain_of_a_norm():
    assert not slot_of((6,), lambda x, w: x * w, X).settings.get("norm")


def test_the_use_outranks_the_module_kind():
    class Transposed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.map = nn.Linear(9, 6, bias=False)

        def forward(self, x):
            return x @ self.map.weight

    model = Transposed()
    assert find(model)["map.weight"].fans.fan_in == 9
    slot = find(model, trace(model, X).graph)["map.weight"]
    assert (slot.fans.fan_in, slot.kind) == (6, "traced")


def test_an_unused_parameter_stays_unknown():
    slot = slot_of((6, 6), lambda x, w: x * 2, X)
    assert slot.role == "unknown"


class Block(nn.Module):
    def __init__(self, width=8) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.gate, self.up, self.down = nn.Linear(width, 16), nn.Linear(width, 16), nn.Linear(16, width)
        self.conv = nn.Conv1d(width, width, 1)
        self.bn = nn.BatchNorm1d(width)
        self.head = nn.Linear(width, 3)

    def forward(self, x):
        q, k, v = self.qkv(self.norm(x)).chunk(3, -1)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v))
        h = self.norm(x)
        x = x + self.down(F.silu(self.gate(h)) * self.up(h))
        x = F.relu(self.bn(self.conv(x.transpose(1, 2))))
        return self.head(x.mean(-1))


def test_surroundings():
    model = Block()
    slots = find(model, trace(model, torch.randn(4, 5, 8)).graph)
    assert [p.name for p in slots["qkv.weight"].parts] == ["q", "k", "v"]
    assert slots["qkv.weight"].fans.fan_out == 8
    assert slots["out.weight"].ends_residual
    assert slots["down.weight"].ends_residual
    assert not slots["up.weight"].ends_residual
    assert slots["gate.weight"].nonlinearity == "silu"
    assert slots["gate.weight"].settings["gate"]
    assert slots["up.weight"].settings["gated_by"] == ["silu", {}]
    assert slots["conv.weight"].normalized
    assert slots["conv.weight"].nonlinearity == "relu"
    assert not slots["down.weight"].normalized
    assert slots["head.weight"].is_head
    assert slots["head.weight"].op == "linear"
    assert not slots["conv.weight"].is_head
