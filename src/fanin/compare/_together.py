"""Many small runs at once: their weights in one stack, one batched product where each alone would be a small one."""

from __future__ import annotations

import copy
import itertools
import math
import random
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.func import functional_call, vmap

from fanin.compare._curve import Curve
from fanin.compare._optimizers import OPTIMIZERS, MakeOptimizer
from fanin.compare._quiet import modes_kept, seeded
from fanin.compare._stacked_ops import layered, stacked_cross_entropy, stacked_squared_error
from fanin.compare._task import Task, batches, cross_entropy, mean_squared_error, scores_of, tensors
from fanin.compare._train import Probe, Sampled, curve_of
from fanin.data import Samples

if TYPE_CHECKING:
    from fanin.compare._checkpoint import Checkpoint

__all__ = ["STACK", "train_together", "why_alone", "why_slower"]

STACK = 32
"""Runs in one stack. From about 20 on, a step costs in proportion to their number (benchmarks/many_runs.py)."""

_TEST_VALUES = 1 << 22
"""Input values that one call of the stack reads while testing: 16 MiB of float32, about what a core's cache holds."""


_TRIAL = 16
"""Samples of the trial step."""

_PAYS = 1_000_000
"""Floating-point operations of one sample's forward pass up to which a stack is faster on a CPU: measured on 20 runs,
batches of 32: 3× at 0.1 M, 1.2× at 0.6 M (perceptrons and convolutions alike), 0.8× at 5 M."""


class _Stack:
    """The weights of several models of one architecture.

    Args:
        models: one per run; their values are copied.
        task: what they are trained on.
    """

    def __init__(self, models: Sequence[nn.Module], task: Task) -> None:
        self.runs = len(models)
        self.base = copy.deepcopy(models[0])
        own = [dict(model.named_parameters()) for model in models]
        buffers = [dict(model.named_buffers()) for model in models]
        self.trainable = {
            name: torch.stack([parameters[name].detach() for parameters in own]).requires_grad_()
            for name, parameter in own[0].items()
            if parameter.requires_grad
        }
        self.fixed = {
            name: torch.stack([values[name].detach() for values in named])
            for named in (own, buffers)
            for name in named[0]
            if name not in self.trainable
        }
        self.device = next(iter(self.trainable.values())).device
        self.forward = layered(self.base)
        self.ignored = task.classes and any(y.size and y.min() < 0 for y in (task.data.train_y, task.data.test_y))

    def call(self, judge: Callable[[Any, torch.Tensor], Any], x: torch.Tensor, y: torch.Tensor) -> Any:
        """``judge(output, y)`` of every run; x, y and what is returned have a leading axis of runs."""
        if self.forward is not None:
            output = self.forward({**self.fixed, **self.trainable}, x)
            if judge is cross_entropy and output.ndim == 3 and y.ndim == 2 and not self.ignored:
                return stacked_cross_entropy(output, y)
            if judge is mean_squared_error and output.shape == y.shape:
                return stacked_squared_error(output, y)
            return vmap(judge, randomness="error")(output, y)

        def one(trainable: dict[str, torch.Tensor], fixed: dict[str, torch.Tensor], xs: Any, ys: Any) -> Any:
            return judge(functional_call(self.base, (trainable, fixed), (xs,)), ys)

        return vmap(one, randomness="error")(self.trainable, self.fixed, x, y)

    def grads(self, losses: torch.Tensor) -> list[torch.Tensor]:
        """Gradient of each run's loss; they do not mix, since each depends on its own weights alone."""
        found = torch.autograd.grad(losses.sum(), list(self.trainable.values()), allow_unused=True)
        return [torch.zeros_like(p) if g is None else g for p, g in zip(self.trainable.values(), found)]

    def model(self, run: int) -> nn.Module:
        """The model of one run, for looking at: the same module each time, with that run's values."""
        with torch.no_grad():
            stacked = {**self.fixed, **self.trainable}
            for name, tensor in itertools.chain[tuple[str, torch.Tensor]](
                self.base.named_parameters(), self.base.named_buffers()
            ):
                tensor.copy_(stacked[name][run])
        return self.base


