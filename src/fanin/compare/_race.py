"""Race: several starts on one task, with seeds and intervals; it concludes no more than the numbers show."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from statistics import median
from typing import TYPE_CHECKING, Any

from fanin.compare._interval import Interval, median_interval
from fanin.compare._run import Run
from fanin.errors import InputError

if TYPE_CHECKING:
    from fanin.compare._curve import Curve

__all__ = ["FORMAT", "MIN_SEEDS", "Race", "Row", "Target"]

FORMAT = 1
"""Version of the JSON form; raised whenever an older reader would misread a newer file."""

MIN_SEEDS = 4
"""With n seeds each, two schemes that do not differ separate completely by chance with probability 2/C(2n, n): 10 % for
3 seeds, 2.9 % for 4. Fewer than 4 can therefore show nothing at the 5 % level."""

METRICS = ("loss", "test_loss", "test_accuracy")


@dataclass(frozen=True)
class Target:
    """What "steps to target" counts the steps to.

    Args:
        kind: "train_loss", "test_loss" or "test_accuracy".
        value: the loss to come down to, or the accuracy to reach.
        why: where the value comes from, in words.
    """

    kind: str
    value: float
    why: str = ""


@dataclass(frozen=True)
class Row:
    """One scheme at its best learning rate.

    Args:
        scheme: its name.
        lr: the learning rate it was given after tuning.
        loss: final training loss over the seeds; a diverged run counts as inf.
        test_loss: final test loss, or None without a test part.
        test_accuracy: final test accuracy (a diverged run counts as 0), or None.
        steps_to_target: updates; inf for runs that never got there. None without a target.
        reached: runs that got there.
        diverged: runs that diverged at this learning rate.
        runs: number of seeds.
        diverged_in_tuning: runs that diverged at any learning rate, of ``tuned``.
        tuned: all runs of the scheme, at every learning rate.
        at_edge: "" or "lowest" or "highest": the best rate is the end of the grid, so a better one may lie outside.
    """

    scheme: str
    lr: float
    loss: Interval
    test_loss: Interval | None
    test_accuracy: Interval | None
    steps_to_target: Interval | None
    reached: int
    diverged: int
    runs: int
    diverged_in_tuning: int
    tuned: int
    at_edge: str = ""


@dataclass(frozen=True, repr=False)
class Race:
    """Training curves and scores of several starts on one task.

    Args:
        schemes: names, in the order given.
        seeds: the same for every scheme: they fix the weights, the order of batches and dropout.
        lrs: the grid of learning rates.
        steps: updates of a full run.
        best_lr: scheme → the learning rate chosen by training loss.
        runs: every training, tuning included.
        target: what steps are counted to, or None.
        settings: optimizer, batch size, data, loss, model: plain JSON values.
        notes: what the reader should know: fallbacks, missing test part, rates at the edge of the grid.

    Example:
        >>> from torch import nn
        >>> from fanin.compare import compare
        >>> from fanin.data import load
        >>> race = compare(lambda: nn.Linear(64, 10), load("digits").flat().take(256, 100), ["torch", "he"],
        ...                seeds=2, lrs=[0.1], epochs=1)
        >>> [row.scheme for row in race.summary()]
        ['torch', 'he']
        >>> race.winner() is None    # two seeds show nothing
        True
    """

    schemes: tuple[str, ...]
    seeds: tuple[int, ...]
    lrs: tuple[float, ...]
    steps: int
    best_lr: Mapping[str, float]
    runs: tuple[Run, ...]
    target: Target | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    __hash__ = None  # type: ignore[assignment]  # it holds mappings

    def __repr__(self) -> str:
        names = ", ".join(self.schemes)
        return f"Race({names}: {len(self.seeds)} seeds, {self.steps} updates, {len(self.runs)} runs)"

    @cached_property
    def _by_place(self) -> dict[tuple[str, float, int, int], Run]:
        return {(run.scheme, run.lr, run.seed, run.steps): run for run in self.runs}

    def of(self, scheme: str, lr: float | None = None) -> tuple[Run, ...]:
        """The full-length runs of a scheme, one per seed.

        Args:
            scheme: its name.
            lr: a learning rate of the grid; its best one by default.

        Raises:
            InputError: if the scheme took no part.
        """
        if scheme not in self.schemes:
            raise InputError.of("scheme", scheme, f"one of {', '.join(self.schemes)}")
        wanted = self.best_lr[scheme] if lr is None else lr
        found = (self._by_place.get((scheme, wanted, seed, self.steps)) for seed in self.seeds)
        return tuple(run for run in found if run is not None)

    def curves(self, scheme: str, lr: float | None = None) -> tuple[Curve, ...]:
        """Their curves."""
        return tuple(run.curve for run in self.of(scheme, lr))

    def tuning(self, scheme: str) -> tuple[tuple[float, int, float, int], ...]:
        """How each learning rate fared: (lr, updates it was given at most, median final loss there, diverged)."""
        rows = []
        for lr in self.lrs:
            tried = [run for run in self.runs if (run.scheme, run.lr) == (scheme, lr)]
            if tried:
                longest = max(run.steps for run in tried)
                last = [run for run in tried if run.steps == longest]
                rows.append((lr, longest, median(r.final_loss for r in last), sum(r.diverged for r in tried)))
        return tuple(rows)

    def summary(self) -> tuple[Row, ...]:
        """One row per scheme, in the order given."""
        return self._rows

    @cached_property
    def _rows(self) -> tuple[Row, ...]:
        return tuple(self._row(scheme) for scheme in self.schemes)

    def _row(self, scheme: str) -> Row:
        runs = self.of(scheme)
        every = [run for run in self.runs if run.scheme == scheme]
        steps = [run.steps_to(self.target.value, self.target.kind) for run in runs] if self.target else []
        lr = self.best_lr[scheme]
        ends = {min(self.lrs): "lowest", max(self.lrs): "highest"} if len(self.lrs) > 1 else {}
        return Row(
            scheme=scheme,
            lr=lr,
            loss=median_interval([run.final_loss for run in runs]),
            test_loss=_of([run.test_loss for run in runs]),
            test_accuracy=_of([run.test_accuracy for run in runs]),
            steps_to_target=median_interval(steps) if steps else None,
            reached=sum(map(math.isfinite, steps)),
            diverged=sum(run.diverged for run in runs),
            runs=len(runs),
            diverged_in_tuning=sum(run.diverged for run in every),
            tuned=len(every),
            at_edge=ends.get(lr, ""),
        )

    def metric(self) -> str:
        """What decides by default: test accuracy where there is one, else test loss, else training loss."""
        first = self._rows[0]
        if first.test_accuracy is not None:
            return "test_accuracy"
        return "test_loss" if first.test_loss is not None else "loss"

    def leaders(self, metric: str | None = None) -> tuple[str, ...]:
        """The scheme with the best median, then all that it was not shown to differ from.

        Two schemes differ where their bootstrap intervals do not overlap and each has at least MIN_SEEDS runs.

        Args:
            metric: "loss" (training), "test_loss" or "test_accuracy"; :meth:`metric` by default.
        """
        metric = self.metric() if metric is None else metric
        if metric not in METRICS:
            raise InputError.of("metric", metric, ", ".join(METRICS))
        scores: dict[str, Interval] = {}
        for row in self.summary():
            interval: Interval | None = getattr(row, metric)
            if interval is None:
                raise InputError.of("metric", metric, f"one that was measured; {self.metric()!r} was")
            scores[row.scheme] = interval
        sign = -1 if metric == "test_accuracy" else 1
        ranked = sorted(self.schemes, key=lambda name: sign * scores[name].median)
        best = ranked[0]
        tied = [n for n in ranked[1:] if len(self.seeds) < MIN_SEEDS or scores[n].overlaps(scores[best])]
        return (best, *tied)

    def winner(self, metric: str | None = None) -> str | None:
        """The scheme shown to be better than every other, or None: no difference shown.

        Args:
            metric: as in :meth:`leaders`.
        """
        leaders = self.leaders(metric)
        return leaders[0] if len(leaders) == 1 and len(self.schemes) > 1 else None

    def verdict(self, metric: str | None = None) -> str:
        """The same in a sentence."""
        if len(self.schemes) == 1:
            return f"{self.schemes[0]} ran alone: there is nothing to compare it with."
        metric = self.metric() if metric is None else metric
        leaders = self.leaders(metric)
        words = {"loss": "training loss", "test_loss": "test loss", "test_accuracy": "test accuracy"}[metric]
        seeds = f"{len(self.seeds)} seed{'s' * (len(self.seeds) > 1)}"
        rows = {row.scheme: getattr(row, metric) for row in self.summary()}
        if len(leaders) == 1:
            return f"{leaders[0]} has the best {words}: no other interval overlaps its own ({seeds})."
        if all(not math.isfinite(interval.median) for interval in rows.values()):
            return f"No difference shown: no start trained ({seeds})."
        if len(self.seeds) < MIN_SEEDS:
            return f"No difference shown: {seeds} cannot show one in {words}, at least {MIN_SEEDS} are needed."
        rest = [name for name in self.schemes if name not in leaders]
        behind = f" Shown to be worse than {leaders[0]}: {', '.join(rest)}." if rest else ""
        return f"No difference shown in {words} between {_listed(leaders)}: intervals overlap ({seeds}).{behind}"

    def show(self, *, width: int | None = None) -> None:
        """Print the verdict, a table and the training curves."""
        from fanin.report import Screen, show_race  # when asked for, so that records load without it

        show_race(self, Screen(width=width))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; strict JSON (no NaN)."""
        target = None if self.target is None else [self.target.kind, self.target.value, self.target.why]
        return {
            "format": FORMAT,
            "schemes": list(self.schemes),
            "seeds": list(self.seeds),
            "lrs": list(self.lrs),
            "steps": self.steps,
            "best_lr": dict(self.best_lr),
            "target": target,
            "settings": dict(self.settings),
            "notes": list(self.notes),
            "runs": [run.to_json() for run in self.runs],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any] | str) -> Race:
        """Inverse of :meth:`to_json`; also takes the JSON text.

        Raises:
            InputError: if the format is newer than this version reads.
        """
        loaded: dict[str, Any] = json.loads(data) if isinstance(data, str) else data
        if loaded.get("format") != FORMAT:
            raise InputError.of("format", loaded.get("format"), f"{FORMAT}", "race JSON")
        return cls(
            schemes=tuple(loaded["schemes"]),
            seeds=tuple(loaded["seeds"]),
            lrs=tuple(loaded["lrs"]),
            steps=loaded["steps"],
            best_lr=loaded["best_lr"],
            runs=tuple(map(Run.from_json, loaded["runs"])),
            target=None if loaded["target"] is None else Target(*loaded["target"]),
            settings=loaded["settings"],
            notes=tuple(loaded["notes"]),
        )


def _of(values: list[float | None]) -> Interval | None:
    known = [value for value in values if value is not None]
    return median_interval(known) if known and len(known) == len(values) else None


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names[:-1]) + f" and {names[-1]}"
