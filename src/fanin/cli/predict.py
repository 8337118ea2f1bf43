"""Predict the signal and the gradient at every weight from the weights' variances alone, and compare with a run.

Theory sees the mean and variance of each weight, the inputs and the ops, never the values of the weights. Where
measured and predicted second moments part, the weights are not what their variance says. With --scheme the model is
first written by that scheme, and theory predicts from the plan.

  fanin predict model.py:make_model --data digits
  fanin predict model.py:make_model --data digits --scheme he
  fanin predict mypkg.nets:GPT --input 128:ids=50257 --json
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from fanin.cli._base import add_model_arguments, only_json_on_stdout

if TYPE_CHECKING:
    import argparse

    from fanin.report import Screen
    from fanin.signals import Signals
    from fanin.trace import Trace

__all__ = ["add_arguments", "run"]

_MARKED = 1.0
"""|log2| from which a ratio is marked: a factor of two in the second moment."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_model_arguments(parser)
    parser.add_argument("--scheme", help="write the model by a scheme of `fanin schemes` first; default: as it is")
    parser.add_argument("--all", action="store_true", help="show every place, also those without weights")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON and nothing else")


def run(arguments: argparse.Namespace) -> None:
    """Predict, measure, print both."""
    import json

    import fanin
    from fanin import slots, theory
    from fanin.cli._batch import find_batch
    from fanin.cli._model import build_model
    from fanin.trace import trace

    with only_json_on_stdout(arguments.json):
        model = build_model(arguments.factory, arguments.seed)
        batch = find_batch(model, arguments)
        recipe = None
        if arguments.scheme:
            recipe = fanin.init_(
                model, batch.inputs, batch.target, scheme=arguments.scheme, seed=arguments.seed, force=True
            )
        run_ = trace(model, batch.inputs, batch.target, seed=arguments.seed)
        found = slots.find(model, run_.graph)
        weights = theory.model_moments(dict(model.named_parameters()), found, recipe)
        predicted = theory.predict_trace(run_, found, weights, beside=False)
    rows = _rows(run_, predicted, arguments.all)
    summary = {way: _summary([row[way] for row in rows]) for way in ("forward", "backward")}
    if arguments.json:
        source = {"model": arguments.factory, "scheme": arguments.scheme, "loss_kind": run_.loss_kind}
        print(json.dumps({**source, "summary": summary, "places": rows}, allow_nan=False))
        return
    _show(rows, summary, f"{type(model).__name__}, {batch.source}", arguments.scheme)


def _rows(run_: Trace, predicted: Signals, everywhere: bool) -> list[dict[str, Any]]:
    nodes = [n for n in run_.graph.nodes if "part_of" not in n.attrs] if everywhere else run_.graph.weight_ops()
    rows = []
    for node in nodes:
        row: dict[str, Any] = {"place": node.place, "op": node.op, "exact": True}
        for way in ("forward", "backward"):
            theory = predicted.at(node.place, way, "predicted")
            seen = run_.signals.at(node.place, way)
            row[way] = {
                "predicted": _finite(None if theory is None else theory.second_moment),
                "measured": _finite(None if seen is None else seen.second_moment),
            }
            row[way]["log2"] = _log2(row[way])
            row["exact"] &= theory is None or theory.exact
        if any(row[way]["measured"] is not None for way in ("forward", "backward")):
            rows.append(row)
    return rows


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _log2(pair: dict[str, Any]) -> float | None:
    predicted, measured = pair["predicted"], pair["measured"]
    return math.log2(predicted / measured) if predicted and measured else None


def _summary(pairs: list[dict[str, Any]]) -> dict[str, Any]:
    """Median |log2| and the share within a factor of two."""
    from statistics import median

    sizes = [abs(pair["log2"]) for pair in pairs if pair["log2"] is not None]
    if not sizes:
        return {"count": 0, "median": None, "within_two": None}
    within = sum(size <= _MARKED for size in sizes) / len(sizes)
    return {"count": len(sizes), "median": median(sizes), "within_two": within}


def _show(rows: list[dict[str, Any]], summary: dict[str, Any], title: str, scheme: str | None) -> None:
    from rich.table import Table
    from rich.text import Text

    from fanin.report import Screen

    screen = Screen()
    written = f", written by scheme {scheme!r}" if scheme else ""
    screen.print(screen.text(f"Second moments as predicted and as measured: {title}{written}", "bold"))
    screen.print()
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("place", overflow="fold")
    for heading in ("E x²", "measured", "log2", "E g²", "measured", "log2"):
        table.add_column(screen.text(heading), justify="right", no_wrap=True)
    for row in rows:
        cells: list[Text] = []
        for way in ("forward", "backward"):
            cells += _cells(row[way])
        table.add_row(screen.text(row["place"] + ("" if row["exact"] else " ~")), *cells)
    screen.print(table)
    screen.print()
    for way, word in (("forward", "signals"), ("backward", "gradients")):
        _sentence(screen, summary[way], word)
    if not all(row["exact"] for row in rows):
        screen.print(screen.text("~ after an op that theory knows by sampling, or by an estimate.", "dim"))


def _cells(pair: dict[str, Any]) -> list[Any]:
    from rich.text import Text

    from fanin.report import number

    ratio = pair["log2"]
    marked = ratio is not None and abs(ratio) > _MARKED
    return [
        Text(number(pair["predicted"])),
        Text(number(pair["measured"])),
        Text("-" if ratio is None else f"{ratio:+.2f}", "bold yellow" if marked else "dim"),
    ]


def _sentence(screen: Screen, summary: dict[str, Any], word: str) -> None:
    if not summary["count"]:
        screen.print(f"{word}: nothing to compare.")
        return
    screen.print(
        f"{word}: median |log2| {summary['median']:.2f}, {summary['within_two']:.0%} of {summary['count']} places "
        "within a factor of two."
    )
