"""Explain a rule: what it sees, why it matters, an example, what to do, its thresholds and sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("rule", help="a code (F101), a name (vanishing-forward) or a category (vanishing)")


def run(arguments: argparse.Namespace) -> None:
    """Print the page of each rule that is meant."""
    from fanin.checks import rules
    from fanin.errors import UnknownNameError
    from fanin.report import Screen

    wanted = arguments.rule.strip()
    known = rules()
    found = [rule for rule in known if wanted.upper() == rule.code or wanted.lower() == rule.name]
    found = found or [rule for rule in known if wanted.lower() == rule.category]
    if not found:
        raise UnknownNameError("rule", wanted, [word for rule in known for word in (rule.code, rule.name)])
    screen = Screen()
    for index, rule in enumerate(found):
        if index:
            screen.print()
        screen.rule(f"{rule.code} {rule.name} ({rule.severity})")
        for line in rule.explanation().splitlines():
            text = screen.text(line)
            if line.endswith(":") and not line.startswith(" "):
                text.stylize("bold")
            screen.print(text, hang=len(line) - len(line.lstrip()))
        if rule.thresholds:
            screen.print()
            defaults = ", ".join(f"{rule.code}.{name} = {value:g}" for name, value in rule.thresholds.items())
            screen.print(f"Defaults: {defaults}")
