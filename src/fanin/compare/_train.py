"""A small, honest trainer: the same seed gives the same curve, and nothing outside the model is touched."""

from __future__ import annotations

import contextlib
import copy
import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from fanin.errors import InputError

if TYPE_CHECKING:
    from fanin.data import Dataset

__all__ = ["OPTIMIZERS", "Curve", "train"]

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
MakeOptimizer = Callable[[Any, float], torch.optim.Optimizer]

OPTIMIZERS: dict[str, MakeOptimizer] = {
    "sgd": lambda parameters, lr: torch.optim.SGD(parameters, lr=lr),
    "momentum": lambda parameters, lr: torch.optim.SGD(parameters, lr=lr, momentum=0.9),
    "adam": lambda parameters, lr: torch.optim.Adam(parameters, lr=lr),
    "adamw": lambda parameters, lr: torch.optim.AdamW(parameters, lr=lr),
}


@dataclass(frozen=True)
class Curve:
    """How one training went.

    Args:
        steps: number of the step, from 1, for each entry of ``losses``.
        losses: training loss of that step's batch, before the update.
        test_steps: number of updates done at each test; the first is 0, before training.
        test_losses: mean loss over the test part.
        test_accuracies: share of the test part classified correctly; empty for a regression or without a test part.
        diverged: True where the loss stopped being finite; training ended there and nothing was tested after it.
        seed: of the order of batches and of dropout.
    """

    steps: tuple[int, ...]
    losses: tuple[float, ...]
    test_steps: tuple[int, ...] = ()
    test_losses: tuple[float, ...] = ()
    test_accuracies: tuple[float, ...] = ()
    diverged: bool = False
    seed: int = 0

    @property
    def test_accuracy(self) -> float | None:
        """The last one; None where there is none, or where training diverged."""
        return None if self.diverged or not self.test_accuracies else self.test_accuracies[-1]

    def smoothed(self, window: int = 20) -> tuple[float, ...]:
        """Training losses as running means over up to ``window`` steps."""
        return tuple(
            sum(self.losses[max(0, i + 1 - window) : i + 1]) / min(i + 1, window) for i in range(len(self.losses))
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; a loss that is not finite becomes None."""
        return {
            key: [_finite(entry) for entry in value] if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Curve:
        """Inverse of :meth:`to_json` (None becomes NaN)."""
        fields: dict[str, Any] = {
            key: tuple(math.nan if entry is None else entry for entry in value) if isinstance(value, list) else value
            for key, value in data.items()
        }
        return cls(**fields)


def train(
    model: nn.Module,
    data: Dataset,
    *,
    optimizer: str | MakeOptimizer = "sgd",
    lr: float,
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int = 64,
    seed: int = 0,
    loss: Loss | None = None,
    test_every: int | None = None,
) -> Curve:
    """Train a model in place and record the curve.

    Batches go through the training part in a new order each epoch, drawn from the seed alone; the last, smaller batch
    of an epoch is used as well. Global random states, modes and the number of threads are as before afterwards; what
    changes is the model's parameters, buffers and gradients.

    Args:
        model: any module that takes a batch of ``data.train_x``.
        data: training and test part.
        optimizer: "sgd", "momentum" (0.9), "adam", "adamw", or ``make(parameters, lr)``.
        lr: learning rate, constant; > 0.
        epochs: passes over the training part; give this or ``steps``.
        steps: number of updates.
        batch_size: samples per update.
        seed: order of batches, and dropout.
        loss: ``loss(output, target)``; default cross-entropy for integer targets, else mean squared error.
        test_every: updates between two tests; by default only before and after training.

    Returns:
        The Curve.

    Raises:
        InputError: if an argument is out of range or nothing is trainable.

    Example:
        >>> from fanin.data import load
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        >>> curve = train(model, load("digits"), lr=0.1, epochs=2)
        >>> curve.test_accuracy > 0.8, curve.diverged
        (True, False)
    """
    total = _steps(len(data.train_x), epochs, steps, batch_size)
    update = _optimizer(model, optimizer, lr)
    criterion = loss or _default_loss(data)
    if len(data.train_y) == 0:
        raise InputError.of("data", data, "a Dataset with targets")
    device = next(model.parameters()).device
    x, y = (torch.from_numpy(part).to(device) for part in (data.train_x, data.train_y))
    test_at = {0, total} | (set(range(test_every, total, test_every)) if test_every else set())
    losses: list[float] = []
    tests: list[tuple[int, float, float | None]] = []
    with _undisturbed(model, seed):
        tests += _test(model, data, criterion, 0)
        model.train()
        for step, index in enumerate(_batches(len(x), batch_size, total, seed), start=1):
            update.zero_grad(set_to_none=True)
            value = criterion(model(x[index]), y[index])
            losses.append(float(value.detach()))
            if not math.isfinite(losses[-1]):
                break
            value.backward()
            update.step()
            if step in test_at:
                tests += _test(model, data, criterion, step)
    diverged = not all(map(math.isfinite, losses)) or any(not math.isfinite(value) for _, value, _ in tests[1:])
    return Curve(
        steps=tuple(range(1, len(losses) + 1)),
        losses=tuple(losses),
        test_steps=tuple(step for step, _, _ in tests),
        test_losses=tuple(value for _, value, _ in tests),
        test_accuracies=tuple(accuracy for _, _, accuracy in tests if accuracy is not None),
        diverged=diverged,
        seed=seed,
    )


def _steps(samples: int, epochs: int | None, steps: int | None, batch_size: int) -> int:
    for name, value in (("epochs", epochs), ("steps", steps), ("batch_size", batch_size)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise InputError.of(name, value, "an integer >= 1")
    if (epochs is None) == (steps is None):
        raise InputError("train: give either epochs or steps.")
    return steps if steps is not None else (epochs or 0) * math.ceil(samples / batch_size)


def _optimizer(model: nn.Module, choice: str | MakeOptimizer, lr: float) -> torch.optim.Optimizer:
    if isinstance(lr, bool) or not isinstance(lr, (int, float)) or not (math.isfinite(lr) and lr > 0):
        raise InputError.of("lr", lr, "a finite number > 0")
    if isinstance(choice, str) and choice not in OPTIMIZERS:
        raise InputError.of("optimizer", choice, f"{', '.join(OPTIMIZERS)}, or make(parameters, lr)")
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trainable:
        raise InputError.of("model", "no trainable parameter", "at least one")
    make = OPTIMIZERS[choice] if isinstance(choice, str) else choice
    return make(trainable, lr)


def _default_loss(data: Dataset) -> Loss:
    return functional.cross_entropy if np.issubdtype(data.train_y.dtype, np.integer) else functional.mse_loss


def _batches(samples: int, size: int, total: int, seed: int) -> Iterator[torch.Tensor]:
    order = np.random.default_rng(seed)
    done = 0
    while True:
        permutation = order.permutation(samples)
        for start in range(0, samples, size):
            if done == total:
                return
            yield torch.from_numpy(permutation[start : start + size])
            done += 1


def _test(model: nn.Module, data: Dataset, loss: Loss, step: int) -> Sequence[tuple[int, float, float | None]]:
    """One record, in eval mode; none where there is no test part."""
    if len(data.test_x) == 0:
        return ()
    device = next(model.parameters()).device
    flags = {module: module.training for module in model.modules()}
    model.eval()
    summed, right, classes = 0.0, 0, np.issubdtype(data.test_y.dtype, np.integer)
    with torch.no_grad():
        for start in range(0, len(data.test_x), 1000):
            part = slice(start, start + 1000)
            x, y = (torch.from_numpy(values[part]).to(device) for values in (data.test_x, data.test_y))
            output = model(x)
            summed += float(loss(output, y)) * len(x)
            if classes:
                right += int((output.argmax(1) == y).sum())
    for module, flag in flags.items():
        module.training = flag
    count = len(data.test_x)
    return ((step, summed / count, right / count if classes else None),)


@contextlib.contextmanager
def _undisturbed(model: nn.Module, seed: int) -> Iterator[None]:
    """Seeded inside; random states, modes and the gradient switch as before outside."""
    python, numpy_state = random.getstate(), copy.deepcopy(np.random.get_state())
    flags = {module: module.training for module in model.modules()}
    cuda = sorted({p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"})
    with torch.random.fork_rng(devices=cuda), torch.enable_grad():
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % (1 << 32))
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy_state)
            for module, flag in flags.items():
                module.training = flag


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
