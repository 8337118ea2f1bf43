"""What a training table is made of: rows, their measurement, the verdict on ``auto``, the printed table.

A row is one task and one network; its starts are trained with the same seeds, batches, updates and learning-rate grid.
The rate of each start is chosen by training loss on the first seed, then all seeds are trained with it.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from torch import nn

from fanin import compare
from fanin.compare import Interval, Race, Run, median_interval

AUTO = "auto"
SCORES = ("accuracy", "loss", "test_loss")
DIVERGED = 1.05
"""A final loss above 1.05 times the first counts as diverged: the loss of a network that learns nothing wanders about
ln(classes) by 1 or 2 %, which is no divergence."""

Make = Callable[[], nn.Module]


@dataclass(frozen=True)
class Settings:
    """How a table is to be measured.

    Args:
        quick: fewer updates, for a look; the rows are the same.
        data: "mnist" or "fashion-mnist", for tables on images.
        seeds: number of seeds.
    """

    quick: bool = False
    data: str = "mnist"
    seeds: int = 5


@dataclass(frozen=True, eq=False)
class Row:
    """One task and one network, and the starts that race on it.

    Args:
        table: name of the table.
        name: of the row.
        make: makes a new model; or start → such a callable, where starts need different models.
        data: what ``fanin.compare`` takes.
        starts: name → what ``fanin.compare`` takes; with "auto".
        optimizer: "adam", "sgd", "momentum", … or ``make(parameters, lr)``.
        lrs: the grid, equal for all starts.
        steps: updates.
        batch_size: samples per update.
        loss: ``loss(output, target)``; None for cross-entropy or mean squared error.
        score: "accuracy" (test part, higher is better), "loss" (final training loss) or "test_loss" (lower is better).
        references: starts that are shown but not ranked, such as a twin with BatchNorm.
        learned_below: final training loss below which a run counts as having started to learn; where accuracy is
            measured, it must also be above chance.
        labels: further plain values for the page: depth, activation, …
    """

    table: str
    name: str
    make: Make | Mapping[str, Make]
    data: Any
    starts: Mapping[str, Any]
    optimizer: Any
    lrs: Sequence[float]
    steps: int
    batch_size: int = 64
    loss: Any = None
    score: str = "accuracy"
    references: tuple[str, ...] = ()
    learned_below: float | None = None
    labels: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.score not in SCORES:
            raise ValueError(f"score: {self.score!r}; expected one of {', '.join(SCORES)}")
        if AUTO not in self.starts:
            raise ValueError(f"row {self.name!r}: starts {list(self.starts)}; expected {AUTO!r} among them")
        unknown = [name for name in self.references if name not in self.starts]
        if unknown:
            raise ValueError(f"row {self.name!r}: references {unknown} are no starts")

    def maker(self, start: str) -> Make:
        return self.make[start] if isinstance(self.make, Mapping) else self.make


def measure(row: Row, seeds: int, store: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """Train every start of the row.

    Args:
        row: which.
        seeds: how many, from 0 on.
        store: SQLite file of finished runs; what it holds is not trained again.

    Returns:
        Plain JSON values: the row's budget, and for each start its learning rate and what every seed reached.
    """
    found: dict[str, dict[str, Any]] = {}
    settings: Mapping[str, Any] = {}
    for names in _races(row):
        race = compare(
            row.maker(names[0]),
            row.data,
            {name: row.starts[name] for name in names},
            seeds=seeds,
            optimizer=row.optimizer,
            lrs=row.lrs,
            steps=row.steps,
            batch_size=row.batch_size,
            loss=row.loss,
            test_every=row.steps,
            tuning_seeds=1,
            store=store,
            progress=False,
        )
        settings = race.settings
        found |= {name: _entry(race, name, row) for name in names}
    return {
        "table": row.table,
        "row": row.name,
        "score": row.score,
        "labels": dict(row.labels or {}),
        "data": re.sub(r" in /\S+", "", settings["data"]),  # not the folder of this machine
        "train_samples": settings["train_samples"],
        "test_samples": settings["test_samples"],
        "optimizer": settings["optimizer"],
        "lrs": list(row.lrs),
        "steps": row.steps,
        "batch_size": row.batch_size,
        "seeds": seeds,
        "learned_below": row.learned_below,
        "references": list(row.references),
        "starts": {name: found[name] for name in row.starts},
    }


def _races(row: Row) -> list[list[str]]:
    """Starts that share a race: a change of ``auto`` then leaves the stored runs of the others what they are."""
    together: dict[tuple[int, bool], list[str]] = {}
    for name in row.starts:
        together.setdefault((id(row.maker(name)), name == AUTO), []).append(name)
    return list(together.values())


def _entry(race: Race, start: str, row: Row) -> dict[str, Any]:
    """What one start reached, seed by seed."""
    runs = race.of(start)
    scores: list[float] = []
    for run in runs:
        value = {"accuracy": run.test_accuracy, "loss": run.final_loss, "test_loss": run.test_loss}[row.score]
        if value is None:
            raise ValueError(f"row {row.name!r}: score {row.score!r} was not measured; is there a test part?")
        scores.append(value)
    between = median_interval(scores)
    first = [run.curve.losses[0] for run in runs]
    final = [run.final_loss for run in runs]
    below = row.learned_below
    return {
        "lr": race.best_lr[start],
        "median": _plain(between.median),
        "low": _plain(between.low),
        "high": _plain(between.high),
        "scores": [_plain(score) for score in scores],
        "first_loss": _plain(median(first)),
        "final_loss": _plain(median(final)),
        "diverged": [run.seed for run, a, b in zip(runs, first, final) if is_diverged(a, b)],
        "learned": None
        if below is None
        else sum(a < below and _above_chance(run, race) for run, a in zip(runs, final)),
    }


def _above_chance(run: Run, race: Race) -> bool:
    """Whether the test accuracy, if there is one, tells something: five standard errors of guessing."""
    classes, samples = race.settings["classes"], race.settings["test_samples"]
    if run.test_accuracy is None or not classes:
        return True
    return run.test_accuracy > (1 + 5 * math.sqrt((classes - 1) / samples)) / classes


def is_diverged(first: float, final: float) -> bool:
    """A loss that is not finite, or that ends clearly above where it began."""
    return not math.isfinite(final) or not math.isfinite(first) or final > DIVERGED * first


def verdict(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How ``auto`` fares.

    Args:
        rows: as from :func:`measure`.

    Returns:
        For each row the best start, auto's median over the best one's, whether the two intervals overlap, and auto's
        diverged seeds; then the share of rows where they overlap, and all starts that diverged.
    """
    found = []
    for row in rows:
        ranked = ranking(row)
        best, auto = row["starts"][ranked[0]], row["starts"][AUTO]
        found.append(
            {
                "table": row["table"],
                "row": row["row"],
                "best": ranked[0],
                "best_median": best["median"],
                "auto_median": auto["median"],
                "ratio": _ratio(_number(auto["median"]), _number(best["median"])),
                "within": interval(auto).overlaps(interval(best)),
                "auto_diverged": auto["diverged"],
            }
        )
    return {
        "rows": found,
        "share": sum(entry["within"] for entry in found) / len(found) if found else None,
        "auto_diverged": sum(len(entry["auto_diverged"]) for entry in found),
    }


def ranking(row: Mapping[str, Any]) -> list[str]:
    """Starts from best to worst by their medians, references left out; of equals ``auto`` first."""
    sign = -1 if row["score"] == "accuracy" else 1
    names = [name for name in row["starts"] if name not in row["references"]]
    return sorted(names, key=lambda name: (sign * _number(row["starts"][name]["median"]), name != AUTO))


def interval(entry: Mapping[str, Any]) -> Interval:
    """Median and bootstrap interval of one start."""
    return Interval(*(_number(entry[end]) for end in ("median", "low", "high")))


def _ratio(auto: float, best: float) -> float | None:
    return auto / best if best and math.isfinite(best) and math.isfinite(auto) else None


def _plain(value: float) -> float | None:
    """Six digits; None for what is not finite (strict JSON has no infinity)."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _number(value: float | None) -> float:
    return math.inf if value is None else value
