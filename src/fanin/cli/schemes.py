"""List the schemes: ways to choose the start of a whole model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> None:
    """Print name, title, needs and source of each scheme."""
    import json

    from rich.table import Table

    from fanin import schemes
    from fanin.report import Screen

    entries = [_entry(name, schemes.REGISTRY[name]) for name in schemes.names()]
    if arguments.json:
        print(json.dumps(entries))
        return
    screen = Screen()
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("scheme", no_wrap=True)
    table.add_column("what it does", overflow="fold", ratio=3)
    table.add_column("needs", overflow="fold", ratio=1)
    table.add_column("source", overflow="fold", ratio=2)
    for entry in entries:
        needs = ", ".join((*entry["needs"], *([entry["looks_for"].partition(" (")[0]] if entry["looks_for"] else ())))
        table.add_row(
            screen.text(entry["name"], "bold"),
            screen.text(entry["title"]),
            screen.text(needs),
            screen.text(entry["source"], "dim"),
        )
    screen.print(table)
    screen.print()
    screen.print(screen.text("graph: inputs to trace; batch: inputs like the training data.", "dim"))
    screen.print(screen.text("Use one: fanin plan pkg.mod:factory --scheme NAME, or fanin.init_(model, x, …)", "dim"))


def _entry(name: str, scheme: Any) -> dict[str, Any]:
    return {
        "name": name,
        "title": scheme.title,
        "source": scheme.source,
        "needs": list(scheme.needs),
        "looks_for": scheme.looks_for,
    }
