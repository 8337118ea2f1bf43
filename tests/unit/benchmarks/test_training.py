"""The arithmetic of the training tables: what is ranked, what counts as tied, what as diverged."""

from __future__ import annotations

import copy
import importlib
import json
import math
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from fanin.data import Dataset

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def training() -> Any:
    sys.path.insert(0, str(ROOT))
    try:
        yield importlib.import_module("benchmarks.training")
    finally:
        sys.path.remove(str(ROOT))


def start(*scores: float, diverged: tuple[int, ...] = ()) -> dict[str, Any]:
    ordered = sorted(scores)
    return {"median": ordered[len(ordered) // 2], "low": ordered[0], "high": ordered[-1], "diverged": list(diverged)}


def row(score: str = "accuracy", references: tuple[str, ...] = (), **starts: Any) -> dict[str, Any]:
    return {"table": "t", "row": "r", "score": score, "references": list(references), "starts": starts}


def only(training: Any, given: dict[str, Any]) -> dict[str, Any]:
    found = training.verdict([given])
    assert found["share"] == float(found["rows"][0]["within"])
    return dict(found["rows"][0])


def test_overlapping_intervals_are_a_tie_and_separate_ones_are_not(training: Any) -> None:
    tied = only(training, row(he=start(0.80, 0.90, 0.95), auto=start(0.70, 0.75, 0.81)))
    apart = only(training, row(he=start(0.80, 0.90, 0.95), auto=start(0.70, 0.75, 0.79)))
    assert tied["within"]
    assert not apart["within"]
    assert (tied["best"], apart["best"]) == ("he", "he")
    assert apart["ratio"] == pytest.approx(0.75 / 0.90)


@pytest.mark.parametrize(("score", "best"), [("accuracy", "high"), ("loss", "low"), ("test_loss", "low")])
def test_an_accuracy_is_better_when_higher_and_a_loss_when_lower(training: Any, score: str, best: str) -> None:
    given = row(score, low=start(0.1, 0.2, 0.3), auto=start(0.4, 0.5, 0.6), high=start(0.7, 0.8, 0.9))
    assert only(training, given)["best"] == best


def test_references_are_not_ranked(training: Any) -> None:
    starts = {"norm": start(0.9, 0.9, 0.9), "auto": start(0.5, 0.5, 0.5)}
    assert only(training, row(references=("norm",), **starts))["within"]
    assert not only(training, row(**starts))["within"]


def test_an_infinite_loss_is_the_worst_and_equal_to_itself(training: Any) -> None:
    lost = {"median": None, "low": None, "high": None, "diverged": [0, 1, 2]}
    behind = only(training, row("loss", he=start(0.1, 0.2, 0.3), auto=lost))
    assert not behind["within"]
    assert behind["best"] == "he"
    assert behind["ratio"] is None
    assert training.verdict([row("loss", he=start(0.1, 0.2, 0.3), auto=lost)])["auto_diverged"] == 3
    assert only(training, row("loss", he=lost, auto=start(0.1, 0.2, 0.3)))["best"] == "auto"


def test_what_counts_as_diverged(training: Any) -> None:
    table = importlib.import_module("benchmarks.training._table")
    assert not table.is_diverged(2.30, 2.31)  # a network that learns nothing
    assert not table.is_diverged(2.30, 0.1)
    assert table.is_diverged(2.30, 2.6)
    assert table.is_diverged(2.30, math.inf)
    assert table.is_diverged(math.nan, 1.0)


def test_a_row_needs_auto_and_a_known_score(training: Any) -> None:
    parts = {"table": "t", "name": "r", "make": nn.Linear, "data": None, "optimizer": "sgd", "lrs": [0.1], "steps": 1}
    with pytest.raises(ValueError, match="auto"):
        training.Row(**parts, starts={"he": "he"})
    with pytest.raises(ValueError, match="score"):
        training.Row(**parts, starts={"auto": "auto"}, score="speed")
    with pytest.raises(ValueError, match="references"):
        training.Row(**parts, starts={"auto": "auto"}, references=("norm",))


def two_layers(norm: bool) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), *([nn.LayerNorm(8)] if norm else []), nn.Tanh(), nn.Linear(8, 3))


