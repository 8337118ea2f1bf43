"""List the initializers: formula, moments, source.

The moments are exact ones for a linear map from 256 to 128 units with each initializer's default arguments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

__all__ = ["add_arguments", "run"]

_SHAPE = (128, 256)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> None:
    """Print the table."""
    import json

    from rich.table import Table

    from fanin.initializers import REGISTRY
    from fanin.report import Screen

    entries = [_entry(name, kind) for name, kind in REGISTRY.items()]
    if arguments.json:
        print(json.dumps(entries))
        return
    screen = Screen()
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("name", no_wrap=True)
    table.add_column("formula, source", overflow="fold")
    table.add_column("mean", justify="right", no_wrap=True)
    table.add_column("std", justify="right", no_wrap=True)
    for entry in entries:
        table.add_row(
            screen.text(entry["name"], "bold"),
            screen.text(entry["formula"] + "\n") + screen.text(entry["source"], "dim"),
            *(screen.text("-" if entry[key] is None else f"{entry[key]:.4g}") for key in ("mean", "std")),
        )
    screen.print(table)
    screen.print()
    screen.print(screen.text("mean, std: exact, default arguments, a linear map from 256 to 128 units.", "dim"))


def _entry(name: str, kind: Any) -> dict[str, Any]:
    """Moments are None for an initializer that needs arguments or another shape of map."""
    from fanin.errors import FaninError
    from fanin.fans import linear

    entry: dict[str, Any] = {"name": name, "formula": kind.formula, "mean": None, "std": None, "source": kind.source}
    try:
        made = kind()
        entry["mean"], entry["std"] = made.mean(linear(_SHAPE)), made.std(linear(_SHAPE))
    except (TypeError, FaninError):
        pass
    return entry
