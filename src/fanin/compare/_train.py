"""A small, honest trainer: the same seed gives the same curve, and nothing outside the model is touched."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from fanin.compare._checkpoint import random_states, set_random_states
from fanin.compare._curve import Curve
from fanin.compare._optimizers import MakeOptimizer, make_optimizer
from fanin.compare._quiet import modes_kept, seeded
from fanin.compare._task import Loss, Task, batches, call, make_task, tensors, tested
from fanin.errors import InputError

if TYPE_CHECKING:
    from fanin.compare._checkpoint import Checkpoint
    from fanin.data import Dataset

__all__ = ["Probe", "Sampled", "budget", "train", "train_alone"]

Probe = Callable[[nn.Module, int], Any]
"""``probe(model, updates done)`` → JSON values to keep; it may run the model but must not change it."""

Sampled = tuple[tuple[int, Any], ...]
"""(updates done, what the probe returned), in order."""


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
        model: any module that takes a batch of ``data.train_x``; several inputs by name or by position.
        data: training and test part, as :func:`fanin.compare.compare` takes it.
        optimizer: "sgd", "momentum" (0.9), "adam", "adamw", "rmsprop", or ``make(parameters, lr)``.
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
        >>> import torch
        >>> from fanin.data import load
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        >>> curve = train(model, load("digits"), lr=0.1, epochs=2)
        >>> curve.test_accuracy > 0.8, curve.diverged
        (True, False)
    """
    count(batch_size, "batch_size")
    task = make_task(data, loss, batch_size)
    total = budget(task, epochs, steps)
    test_at = {0, total} | (set(range(test_every, total, test_every)) if test_every else set())
    return train_alone(model, task, optimizer=optimizer, lr=lr, steps=total, seed=seed, test_at=test_at)[0]


def train_alone(
    model: nn.Module,
    task: Task,
    *,
    optimizer: str | MakeOptimizer,
    lr: float,
    steps: int,
    seed: int,
    test_at: Collection[int] = (),
    probe: Probe | None = None,
    probe_at: Collection[int] = (),
    tick: Callable[[int], None] = lambda updates: None,
    checkpoint: Checkpoint | None = None,
) -> tuple[Curve, Sampled]:
    """Train one model; see :func:`train`. ``tick(1)`` is called after each update."""
    update = make_optimizer(list(model.parameters()), optimizer, lr)
    device = next(model.parameters()).device
    data = task.data
    x, y, test_x, test_y = (tensors(part, device) for part in (data.train_x, data.train_y, data.test_x, data.test_y))
    losses: list[float] = []
    tests: list[tuple[int, float, float | None]] = []
    sampled: list[tuple[int, Any]] = []

    def look(step: int) -> None:
        if step in test_at and len(test_x):
            tests.append((step, *tested(model, test_x, test_y, task)))
        if probe is not None and step in probe_at:
            with modes_kept(model):
                sampled.append((step, probe(model, step)))

    with seeded(seed), modes_kept(model):
        model.train()
        state = checkpoint.load() if checkpoint is not None else None
        if state is None:
            look(0)
        else:
            model.load_state_dict(state["model"])
            with torch.no_grad():  # those that are not persistent are in no state_dict
                for name, buffer in model.named_buffers():
                    buffer.copy_(state["buffers"][name])
            update.load_state_dict(state["optimizer"])
            losses, tests, sampled = state["losses"], state["tests"], state["sampled"]
            set_random_states(state["random"])
            tick(state["step"])
        done = 0 if state is None else state["step"]
        order = itertools.islice(batches(len(x), task.batch_size, steps, seed), done, None)
        for step, index in enumerate(order, start=done + 1):
            update.zero_grad(set_to_none=True)
            value = task.loss(call(model, x[index]), y[index])
            losses.append(float(value.detach()))
            if not math.isfinite(losses[-1]):
                break
            value.backward()
            update.step()
            look(step)
            if checkpoint is not None and checkpoint.due():
                record = {"step": step, "losses": losses, "tests": tests, "sampled": sampled}
                weights = {"model": model.state_dict(), "buffers": dict(model.named_buffers())}
                weights["optimizer"] = update.state_dict()
                checkpoint.save({**record, **weights, "random": random_states()})
            tick(1)
    return curve_of(losses, tests, seed), tuple(sampled)


def curve_of(losses: list[float], tests: list[tuple[int, float, float | None]], seed: int) -> Curve:
    """The record of one run; diverged where a training loss or a test after the first update is not finite."""
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


def budget(task: Task, epochs: int | None, steps: int | None) -> int:
    """Number of updates.

    Raises:
        InputError: unless exactly one of the two is given, as an integer >= 1.
    """
    for name, value in (("epochs", epochs), ("steps", steps)):
        if value is not None:
            count(value, name)
    if (epochs is None) == (steps is None):
        raise InputError("give either epochs or steps.")
    return steps if steps is not None else (epochs or 0) * task.per_epoch


def count(value: Any, name: str) -> int:
    """Raise unless ``value`` is an integer >= 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError.of(name, value, "an integer >= 1")
    return value