def small(training: Any, **changes: Any) -> Any:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((64, 4)).astype(np.float32), rng.integers(0, 3, 64)
    parts: dict[str, Any] = {
        "table": "t",
        "name": "r",
        "make": {"norm": partial(two_layers, True), "auto": (plain := partial(two_layers, False)), "he": plain},
        "data": Dataset("points", x, y, x[:32], y[:32]),
        "starts": {"he": "he", "norm": "he", "auto": "auto"},
        "references": ("norm",),
        "optimizer": "adam",
        "lrs": [0.001, 0.01],
        "steps": 6,
        "batch_size": 16,
        "learned_below": 10.0,
    }
    return training.Row(**{**parts, **changes})


def test_a_measured_row_is_strict_json_and_found_again_in_the_store(training: Any, tmp_path: Path) -> None:
    store = tmp_path / "runs.db"
    first = training.measure(small(training), 2, store)
    assert json.loads(json.dumps(first, allow_nan=False)) == first
    assert list(first["starts"]) == ["he", "norm", "auto"]
    assert [len(entry["scores"]) for entry in first["starts"].values()] == [2, 2, 2]
    again = training.measure(small(training), 2, store)
    assert again == first


def test_a_change_of_auto_leaves_the_runs_of_the_others(training: Any, tmp_path: Path) -> None:
    from fanin.compare._store import Store

    path = tmp_path / "runs.db"
    training.measure(small(training), 2, path)
    before = len(Store(path))
    changed = small(training, starts={"he": "he", "norm": "he", "auto": "lecun"})
    found = training.measure(changed, 2, path)
    grown = len(Store(path)) - before
    runs_of_one_start = 3  # both rates on the first seed in full, then the second seed
    assert grown == runs_of_one_start
    assert found["starts"]["auto"] != training.measure(small(training), 2, path)["starts"]["auto"]


def test_starting_to_learn_takes_a_low_loss_and_more_than_guessing(training: Any) -> None:
    made = small(training).data
    clear = Dataset(
        "clear", made.train_x, np.argmax(made.train_x[:, :3], 1), made.test_x, np.argmax(made.test_x[:, :3], 1)
    )
    learning = {"lrs": [0.1], "steps": 40, "learned_below": 1.0}

    def learned(**changes: Any) -> int:
        return int(training.measure(small(training, **{**learning, **changes}), 2)["starts"]["auto"]["learned"])

    assert learned(data=clear) == 2
    assert learned(data=clear, learned_below=0.0) == 0
    assert learned(learned_below=10.0) == 0  # random labels: a loss below 10, but the test part is only guessed


def test_regressions_are_scored_by_loss(training: Any) -> None:
    data = small(training).data
    picture = Dataset("picture", data.train_x, data.train_x[:, :3].copy())
    found = training.measure(small(training, data=picture, score="loss", learned_below=None), 2)
    entry = found["starts"]["auto"]
    assert entry["median"] == pytest.approx(entry["final_loss"])
    assert entry["learned"] is None
    with pytest.raises(ValueError, match="was not measured"):
        training.measure(small(training, data=picture, score="accuracy"), 2)


def test_words_after_a_name_are_its_arguments(training: Any) -> None:
    named = importlib.import_module("benchmarks.__main__").named
    assert named(["fill", "training", "mlp", "--quick"], ["fill"], ["training"]) == [
        ("fill", []),
        ("training", ["mlp", "--quick"]),
    ]
    assert named(["fill", "--draws", "7"], ["fill"], ["training"]) == [("fill", ["--draws", "7"])]
    for words in (["fil"], ["fill", "theroy"]):
        with pytest.raises(SystemExit, match="unknown"):
            named(words, ["fill"], ["training"])


def test_every_table_has_rows_with_names_of_their_own(training: Any) -> None:
    for name in training.tables():
        assert callable(importlib.import_module(f"benchmarks.training.{name}").rows), name


def test_committed_results_are_full_tables(training: Any) -> None:
    for path in sorted(training.RESULTS.glob("*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        assert result["format"] == training.FORMAT, path.name
        assert path.stem == f"{result['table']}{'-' if result['on'] else ''}{result['on']}"
        assert result["rows"], path.name
        for entry in result["rows"]:
            assert entry["seeds"] >= 5, f"{path.name}: {entry['row']}"
            assert all(len(s["scores"]) == entry["seeds"] for s in entry["starts"].values())
        spoilt = copy.deepcopy(result["rows"])
        spoilt[0]["starts"]["auto"] = {"median": None, "low": None, "high": None, "diverged": []}
        spoilt[0]["score"] = "loss"
        assert not training.verdict(spoilt)["rows"][0]["within"]
