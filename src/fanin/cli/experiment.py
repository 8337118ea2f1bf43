"""Run a classic experiment again and judge it by its numbers.

Each states a known result as claims, each claim a bound on one measured number, and says whether it was reproduced.
The table (CSV), the verdict (JSON) and the figures (Vega-Lite, and SVG with the extra fanin[figures]) are written to
OUT/NAME. Images come from a local copy of MNIST or Fashion-MNIST, else from the embedded digits; the output says which.

  fanin experiment --list
  fanin experiment he30 --quick
  fanin experiment all --out build/experiments
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fanin.cli._base import count, seed

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from fanin.experiments import Outcome
    from fanin.report import Screen

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("name", nargs="?", help="one of --list, or all")
    parser.add_argument("--list", action="store_true", help="list the experiments")
    parser.add_argument("--quick", action="store_true", help="a fifth of the work; fewer seeds and updates")
    parser.add_argument("--out", metavar="DIR", default="fanin-experiments", help="default: fanin-experiments")
    parser.add_argument("--data", choices=("mnist", "fashion-mnist", "digits"), default="mnist", help="default: mnist")
    parser.add_argument("--data-dir", metavar="DIR", help="folder of the image files; default FANIN_DATA, ./data")
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="of everything random")
    parser.add_argument("--jobs", type=count, metavar="N", help="worker processes for training; default 1")
    parser.add_argument("--json", action="store_true", help="print the outcomes as JSON")


def run(arguments: argparse.Namespace) -> None:
    """Run and print."""
    import json

    from fanin.errors import InputError
    from fanin.experiments import REGISTRY, Settings, save
    from fanin.report import Screen

    screen = Screen()
    if arguments.list:
        _list(screen, as_json=arguments.json)
        return
    if arguments.name is None:
        raise InputError(f"name an experiment, or all: {', '.join(REGISTRY)}.")
    chosen = list(REGISTRY) if arguments.name == "all" else [arguments.name]
    experiments = [REGISTRY[name] for name in chosen]
    size: Any = "quick" if arguments.quick else "full"
    settings = Settings(size, arguments.seed, arguments.data, arguments.data_dir, arguments.jobs)
    outcomes = []
    for experiment in experiments:
        with Screen(_stderr()).console.status(f"{experiment.name} ({size})", spinner="line"):
            outcome = experiment.run(settings)
            files = save(outcome, arguments.out)
        outcomes.append(outcome)
        if not arguments.json:
            _show(outcome, files, screen)
    if arguments.json:
        found = [outcome.to_json() for outcome in outcomes]
        print(json.dumps(found if arguments.name == "all" else found[0], ensure_ascii=False))
    elif len(outcomes) > 1:
        _summary(outcomes, screen)


def _stderr() -> Any:
    import sys

    return sys.stderr


def _list(screen: Screen, *, as_json: bool) -> None:
    import json

    from rich.table import Table

    from fanin.experiments import REGISTRY

    if as_json:
        keys = ("name", "question", "known", "source")
        print(json.dumps([{key: getattr(entry, key) for key in keys} for entry in REGISTRY.values()]))
        return
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("experiment", no_wrap=True)
    table.add_column("question", overflow="fold", ratio=3)
    table.add_column("source", overflow="fold", ratio=2)
    for entry in REGISTRY.values():
        table.add_row(screen.text(entry.name, "bold"), screen.text(entry.question), screen.text(entry.source, "dim"))
    screen.print(table)


def _number(value: float) -> str:
    from fanin.report import number

    return number(value, 4)


_STYLES = {"reproduced": "bold green", "partly": "bold yellow", "not reproduced": "bold red"}


def _show(outcome: Outcome, files: list[Path], screen: Screen) -> None:
    """Question, known result, claims with numbers, verdict."""
    from rich.table import Table

    experiment = outcome.experiment
    screen.rule(experiment.name)
    screen.print(screen.text(experiment.question, "bold"))
    screen.print(f"Known: {experiment.known} ({experiment.source})", hang=2)
    screen.print(screen.text(f"Measured on {outcome.measured.data}.", "dim"), hang=2)
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("claim", overflow="fold", ratio=1)
    for heading in ("measured", "holds if", ""):
        table.add_column(heading, justify="right", no_wrap=True)
    for entry in outcome.checked:
        mark = screen.text("yes", "green") if entry.holds else screen.text("NO", "bold red")
        numbers = (screen.text(_number(entry.value)), screen.text(entry.claim.criterion, "dim"))
        table.add_row(screen.text(entry.claim.text), *numbers, mark)
    screen.print(table)
    held = sum(entry.holds for entry in outcome.checked)
    screen.print(
        screen.text(f"{outcome.verdict}: {held} of {len(outcome.checked)} claims hold", _STYLES[outcome.verdict])
    )
    for note in outcome.measured.notes:
        screen.print(f"note: {note}", hang=6)
    words = f"{outcome.seconds:.0f} s; {len(files)} files in {files[0].parent}"
    screen.print(screen.text(words, "dim"))
    screen.print()


def _summary(outcomes: list[Outcome], screen: Screen) -> None:
    """One line per experiment."""
    from rich.table import Table

    screen.rule("all")
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("experiment", no_wrap=True)
    table.add_column("known result", overflow="fold", ratio=1)
    table.add_column("claims", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("seconds", justify="right", no_wrap=True)
    for outcome in outcomes:
        held = sum(entry.holds for entry in outcome.checked)
        table.add_row(
            screen.text(outcome.experiment.name, "bold"),
            screen.text(outcome.experiment.known),
            f"{held}/{len(outcome.checked)}",
            screen.text(outcome.verdict, _STYLES[outcome.verdict]),
            f"{outcome.seconds:.0f}",
        )
    screen.print(table)
    for outcome in outcomes:
        for entry in outcome.checked:
            if not entry.holds:
                words = f"{outcome.experiment.name}: {entry.claim.text}: measured {_number(entry.value)}"
                screen.print(f"{words}, holds if {entry.claim.criterion}", hang=2)
    screen.print(screen.text(f"{sum(outcome.seconds for outcome in outcomes):.0f} s in all", "dim"))
