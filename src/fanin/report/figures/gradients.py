"""Gradient by layer: does the loss reach the first layers?"""

from __future__ import annotations

from typing import Any

from fanin.report.figures._base import REGISTRY, Data, Kind, Spec, Table
from fanin.report.figures._depth import depth_row, depth_spec, depth_table, example_rows
from fanin.report.figures._signals import At, labelled, layers, origin, rms
from fanin.report.figures._theme import theme as theme_of
from fanin.report.figures._words import across, journey

__all__ = ["data", "draw", "example", "table"]


def data(records: Any, *, at: At = "weights") -> Data:
    """Root mean square of ∂loss/∂output at each layer.

    Args:
        records: a Report or Trace, or a mapping of names to them.
        at: which places; by default outputs of ops with weights.
    """
    rows, ends, found = [], {}, []
    for label, record in labelled(records):
        found = layers(record, "backward", at=at)
        for number, (place, signal) in enumerate(found, start=1):
            rows.append(depth_row(number, place, label, rms(signal)))
        ends[label] = rms(found[0][1]) if found else None
    backwards = found[::-1]
    title = (
        journey("The gradient", [rms(s) for _, s in backwards], [p for p, _ in backwards], way="back through")
        if len(ends) == 1
        else across("Gradient at the first layer", ends, len(found))
    )
    return {
        "title": title,
        "subtitle": "Root mean square of the loss gradient at each layer's output; it travels from right to left",
        "source": origin(records),
        "rows": rows,
    }


def draw(data: Data, theme: str = "light") -> Spec:
    """A line over the depth, logarithmic."""
    return depth_spec(
        data,
        theme_of(theme),
        x_title="layer (in order of execution; the loss is at the right)",
        y_title="gradient rms (loss units per unit of activation)",
    )


def table(data: Data) -> Table:
    """Layer, place, gradient."""
    return depth_table(data, "gradient rms")


def example() -> Data:
    """A deep network whose gradient vanishes with one start and arrives with another."""
    return {
        "title": "Gradient at the first layer of 12: 0.54 with he, 4.6e-8 with xavier / 4",
        "subtitle": "Root mean square of the loss gradient at each layer's output; it travels from right to left",
        "source": "an example",
        "rows": example_rows({"he": 0.95, "xavier / 4": 0.245}, back=True),
    }


KIND = REGISTRY.add(
    "gradients",
    Kind(
        "gradients",
        "gradient by layer, logarithmic",
        "a Report or Trace, or several by name",
        data,
        draw,
        table,
        example,
        of_report=True,
    ),
)
