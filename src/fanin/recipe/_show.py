"""A recipe as a table in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from fanin.recipe._recipe import Recipe

__all__ = ["show"]


def show(recipe: Recipe, *, width: int | None = None, console: Console | None = None) -> None:
    """Print every line with its reason, then what is kept, then the notes.

    Args:
        recipe: the plan.
        width: columns; the terminal's by default.
        console: where to print; standard output by default.
    """
    console = console or Console(width=width, highlight=False)
    plain = (console.encoding or "").lower().replace("-", "") != "utf8"
    times = " x " if plain else "×"
    table = Table(box=None, pad_edge=False, header_style="bold", title=f"Recipe: scheme {recipe.scheme or 'by hand'}")
    table.title_justify = "left"
    table.add_column("parameter", overflow="fold")
    table.add_column("shape", no_wrap=True)
    table.add_column("fan in / out", justify="right", no_wrap=True)
    table.add_column("initializer", overflow="fold")
    table.add_column("std", justify="right", no_wrap=True)
    table.add_column("why", overflow="fold")
    for line in recipe.lines:
        table.add_row(
            line.name,
            times.join(map(str, line.shape)) or "scalar",
            f"{line.fans.fan_in:g} / {line.fans.fan_out:g}",
            repr(line.initializer),
            f"{line.std:.4g}",
            line.reason,
        )
    console.print(table)
    if recipe.kept:
        console.print("\n[bold]Kept as they are[/]")
        for kept in recipe.kept:
            console.print(f"  {kept.name}: {kept.reason}", markup=False)
    for note in recipe.notes:
        console.print(f"\nNote: {note}", markup=False)
