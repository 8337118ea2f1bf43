"""A loss is recognised by computing it again, and compared with knowing nothing."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from fanin.checks import Evidence, Skip
from fanin.checks._loss import head_bias, head_weight, read
from fanin.trace import trace


def _evidence(out: int, target: torch.Tensor, loss: Any = None, *, inputs: int = 64) -> Evidence:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, out))
    return Evidence(model, {}, trace=trace(model, torch.randn(inputs, 8), target, loss))


CLASSES = torch.arange(64) % 5


@pytest.mark.parametrize(
    "loss",
    [
        None,
        functional.cross_entropy,
        lambda o, t: functional.cross_entropy(o, t, reduction="sum"),
        lambda o, t: functional.nll_loss(functional.log_softmax(o, -1), t),
    ],
)
def test_cross_entropy_is_recognised_however_it_is_written(loss: Any) -> None:
    reading = read(_evidence(5, CLASSES, loss))
    assert reading.kind == "cross_entropy"
    assert reading.uniform == pytest.approx(math.log(5))
    assert reading.prior == pytest.approx(math.log(5), abs=1e-2)
    assert abs(reading.loss - reading.uniform) < 0.5


@pytest.mark.parametrize("loss", [lambda o, t: 3 * functional.cross_entropy(o, t), lambda o, t: o.square().mean()])
def test_another_loss_is_skipped_not_judged(loss: Any) -> None:
    with pytest.raises(Skip, match="not the cross-entropy"):
        read(_evidence(5, CLASSES, loss))


def test_binary_and_squared_losses_are_recognised() -> None:
    target = (torch.arange(64 * 3) % 10 == 0).float().reshape(64, 3)
    rate = float(target.mean())
    entropy = -rate * math.log(rate) - (1 - rate) * math.log(1 - rate)
    reading = read(_evidence(3, target, functional.binary_cross_entropy_with_logits))
    assert (reading.kind, reading.exact) == ("bce", True)
    assert reading.prior == pytest.approx(entropy)
    focal = read(_evidence(3, target, lambda o, t: 0.1 * functional.binary_cross_entropy_with_logits(o, t)))
    assert (focal.kind, focal.exact) == ("bce", False)
    values = torch.linspace(3, 5, 64)[:, None]
    reading = read(_evidence(1, values))
    assert reading.kind == "mse"
    assert reading.uniform == pytest.approx(float(values.square().mean()))
    assert reading.prior == pytest.approx(float(values.var(correction=0)), rel=1e-5)


def test_a_model_that_computes_its_own_loss_is_read_by_its_labels() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.head = nn.Embedding(11, 8), nn.Linear(8, 11)

        def forward(self, ids: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
            logits = self.head(self.table(ids))
            loss = functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
            return {"loss": loss, "logits": logits}

    torch.manual_seed(0)
    ids = torch.randint(0, 11, (4, 9))
    model = Model()
    reading = read(Evidence(model, {}, trace=trace(model, {"ids": ids, "labels": ids})))
    assert (reading.kind, reading.classes, reading.count) == ("cross_entropy", 11, 32)


def test_the_head_is_the_last_map_on_the_path() -> None:
    evidence = _evidence(5, CLASSES)
    assert (head_weight(evidence), head_bias(evidence)) == ("2.weight", "2.bias")
