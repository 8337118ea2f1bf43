"""The race itself: paired, repeatable to the bit, resumable, on one process or several; errors before any training."""

from __future__ import annotations

import functools
import itertools
import math
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import fanin.compare as package
from fanin.compare import _checkpoint, _progress, compare, run, train
from fanin.compare import _compare as module
from fanin.compare._jobs import Todo, groups
from fanin.compare._store import Store
from fanin.data import Dataset
from fanin.errors import DataError, FaninError, InputError, PlanError, TraceError, UnknownNameError
from fanin.materialize import write
from fanin.schemes import plan
from fanin.slots import find
from fanin.trace import trace

RNG = np.random.default_rng(0)
X = RNG.standard_normal((96, 6)).astype(np.float32)
Y = X[:, :3].argmax(1)
DATA = Dataset("made", X[:64], Y[:64], X[64:], Y[64:])
SHORT = {"seeds": 2, "lrs": [0.03, 0.3], "steps": 6, "batch_size": 16}


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))


def normed() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3))


@pytest.fixture(autouse=True)
def _forked() -> Iterator[None]:
    with torch.random.fork_rng():
        yield


def states() -> tuple[object, ...]:
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist(), torch.get_num_threads()


@pytest.mark.parametrize("together", [True, False])
def test_nothing_outside_changes(together: bool) -> None:
    before = states()
    compare(mlp, DATA, ["own", "auto"], **SHORT, together=together)
    assert states() == before


def test_the_package_is_the_function() -> None:
    assert callable(package)
    assert package(mlp, DATA, ["he"], **SHORT).schemes == ("he",)  # type: ignore[operator]


# -- paired and repeatable


@pytest.mark.parametrize("make", [mlp, normed])
def test_same_seeds_same_bits(make: object) -> None:
    first, again = (compare(make, DATA, ["torch", "auto"], **SHORT) for _ in range(2))  # type: ignore[arg-type]
    assert first == again
    other = compare(make, DATA, ["torch", "auto"], **{**SHORT, "seeds": [5, 6]})  # type: ignore[arg-type]
    assert other.runs[0].curve.losses != first.runs[0].curve.losses


def test_global_generators_have_no_say() -> None:
    torch.manual_seed(1)
    first = compare(mlp, DATA, ["own"], **SHORT)
    torch.manual_seed(2)
    assert compare(mlp, DATA, ["own"], **SHORT) == first


def test_every_scheme_sees_the_same_batches_in_the_same_order() -> None:
    class Spy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 3)
            self.order: list[float] = []

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.training:
                self.order.append(float(x.sum()))
            return self.layer(x)

    def probe(model: nn.Module, step: int) -> list[float]:
        return list(model.order)  # type: ignore[arg-type]

    race = run(Spy, DATA, ["torch", "he"], lrs=[0.1], seeds=2, steps=6, batch_size=16, probe=probe, probe_at=[6])
    orders = {(r.scheme, r.seed): r.probes[0][1][-6:] for r in race.runs}
    assert orders["torch", 0] == orders["he", 0]
    assert orders["torch", 1] == orders["he", 1]
    assert orders["torch", 0] != orders["torch", 1]


def test_a_start_is_what_init_writes() -> None:
    """Scheme, batch and key as ``fanin.init_`` takes them, on the model that the seeded factory makes."""

    def probe(model: nn.Module, step: int) -> list[float]:
        return model[0].weight.detach().flatten().tolist()  # type: ignore[index,operator,no-any-return]

    race = run(mlp, DATA, ["own", "auto"], lrs=[0.1], seeds=[3], steps=1, probe=probe, probe_at=[0])
    starts = {r.scheme: r.probes[0][1] for r in race.runs}
    torch.manual_seed(3)
    model = mlp()
    assert starts["own"] == probe(model, 0)
    batch = DATA.batch(256, seed=3)
    graph = trace(model, batch.inputs, statistics=False).graph
    write(model, plan("auto", find(model, graph), graph), seed=3)
    assert starts["auto"] == probe(model, 0)
    assert starts["auto"] != starts["own"]


