"""What a race concludes: intervals, winners only where shown, divergence counted, strict JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fanin.compare import Curve, Interval, Race, Run, Target, median_interval
from fanin.compare._halving import best, rungs
from fanin.errors import InputError


def run(scheme: str, seed: int, accuracy: float, *, lr: float = 0.1, loss: float = 1.0, steps: int = 40) -> Run:
    diverged = not math.isfinite(loss)
    losses = tuple(np.linspace(3.0, loss, steps)) if not diverged else (3.0, math.inf)
    curve = Curve(tuple(range(1, len(losses) + 1)), losses, (0, steps), (3.0, 1.0), (0.1, accuracy), diverged, seed)
    return Run(scheme, lr, seed, steps, curve)


def race(**accuracies: Sequence[float]) -> Race:
    seeds = tuple(range(len(next(iter(accuracies.values())))))
    runs = tuple(run(name, seed, row[seed]) for name, row in accuracies.items() for seed in seeds)
    names = tuple(accuracies)
    return Race(names, seeds, (0.1,), 40, dict.fromkeys(names, 0.1), runs, Target("train_loss", 1.5))


def test_a_winner_whoever_it_is() -> None:
    low, high = (0.1, 0.12, 0.11, 0.1), (0.8, 0.9, 0.85, 0.8)
    assert race(a=low, b=high).winner() == "b"
    assert race(a=high, b=low).winner() == "a"
    assert "a has the best test accuracy" in race(a=high, b=low).verdict()


def test_overlap_shows_nothing() -> None:
    raced = race(a=(0.7, 0.8, 0.75, 0.9), b=(0.72, 0.81, 0.77, 0.95), c=(0.1, 0.1, 0.1, 0.1))
    assert raced.winner() is None
    assert raced.leaders() == ("b", "a")
    assert "No difference shown" in raced.verdict()
    assert "Shown to be worse than b: c" in raced.verdict()


def test_few_seeds_show_nothing_however_far_apart() -> None:
    raced = race(a=(0.1, 0.1, 0.1), b=(0.9, 0.9, 0.9))
    assert raced.winner() is None
    assert "at least 4" in raced.verdict()
    assert race(a=(0.1,) * 4, b=(0.9,) * 4).winner() == "b"


def test_chance_seldom_wins() -> None:
    """Schemes that do not differ: with five seeds the intervals span all values, and complete separation has
    probability 2/C(10, 5) = 0.8 %."""
    rng = np.random.default_rng(0)
    wins = sum(race(a=rng.random(5), b=rng.random(5)).winner() is not None for _ in range(200))
    assert wins <= stats.binom.ppf(0.9999, 200, 2 / math.comb(10, 5))


def test_divergence_is_counted_and_is_the_worst() -> None:
    raced = race(a=(0.5,) * 4, b=(0.6,) * 4)
    diverged = [run("b", seed, 0.6, loss=math.inf) for seed in (1, 2, 3)]
    raced = replace(raced, runs=tuple(r for r in raced.runs if r.scheme == "a" or r.seed == 0) + tuple(diverged))
    row = raced.summary()[1]
    assert (row.diverged, row.runs) == (3, 4)
    assert row.loss.median == math.inf
    assert row.test_accuracy is not None
    assert row.test_accuracy.median == 0.0
    assert raced.leaders()[0] == "a"


def test_steps_to_target() -> None:
    raced = race(a=(0.5,) * 4)
    row = raced.summary()[0]
    smooth = raced.runs[0].curve.smoothed(raced.runs[0].window)
    assert row.steps_to_target is not None
    reached = int(row.steps_to_target.median)
    assert smooth[reached - 1] <= 1.5 < smooth[reached - 2]
    last = replace(raced, target=Target("train_loss", raced.runs[0].final_loss)).summary()[0]
    assert last.reached == 4  # the two use one average, so a run reaches its own final loss
    never = replace(raced, target=Target("train_loss", 0.5)).summary()[0]
    assert (never.reached, never.steps_to_target) == (0, Interval(math.inf, math.inf, math.inf))
    accurate = replace(raced, target=Target("test_accuracy", 0.5)).summary()[0]
    assert accurate.steps_to_target == Interval(40, 40, 40)


def test_json_is_strict_and_round_trips() -> None:
    raced = race(a=(0.5, 0.6), b=(0.1, 0.2))
    text = json.dumps(raced.to_json(), allow_nan=False)
    assert Race.from_json(text) == raced
    assert Race.from_json(json.loads(text)).summary() == raced.summary()
    diverged = replace(raced, runs=(*raced.runs[:3], run("b", 1, 0.2, loss=math.inf)))
    back = Race.from_json(json.dumps(diverged.to_json(), allow_nan=False))
    assert back.summary() == diverged.summary()
    with pytest.raises(InputError, match="format"):
        Race.from_json({**raced.to_json(), "format": 99})


def test_unknown_names() -> None:
    raced = race(a=(0.5,), b=(0.6,))
    with pytest.raises(InputError, match="one of a, b"):
        raced.of("c")
    with pytest.raises(InputError, match="metric"):
        raced.leaders("speed")


# -- intervals


def exact_bounds(values: list[float], level: float) -> tuple[float, float]:
    """Quantiles of the bootstrap distribution of the median of an odd number of different values, in closed form:
    median* <= x_(i) exactly where at least half of the draws fall among the first i (Efron, 1979)."""
    n, ordered = len(values), sorted(values)
    below = [stats.binom.sf(n // 2, n, i / n) for i in range(1, n + 1)]
    tail = (1 - level) / 2
    low = next(x for x, p in zip(ordered, below) if p > tail)
    high = next(x for x, p in zip(ordered, below) if p >= 1 - tail)
    return low, high


@pytest.mark.parametrize("size", [1, 3, 5, 7, 9, 15, 31])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_interval_is_the_exact_bootstraps(size: int, level: float) -> None:
    values = np.random.default_rng(size).standard_normal(size).tolist()
    interval = median_interval(values, level)
    assert (interval.low, interval.high) == exact_bounds(values, level)
    assert interval.median == np.median(values)


def test_a_wrong_level_would_be_seen() -> None:
    values = np.random.default_rng(31).standard_normal(31).tolist()
    interval = median_interval(values, 0.95)
    assert (interval.low, interval.high) != exact_bounds(values, 0.8)


@given(st.lists(st.floats(-1e6, 1e6) | st.just(math.inf), min_size=1, max_size=12), st.randoms())
def test_interval_laws(values: list[float], random: object) -> None:
    interval = median_interval(values)
    assert interval.low <= interval.median <= interval.high
    assert min(values) <= interval.low
    assert interval.high <= max(values)
    shuffled = list(values)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert median_interval(shuffled) == interval


# -- halving


@given(st.integers(1, 20), st.integers(1, 5000))
def test_rungs_narrow_and_grow(candidates: int, steps: int) -> None:
    plan = rungs(candidates, steps)
    assert plan[-1] == (min(2, candidates), steps) or plan == [(candidates, steps)]
    assert plan[0][0] == candidates
    counts, budgets = zip(*plan)
    assert list(counts) == sorted(set(counts), reverse=True)
    assert list(budgets) == sorted(set(budgets))
    assert sum(count * budget for count, budget in plan) <= max(candidates, 2) * steps * 2


def test_best_by_training_loss_and_the_smaller_of_equals() -> None:
    runs = [
        run("a", seed, accuracy, lr=lr, loss=loss)
        for seed in (0, 1)
        for lr, loss, accuracy in ((0.1, 1.0, 0.1), (0.3, 0.5, 0.2), (1.0, math.inf, 0.9), (3.0, math.inf, 0.9))
    ]
    assert best(runs, 2) == [0.3, 0.1]
    assert best(runs, 4) == [0.3, 0.1, 1.0, 3.0]
