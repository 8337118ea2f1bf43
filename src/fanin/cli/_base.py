"""What commands share: exit codes, common arguments, the screen."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "CRASHED",
    "FINDINGS",
    "INTERRUPTED",
    "OK",
    "PIPE_CLOSED",
    "USAGE",
    "add_model_arguments",
    "add_scheme_arguments",
    "codes",
    "count",
    "only_json_on_stdout",
    "option",
    "own_activation",
    "remark",
    "seed",
    "threshold",
]

OK = 0
FINDINGS = 1
USAGE = 2
CRASHED = 3
INTERRUPTED = 130  # 128 + SIGINT, as shells report it
PIPE_CLOSED = 141  # 128 + SIGPIPE

INPUT_HELP = """\
what one sample looks like: [NAME=]SHAPE[:KIND]. SHAPE is 784 or 3x224x224; KIND is normal (the default: zero mean, unit
variance), uniform (in [0, 1)), ones, or ids=N (integers below N: token ids). Repeat it for several arguments; NAME=
passes one by keyword. Examples: 3x224x224; 128:ids=50257; input_ids=128:ids=30522"""


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """The model and what to run it on."""
    parser.add_argument(
        "factory",
        help="pkg.mod:name or file.py:name: a model, or a class or function without arguments that makes one",
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--input", action="append", metavar="SPEC", help=INPUT_HELP)
    source.add_argument(
        "--data",
        metavar="DATA",
        help="real data: digits or alice (come with fanin), mnist, fashion-mnist, file.npz, or pkg.mod:factory "
        "returning (inputs, target), a dict of arguments or a DataLoader",
    )
    parser.add_argument("--target", metavar="SPEC", help="with --input: the target of one sample, such as ids=10")
    parser.add_argument(
        "--data-dir", metavar="DIR", help="folder of mnist and fashion-mnist; default FANIN_DATA, ./data"
    )
    parser.add_argument("--batch", type=count, metavar="N", help="samples (64 with --input, 256 with --data)")
    parser.add_argument(
        "--seed", type=seed, default=0, metavar="N", help="seeds the model's constructor, random inputs and writing"
    )


def add_scheme_arguments(parser: argparse.ArgumentParser) -> None:
    """The scheme and its options."""
    parser.add_argument("--scheme", default="auto", help="a name of `fanin schemes`; default auto")
    parser.add_argument(
        "--set",
        action="append",
        type=option,
        default=[],
        metavar="NAME=VALUE",
        help="an option of the scheme, such as head_std=0.5 or residual=zero; repeat it for several",
    )


def option(text: str) -> tuple[str, Any]:
    """An argparse type: NAME=VALUE, the value as JSON where it is that, else as text."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip().isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE, such as head_std=0.5")
    try:
        return name.strip(), json.loads(value)
    except ValueError:
        return name.strip(), value


def count(text: str) -> int:
    """An argparse type: an integer >= 1."""
    value = int(text) if text.isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer >= 1")
    return value


def seed(text: str) -> int:
    """An argparse type: an integer in [0, 2^63)."""
    if not text.isdecimal() or int(text) >= 1 << 63:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer in [0, 2**63)")
    return int(text)


def codes(text: str) -> list[str]:
    """An argparse type: rule codes or prefixes separated by commas."""
    return [code for code in (part.strip().upper() for part in text.split(",")) if code]


def threshold(text: str) -> tuple[str, float]:
    """An argparse type: CODE.NAME=VALUE."""
    name, equals, value = text.partition("=")
    try:
        return name.strip(), float(value if equals else "")
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not CODE.NAME=VALUE, such as F101.decades=3") from None


def remark(text: str) -> None:
    """Something that was assumed or done on the way: on stderr, so that stdout stays what was asked for."""
    from fanin.report import Screen

    Screen(sys.stderr).print(f"note: {text}")


@contextlib.contextmanager
def only_json_on_stdout(wanted: bool) -> Iterator[None]:
    """Where JSON is wanted, whatever the user's own code prints goes to stderr."""
    if not wanted:
        yield
        return
    with contextlib.redirect_stdout(sys.stderr):
        yield


def own_activation(text: str) -> Any:
    """The user's function behind ``pkg.mod:function`` or ``file.py:function``."""
    from pathlib import Path

    from fanin.data import locate

    sys.path.insert(0, str(Path.cwd()))
    return locate(text)
