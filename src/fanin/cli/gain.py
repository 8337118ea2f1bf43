"""The exact gain of an activation: weights of standard deviation gain/sqrt(fan_in) keep a signal steady.

Prints three gains: of the second moment (what He's sqrt(2) keeps for ReLU), of the variance (where the mean is
subtracted), and backward (keeps gradients; use it with fan_out). Without a name it lists all that are known.

  fanin gain gelu
  fanin gain "leaky_relu(0.2)" --q 0.5
  fanin gain mymodule.py:my_activation
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    from fanin.theory import GainKind

__all__ = ["add_arguments", "run"]

_KINDS: tuple[GainKind, ...] = ("second_moment", "variance", "backward")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("activation", nargs="*", help="a name, or pkg.mod:function of your own; all known ones if none")
    parser.add_argument("--q", type=float, default=1.0, help="second moment of the pre-activation; default 1")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> None:
    """Print the gains."""
    import json

    from fanin import theory
    from fanin.cli._base import own_activation
    from fanin.errors import InputError

    everything = not arguments.activation
    entries: list[dict[str, Any]] = []
    for name in arguments.activation or theory.ACTIVATIONS.names():
        fn: Any = own_activation(name) if ":" in name else name
        values: dict[str, float | None] = {}
        for kind in _KINDS:
            try:
                values[kind] = theory.gain(fn, kind, q=arguments.q)
            except InputError:
                if not everything:
                    raise
                values[kind] = None
        entries.append({"activation": name, "q": arguments.q, **values})
    if arguments.json:
        print(json.dumps(entries if everything or len(entries) > 1 else entries[0]))
        return
    _show(entries)


def _show(entries: list[dict[str, Any]]) -> None:
    from rich.table import Table

    from fanin.report import Screen

    screen = Screen()
    digits = 10 if len(entries) < 5 else 6
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 3, 0, 0))
    table.add_column("activation", no_wrap=True)
    for heading in ("second moment", "variance", "backward"):
        table.add_column(heading, justify="right", no_wrap=True)
    for entry in entries:
        values = [entry[kind] for kind in _KINDS]
        numbers = ["-" if value is None else f"{value:.{digits}f}" for value in values]
        table.add_row(screen.text(entry["activation"], "bold"), *map(screen.text, numbers))
    screen.print(table)
    screen.print()
    screen.print(
        screen.text(
            f"Weights of std gain/√fan_in keep E x² (second moment) or Var x (variance); gain/√fan_out keeps gradients "
            f"(backward). For pre-activations with E x² = {entries[0]['q']:g}.",
            "dim",
        )
    )
