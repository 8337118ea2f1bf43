"""A recipe as a table."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from rich.table import Table

from fanin.report._glyphs import number

if TYPE_CHECKING:
    from fanin.initializers import Initializer
    from fanin.recipe import Recipe
    from fanin.report._screen import Screen

__all__ = ["show_recipe"]


def show_recipe(recipe: Recipe, screen: Screen | None = None) -> None:
    """Print every line of a recipe with its reason, then what is kept, then the notes.

    Args:
        recipe: the plan.
        screen: where to print; standard output by default.
    """
    from fanin.report._screen import Screen

    screen = screen or Screen()
    count = len(recipe)
    screen.rule(f"Recipe: {recipe.scheme or 'by hand'}, {count} parameter{'' if count == 1 else 's'} to write")
    wide = screen.width >= 110
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("parameter", overflow="fold", ratio=3)
    table.add_column("shape", no_wrap=True)
    if wide:
        table.add_column("fan in / out", justify="right", no_wrap=True)
    table.add_column("initializer", overflow="fold", ratio=3)
    table.add_column("std", justify="right", no_wrap=True)
    if wide:
        table.add_column("why", overflow="fold", ratio=4)
    for line in recipe.lines:
        shape = "×".join(map(str, line.shape)) or "scalar"
        fans = f"{number(line.fans.fan_in)} / {number(line.fans.fan_out)}"
        cells = [screen.text(line.name), screen.text(shape)]
        cells += [screen.text(fans, "dim")] if wide else []
        cells += [screen.text(_brief(line.initializer)), screen.text(number(line.std, 4))]
        cells += [screen.text(line.reason, "dim")] if wide else []
        table.add_row(*cells)
        if not wide and line.reason:
            table.add_row("", "", screen.text(line.reason, "dim"), "")
    if recipe.lines:
        screen.print(table)
    if recipe.kept:
        screen.print()
        screen.rule("Kept as they are")
        reasons = {kept.reason for kept in recipe.kept}
        if len(reasons) == 1 and len(recipe.kept) > 1:
            screen.print(f"{len(recipe.kept)} parameters: {reasons.pop()}", indent=2)
        else:
            for kept in recipe.kept:
                screen.print(f"{kept.name}: {kept.reason}", indent=2)
    for note in recipe.notes:
        screen.print()
        screen.print(f"Note: {note}")


def _brief(initializer: Initializer) -> str:
    """Its repr without the arguments that are defaults; its own short one where it holds many numbers."""
    if "__repr__" in vars(type(initializer)):
        return repr(initializer)
    defaults = {name: p.default for name, p in inspect.signature(type(initializer)).parameters.items()}
    changed = {key: value for key, value in initializer.config.items() if key not in defaults or defaults[key] != value}
    arguments = (
        f"{key}={value:.6g}" if isinstance(value, float) else f"{key}={value!r}" for key, value in changed.items()
    )
    return f"{type(initializer).__name__}({', '.join(arguments)})"