class _Descent:
    """The optimizer of a stack: a built-in rule on whole stacks, or the user's own on each run's slices."""

    def __init__(self, stack: _Stack, optimizer: str | MakeOptimizer, rates: Sequence[float]) -> None:
        self.stack = stack
        self.values = list(stack.trainable.values())
        self.t = 0
        self.own: list[tuple[list[nn.Parameter], torch.optim.Optimizer]] = []
        if isinstance(optimizer, str):
            self.rule = OPTIMIZERS[optimizer].step
            lr = [torch.tensor(rates, dtype=v.dtype, device=v.device) for v in self.values]
            self.lr = [column.reshape(-1, *[1] * (v.ndim - 1)) for column, v in zip(lr, self.values)]
            self.state: list[list[torch.Tensor]] = [[] for _ in self.values]
            return
        for run, rate in enumerate(rates):
            slices = [nn.Parameter(value.detach()[run]) for value in self.values]  # views: they share memory
            self.own.append((slices, optimizer(slices, rate)))

    @torch.no_grad()
    def step(self, grads: list[torch.Tensor]) -> None:
        self.t += 1
        for run, (slices, optimizer) in enumerate(self.own):
            for part, grad in zip(slices, grads):
                part.grad = grad[run]
            optimizer.step()
        if not self.own:
            for value, grad, lr, state in zip(self.values, grads, self.lr, self.state):
                self.rule(value, grad, lr, state, self.t)

    def memory(self) -> dict[str, Any]:
        """All that the next step depends on."""
        own = [optimizer.state_dict() for _, optimizer in self.own]
        state = [] if self.own else self.state
        return {"values": [value.detach() for value in self.values], "t": self.t, "state": state, "own": own}

    @torch.no_grad()
    def restore(self, memory: dict[str, Any]) -> None:
        """Inverse of :meth:`memory`."""
        for value, saved in zip(self.values, memory["values"]):
            value.copy_(saved)
        self.t, self.state = memory["t"], memory["state"]
        for (_, optimizer), saved in zip(self.own, memory["own"]):
            optimizer.load_state_dict(saved)


def train_together(
    models: Sequence[nn.Module],
    task: Task,
    *,
    optimizer: str | MakeOptimizer,
    rates: Sequence[float],
    seeds: Sequence[int],
    steps: int,
    test_at: Collection[int] = (),
    probe: Probe | None = None,
    probe_at: Collection[int] = (),
    tick: Callable[[int], None] = lambda updates: None,
    checkpoint: Checkpoint | None = None,
) -> list[tuple[Curve, Sampled]]:
    """Train models of one architecture side by side, each with its own rate, seed and order of batches.

    The numbers are those of :func:`train_alone` up to rounding. ``tick(runs)`` is called after each update.
    """
    stack = _Stack(models, task)
    descent = _Descent(stack, optimizer, rates)
    data = task.data
    x, y, test_x, test_y = (tensors(p, stack.device) for p in (data.train_x, data.train_y, data.test_x, data.test_y))
    losses: list[list[float]] = [[] for _ in models]
    tests: list[list[tuple[int, float, float | None]]] = [[] for _ in models]
    sampled: list[list[tuple[int, Any]]] = [[] for _ in models]
    running = [True] * len(models)

    def look(step: int) -> None:
        if step in test_at and len(test_x):
            for run, record in enumerate(_tested(stack, test_x, test_y, task)):
                if running[run]:
                    tests[run].append((step, *record))
        if probe is not None and step in probe_at:
            for run in range(len(models)):
                if running[run]:
                    with seeded(seeds[run]), modes_kept(stack.base):
                        sampled[run].append((step, probe(stack.model(run), step)))

    with seeded(seeds[0]):
        stack.base.train()
        state = checkpoint.load() if checkpoint is not None else None
        if state is None:
            look(0)
        else:
            descent.restore(state["descent"])
            losses, tests, sampled, running = (state[name] for name in ("losses", "tests", "sampled", "running"))
            tick(len(models) * state["step"])
        done = 0 if state is None else state["step"]
        order = itertools.islice(_indices(len(x), task.batch_size, steps, seeds), done, None)
        for step, index in enumerate(order, start=done + 1):
            values = stack.call(task.loss, x[index], y[index])
            for run, value in enumerate(values.tolist()):
                if running[run]:
                    losses[run].append(value)
                    running[run] = math.isfinite(value)
            if not any(running):
                break
            descent.step(stack.grads(values))
            look(step)
            if checkpoint is not None and checkpoint.due():
                record = {"step": step, "losses": losses, "tests": tests, "sampled": sampled, "running": running}
                checkpoint.save({**record, "descent": descent.memory()})
            tick(len(models))
    return [(curve_of(losses[run], tests[run], seed), tuple(sampled[run])) for run, seed in enumerate(seeds)]


def _indices(samples: int, size: int, total: int, seeds: Sequence[int]) -> Iterator[torch.Tensor]:
    """(runs, batch) indices; runs of one seed share their order."""
    distinct = sorted(set(seeds))
    orders = [batches(samples, size, total, seed) for seed in distinct]
    rows = torch.tensor([distinct.index(seed) for seed in seeds])
    for parts in zip(*orders):
        yield torch.stack(parts)[rows]


