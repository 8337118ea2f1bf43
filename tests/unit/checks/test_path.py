"""The main path: which chain carries the signal, and what is counted along it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from fanin.checks._path import head_of, main_path, paths, strength, weight_before
from fanin.checks._steps import backward_chains, segments, steps
from fanin.trace import Trace, trace


class _Residual(nn.Module):
    """x + scale · f(x)."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.branch, self.scale = nn.Linear(16, 16), scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.scale * self.branch(x)


class _HandMadeNorm(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


def _run(*layers: nn.Module) -> Trace:
    torch.manual_seed(0)
    model = nn.Sequential(*layers)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            nn.init.orthogonal_(parameter)
        else:
            nn.init.zeros_(parameter)
    return trace(model, torch.randn(32, 16))


def _maps(record: Trace) -> list[str]:
    return [step.node.place for step in steps(record, paths(record)[0]) if step.kind == "map"]


@pytest.mark.parametrize(("scale", "through"), [(1e-6, []), (0.0, []), (100.0, ["0.branch"])])
def test_a_sum_is_passed_on_the_stronger_side(scale: float, through: list[str]) -> None:
    assert _maps(_run(_Residual(scale), nn.Linear(16, 3))) == through


def test_orthogonal_layers_change_nothing_and_scaled_ones_by_their_scale() -> None:
    record = _run(nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 3))
    (segment,) = segments(steps(record, paths(record)[0]))
    assert segment.decades() == pytest.approx(0, abs=1e-4)
    model = nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 3))
    for layer in model[:2]:
        nn.init.orthogonal_(layer.weight, 0.1)
        nn.init.zeros_(layer.bias)
    record = trace(model, torch.randn(32, 16))
    (segment,) = segments(steps(record, paths(record)[0]))
    assert segment.decades() == pytest.approx(-2, abs=1e-3)
    (chain,) = backward_chains(record)
    assert chain.decades == pytest.approx(-1, abs=1e-3)  # the gradient at the input itself is not asked for


def test_the_head_is_not_counted() -> None:
    record = _run(nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 3))
    assert _maps(record) == ["0"]
    head = head_of(record)
    assert head is not None
    assert head.place == "2"


@pytest.mark.parametrize("norm", [nn.LayerNorm(16, elementwise_affine=False), _HandMadeNorm()])
def test_a_norm_cuts_the_path_also_when_written_by_hand(norm: nn.Module) -> None:
    record = _run(nn.Linear(16, 16), norm, nn.Linear(16, 16), nn.Linear(16, 3))
    first, second = segments(steps(record, paths(record)[0]))
    assert (first.normalized, first.layers, second.normalized, second.layers) == (True, 1, False, 1)


def test_a_weight_used_in_every_time_step_counts_once() -> None:
    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.step, self.head = nn.Linear(16, 16), nn.Linear(16, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for _ in range(5):
                x = torch.tanh(self.step(x))
            return self.head(x)

    assert len(_maps(_run(Loop()))) == 1


def test_equal_samples_have_no_share_and_independent_ones_have_all() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(64, 64)
    record = trace(layer, torch.randn(1, 64).repeat(8, 1))
    found = strength(record, record.graph.outputs[0])
    assert found is not None
    assert found.share <= 2e-3
    record = trace(nn.Linear(64, 64, bias=False), torch.randn(64, 64))
    found = strength(record, record.graph.outputs[0])
    assert found is not None
    assert found.share == pytest.approx(1, abs=4 / math.sqrt(64))


def test_the_weight_in_front_of_an_activation_is_named() -> None:
    record = _run(nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 3))
    (tanh,) = (node for node in record.graph.nodes if node.op == "tanh")
    assert weight_before(record, tanh) == "0.weight"
    assert weight_before(record, record.graph.nodes[0]) is None
    assert main_path(record, record.graph.outputs[0])[0].kind == "input"
