"""compare: race several starts; run: train every combination. The package's docstring tells how they relate."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

from torch import nn

from fanin.compare import _progress
from fanin.compare._halving import best, rungs
from fanin.compare._identity import identities
from fanin.compare._jobs import Setup, Todo, groups, work
from fanin.compare._optimizers import OPTIMIZERS, MakeOptimizer, known_optimizer, rate
from fanin.compare._race import Race, Target
from fanin.compare._rehearse import rehearse
from fanin.compare._run import Run
from fanin.compare._start import build, entrants
from fanin.compare._store import Store
from fanin.compare._task import Loss, Task, make_task
from fanin.compare._together import STACK, why_alone, why_slower
from fanin.compare._train import Probe, budget, count
from fanin.errors import InputError

__all__ = ["compare", "run"]


def compare(
    make_model: Callable[[], nn.Module],
    data: Any,
    schemes: Any,
    *,
    seeds: int | Sequence[int] = 5,
    optimizer: str | MakeOptimizer = "sgd",
    lrs: Sequence[float] | float | None = None,
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int = 64,
    loss: Loss | None = None,
    test_every: int | None = None,
    tuning_seeds: int = 2,
    halving: bool = True,
    target_loss: float | None = None,
    target_accuracy: float | None = None,
    probe: Probe | None = None,
    probe_at: Collection[int] = (),
    together: bool | None = None,
    n_jobs: int | None = None,
    threads: int = 1,
    store: str | os.PathLike[str] | None = None,
    resume: bool = True,
    progress: bool | None = None,
) -> Race:
    """Race several starts on one task: the same seeds, the same data order, the same budget to tune the learning rate.

    Each seed fixes torch's generator while the factory runs, the key under which a scheme draws, the order of batches,
    and dropout; all schemes share it. The learning rate of each scheme is chosen by training loss (the test part has
    no say) on the first ``tuning_seeds`` seeds, by successive halving on one grid for all; the best one is then trained
    with every seed. The caller's random states are as before afterwards.

    Args:
        make_model: a callable without arguments that makes a new model each time.
        data: a Dataset, a name ("digits", "mnist", …), (x, y), (x, y, x_test, y_test), {"train": …, "test": …}, or an
            iterable of batches (x, y).
        schemes: scheme names, with "own" for what the factory itself draws; or name → options; or Recipes, or callables
            model → None that write in place.
        seeds: how many (0, 1, …), or which.
        optimizer: "sgd", "momentum", "adam", "adamw", "rmsprop", or ``make(parameters, lr)``.
        lrs: grid of learning rates; by default half decades around the usual ones of the optimizer.
        epochs: passes over the training part; 5 unless ``steps`` is given.
        steps: number of updates instead of epochs.
        batch_size: samples per update.
        loss: ``loss(output, target)`` → the mean over the batch; default cross-entropy for integer targets, else mean
            squared error.
        test_every: updates between two tests; one epoch by default.
        tuning_seeds: seeds on which learning rates are compared; at most as many as there are seeds.
        halving: False trains the whole grid with every seed and all updates.
        target_loss: count updates until the running mean of up to 20 training losses is this low; by default 90 % of
            the way from the first to the final loss of the best start.
        target_accuracy: count updates until the test accuracy is this high instead.
        probe: ``probe(model, updates done)`` → JSON values kept in ``Run.probes``.
        probe_at: numbers of updates done at which it looks.
        together: train many runs as one stack; None does so where it is possible and pays, True raises where it is not.
        n_jobs: worker processes (joblib); None for one, or what ``joblib.parallel_config`` says; -1 for all cores.
        threads: torch threads of each job; the default of one makes results independent of the number of workers.
        store: SQLite file in which every finished run is kept, so that an interrupted race goes on from there.
        resume: False does not take runs from the store, only keeps them there. A run is found again by a hash of all
            that determines it: the start's values and what the model makes of them, data, loss, optimizer, learning
            rate, seed, budget and versions.
        progress: show a bar; by default where standard error is a terminal.

    Returns:
        The Race: ``summary()``, ``winner()``, ``verdict()``, ``show()``, ``curves(scheme)``, ``to_json()``.

    Raises:
        InputError: if an argument cannot be used, the factory returns one module twice or other architectures; before
            any training, as all that follow.
        UnknownNameError: if a scheme does not exist.
        PlanError: if a scheme covers a parameter by no rule.
        TraceError: if the model or the loss raises.
        DataError: if there is nothing to train on.

    Example:
        >>> from fanin.data import load
        >>> race = compare(lambda: nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10)),
        ...                load("digits").flat().take(256, 100), ["torch", "glorot"],
        ...                seeds=2, lrs=[0.03, 0.3], epochs=2)
        >>> race.seeds, sorted(race.best_lr)
        ((0, 1), ['glorot', 'torch'])
        >>> [len(race.curves(name)) for name in race.schemes]
        [2, 2]
    """
    task = make_task(data, loss, count(batch_size, "batch_size"))
    total = budget(task, 5 if epochs is None and steps is None else epochs, steps)
    known_optimizer(optimizer)
    names, grid = _seeds(seeds), _grid(lrs, optimizer)
    setup = Setup(
        make_model,
        entrants(schemes),
        task,
        optimizer,
        count(test_every, "test_every") if test_every is not None else task.per_epoch,
        probe,
        frozenset(count(at, "probe_at") if at else 0 for at in probe_at),
        threads=count(threads, "threads"),
    )
    wanted = _target(target_loss, target_accuracy)
    digests = rehearse(setup, names)
    notes = [] if len(task.data.test_x) else ["no test part: schemes are compared by training loss"]
    alone = _why_alone(build(make_model, names[0]), task, optimizer, together)
    if alone and together is None:
        notes.append(f"trained one after another: {alone}")
    setup = replace(setup, together=not alone)
    keep = Store(store) if store is not None else None
    done: dict[Todo, Run] = {}

    def train(todos: Sequence[Todo]) -> list[Run]:
        fresh = [todo for todo in todos if todo not in done]
        jobs = groups(fresh, STACK if setup.together else 1) if fresh else []
        keys = identities(setup, digests, fresh) if keep is not None else {}
        done.update(work(setup, jobs, n_jobs=n_jobs, store=keep, keys=keys, resume=resume))
        return [done[todo] for todo in todos]

    tuned = names[: count(tuning_seeds, "tuning_seeds")]
    ladder = rungs(len(grid), total) if halving else [(len(grid), total)]
    tuned = tuned if halving else names
    updates = sum(rates * updates * len(tuned) for rates, updates in ladder) + (len(names) - len(tuned)) * total
    with _progress.bar(updates * len(setup.entrants), progress):
        chosen = _tune(setup, grid, tuned, ladder, train)
        _progress.describe("training every seed")
        train([Todo(name, lr, seed, total) for name, lr in chosen.items() for seed in names])
    race = Race(
        schemes=tuple(entrant.name for entrant in setup.entrants),
        seeds=names,
        lrs=grid,
        steps=total,
        best_lr=chosen,
        runs=tuple(done[todo] for todo in sorted(done)),
        settings=_settings(setup),
        notes=tuple(notes),
    )
    return replace(race, target=wanted or _usual_target(race), notes=(*race.notes, *_edges(race)))


def run(
    make_model: Callable[[], nn.Module], data: Any, schemes: Any, *, lrs: Sequence[float] | float, **options: Any
) -> Race:
    """Train every combination of scheme, learning rate and seed for all updates: :func:`compare` without halving.

    Args:
        make_model: as in :func:`compare`, and so are all further arguments.
        data: as in :func:`compare`.
        schemes: as in :func:`compare`.
        lrs: one learning rate or several.
        options: keyword arguments of :func:`compare`.

    Returns:
        The Race; ``race.of(scheme, lr)`` are the runs, one per seed, with ``curve`` and ``probes``.

    Example:
        >>> from fanin.data import load
        >>> def weight_scale(model, step):
        ...     return float(model.weight.detach().std())
        >>> race = run(lambda: nn.Linear(64, 10), load("digits").flat().take(128, 50), ["torch"], lrs=[0.01, 0.1],
        ...            seeds=[7], steps=4, probe=weight_scale, probe_at=[0, 4])
        >>> [(r.lr, r.seed, len(r.curve.losses), [step for step, _ in r.probes]) for r in race.runs]
        [(0.01, 7, 4, [0, 4]), (0.1, 7, 4, [0, 4])]
    """
    return compare(make_model, data, schemes, lrs=lrs, halving=False, **options)


def _why_alone(model: nn.Module, task: Task, optimizer: str | MakeOptimizer, together: bool | None) -> str | None:
    """Why runs are trained one after another, or None where they are trained as a stack."""
    if together is False:
        return "asked for (together=False)"
    alone = why_alone(model, task, optimizer)
    if alone and together:
        raise InputError(f"together=True: the runs cannot be trained as one stack: {alone}.")
    return alone or (None if together else why_slower(model, task))


def _seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    named = tuple(range(count(seeds, "seeds"))) if isinstance(seeds, int) else tuple(seeds)
    good = all(isinstance(s, int) and not isinstance(s, bool) and 0 <= s < 1 << 63 for s in named)
    if not named or not good or len(set(named)) != len(named):
        raise InputError.of("seeds", seeds, "how many, or different integers in [0, 2**63)")
    return named


def _grid(lrs: Sequence[float] | float | None, optimizer: str | MakeOptimizer) -> tuple[float, ...]:
    if lrs is None:
        if not isinstance(optimizer, str):
            raise InputError.of("lrs", None, "a grid of learning rates beside an optimizer of your own")
        return OPTIMIZERS[optimizer].rates
    named = [rate(lr, "lrs") for lr in ([lrs] if isinstance(lrs, (int, float)) else lrs)]
    if not named or len(set(named)) != len(named):
        raise InputError.of("lrs", lrs, "different learning rates, at least one")
    return tuple(sorted(named))


def _target(loss: float | None, accuracy: float | None) -> Target | None:
    if loss is not None and accuracy is not None:
        raise InputError("give either target_loss or target_accuracy.")
    if accuracy is not None and not 0 < accuracy <= 1:
        raise InputError.of("target_accuracy", accuracy, "a share in (0, 1]")
    if loss is not None and not math.isfinite(loss):
        raise InputError.of("target_loss", loss, "a finite number")
    if loss is not None:
        return Target("train_loss", float(loss), "as asked")
    return Target("test_accuracy", float(accuracy), "as asked") if accuracy is not None else None


def _tune(
    setup: Setup,
    grid: Sequence[float],
    seeds: Sequence[int],
    ladder: Sequence[tuple[int, int]],
    train: Callable[[Sequence[Todo]], list[Run]],
) -> dict[str, float]:
    """The best learning rate of each scheme; every scheme is given the same runs."""
    left = {entrant.name: list(grid) for entrant in setup.entrants}
    for rung, (rates, updates) in enumerate(ladder):
        _progress.describe(f"tuning: {rates} learning rates, {updates} updates")
        runs = train([Todo(name, lr, seed, updates) for name, lrs in left.items() for lr in lrs for seed in seeds])
        keep = ladder[rung + 1][0] if rung + 1 < len(ladder) else 1
        left = {name: best([run for run in runs if run.scheme == name], keep) for name in left}
    return {name: lrs[0] for name, lrs in left.items()}


def _usual_target(race: Race) -> Target | None:
    """90 % of the way from the lowest first loss to the lowest final one, medians over the seeds."""
    runs = {scheme: race.of(scheme) for scheme in race.schemes}
    first = min(median(run.curve.losses[0] for run in of) for of in runs.values())
    last = min(median(run.final_loss for run in of) for of in runs.values())
    if not (math.isfinite(first) and math.isfinite(last) and last < first):
        return None
    why = f"90 % of the way from the lowest first loss, {first:.4g}, to the lowest final one, {last:.4g}"
    return Target("train_loss", last + 0.1 * (first - last), why)


def _edges(race: Race) -> list[str]:
    """Where the grid may have been too narrow."""
    rows = [row for row in race.summary() if row.at_edge]
    return [
        f"{row.scheme}: its best learning rate, {row.lr:g}, is the {row.at_edge} of the grid; a better one may lie "
        "outside"
        for row in rows
    ]


def _settings(setup: Setup) -> dict[str, Any]:
    data, choice = setup.task.data, setup.optimizer
    return {
        "optimizer": choice if isinstance(choice, str) else getattr(choice, "__qualname__", type(choice).__name__),
        "batch_size": setup.task.batch_size,
        "updates_per_epoch": setup.task.per_epoch,
        "loss": setup.task.loss_name,
        "data": data.source or data.name,
        "train_samples": len(data.train_x),
        "test_samples": len(data.test_x),
        "classes": data.classes if setup.task.classes else None,
        "together": setup.together,
        "threads": setup.threads,
    }
