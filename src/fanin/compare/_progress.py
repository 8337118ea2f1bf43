"""A progress bar on the terminal; silent in pipes, and in worker processes."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["advance", "bar", "describe", "settle", "tick"]


class _Bar:
    """One bar that counts updates over all runs."""

    def __init__(self, progress: Progress, total: int) -> None:
        self.progress = progress
        self.task = progress.add_task("training", total=total)
        self.pending = 0

    def tick(self, updates: int) -> None:
        self.pending += updates
        self.progress.advance(self.task, updates)


_current: list[_Bar] = []
"""The bar of this process; empty in workers and in pipes."""


@contextlib.contextmanager
def bar(total: int, wanted: bool | None = None) -> Iterator[None]:
    """Show a bar while the body runs.

    Args:
        total: updates over all runs.
        wanted: None shows it where standard error is a terminal.
    """
    shown = sys.stderr.isatty() if wanted is None else wanted
    if not shown:
        yield
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        _current.append(_Bar(progress, total))
        try:
            yield
        finally:
            _current.pop()


def describe(text: str) -> None:
    """What is being done now."""
    for shown in _current[-1:]:
        shown.progress.update(shown.task, description=text)


def tick(updates: int) -> None:
    """That many updates of a running job."""
    for shown in _current[-1:]:
        shown.tick(updates)


def advance(updates: int) -> None:
    """Updates that need not be done, because they are stored."""
    for shown in _current[-1:]:
        shown.progress.advance(shown.task, updates)


def settle(updates: int, *, ticked: bool) -> None:
    """A job of ``updates`` ended: add what was not ticked (all of it in another process; the rest of diverged runs)."""
    for shown in _current[-1:]:
        shown.progress.advance(shown.task, updates - (shown.pending if ticked else 0))
        if ticked:
            shown.pending = 0
