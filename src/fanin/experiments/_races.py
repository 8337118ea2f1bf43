"""From races to rows, curves and margins; all experiments that train go through ``fanin.compare``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING, Any

from fanin.report.figures import Figure, figure

if TYPE_CHECKING:
    from fanin.compare import Race, Run

__all__ = ["accuracies", "curves", "losses", "margin", "picture", "retitled", "rows"]

POINTS = 150
"""Points of a curve in a picture."""


def rows(race: Race, **labels: Any) -> list[dict[str, Any]]:
    """One row per scheme, learning rate and seed.

    Args:
        race: a race.
        labels: further columns, first.
    """
    return [
        {
            **labels,
            "start": run.scheme,
            "lr": run.lr,
            "seed": run.seed,
            "updates": run.steps,
            "first_loss": run.curve.losses[0] if run.curve.losses else None,
            "final_loss": run.final_loss,
            "test_loss": run.test_loss,
            "test_accuracy": run.test_accuracy,
            "diverged": run.diverged,
        }
        for run in race.runs
    ]


def losses(race: Race, scheme: str) -> list[float]:
    """Final training loss of each seed at the scheme's best rate; inf where it diverged."""
    return [run.final_loss for run in race.of(scheme)]


def accuracies(race: Race, scheme: str) -> list[float]:
    """Test accuracy of each seed at the scheme's best rate; 0 where it diverged."""
    return [run.test_accuracy or 0.0 for run in race.of(scheme)]


def margin(better: Iterable[float], worse: Iterable[float]) -> float:
    """How far the worst of the better ones lies above the best of the worse ones: positive where they separate.

    Example:
        >>> margin([0.9, 0.8], [0.5, 0.6]) > 0, margin([0.9, 0.5], [0.5, 0.6]) > 0
        (True, False)
    """
    return min(better) - max(worse)


def curves(runs: Mapping[str, Iterable[Run]], what: str = "training loss") -> list[dict[str, Any]]:
    """Rows of a picture: the median over seeds between the lowest and the highest one.

    Args:
        runs: series → its runs, one per seed.
        what: "training loss" (running mean of 20 updates), "test loss" or "test accuracy".
    """
    found = []
    for name, given in runs.items():
        members = list(given)
        by_step: dict[int, list[float]] = {}
        for run in members:
            for step, value in _points(run, what):
                if math.isfinite(value):
                    by_step.setdefault(step, []).append(value)
        for step, values in sorted(by_step.items()):
            whole = len(values) == len(members)
            found.append(
                {
                    "scheme": name,
                    "step": step,
                    "median": median(values) if whole else None,
                    "low": min(values) if whole else None,
                    "high": max(values) if whole else None,
                    "diverged": 1 - len(values) / len(members),
                }
            )
    return found


def _points(run: Run, what: str) -> list[tuple[int, float]]:
    """(step, value); training losses thinned at the same steps for every run of that length."""
    curve = run.curve
    if what == "training loss":
        every = max(1, run.steps // POINTS)
        return [(k, v) for k, v in zip(curve.steps, curve.smoothed()) if k % every == 0 or k in (1, run.steps)]
    return list(zip(curve.test_steps, curve.test_losses if what == "test loss" else curve.test_accuracies))


def picture(race: Race, what: str = "training loss", *, source: str = "") -> Figure:
    """Curves of every scheme at its best rate."""
    runs = {
        f"{name}" if len(race.lrs) == 1 else f"{name}, lr {race.best_lr[name]:g}": race.of(name)
        for name in race.schemes
    }
    words = f"{source}; {race.settings['optimizer']}, band: all {len(race.seeds)} seeds"
    return figure("race", curves(runs, what), metric=what, source=words)


def retitled(picture: Figure, title: str) -> Figure:
    """The same picture under a finding of its own."""
    return replace(picture, data={**picture.data, "title": title})
