"""Many runs at once give the numbers that each gives alone; where that is impossible the reason is said."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from fanin.compare._optimizers import OPTIMIZERS
from fanin.compare._task import Task, make_task
from fanin.compare._together import train_together, why_alone, why_slower
from fanin.compare._train import train_alone
from fanin.data import Dataset

SEEDS, RATES = (0, 1, 0, 3), (0.01, 0.02, 0.03, 0.01)


def task(kind: str = "classes", *, batch_size: int = 16, loss: object = None) -> Task:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((100, 6))  # float64: rounding is then far below what a wrong formula would change
    y = x[:, :3].argmax(1) if kind == "classes" else x[:, :3] ** 2
    return make_task(Dataset("made", x[:70], y[:70], x[70:], y[70:]), loss, batch_size)  # type: ignore[arg-type]


def plain() -> nn.Module:
    return nn.Sequential(
        nn.Linear(6, 8), nn.Tanh(), nn.Sequential(nn.Linear(8, 8, bias=False), nn.ReLU()), nn.Linear(8, 3)
    )


class Residual(nn.Module):
    """LayerNorm, a tied weight, a frozen one, a constant buffer and a parameter that is not used."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.first, self.second = nn.LayerNorm(6), nn.Linear(6, 6), nn.Linear(6, 6)
        self.second.weight = self.first.weight
        self.head = nn.Linear(6, 3)
        self.head.bias.requires_grad_(False)
        self.unused = nn.Parameter(torch.ones(2))
        self.register_buffer("scale", torch.tensor(0.5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x + self.scale * torch.relu(self.second(self.first(self.norm(x)))))


def convolution() -> nn.Module:
    layers = (nn.Unflatten(1, (1, 6)), nn.Conv1d(1, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(16, 3))
    return nn.Sequential(*layers)


def made(make: object, seed: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make().double()  # type: ignore[operator]


def both(make: object, work: Task, optimizer: object = "sgd", steps: int = 12) -> tuple[list, list]:
    common = {"optimizer": optimizer, "steps": steps, "test_at": {0, 5, steps}, "probe_at": {0, steps}}

    def probe(model: nn.Module, step: int) -> float:
        return float(sum(p.detach().square().sum() for p in model.parameters()))

    alone = [
        train_alone(made(make, seed), work, lr=lr, seed=seed, probe=probe, **common)  # type: ignore[arg-type]
        for seed, lr in zip(SEEDS, RATES)
    ]
    models = [made(make, seed) for seed in SEEDS]
    return alone, train_together(models, work, rates=RATES, seeds=SEEDS, probe=probe, **common)  # type: ignore[arg-type]


def flat(results: list) -> np.ndarray:
    rows = [
        [*curve.losses, *curve.test_losses, *curve.test_accuracies, *(value for _, value in probes)]
        for curve, probes in results
    ]
    return np.array(rows)


# Twelve float64 updates of well-scaled numbers: 1e-16 a step, amplified by less than a thousand.
TOLERANCE = {"rtol": 1e-10, "atol": 1e-12}


@pytest.mark.parametrize("make", [plain, Residual, convolution])
@pytest.mark.parametrize("kind", ["classes", "values"])
def test_the_numbers_of_each_alone(make: object, kind: str) -> None:
    alone, together = both(make, task(kind))
    np.testing.assert_allclose(flat(together), flat(alone), **TOLERANCE)
    assert [curve.test_steps for curve, _ in together] == [(0, 5, 12)] * 4
    assert len({curve.losses for curve, _ in together}) == 4  # its twin: no two runs are the same one


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_is_torchs(optimizer: str) -> None:
    alone, together = both(plain, task(), optimizer)
    np.testing.assert_allclose(flat(together), flat(alone), **TOLERANCE)


def test_optimizers_differ() -> None:
    ends = {name: both(plain, task(), name, steps=3)[1][0][0].losses[-1] for name in OPTIMIZERS}
    assert len(set(ends.values())) == len(ends)


def test_an_optimizer_of_ones_own_sees_each_run_alone() -> None:
    class Clipped(torch.optim.SGD):
        """Its step depends on the norm over all parameters of the model."""

        def step(self, closure: object = None) -> None:  # type: ignore[override]
            nn.utils.clip_grad_norm_(self.param_groups[0]["params"], 0.1)
            super().step()

    alone, together = both(plain, task(), lambda p, lr: Clipped(p, lr=lr, momentum=0.5))
    np.testing.assert_allclose(flat(together), flat(alone), **TOLERANCE)


def test_a_loss_of_ones_own() -> None:
    work = task(loss=lambda output, target: functional.cross_entropy(output, target, label_smoothing=0.1))
    alone, together = both(plain, work)
    np.testing.assert_allclose(flat(together), flat(alone), **TOLERANCE)
    assert flat(both(plain, task())[1])[0, 0] != pytest.approx(flat(together)[0, 0], rel=1e-3)


def test_ignored_targets() -> None:
    work = task()
    work.data.train_y[::7] = -100  # ignore_index of torch's cross-entropy
    alone, together = both(plain, work)
    np.testing.assert_allclose(flat(together), flat(alone), **TOLERANCE)


def test_one_run_that_diverges_leaves_the_others() -> None:
    work, models = task("values"), [made(plain, seed) for seed in SEEDS]
    rates = (0.01, 1e9, 0.03, 0.01)
    common = {"optimizer": "sgd", "steps": 30, "test_at": {0, 10, 30}}
    together = train_together(models, work, rates=rates, seeds=SEEDS, **common)  # type: ignore[arg-type]
    alone = [
        train_alone(made(plain, seed), work, lr=lr, seed=seed, **common)[0]  # type: ignore[arg-type]
        for seed, lr in zip(SEEDS, rates)
    ]
    assert [curve.diverged for curve, _ in together] == [False, True, False, False]
    for (curve, _), reference in zip(together, alone):
        assert curve.steps == reference.steps
        assert curve.test_steps == reference.test_steps
        if not reference.diverged:
            np.testing.assert_allclose(curve.losses, reference.losses, rtol=1e-9)


def test_float32_up_to_rounding() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((64, 6)).astype(np.float32)
    work = make_task(Dataset("made", x, x[:, :3].argmax(1)), None, 16)
    alone = [train_alone(made(plain, s).float(), work, optimizer="adam", lr=1e-3, seed=s, steps=8)[0] for s in SEEDS]
    models = [made(plain, s).float() for s in SEEDS]
    together = train_together(models, work, optimizer="adam", rates=[1e-3] * 4, seeds=SEEDS, steps=8)
    for (curve, _), reference in zip(together, alone):
        np.testing.assert_allclose(curve.losses, reference.losses, rtol=1e-4)


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) if x.sum() > 0 else self.layer(-x)


class Noisy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) * float(np.random.uniform(0.5, 1))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)), "changes its buffers (1.running"),
        (lambda: nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.Linear(8, 3)), "random numbers"),
        (Noisy, "random numbers"),
        (Branching, "vmap refuses it"),
    ],
)
def test_why_not(make: object, says: str) -> None:
    reason = why_alone(made(make, 0), task())
    assert reason is not None
    assert says in reason


@pytest.mark.parametrize("make", [plain, Residual, convolution])
def test_asking_why_changes_nothing(make: object) -> None:
    model = made(make, 0)
    before, state = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    assert why_alone(model, task()) is None
    assert why_slower(model, task()) is None
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_what_cannot_step_on_slices_trains_alone() -> None:
    reason = why_alone(made(plain, 0), task(), lambda p, lr: torch.optim.LBFGS(p, lr=lr))
    assert reason is not None


def test_large_models_do_not_pay() -> None:
    reason = why_slower(nn.Sequential(nn.Linear(6, 2000), nn.Linear(2000, 300)).double(), task())
    assert reason is not None
    assert "million operations" in reason
    reason = why_slower(nn.Sequential(nn.Linear(6, 3), nn.Embedding(300_000, 4)).double(), task())
    assert reason is not None
    assert "million parameters" in reason
