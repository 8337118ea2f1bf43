"""Successive halving over the grid of learning rates, the same budget for every scheme."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fanin.compare._run import Run

__all__ = ["best", "rungs"]


def rungs(candidates: int, steps: int) -> list[tuple[int, int]]:
    """How many learning rates are still in the race, and for how many updates each is trained.

    All get a quarter of the updates, the better half a half, the best two all of them. A rung that would leave nobody
    out is dropped.

    Args:
        candidates: learning rates in the grid, >= 1.
        steps: updates of a full run.

    Returns:
        (learning rates, updates) of each rung, the last one with all updates.

    Example:
        >>> rungs(7, 400)
        [(7, 100), (4, 200), (2, 400)]
        >>> rungs(1, 400)
        [(1, 400)]

    Source: Jamieson & Talwalkar, 2016 (successive halving, η = 2).
    """
    last = min(2, candidates)
    plan = [
        (candidates, max(1, steps // 4)),
        (max(last, math.ceil(candidates / 2)), max(1, steps // 2)),
        (last, steps),
    ]
    kept = [rung for rung, after in itertools.pairwise(plan) if rung[0] > after[0] and rung[1] < after[1]]
    kept.append(plan[-1])
    return [(candidates, kept[0][1]), *kept[1:]]  # too few updates for a first rung: all get what the next one gives


def best(runs: Sequence[Run], keep: int) -> list[float]:
    """The ``keep`` learning rates with the lowest median training loss at the end; of equals the smaller one.

    The test part has no say. A diverged run counts as an infinite loss.
    """
    rates = sorted({run.lr for run in runs})
    score = {lr: median(run.final_loss for run in runs if run.lr == lr) for lr in rates}
    return sorted(rates, key=lambda lr: (score[lr], lr))[:keep]
