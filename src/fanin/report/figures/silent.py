"""Units that say nothing, by layer: dead, saturated, zero."""

from __future__ import annotations

from typing import Any

from fanin.report.figures._base import REGISTRY, Data, Kind, Spec, Table, series_of
from fanin.report.figures._depth import depth_row, depth_spec, depth_table
from fanin.report.figures._signals import labelled, layers, origin
from fanin.report.figures._theme import theme as theme_of

__all__ = ["data", "draw", "example", "table"]

SERIES = (("saturated", "saturated_fraction"), ("dead units", "dead_fraction"), ("exact zeros", "zero_fraction"))


def data(records: Any) -> Data:
    """Shares of saturated values, of units that are 0 for the whole batch, and of exact zeros at each nonlinearity.

    Args:
        records: a Report or Trace.
    """
    _, record = labelled(records)[0]
    found = layers(record, at="activations")
    shares = {
        name: [
            (depth, place, value) for depth, (place, s) in enumerate(found, 1) if (value := getattr(s, key)) is not None
        ]
        for name, key in SERIES
    }
    rows = [
        depth_row(d, p, name, v) for name, values in shares.items() if any(v for *_, v in values) for d, p, v in values
    ]
    return {
        "title": _title(shares, len(found)),
        "subtitle": "Share of the values (or units) at the output of each nonlinearity, over the batch",
        "source": origin(records),
        "rows": rows,
    }


def _title(shares: dict[str, list[tuple[int, str, float]]], count: int) -> str:
    if not count:
        return "Dead and saturated units: nothing was measured"
    for name, said in (("saturated", "of the values are saturated"), ("dead units", "of the units are dead")):
        worst = max(shares[name], key=lambda entry: entry[2], default=None)
        if worst is not None and worst[2] >= 0.1:
            return f"Up to {worst[2]:.0%} {said}, worst at {worst[1]}"
    return f"No layer is dead or saturated: under 10 % at all {count} nonlinearities"


def draw(data: Data, theme: str = "light") -> Spec:
    """Shares over the depth."""
    names = series_of(data["rows"])
    drawn = depth_spec(
        data,
        theme_of(theme),
        x_title="nonlinearity (in order of execution)",
        y_title=f"share of {names[0]} (%)" if len(names) == 1 else "share (%)",
        log=False,
        domain=(0.0, 1.0),
    )
    for layer in drawn["layer"]:
        layer["encoding"]["y"]["axis"] = {"format": ".0%"}
    return drawn


def table(data: Data) -> Table:
    """Layer, place, shares."""
    return depth_table(data, "share")


def example() -> Data:
    """Tanh units driven into their flat ends."""
    rows = [depth_row(k, f"act.{k - 1}", "saturated", min(0.98, 0.1 * k)) for k in range(1, 9)]
    rows += [depth_row(k, f"act.{k - 1}", "exact zeros", 0.05) for k in range(1, 9)]
    return {
        "title": "Up to 80% of the values are saturated, worst at act.7",
        "subtitle": "Share of the values (or units) at the output of each nonlinearity, over the batch",
        "source": "an example",
        "rows": rows,
    }


KIND = REGISTRY.add(
    "silent",
    Kind(
        "silent",
        "dead, saturated and zero shares by layer",
        "a Report or Trace",
        data,
        draw,
        table,
        example,
        of_report=True,
    ),
)
