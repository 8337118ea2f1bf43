"""The story in a minute: what a start does to a network, and what a good one is worth. No arguments, no downloads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanin.cli._base import seed

if TYPE_CHECKING:
    import argparse

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="another draw of everything random")


def run(arguments: argparse.Namespace) -> None:
    """Play all acts."""
    import torch

    from fanin.cli._story import play
    from fanin.report import Screen

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # matrices of 100 × 100: handing them to threads costs more than it brings
    try:
        play(Screen(), arguments.seed)
    finally:
        torch.set_num_threads(threads)
