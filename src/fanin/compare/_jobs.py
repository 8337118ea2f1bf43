"""Jobs: groups of runs that joblib may send anywhere; what comes back depends on the job alone, not on where it ran."""

from __future__ import annotations

import copy
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pickle import PicklingError
from typing import TYPE_CHECKING

from torch import nn

from fanin.compare import _progress
from fanin.compare._quiet import one_thread
from fanin.compare._run import Run
from fanin.compare._start import Entrant, MakeModel, build
from fanin.compare._together import train_together
from fanin.compare._train import Probe, train_alone
from fanin.errors import InputError

if TYPE_CHECKING:
    from fanin.compare._checkpoint import Checkpoint
    from fanin.compare._optimizers import MakeOptimizer
    from fanin.compare._store import Store
    from fanin.compare._task import Task

__all__ = ["Setup", "Todo", "execute", "groups", "work"]


@dataclass(frozen=True, order=True)
class Todo:
    """One run to do: scheme, learning rate, seed, number of updates."""

    scheme: str
    lr: float
    seed: int
    steps: int


@dataclass(frozen=True, eq=False)
class Setup:
    """What all runs of a race share; it can be pickled (by cloudpickle, as joblib's workers do).

    Args:
        make_model: makes a new model each time.
        entrants: the starts.
        task: data and loss.
        optimizer: a name or ``make(parameters, lr)``.
        test_every: updates between two tests.
        probe: looks at a model at chosen moments, or None.
        probe_at: numbers of updates done.
        together: train the runs of a job as one stack.
        threads: torch threads of a job.
    """

    make_model: MakeModel
    entrants: tuple[Entrant, ...]
    task: Task
    optimizer: str | MakeOptimizer
    test_every: int
    probe: Probe | None = None
    probe_at: frozenset[int] = frozenset()
    together: bool = False
    threads: int = 1

    def test_at(self, steps: int) -> frozenset[int]:
        """Numbers of updates after which the test part is looked at."""
        return frozenset({0, steps, *range(self.test_every, steps, self.test_every)})


def execute(setup: Setup, todos: Sequence[Todo], checkpoint: Checkpoint | None = None) -> tuple[list[Run], int]:
    """Do one job.

    Args:
        setup: what all runs share.
        todos: the runs of this job; in a stack they have the same number of updates.
        checkpoint: where it may keep its state while it is under way; one run or one stack.

    Returns:
        The runs in the same order, and the process that did them.
    """
    with one_thread(setup.threads):
        models = _started(setup, todos)
        if setup.together:
            results = train_together(
                list(models),
                setup.task,
                optimizer=setup.optimizer,
                rates=[todo.lr for todo in todos],
                seeds=[todo.seed for todo in todos],
                steps=todos[0].steps,
                test_at=setup.test_at(todos[0].steps),
                probe=setup.probe,
                probe_at=setup.probe_at,
                tick=_progress.tick,
                checkpoint=checkpoint,
            )
        else:
            results = [
                train_alone(
                    model,
                    setup.task,
                    optimizer=setup.optimizer,
                    lr=todo.lr,
                    steps=todo.steps,
                    seed=todo.seed,
                    test_at=setup.test_at(todo.steps),
                    probe=setup.probe,
                    probe_at=setup.probe_at,
                    tick=_progress.tick,
                    checkpoint=checkpoint,
                )
                for todo, model in zip(todos, models)
            ]
    runs = [
        Run(todo.scheme, todo.lr, todo.seed, todo.steps, curve, setup.together, probes)
        for todo, (curve, probes) in zip(todos, results)
    ]
    return runs, os.getpid()


def _started(setup: Setup, todos: Sequence[Todo]) -> Iterator[nn.Module]:
    """The models of a job; a start that several learning rates share is made once."""
    by_name = {entrant.name: entrant for entrant in setup.entrants}
    made: dict[tuple[str, int], nn.Module] = {}
    for todo in todos:
        place = (todo.scheme, todo.seed)
        if place not in made:
            model = build(setup.make_model, todo.seed)
            by_name[todo.scheme].start(model, setup.task, todo.seed)
            made = {place: model}
        yield copy.deepcopy(made[place])


def groups(todos: Sequence[Todo], largest: int) -> list[list[Todo]]:
    """Cut into the fewest groups of nearly the same size, none above ``largest``; the cut depends on nothing else."""
    ordered = sorted(todos)
    count = -(-len(ordered) // largest)
    bounds = [len(ordered) * part // count for part in range(count + 1)]
    return [ordered[low:high] for low, high in itertools.pairwise(bounds)]


def work(
    setup: Setup,
    jobs: Iterable[Sequence[Todo]],
    *,
    n_jobs: int | None,
    store: Store | None,
    keys: Mapping[Todo, str],
    resume: bool = True,
) -> dict[Todo, Run]:
    """Do the jobs, those that the store does not hold; each job is stored as soon as it ends.

    A job of which a part is stored runs as a whole, so that a resumed race has the numbers of one that ran through.
    """
    done: dict[Todo, Run] = {}
    missing = []
    for todos in jobs:
        stored = {todo: store.get(keys[todo]) for todo in todos} if store is not None and resume else {}
        if stored and all(stored.values()):
            done |= {todo: run for todo, run in stored.items() if run is not None}
            _progress.advance(sum(todo.steps for todo in todos))
        else:
            keep = None if store is None else store.checkpoint((keys[todo] for todo in todos), resume=resume)
            missing.append((list(todos), keep))
    if not missing:
        return done
    for runs, process in _sent(setup, missing, n_jobs):
        finished = {Todo(run.scheme, run.lr, run.seed, run.steps): run for run in runs}
        if store is not None:
            store.put({keys[todo]: run for todo, run in finished.items()})
        done |= finished
        _progress.settle(sum(run.steps for run in runs), ticked=process == os.getpid())
    return done


def _sent(
    setup: Setup, jobs: Sequence[tuple[Sequence[Todo], Checkpoint | None]], n_jobs: int | None
) -> Iterator[tuple[list[Run], int]]:
    """The results as they come; the backend is joblib's choice (loky), or what joblib.parallel_config() says."""
    from joblib import Parallel, delayed  # type: ignore[import-untyped]
    from joblib.externals.loky.process_executor import BrokenProcessPool  # type: ignore[import-untyped]

    parallel = Parallel(n_jobs=n_jobs, return_as="generator_unordered")
    try:
        yield from parallel(delayed(execute)(setup, todos, keep) for todos, keep in jobs)
    except (BrokenProcessPool, PicklingError) as error:
        raise InputError(
            f"n_jobs={n_jobs}: a worker process could not do its work ({error}). Are make_model, schemes, loss and "
            "optimizer defined in a module that can be imported, and is there memory for so many workers? n_jobs=1 "
            "runs in this process."
        ) from error