def test_both_roads_agree() -> None:
    together = compare(mlp, DATA, ["he"], **SHORT, together=True)
    alone = compare(mlp, DATA, ["he"], **SHORT, together=False)
    assert [r.together for r in together.runs] == [True] * len(together.runs)
    assert [r.together for r in alone.runs] == [False] * len(alone.runs)
    for left, right in zip(together.runs, alone.runs):
        # Six float32 updates of well-scaled values: 6 · 2^-24, amplified by up to a hundred.
        np.testing.assert_allclose(left.curve.losses, right.curve.losses, rtol=5e-5)
        np.testing.assert_allclose(left.curve.test_losses, right.curve.test_losses, rtol=5e-5)


def test_two_processes_give_the_same_bits() -> None:
    make = functools.partial(nn.Linear, 6, 3)  # importable in a worker, unlike what this file defines
    common = {"seeds": 2, "lrs": [0.1], "steps": 2, "together": False}
    one, two = (compare(make, DATA, ["own", "he"], **common, n_jobs=n_jobs) for n_jobs in (1, 2))  # type: ignore[arg-type]
    assert one == two
    with pytest.raises(InputError, match=r"n_jobs=2.*imported"):
        compare(mlp, DATA, ["own"], **common, n_jobs=2)  # type: ignore[arg-type]


def test_training_alone_is_train(request: pytest.FixtureRequest) -> None:
    request.addfinalizer(functools.partial(torch.set_num_threads, torch.get_num_threads()))
    torch.set_num_threads(1)  # a race trains with one thread; a sum split over two may round differently
    race = run(normed, DATA, ["own"], lrs=[0.1], seeds=[4], steps=6, batch_size=16)
    torch.manual_seed(4)
    curve = train(normed(), DATA, lr=0.1, steps=6, batch_size=16, seed=4, test_every=4)
    assert race.runs[0].curve == curve
    assert race.notes[0].startswith("trained one after another: ")


# -- tuning


def test_halving_gives_every_scheme_the_same_runs() -> None:
    race = compare(mlp, DATA, ["torch", "he"], seeds=3, lrs=[0.001, 0.01, 0.1, 1.0, 10.0], steps=16, batch_size=16)
    budgets = {name: sorted((r.steps, r.seed) for r in race.runs if r.scheme == name) for name in race.schemes}
    assert [len(rows) for rows in budgets.values()] == [5 * 2 + 3 * 2 + 2 * 2 + 1] * 2
    assert budgets["torch"] == budgets["he"]
    for name in race.schemes:
        full = {lr: score for lr, steps, score, _ in race.tuning(name) if steps == 16}
        assert len(full) == 2
        assert race.best_lr[name] in full
        assert len(race.of(name)) == 3


def test_the_test_part_has_no_say_in_the_rate() -> None:
    wrong = Dataset("wrong", DATA.train_x, DATA.train_y, DATA.test_x, (DATA.test_y + 1) % 3)
    assert compare(mlp, wrong, ["he"], **SHORT).best_lr == compare(mlp, DATA, ["he"], **SHORT).best_lr


def test_full_grid() -> None:
    race = run(mlp, DATA, ["he"], lrs=[0.1, 0.01], seeds=3, steps=4)
    assert len(race.runs) == 6
    assert [len(race.of("he", lr)) for lr in race.lrs] == [3, 3]


def test_divergence_is_counted() -> None:
    race = run(mlp, DATA, ["he"], lrs=[0.1, 1e30], seeds=2, steps=20, batch_size=16)
    row = race.summary()[0]
    assert (row.lr, row.diverged, row.diverged_in_tuning, row.tuned) == (0.1, 0, 2, 4)
    hopeless = run(mlp, DATA, ["he"], lrs=[1e30], seeds=2, steps=20, batch_size=16)
    assert (hopeless.summary()[0].diverged, hopeless.winner()) == (2, None)


def test_the_edge_of_the_grid_is_said() -> None:
    race = compare(mlp, DATA, ["he"], seeds=1, lrs=[1e-6, 1e-5], steps=6)
    assert race.summary()[0].at_edge == "highest"
    assert any("1e-05" in note and "highest" in note for note in race.notes)


# -- entrants and data


