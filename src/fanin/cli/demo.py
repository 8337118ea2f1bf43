"""The story in a minute: what a start does to a network, and what a good one is worth. No arguments, no downloads."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another draw of everything random")


def run(arguments: argparse.Namespace) -> None:
    """Play all acts."""
    from fanin.cli._story import play
    from fanin.report import Screen

    play(Screen(), arguments.seed)
