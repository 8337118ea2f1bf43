"""Parse, run, turn what went wrong into one message and an exit code."""

from __future__ import annotations

import argparse
import importlib
import inspect
import os
import sys
from typing import TYPE_CHECKING

from fanin.cli._base import CRASHED, INTERRUPTED, OK, PIPE_CLOSED, USAGE
from fanin.cli._failure import describe
from fanin.errors import FaninError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

__all__ = ["parser", "run"]

_EPILOG = """\
exit codes: 0 nothing wrong, 1 a finding of severity error, 2 the command line, the data or the model could not be
used (the message says why), 3 a fault of fanin itself, 130 interrupted.

start here: fanin demo
"""


def run(argv: Sequence[str] | None, names: Sequence[str]) -> int:
    """Run one of the commands ``names`` and return the exit code; nothing is raised but what Python itself cannot hold.

    Args:
        argv: arguments without the program's name; those of the process where None.
        names: modules of ``fanin.cli``.
    """
    command = ""
    if hasattr(sys.stdout, "reconfigure"):  # a character that the encoding lacks is no reason to stop
        sys.stdout.reconfigure(errors="replace")
    try:
        try:
            root = parser(names)
            arguments = root.parse_args(argv)
            command = arguments.command or ""
            if not command:
                root.print_help()
                return USAGE
            return int(arguments.run(arguments) or OK)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader left (fanin rules | head). Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return INTERRUPTED
    except FaninError as error:
        print(describe(error, command), file=sys.stderr)
        return USAGE
    except SystemExit as exit_:  # argparse has printed its message
        return exit_.code if isinstance(exit_.code, int) else USAGE
    except Exception:
        import traceback

        traceback.print_exc()
        print("\nThis is a fault of fanin, not of your model; please report it with the lines above.", file=sys.stderr)
        return CRASHED


def parser(names: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of the commands ``names``."""
    from fanin import __version__

    root = argparse.ArgumentParser(
        prog="fanin",
        description="Check, plan and write the initial weights of any PyTorch model.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument("--version", action="version", version=f"fanin {__version__}")
    commands = root.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name in names:
        module = importlib.import_module(f"fanin.cli.{name}")
        summary, _, details = inspect.cleandoc(module.__doc__ or "").partition("\n")
        child = commands.add_parser(
            name,
            help=_sentence(summary),
            description=f"{summary}\n{details}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        _fill(child, module)
    return root


def _fill(child: argparse.ArgumentParser, module: ModuleType) -> None:
    module.add_arguments(child)
    child.set_defaults(run=module.run)


def _sentence(text: str) -> str:
    text = text.rstrip(".")
    return text[:1].lower() + text[1:]