def test_entrants_of_every_kind() -> None:
    model = mlp()
    recipe = plan("he", find(model))

    def halve(model: nn.Module) -> None:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(0.5)

    race = run(
        mlp, DATA, {"as built": None, "halved": halve, "read": recipe, "he": {}, "leaky": {"scheme": "he",
        "negative_slope": 0.3}, "by name": "glorot"}, lrs=[0.1], seeds=1, steps=2,
    )  # fmt: skip
    assert race.schemes == ("as built", "halved", "read", "he", "leaky", "by name")
    first = {r.scheme: r.curve.losses[0] for r in race.runs}
    assert first["read"] == first["he"]
    assert len(set(first.values())) == 5
    listed = run(mlp, DATA, [recipe, halve, "torch", {"g": "glorot"}], lrs=[0.1], seeds=1, steps=1)
    assert listed.schemes == ("he", "halve", "torch", "g")


def test_regression_without_a_test_part() -> None:
    data = (X, X @ RNG.standard_normal((6, 1)).astype(np.float32))
    race = compare(lambda: nn.Linear(6, 1), data, ["torch"], seeds=1, lrs=[0.1], epochs=20)
    row = race.summary()[0]
    assert (row.test_accuracy, row.test_loss, race.metric()) == (None, None, "loss")
    assert row.loss.median < race.runs[0].curve.losses[0] / 10
    assert any("no test part" in note for note in race.notes)


def test_batches_and_dicts_of_parts() -> None:
    train_part = [(torch.from_numpy(X[i : i + 16]), torch.from_numpy(Y[i : i + 16])) for i in range(0, 64, 16)]
    parts = {"train": train_part, "test": (X[64:], Y[64:])}
    expected = compare(mlp, DATA, ["he"], **SHORT)
    assert compare(mlp, parts, ["he"], **SHORT).runs == expected.runs
    assert compare(mlp, (X[:64], Y[:64], X[64:], Y[64:]), ["he"], **SHORT).runs == expected.runs


def test_a_shuffling_loader_is_repeatable() -> None:
    pairs = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    loader = torch.utils.data.DataLoader(pairs, batch_size=16, shuffle=True)
    assert compare(mlp, loader, ["he"], **SHORT) == compare(mlp, loader, ["he"], **SHORT)


# -- the store


def test_resumed_is_uninterrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STACK", 3)
    whole = compare(mlp, DATA, ["torch", "he"], **SHORT)
    put, jobs = Store.put, []

    def interrupted(self: Store, runs: dict) -> None:  # type: ignore[type-arg]
        put(self, runs)
        jobs.append(len(runs))
        if len(jobs) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Store, "put", interrupted)
        with pytest.raises(KeyboardInterrupt):
            compare(mlp, DATA, ["torch", "he"], **SHORT, store=tmp_path / "runs.sqlite")
    assert len(Store(tmp_path / "runs.sqlite")) == sum(jobs) > 0
    again: list[int] = []
    monkeypatch.setattr(Store, "put", lambda self, runs: (put(self, runs), again.append(len(runs)))[0])
    resumed = compare(mlp, DATA, ["torch", "he"], **SHORT, store=tmp_path / "runs.sqlite")
    assert resumed == whole
    assert sum(again) == len(whole.runs) - sum(jobs)  # what was kept is not trained again
    again.clear()
    assert compare(mlp, DATA, ["torch", "he"], **SHORT, store=tmp_path / "runs.sqlite") == whole
    assert not again
    assert compare(mlp, DATA, ["torch", "he"], **SHORT, store=tmp_path / "runs.sqlite", resume=False) == whole
    assert sum(again) == len(whole.runs)


class Own(torch.optim.SGD):
    """An optimizer that torch's names do not know."""