def _tested(stack: _Stack, x: torch.Tensor, y: torch.Tensor, task: Task) -> list[tuple[float, float | None]]:
    """(mean loss, accuracy or None) of each run over the test part."""
    summed = torch.zeros(stack.runs, dtype=torch.float64)
    correct = torch.zeros(stack.runs, dtype=torch.int64)
    counted = 0
    scored: set[bool] = set()

    def judge(output: Any, target: torch.Tensor) -> Any:
        scores = scores_of(output, target) if task.classes else None
        scored.add(scores is not None)
        # Without scores something that has an axis of runs must be returned all the same.
        hits = target.sum() * 0 if scores is None else (scores.argmax(-1) == target).sum()
        return task.loss(output, target), hits

    size = min(1000, max(1, _TEST_VALUES // (stack.runs * max(1, x[0].numel()))))
    with modes_kept(stack.base), torch.no_grad():
        stack.base.eval()
        for start in range(0, len(x), size):
            xs, ys = (part[start : start + size] for part in (x, y))
            loss, hits = stack.call(judge, xs.expand(stack.runs, *xs.shape), ys.expand(stack.runs, *ys.shape))
            summed += loss.double().cpu() * len(xs)
            correct += hits.long().cpu()
            counted += ys.numel()
    shares: list[float | None] = [hits / counted for hits in correct.tolist()]
    return list(zip((summed / len(x)).tolist(), shares if scored == {True} else [None] * stack.runs))


def why_slower(model: nn.Module, task: Task) -> str | None:
    """Why a stack of such models would not pay, or None where it does."""
    from torch.utils.flop_counter import FlopCounterMode

    device = next(model.parameters()).device
    if device.type != "cpu":
        return None
    values = sum(parameter.numel() for parameter in model.parameters())
    if values > _PAYS:  # large tables that a sample hardly touches: a stack of them would only fill the memory
        return f"{values / 1e6:.1f} million parameters; a stack pays below {_PAYS // 10**6}"
    x = tensors(task.data.train_x[:_TRIAL], device)
    with seeded(0), torch.no_grad(), FlopCounterMode(display=False) as counter:
        copy.deepcopy(model)(x)
    each = counter.get_total_flops() / len(x)
    if each <= _PAYS:
        return None
    return f"{each / 1e6:.1f} million operations per sample fill a core already; a stack pays below {_PAYS // 10**6}"


def _random_states() -> tuple[bytes, object, bytes]:
    """States of the global generators that a forward pass may draw from."""
    return torch.get_rng_state().numpy().tobytes(), random.getstate(), np.random.get_state()[1].tobytes()  # type: ignore[index]


def why_alone(model: nn.Module, task: Task, optimizer: str | MakeOptimizer = "sgd") -> str | None:
    """Why models of this kind cannot be trained as one stack, or None where they can.

    Tried on a copy: what training changes besides the parameters, whether it draws random numbers, and whether two
    stacked models give the losses and gradients that each gives alone.
    """
    if isinstance(task.data.train_x, Samples):
        return "its batches hold several inputs"
    model = copy.deepcopy(model)
    if len({(p.dtype, p.device) for p in model.parameters()}) > 1:
        return "its parameters have several dtypes or devices"
    device = next(model.parameters()).device
    x, y = (tensors(part[:_TRIAL], device) for part in (task.data.train_x, task.data.train_y))
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with seeded(0):
        model.train()
        before = _random_states()
        loss = task.loss(model(x), y)
        if before != _random_states():
            return "it draws random numbers in training (dropout)"
        changed = [name for name, buffer in model.named_buffers() if not torch.equal(buffer, buffers[name])]
        if changed:
            return f"training changes its buffers ({', '.join(changed[:3])}{', …' if len(changed) > 3 else ''})"
        loss.backward()
        try:
            stack = _Stack([model, model], task)
            stack.base.train()
            losses = stack.call(task.loss, x.expand(2, *x.shape), y.expand(2, *y.shape))
            grads = stack.grads(losses)
            _Descent(stack, optimizer, [1e-3, 1e-3]).step([torch.zeros_like(grad) for grad in grads])
            _tested(stack, x, y, task)
        except Exception as error:
            return (
                f"vmap refuses it: {str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__}"
            )
    alone = [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters() if p.requires_grad]
    pairs = [(losses, loss.detach().expand(2)), *((g, a.expand_as(g)) for g, a in zip(grads, alone))]
    if any(not torch.allclose(left, right, rtol=1e-3, atol=1e-5, equal_nan=True) for left, right in pairs):
        return "in a stack it gives other losses or gradients than alone"
    return None
