"""The demo: two acts, each computed here and now; what they conclude is read off the numbers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.table import Table

from fanin.cli._story_five import play as play_five
from fanin.cli._story_thirty import play as play_thirty

if TYPE_CHECKING:
    from fanin.report import Screen

__all__ = ["play"]


def play(screen: Screen, seed: int = 0) -> None:
    """Run and print everything.

    Args:
        screen: where to print.
        seed: of every random number in it.
    """
    started = time.perf_counter()
    screen.print(screen.text("fanin: how a network starts decides whether it learns", "bold"))
    screen.print(
        screen.text(f"Every number below is computed now, on this machine (seed {seed}); nothing is downloaded.", "dim")
    )
    screen.print()
    play_five(screen, seed)
    screen.print()
    play_thirty(screen, seed)
    screen.print()
    screen.rule("Your model")
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 2), pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for command, what in (
        ("fanin check model.py:make", "what is wrong, where, what to do"),
        ("fanin init model.py:make --out w.safetensors", "write a better start"),
        ("fanin.init_(model, x)", "the same in your script"),
    ):
        table.add_row(screen.text(command, "bold cyan"), screen.text(what, "dim"))
    screen.print(table)
    screen.print()
    screen.print(screen.text(f"{time.perf_counter() - started:.0f} seconds.", "dim"))
