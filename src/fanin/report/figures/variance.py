"""Variance of the signal by layer: measured, and what theory predicted."""

from __future__ import annotations

import math
from typing import Any

from fanin.report._glyphs import number
from fanin.report.figures._base import REGISTRY, Data, Kind, Spec, Table, series_of
from fanin.report.figures._depth import depth_row, depth_spec, depth_table, example_rows
from fanin.report.figures._signals import At, labelled, layers, origin
from fanin.report.figures._theme import theme as theme_of
from fanin.report.figures._words import across, journey
from fanin.signals import Signal

__all__ = ["data", "draw", "example", "table"]

AGREES = 1.25
"""A prediction within this factor reads as right: at width 64 chance alone moves a variance by √(2/64) = 18 %."""


def data(records: Any, *, at: At = "weights") -> Data:
    """Variance of each layer's output, measured and, where theory spoke, predicted.

    Args:
        records: a Report or Trace, or a mapping of names to them.
        at: which places; by default outputs of ops with weights (pre-activations).
    """
    rows: list[dict[str, Any]] = []
    ends: dict[str, Any] = {}
    measured: list[tuple[str, Signal]] = []
    predicted: dict[str, Signal] = {}
    pairs = labelled(records)
    for label, record in pairs:
        measured, predicted = layers(record, at=at), dict(layers(record, at=at, source="predicted"))
        for depth, (place, signal) in enumerate(measured, start=1):
            rows.append(depth_row(depth, place, f"{label} measured".strip(), _variance(signal)))
            if place in predicted:
                rows.append(depth_row(depth, place, f"{label} predicted".strip(), _variance(predicted[place])))
        ends[label] = _variance(measured[-1][1]) if measured else None
    if not any(str(row["series"]).endswith("predicted") for row in rows):
        rows = [{**row, "series": str(row["series"]).removesuffix("measured").strip()} for row in rows]
    if len(pairs) > 1:
        title = across("Variance at the last layer", ends, len(measured))
    else:
        title = journey("The signal's variance", [_variance(s) for _, s in measured], [p for p, _ in measured])
        title += _agreement(measured, predicted)
    return {
        "title": title,
        "subtitle": "Variance over the batch and all units of each layer's output, before its nonlinearity",
        "source": origin(records),
        "rows": rows,
    }


def _variance(signal: Signal) -> float | None:
    return None if signal.nonfinite_fraction > 0 else signal.std**2


def _agreement(measured: list[tuple[str, Signal]], predicted: dict[str, Signal]) -> str:
    ratios = []
    for place, signal in measured:
        if place in predicted and signal.std > 0 and predicted[place].std > 0:
            ratio = (signal.std / predicted[place].std) ** 2
            ratios.append((max(ratio, 1 / ratio), place))
    if not ratios or not math.isfinite(max(ratios)[0]):
        return ""
    worst, place = max(ratios)
    return ", as predicted" if worst <= AGREES else f"; theory is off by up to ×{number(worst, 2)} at {place}"


def draw(data: Data, theme: str = "light") -> Spec:
    """Lines over the depth, logarithmic; 1 is marked."""
    names = series_of(data["rows"])
    return depth_spec(
        data,
        theme_of(theme),
        x_title="layer (ops with weights, in order of execution)",
        y_title="variance of the output (square of its unit)",
        undotted=[name for name in names if name.endswith("predicted")],
    )


def table(data: Data) -> Table:
    """Layer, place, variances."""
    return depth_table(data, "variance")


def example() -> Data:
    """A signal that a third of its variance survives at each layer, as predicted."""
    rows = example_rows({"measured": 0.33, "predicted": 1 / 3})
    return {
        "title": "The signal's variance shrinks ×0.33 a layer: 0.33 → 1.7e-6 over 12 layers, as predicted",
        "subtitle": "Variance over the batch and all units of each layer's output, before its nonlinearity",
        "source": "an example",
        "rows": rows,
    }


KIND = REGISTRY.add(
    "variance",
    Kind(
        "variance",
        "predicted and measured variance by layer",
        "a Report or Trace, or several by name",
        data,
        draw,
        table,
        example,
        of_report=True,
    ),
)
