"""The command line. One file per command, whose docstring is its help, and one line here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanin.cli._main import run

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["COMMANDS", "main"]

COMMANDS = (
    "check",
    "plan",
    "init",
    "rules",
    "explain",
    "schemes",
    "initializers",
    "gain",
    "phase",
    "predict",
    "compare",
    "experiment",
    "demo",
)
"""Modules of this package in the order of the help; each has ``add_arguments(parser)`` and ``run(arguments)``, and
imports what is heavy inside ``run``."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: arguments without the program's name; those of the process by default.

    Returns:
        The exit code: 0 nothing wrong, 1 a finding of severity error, 2 the command line, the data or the model could
        not be used, 3 a fault of fanin itself, 130 interrupted.
    """
    return run(argv, COMMANDS)