@pytest.mark.parametrize(
    ("make", "optimizer"),
    [(mlp, "adam"), (mlp, lambda p, lr: Own(p, lr=lr, momentum=0.9)), (normed, "adam"), (normed, "momentum")],
)
def test_a_job_goes_on_where_it_was(
    make: object, optimizer: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted in the middle of a job: the same bits, and no update done twice; dropout and BatchNorm included."""
    common = {"seeds": 1, "lrs": [0.01], "steps": 12, "batch_size": 16, "test_every": 5, "optimizer": optimizer}
    common |= {"probe": lambda model, step: step, "probe_at": [0, 3, 12]}
    whole = run(make, DATA, ["he"], **common)  # type: ignore[arg-type]
    monkeypatch.setattr(_checkpoint, "EVERY", 0.0)
    monkeypatch.setattr(_checkpoint, "_SHARE", math.inf)
    ticks: list[int] = []

    def tick(updates: int) -> None:
        ticks.append(updates)
        if len(ticks) == 7:
            raise KeyboardInterrupt

    monkeypatch.setattr(_progress, "tick", tick)
    with pytest.raises(KeyboardInterrupt):
        run(make, DATA, ["he"], **common, store=tmp_path / "s")  # type: ignore[arg-type]
    ticks[:] = [0] * 7
    resumed = run(make, DATA, ["he"], **common, store=tmp_path / "s")  # type: ignore[arg-type]
    assert resumed == whole
    assert ticks[7:] == [7, 1, 1, 1, 1, 1]
    with closing(sqlite3.connect(tmp_path / "s")) as file:
        assert file.execute("SELECT COUNT(*) FROM partial").fetchone() == (0,)


def wider() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 17), nn.ReLU(), nn.Linear(17, 3))


class Scaled(nn.Sequential):
    """The weights of ``mlp``, another function."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 1.5 * super().forward(x)  # type: ignore[no-any-return]


CHANGES = {
    "model": {"make_model": wider},
    "forward": {"make_model": lambda: Scaled(*mlp())},
    "data": {"data": Dataset("made", X[:64] * 1.01, Y[:64], X[64:], Y[64:])},
    "test part": {"data": Dataset("made", X[:64], Y[:64], X[60:92], Y[60:92])},
    "optimizer": {"optimizer": "momentum"},
    "own optimizer": {"optimizer": lambda p, lr: torch.optim.SGD(p, lr=lr)},
    "loss": {"loss": lambda output, y: nn.functional.cross_entropy(output, y, label_smoothing=0.1)},
    "rate": {"lrs": [0.02]},
    "seed": {"seeds": [1]},
    "steps": {"steps": 5},
    "batch": {"batch_size": 8},
    "scheme options": {"schemes": {"he": {"negative_slope": 0.1}}},
    "road": {"together": False},
    "tests": {"test_every": 2},
    "probe": {"probe": lambda model, step: 1, "probe_at": [0]},
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_determines_a_run_is_in_its_key(change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = {
        "make_model": mlp,
        "data": DATA,
        "schemes": ["he"],
        "seeds": [0],
        "lrs": [0.1],
        "steps": 4,
        "batch_size": 16,
    }
    compare(**base, store=tmp_path / "s")  # type: ignore[arg-type]
    trained = []
    put = Store.put
    monkeypatch.setattr(Store, "put", lambda self, runs: (put(self, runs), trained.append(len(runs)))[0])
    compare(**base, store=tmp_path / "s")  # type: ignore[arg-type]
    assert not trained
    compare(**{**base, **CHANGES[change]}, store=tmp_path / "s")  # type: ignore[arg-type]
    assert trained


def test_a_store_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("these are my notes, and they are longer than a header of a hundred bytes " * 3)
    with pytest.raises(DataError, match=r"notes\.txt"):
        compare(mlp, DATA, ["he"], **SHORT, store=tmp_path / "notes.txt")
    assert "my notes" in (tmp_path / "notes.txt").read_text()


def test_groups_cover_everything_in_nearly_equal_parts() -> None:
    todos = [Todo("a", lr, seed, 10) for lr in (0.1, 0.3, 1.0) for seed in range(7)]
    for largest in (1, 4, 20, 21, 50):
        parts = groups(todos, largest)
        assert sorted(itertools.chain(*parts)) == sorted(todos)
        sizes = {len(part) for part in parts}
        assert max(sizes) <= largest
        assert max(sizes) - min(sizes) <= 1
        assert groups(todos[::-1], largest) == parts


# -- errors, all before any training


def dead_scheme(model: nn.Module) -> None:
    torch.nn.init.normal_(model[0].weight, generator=GENERATOR)  # type: ignore[index,union-attr,arg-type]


GENERATOR = torch.Generator().manual_seed(0)
ONE = mlp()
SHARED = nn.Linear(16, 3)


def by_dice() -> nn.Module:
    width = int(torch.randint(5, 5000, ()))
    return nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, 3))


class Odd(nn.Module):
    """A parameter that the forward pass does not use, so that no rule knows what it is."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.matrix = nn.Linear(6, 3), nn.Parameter(torch.randn(4, 5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)  # type: ignore[no-any-return]


WRONG = {
    "unknown scheme": (UnknownNameError, "hee", {"schemes": ["hee"]}),
    "no scheme": (InputError, "schemes", {"schemes": []}),
    "twice": (InputError, "name of its own", {"schemes": ["he", "he"]}),
    "unknown option": (InputError, "slope", {"schemes": {"he": {"slope": 1}}}),
    "not a scheme": (InputError, "schemes", {"schemes": [3]}),
    "uncovered": (PlanError, "matrix", {"make_model": Odd}),
    "same module": (InputError, "same module twice", {"make_model": lambda: ONE}),
    "shared parameter": (InputError, "'1.weight'", {"make_model": lambda: nn.Sequential(nn.Linear(6, 16), SHARED)}),
    "random architecture": (InputError, "depends on the random seed", {"make_model": by_dice}),
    "not a module": (InputError, "int", {"make_model": lambda: 3}),
    "frozen": (InputError, "trainable", {"make_model": lambda: mlp().requires_grad_(False)}),
    "own generator": (InputError, "two starts with seed 0 differ", {"schemes": [dead_scheme]}),
    "wrong width": (TraceError, "shape", {"make_model": lambda: nn.Linear(7, 3), "schemes": ["own"]}),
    "one sample left": (TraceError, "Expected more than 1 value", {"make_model": normed, "batch_size": 63}),
    "loss of a vector": (InputError, "loss", {"loss": lambda o, y: o.sum(1)}),
    "loss that raises": (TraceError, "mine", {"loss": lambda o, y: (_ for _ in ()).throw(RuntimeError("mine"))}),
    "loss without gradient": (InputError, "gradient", {"loss": lambda o, y: torch.tensor(1.0)}),
    "no samples": (DataError, "training sample", {"data": Dataset("none", X[:0], Y[:0])}),
    "no targets": (DataError, "targets", {"data": Dataset("none", X, Y[:0])}),
    "no batches": (DataError, "no batch", {"data": []}),
    "unknown data": (UnknownNameError, "mnisst", {"data": "mnisst"}),
    "rate 0": (InputError, "lrs", {"lrs": [0.1, 0.0]}),
    "rate nan": (InputError, "lrs", {"lrs": float("nan")}),
    "no rate": (InputError, "lrs", {"lrs": []}),
    "rate twice": (InputError, "lrs", {"lrs": [0.1, 0.1]}),
    "own optimizer, no grid": (InputError, "lrs", {"optimizer": torch.optim.SGD, "lrs": None}),
    "unknown optimizer": (InputError, "optimizer", {"optimizer": "sdg"}),
    "no seed": (InputError, "seeds", {"seeds": 0}),
    "seed twice": (InputError, "seeds", {"seeds": [1, 1]}),
    "both budgets": (InputError, "either epochs or steps", {"epochs": 2}),
    "batch 0": (InputError, "batch_size", {"batch_size": 0}),
    "two targets": (InputError, "either", {"target_loss": 1.0, "target_accuracy": 0.5}),
    "accuracy 90": (InputError, "target_accuracy", {"target_accuracy": 90}),
    "stack impossible": (InputError, "random numbers", {"make_model": normed, "together": True}),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_before_any_training(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    error, says, change = WRONG[case]

    def trained(*_: object, **__: object) -> None:
        raise AssertionError("something was trained")

    monkeypatch.setattr(module, "work", trained)
    arguments = {"make_model": mlp, "data": DATA, "schemes": ["he"], **SHORT, **change}
    with pytest.raises(error, match=says) as caught:
        compare(**arguments)  # type: ignore[arg-type]
    assert isinstance(caught.value, FaninError)


def test_the_harness_would_see_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def trained(*_: object, **__: object) -> None:
        raise AssertionError("something was trained")

    monkeypatch.setattr(module, "work", trained)
    with pytest.raises(AssertionError, match="something was trained"):
        compare(mlp, DATA, ["he"], **SHORT)


def test_it_shows(capsys: pytest.CaptureFixture[str]) -> None:
    race = compare(mlp, DATA, ["torch", "he"], **SHORT)
    for width in (60, 100, 140):
        race.show(width=width)
        text = capsys.readouterr().out
        assert all(len(line) <= width for line in text.splitlines())
        for part in (race.verdict()[:19], "Steps to target", "diverged", "Medians", "updates", "he (lr"):
            assert part in text
