"""List the rules that a check applies."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> None:
    """Print code, severity and title of each rule."""
    import json

    from rich.table import Table

    from fanin.checks import rules
    from fanin.report import Screen

    if arguments.json:
        entries = [
            {
                "code": rule.code,
                "name": rule.name,
                "category": rule.category,
                "severity": rule.severity,
                "requires": list(rule.requires),
                "thresholds": dict(rule.thresholds),
                "title": rule.title(),
            }
            for rule in rules()
        ]
        print(json.dumps(entries))
        return
    screen = Screen()
    style = {"error": "red", "warning": "yellow", "info": "blue"}
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for column in ("code", "severity", "name", "what it sees"):
        table.add_column(column, no_wrap=column in ("code", "severity"), overflow="fold")
    for rule in rules():
        table.add_row(
            screen.text(rule.code, "bold"),
            screen.text(rule.severity, style[rule.severity]),
            screen.text(rule.name),
            screen.text(rule.title().rstrip(".")),
        )
    screen.print(table)
    screen.print()
    screen.print(screen.text("One rule in full, with its thresholds and sources: fanin explain CODE", "dim"))
