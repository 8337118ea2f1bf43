"""The trainer: same seed same curve, nothing outside the model changes, divergence is said."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

from fanin.compare import Curve, train
from fanin.data import Dataset, load
from fanin.errors import InputError


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    with torch.random.fork_rng():
        yield


DIGITS = load("digits").flat().take(256, 100)


def model(seed: int = 0, *, dropout: float = 0.2) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(dropout), nn.Linear(32, 10))


def test_same_seed_same_curve() -> None:
    first, again = (train(model(), DIGITS, lr=0.1, epochs=3, seed=5, test_every=4) for _ in range(2))
    assert first == again
    other = train(model(), DIGITS, lr=0.1, epochs=3, seed=6, test_every=4)
    assert other.losses != first.losses
    assert first.steps == tuple(range(1, 13))
    assert first.test_steps == (0, 4, 8, 12)


def test_it_learns() -> None:
    curve = train(model(dropout=0), load("digits").flat(), lr=0.1, epochs=4)
    assert curve.test_accuracy is not None
    assert curve.test_accuracies[0] < 0.3 < 0.75 < curve.test_accuracy  # 360 images: chance 0.1 ± 0.016
    assert curve.losses[-1] < curve.losses[0]


def test_nothing_outside_the_model_changes() -> None:
    net = model()
    net[1].eval()
    before = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
    threads, grad = torch.get_num_threads(), torch.is_grad_enabled()
    train(net, DIGITS, lr=0.1, steps=3)
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before
    assert (torch.get_num_threads(), torch.is_grad_enabled()) == (threads, grad)
    assert [layer.training for layer in net] == [True, False, True, True, True]


def test_restored_after_an_exception_too() -> None:
    def fails(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        torch.rand(3)
        raise RuntimeError("mine")

    net, before = model(), torch.get_rng_state()
    with pytest.raises(RuntimeError, match="mine"):
        train(net, DIGITS, lr=0.1, steps=3, loss=fails)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(layer.training for layer in net)


def test_divergence_is_said() -> None:
    curve = train(nn.Sequential(nn.Linear(64, 32), nn.Linear(32, 10)), DIGITS, lr=1e12, steps=50)
    assert curve.diverged
    assert curve.test_accuracy is None
    assert not math.isfinite(curve.losses[-1])
    assert len(curve.losses) < 50
    assert not train(model(), DIGITS, lr=0.1, steps=5).diverged


def test_regression_and_no_test_part() -> None:
    x = np.random.default_rng(0).standard_normal((64, 3)).astype(np.float32)
    data = Dataset("line", x, x @ np.array([[1.0], [2.0], [-1.0]], np.float32))
    curve = train(nn.Linear(3, 1), data, lr=0.1, epochs=40, batch_size=16)
    assert curve.losses[-1] < 1e-3
    assert curve.test_accuracies == ()
    assert curve.test_accuracy is None


def test_every_sample_once_an_epoch() -> None:
    seen: list[int] = []
    x = np.arange(10, dtype=np.float32)[:, None]

    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        seen.extend(target.tolist())
        return output.square().mean()

    train(nn.Linear(1, 1), Dataset("ten", x, np.arange(10)), lr=1e-6, epochs=2, batch_size=4, loss=loss)
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10))
    assert seen[:10] != seen[10:]


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "adamw", lambda p, lr: torch.optim.RMSprop(p, lr)])
def test_optimizers(optimizer: object) -> None:
    curve = train(model(), DIGITS, optimizer=optimizer, lr=0.01, steps=40)  # type: ignore[arg-type]
    assert sum(curve.losses[-5:]) < sum(curve.losses[:5])


def test_json_round_trip() -> None:
    curve = Curve((1, 2), (2.0, math.inf), (0, 2), (2.0, 1.0), (0.1, 0.2), diverged=True, seed=3)
    back = Curve.from_json(curve.to_json())
    assert curve.to_json()["losses"] == [2.0, None]
    assert back.losses[0] == 2.0
    assert math.isnan(back.losses[1])
    assert (back.steps, back.test_accuracies, back.diverged, back.seed) == ((1, 2), (0.1, 0.2), True, 3)


def test_smoothed_is_a_running_mean() -> None:
    curve = Curve((1, 2, 3), (3.0, 1.0, 5.0))
    assert curve.smoothed(2) == (3.0, 2.0, 3.0)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"lr": 0.0, "steps": 1}, "lr"),
        ({"lr": float("nan"), "steps": 1}, "lr"),
        ({"lr": 0.1}, "either epochs or steps"),
        ({"lr": 0.1, "steps": 1, "epochs": 1}, "either epochs or steps"),
        ({"lr": 0.1, "steps": 0}, "steps"),
        ({"lr": 0.1, "steps": 1, "batch_size": 2.5}, "batch_size"),
        ({"lr": 0.1, "steps": 1, "optimizer": "sdg"}, "optimizer"),
    ],
)
def test_refuses(arguments: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        train(model(), DIGITS, **arguments)  # type: ignore[arg-type]


def test_refuses_frozen_models_and_no_targets() -> None:
    with pytest.raises(InputError, match="no trainable parameter"):
        train(model().requires_grad_(False), DIGITS, lr=0.1, steps=1)
    with pytest.raises(InputError, match="targets"):
        train(model(), Dataset("x", DIGITS.train_x, np.zeros(0, int)), lr=0.1, steps=1)
