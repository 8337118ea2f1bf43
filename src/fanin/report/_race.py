"""A race in the terminal: verdict, table, curves, remarks."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING

from rich.table import Table

from fanin.report._chart import line_chart
from fanin.report._glyphs import number
from fanin.report._screen import Screen

if TYPE_CHECKING:
    from fanin.compare import Interval, Race, Row, Run

__all__ = ["show_race"]


def show_race(race: Race, screen: Screen | None = None) -> None:
    """Print the verdict, one row per scheme, the median training curves, and what else should be known.

    Args:
        race: the record.
        screen: where to print; standard output by default.
    """
    screen = screen or Screen()
    settings = race.settings
    screen.rule(f"Race: {', '.join(race.schemes)}")
    screen.print(race.verdict())
    screen.print()
    task = f"{settings.get('data', '')}: {settings.get('train_samples', 0):,} samples to train on, "
    task += f"{settings.get('test_samples', 0):,} to test on." if settings.get("test_samples") else "none to test on."
    rates = ", ".join(f"{lr:g}" for lr in race.lrs)
    screen.print(
        f"{task} {settings.get('optimizer', '')}, {race.steps:,} updates of {settings.get('batch_size', 0)} samples, "
        f"{len(race.seeds)} seed{'s' * (len(race.seeds) > 1)}; "
        f"each scheme got the learning rate, of {rates}, at which it trains best."
    )
    screen.print()
    screen.print(_table(race, screen))
    screen.print()
    if race.target is not None:
        what = {"train_loss": "a training loss", "test_loss": "a test loss", "test_accuracy": "a test accuracy"}
        bound = "at least" if race.target.kind == "test_accuracy" else "at most"
        screen.print(
            f"Steps to target: updates to {what[race.target.kind]} of {bound} {number(race.target.value)} "
            f"({race.target.why})."
        )
    screen.print("Medians, with the 95 % bootstrap interval of the median over the seeds.")
    screen.print()
    for line in _curves(race, screen):
        screen.print(line)
    for note in race.notes:
        screen.print(f"Note: {note}", hang=6)


def _table(race: Race, screen: Screen) -> Table:
    rows = race.summary()
    leaders = race.leaders() if len(rows) > 1 else ()
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("scheme", overflow="fold")
    columns = [("lr", "right")]
    if any(row.test_accuracy for row in rows):
        columns.append(("test accuracy", "left"))
    if any(row.test_loss for row in rows) and (screen.width >= 90 or len(columns) == 1):
        columns.append(("test loss", "left"))
    columns.append(("training loss", "left"))
    if race.target is not None:
        columns.append(("steps to target", "left"))
    columns.append(("diverged", "left"))
    for heading, side in columns:
        table.add_column(heading, justify="right" if side == "right" else "left", overflow="fold")
    for row in rows:
        cells = {
            "lr": f"{row.lr:g}",
            "test accuracy": _interval(row.test_accuracy, percent=True),
            "test loss": _interval(row.test_loss),
            "training loss": _interval(row.loss),
            "steps to target": _steps(row),
            "diverged": f"{row.diverged}/{row.runs}, in all {row.diverged_in_tuning}/{row.tuned}",
        }
        best = "bold green" if len(leaders) == 1 and row.scheme == leaders[0] else ""
        table.add_row(screen.text(row.scheme, best), *(screen.text(cells[heading]) for heading, _ in columns))
    return table


def _interval(interval: Interval | None, *, percent: bool = False) -> str:
    if interval is None:
        return ""

    def one(value: float) -> str:
        if not math.isfinite(value):
            return "diverged"
        return f"{100 * value:.1f}" if percent else number(value)

    sign = "%" if percent else ""
    ends = "" if interval.low == interval.high else f" [{one(interval.low)}, {one(interval.high)}]"
    return f"{one(interval.median)}{sign}{ends}"


def _steps(row: Row) -> str:
    steps = row.steps_to_target
    if steps is None or row.reached == 0:
        return "never"
    reached = "" if row.reached == row.runs else f" ({row.reached} of {row.runs} runs)"
    return f"{steps.median:.0f}{reached}" if math.isfinite(steps.median) else f"mostly never{reached}"


def _curves(race: Race, screen: Screen) -> list[object]:
    series = {f"{name} (lr {race.best_lr[name]:g})": _median_curve(race.of(name)) for name in race.schemes}
    firsts = [ys[0] for _, ys in series.values() if ys and math.isfinite(ys[0])]
    highest = max((y for _, ys in series.values() for y in ys if math.isfinite(y)), default=1.0)
    return list(
        line_chart(
            series,
            width=min(screen.width, 100),
            height=12,
            x_label="updates",
            y_label=f"training loss, mean of {race.of(race.schemes[0])[0].window} updates, median over seeds",
            # A start that first explodes would flatten all others; twice the lowest first loss shows who learns.
            y_range=(0.0, min(highest, 2 * min(firsts))) if firsts and min(firsts) > 0 else None,
            letters=screen.ascii or screen.console.color_system is None,
        )
    )


def _median_curve(runs: tuple[Run, ...]) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Median over the runs at every update; one that diverged counts as infinite from there on."""
    curves = [run.curve.smoothed(run.window) for run in runs]
    longest = max(map(len, curves))
    padded = [(*curve, *[math.inf] * (longest - len(curve))) for curve in curves]
    values = (tuple(v if math.isfinite(v) else math.inf for v in column) for column in zip(*padded))
    return tuple(range(1, longest + 1)), tuple(median(column) for column in values)
