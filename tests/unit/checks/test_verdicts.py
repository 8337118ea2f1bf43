"""Pairs that look alike and differ in the one thing a rule is about: a healthy method, and the fault it resembles."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional, init

from fanin import slots
from fanin.checks import Evidence, Finding, run
from fanin.trace import trace


def findings(model: nn.Module, inputs: Any, target: Any = None, loss: Any = None) -> list[Finding]:
    measured = trace(model, inputs, target, loss)
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}
    return run(Evidence(model, parameters, slots.find(model, measured.graph), measured, loss=loss))[0]


def codes(found: list[Finding], severity: str | None = None) -> set[str]:
    return {f.code for f in found if f.severity != "info" and severity in (None, f.severity)}


class Function(nn.Module):
    """A forward pass written as a function of (modules, x)."""

    def __init__(self, forward: Callable[..., Any], **modules: Any) -> None:
        super().__init__()
        for name, module in modules.items():
            setattr(self, name, module)
        self._forward = forward

    def forward(self, *x: torch.Tensor) -> Any:
        return self._forward(self, *x)


def mlp(*widths: int, activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    layers = [m for a, b in itertools.pairwise(widths) for m in (nn.Linear(a, b), activation())]
    return nn.Sequential(*layers[:-1])


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def classes(count: int, batch: int = 32) -> torch.Tensor:
    return torch.randint(0, count, (batch,))


# --- healthy methods ----------------------------------------------------------------------------------------------


def _attention_stack(gate: float) -> nn.Module:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.attention = nn.LayerNorm(16), nn.MultiheadAttention(16, 4, batch_first=True)
            self.gate = nn.Parameter(torch.full((16,), gate))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.norm(x)
            return x + self.gate * self.attention(y, y, y, need_weights=False)[0]

    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        x = torch.cat([m.token.expand(x.shape[0], -1, -1), m.patch(x)], 1)
        return m.head(m.norm(m.blocks(x))[:, 0])

    blocks = nn.Sequential(*[Block() for _ in range(3)])
    parts = {"patch": nn.Linear(12, 16), "blocks": blocks, "norm": nn.LayerNorm(16), "head": nn.Linear(16, 5)}
    return Function(forward, token=nn.Parameter(torch.randn(1, 1, 16) * 0.02), **parts)


@pytest.mark.parametrize("gate", [0.0, 1e-5, 1.0])
def test_a_class_token_behind_closed_gates_is_healthy(gate: float) -> None:
    assert not codes(findings(_attention_stack(gate), torch.randn(32, 6, 12), classes(5)), "error")


def test_weights_of_std_002_are_healthy_under_batch_norm_and_vanish_without() -> None:
    def net(norm: bool) -> nn.Sequential:
        layers: list[nn.Module] = []
        for _ in range(6):
            layers += [nn.Conv2d(8, 8, 3, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(8)] if norm else []
            layers += [nn.LeakyReLU(0.2)]
        model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(8 * 36, 5))
        for layer in model:
            if isinstance(layer, nn.Conv2d):
                init.normal_(layer.weight, 0, 0.02)
        return model

    x, y = torch.randn(32, 8, 6, 6), classes(5)
    assert not codes(findings(net(norm=True), x, y))
    assert "F101" in codes(findings(net(norm=False), x, y), "error")


@pytest.mark.parametrize("steps", [1, 40])
def test_a_recurrence_in_time_is_no_depth(steps: int) -> None:
    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        state = torch.zeros(x.shape[0], 16)
        for t in range(x.shape[1]):
            state = torch.tanh(m.read(x[:, t]) + m.step(state))
        return m.head(state)

    model = Function(forward, read=nn.Linear(4, 16), step=nn.Linear(16, 16), head=nn.Linear(16, 5))
    assert not codes(findings(model, torch.randn(32, steps, 4), classes(5)), "error")


def test_large_forget_biases_are_a_method_and_on_the_candidate_a_fault() -> None:
    def net(start: int, value: torch.Tensor) -> nn.Module:
        model = Function(lambda m, x: m.head(m.cell(x)[0][:, -1]), cell=nn.LSTM(4, 16), head=nn.Linear(16, 5))
        model.cell.batch_first = True
        init.zeros_(model.cell.bias_ih_l0)
        model.cell.bias_ih_l0.data[start : start + 16] = value
        return model

    x, y, chrono = torch.randn(32, 12, 4), classes(5), torch.log(torch.rand(16) * 500 + 1)
    assert not codes(findings(net(16, chrono), x, y))
    assert not codes(findings(net(0, -chrono), x, y))
    assert "W307" in codes(findings(net(32, torch.tensor(4.0)), x, y), "error")
    assert "W307" in codes(findings(net(16, torch.tensor(-3.0)), x, y))


def test_a_gain_of_zero_is_healthy_only_at_the_end_of_a_branch() -> None:
    class Block(nn.Module):
        def __init__(self, zero: int) -> None:
            super().__init__()
            self.a, self.n1 = nn.Linear(16, 16, bias=False), nn.BatchNorm1d(16)
            self.b, self.n2 = nn.Linear(16, 16, bias=False), nn.BatchNorm1d(16)
            init.zeros_((self.n1, self.n2)[zero].weight)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.n2(self.b(torch.relu(self.n1(self.a(x)))))

    x, y = torch.randn(32, 16), classes(5)
    assert not codes(findings(nn.Sequential(Block(1), Block(1), nn.Linear(16, 5)), x, y))
    assert "W305" in codes(findings(nn.Sequential(Block(0), Block(0), nn.Linear(16, 5)), x, y))


def test_a_gain_stored_around_zero_is_read_with_its_offset() -> None:
    class Norm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(16))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * (1 + self.weight)

    assert not codes(
        findings(nn.Sequential(nn.Linear(8, 16), Norm(), nn.Linear(16, 5)), torch.randn(32, 8), classes(5))
    )


def test_experts_without_tokens_are_not_stuck() -> None:
    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        score, choice = m.router(x).softmax(-1).max(-1)
        out = torch.zeros_like(x)
        for index, expert in enumerate(m.experts):
            mine = (choice == index).nonzero().flatten()
            out = out.index_add(0, mine, expert(x[mine]) * score[mine, None])
        return m.head(x + out)

    experts = nn.ModuleList([mlp(16, 32, 16) for _ in range(12)])
    model = Function(forward, router=nn.Linear(16, 12), experts=experts, head=nn.Linear(16, 5))
    assert not codes(findings(model, torch.randn(6, 16), classes(5, 6)))


# --- twins of the same look ---------------------------------------------------------------------------------------


def test_one_zero_factor_trains_and_two_do_not() -> None:
    def net(gate: float, last: float) -> nn.Module:
        model = Function(lambda m, x: m.head(x + m.gate * m.b(torch.relu(m.a(x)))), a=nn.Linear(16, 16))
        model.b, model.head = nn.Linear(16, 16, bias=False), nn.Linear(16, 5)
        model.gate = nn.Parameter(torch.full((1,), gate))
        model.b.weight.data *= last
        return model

    x, y = torch.randn(32, 16), classes(5)
    assert "B203" not in codes(findings(net(0.0, 1.0), x, y))
    assert "B203" not in codes(findings(net(1.0, 0.0), x, y))
    assert "B203" in codes(findings(net(0.0, 0.0), x, y), "error")


@pytest.mark.parametrize("activation", [nn.Tanh, nn.Sigmoid, nn.ReLU])
def test_zero_weights_in_front_of_zero_weights_stay_equal_and_a_zero_head_does_not(activation: type[nn.Module]) -> None:
    model = mlp(16, 32, 32, 5, activation=activation)
    x, y = torch.randn(32, 16), classes(5)
    init.zeros_(model[4].weight)
    assert "W301" not in codes(findings(model, x, y))
    init.zeros_(model[2].weight)
    init.zeros_(model[2].bias)
    assert [f.where for f in findings(model, x, y) if f.code == "W301"] == ["2.weight"]
    init.normal_(model[2].bias)  # now units differ by their biases, and the head learns different columns
    assert "W301" not in codes(findings(model, x, y))


def test_parameters_behind_a_detach_are_reported_and_frozen_ones_are_not() -> None:
    model = Function(lambda m, x: m.b(m.a(x).detach()), a=nn.Linear(16, 16), b=nn.Linear(16, 5))
    x, y = torch.randn(32, 16), classes(5)
    (found,) = (f for f in findings(model, x, y) if f.code == "B203")
    assert (found.where, found.also) == ("a.weight", ("a.bias",))
    model.a.requires_grad_(False)
    assert "B203" not in codes(findings(model, x, y))


def test_copies_that_train_are_cloned_and_frozen_copies_are_a_target_network() -> None:
    online = mlp(16, 32, 5)
    model = Function(lambda m, x: m.online(x) + m.target(x), online=online, target=copy.deepcopy(online))
    x, y = torch.randn(32, 16), classes(5)
    assert "W302" in codes(findings(model, x, y))
    model.target.requires_grad_(False)
    assert not codes(findings(model, x, y))


def test_equal_filters_are_meant_in_front_of_a_pixel_shuffle_only() -> None:
    conv = nn.Conv2d(3, 8, 3, padding=1)
    conv.weight.data = torch.randn(2, 3, 3, 3).repeat_interleave(4, 0) / 5
    init.zeros_(conv.bias)
    x = torch.randn(16, 3, 6, 6)
    assert not codes(findings(nn.Sequential(conv, nn.PixelShuffle(2)), x, torch.randn(16, 2, 12, 12)))
    assert {"W301", "W302"} & codes(findings(nn.Sequential(conv, nn.Flatten(), nn.Linear(288, 5)), x, classes(5, 16)))


def test_a_sigmoid_shut_by_its_bias_is_a_prior_and_one_driven_by_large_inputs_saturates() -> None:
    def net(weight: float, bias: float) -> nn.Sequential:
        model = nn.Sequential(nn.Linear(16, 32), nn.Sigmoid(), nn.Linear(32, 5))
        init.normal_(model[0].weight, 0, weight)
        init.constant_(model[0].bias, bias)
        return model

    x, y = torch.randn(32, 16), classes(5)
    assert "F103" not in codes(findings(net(0.05, -7.0), x, y))
    assert "F103" in codes(findings(net(5.0, 0.0), x, y))


def test_a_fan_read_off_the_shape_is_named_as_such_and_the_right_one_is_not() -> None:
    def net(mode: str) -> nn.Sequential:
        layers = [m for _ in range(4) for m in (nn.Conv2d(32, 32, 3, padding=1, groups=32, bias=False), nn.ReLU())]
        for layer in layers[::2]:
            init.kaiming_normal_(layer.weight, mode=mode, nonlinearity="relu")
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * 16, 5))

    x, y = torch.randn(16, 32, 4, 4), classes(5, 16)
    assert "wrong_fan" in {f.category for f in findings(net("fan_out"), x, y)}
    assert "wrong_fan" not in {f.category for f in findings(net("fan_in"), x, y)}


def test_growth_of_residual_sums_is_told_from_growth_of_layers() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(32, 32), nn.Linear(32, 32)
            init.kaiming_normal_(self.a.weight)
            init.kaiming_normal_(self.b.weight)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.b(torch.relu(self.a(torch.relu(x))))

    x, y = torch.randn(32, 32), classes(5)
    residual = findings(nn.Sequential(*[Block() for _ in range(12)], nn.Linear(32, 5)), x, y)
    assert {f.category for f in residual if f.code == "F102"} == {"residual_growth"}
    plain = mlp(32, 32, 32, 32, 32, 32, 5)
    for layer in plain[:-1:2]:
        init.orthogonal_(layer.weight, 4.0)
    assert {f.category for f in findings(plain, x, y) if f.code == "F102"} == {"exploding"}


def test_a_missing_base_rate_is_told_from_large_logits() -> None:
    target = (torch.rand(64, 8) < 0.02).float()
    loss = functional.binary_cross_entropy_with_logits

    def net(scale: float, bias: float) -> nn.Sequential:
        model = mlp(16, 32, 8)
        model[2].weight.data *= scale
        init.constant_(model[2].bias, bias)
        return model

    x = torch.randn(64, 16)
    assert codes(findings(net(0.1, math.log(0.02 / 0.98)), x, target, loss)) == set()
    assert codes(findings(net(0.1, 0.0), x, target, loss)) == {"L402"}
    assert "L401" in codes(findings(net(60.0, 0.0), x, target, loss))


def test_inputs_are_judged_only_where_they_reach_a_weight_as_they_are() -> None:
    x, y = torch.rand(32, 16) * 255, classes(5)
    assert "I501" in codes(findings(mlp(16, 32, 5), x, y))
    assert "I501" not in codes(findings(nn.Sequential(nn.BatchNorm1d(16), *mlp(16, 32, 5)), x, y))
    scaled = Function(lambda m, x: m.net(x / 255), net=mlp(16, 32, 5))
    assert "I501" not in codes(findings(scaled, x, y))


def test_memory_read_as_floats_is_told_from_small_numbers() -> None:
    layer = nn.Linear(16, 16)
    layer.weight.data = torch.randint(0, 10**6, (16, 16), dtype=torch.int32).view(torch.float32).clone()
    parameters = {"weight": layer.weight.detach(), "bias": layer.bias.detach()}
    (found,) = run(Evidence(layer, parameters), select="W303")[0]
    assert found.category == "uninitialized"
    layer.weight.data = torch.randn(16, 16) * 1e-30
    assert not run(Evidence(layer, {"weight": layer.weight.detach()}), select="W303")[0]
