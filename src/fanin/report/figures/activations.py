"""Activations by layer as a ridge: one histogram above the other on a common axis."""

from __future__ import annotations

import json
import math
import random
from typing import Any

from fanin.report._glyphs import number, spread
from fanin.report.figures._base import REGISTRY, Data, Kind, Spec, Table, short_names, spec, thinned
from fanin.report.figures._histograms import quantile, summary, without_zeros
from fanin.report.figures._signals import At, labelled, layers, origin
from fanin.report.figures._theme import theme as theme_of
from fanin.report.figures._words import journey
from fanin.signals import Histogram, Signal

__all__ = ["data", "draw", "example", "table"]

MOST = 28
"""Ridges that fit one page; of deeper networks evenly spread layers are shown, the first and the last among them."""

CELLS = 140
"""Cells of the common axis, 3 px each: narrower ones only show the noise of a sample."""

OVERLAP = 1.6
"""Height of a ridge in units of the distance between two: enough to see shapes, little enough to see all."""


def data(records: Any, *, at: At = "auto", most: int = MOST) -> Data:
    """Histograms of each layer's output.

    Args:
        records: a Report or Trace.
        at: which places; by default outputs of nonlinearities.
        most: layers shown at most, evenly spread.
    """
    _, record = labelled(records)[0]
    found = [(place, signal) for place, signal in layers(record, at=at) if signal.histogram is not None]
    numbered = thinned(list(enumerate(found, start=1)), most)
    named = [(depth, place, signal) for depth, (place, signal) in numbered]
    shown = "" if len(found) <= most else f"; {most} of {len(found)} layers, evenly spread"
    return {
        "title": _title(found),
        "subtitle": "Distribution of each layer's output over batch and units, on one axis; each scaled to its own "
        f"peak, exact zeros left out and given as a share{shown}",
        "source": origin(records),
        **_rows(named),
    }


def _title(found: list[tuple[str, Signal]]) -> str:
    worst = max(found, key=lambda entry: entry[1].saturated_fraction or 0.0, default=None)
    if worst is not None and (worst[1].saturated_fraction or 0.0) >= 0.5:
        return f"{worst[1].saturated_fraction:.0%} of the values at {worst[0]} are saturated"
    stds = [None if s.nonfinite_fraction > 0 else s.std for _, s in found]
    return journey("The spread of the activations", stds, [p for p, _ in found])


def _rows(named: list[tuple[int, str, Signal]]) -> dict[str, Any]:
    rows, labels, numbers = [], [], []
    ends = [quantile(s.histogram, share) for *_, s in named if s.histogram for share in (0.001, 0.999)]
    low, high = min(ends, default=-1.0), max(ends, default=1.0)
    low, high = (low, high) if high > low else (low - 1, high + 1)
    cell = (high - low) / CELLS
    for order, (depth, place, signal) in enumerate(named):
        histogram = signal.histogram
        assert histogram is not None
        counts = tuple(round(count) for count in without_zeros(histogram, signal.zero_fraction))
        # What lies outside lands in the outermost cells: one more at each end, then left out.
        whole = Histogram(histogram.low, histogram.high, counts)
        masses = spread(whole, low - cell, high + cell, CELLS + 2)[1:-1]
        top = max(masses) or 1.0
        for k, mass in enumerate(masses):
            if mass or any(masses[max(0, k - 1) : k + 2]):  # runs of zeros need their ends only
                x = low + (k + 0.5) * cell
                rows.append({"order": order, "place": place, "x": x, "height": round(mass / top, 4)})
        words = f"σ = {number(signal.std, 2)}"
        if signal.zero_fraction >= 0.005:
            words += f", {signal.zero_fraction:.0%} zero"
        if (signal.saturated_fraction or 0) >= 0.005:
            words += f", {signal.saturated_fraction:.0%} saturated"
        labels.append({"order": order, "place": place, "words": words})
        numbers.append({"layer": depth, "place": place, **summary(signal)})
    return {"rows": rows, "labels": labels, "numbers": numbers, "range": [low, high]}


def draw(data: Data, theme: str = "light") -> Spec:
    """Overlapping filled curves, first layer at the top."""
    colours = theme_of(theme)
    count = len(data["labels"])
    step = 24 if count <= 16 else 16
    names = short_names([label["place"] for label in data["labels"]])
    low, high = data["range"]
    x = {
        "field": "x",
        "type": "quantitative",
        "title": "activation (units of the layer's output)",
        "scale": {"domain": [low - 0.02 * (high - low), high + 0.02 * (high - low)], "nice": False},
        "axis": {"grid": True},
    }
    axis = {
        "values": list(range(count)),
        "labelExpr": f"{json.dumps(names)}[datum.value]",
        "grid": False,
        "domain": False,
        "ticks": False,
        "labelLimit": 190,
        "labelOverlap": False,
    }
    scale = {"domain": [count - 0.7, -OVERLAP - 0.1], "nice": False, "zero": False}
    y = {"type": "quantitative", "title": None, "scale": scale, "axis": axis}
    lift = {"calculate": f"datum.order - {OVERLAP} * datum.height", "as": "top"}
    ridges = [
        {
            "transform": [{"filter": f"datum.order === {order}"}, lift],
            "mark": {
                "type": "area",
                "clip": True,
                "color": colours.series[0],
                "fillOpacity": 0.55,
                "line": {"color": colours.series[0], "strokeWidth": 1.2, "clip": True},
            },
            "encoding": {"x": x, "y": {**y, "field": "top"}, "y2": {"field": "order"}},
        }
        for order in range(count)
    ]
    words = {
        "data": {"name": "labels"},
        "mark": {"type": "text", "align": "left", "dx": 8, "dy": -3, "color": colours.dim},
        "encoding": {"x": {"value": 420}, "y": {**y, "field": "order"}, "text": {"field": "words"}},
    }
    return spec(
        data,
        colours,
        datasets={"labels": data["labels"]},
        layer=[*ridges, words],
        width=420,
        height=int(step * (count + OVERLAP)),
    )


def table(data: Data) -> Table:
    """Layer, place, moments, quantiles, shares."""
    headings = ["layer", "place", "mean", "std", "5 %", "50 %", "95 %", "zeros", "saturated"]
    return headings, [[row.get(key) for key in headings] for row in data["numbers"]]


def example() -> Data:
    """Normal activations that shrink by a third per layer."""
    named = []
    for depth in range(1, 9):
        draws = random.Random(depth)
        std = 0.7**depth
        values = [draws.gauss(0, std) for _ in range(2000)]
        low, high = min(values), max(values)
        counts = [0] * 64
        for value in values:
            counts[min(63, int((value - low) / (high - low) * 64))] += 1
        square = sum(v * v for v in values) / len(values)
        named.append(
            (
                depth,
                f"layers.{depth - 1}",
                Signal(
                    f"layers.{depth - 1}",
                    depth,
                    "forward",
                    "measured",
                    2000,
                    math.fsum(values) / 2000,
                    square,
                    histogram=Histogram(low, high, tuple(counts)),
                ),
            )
        )
    return {
        "title": _title([(place, signal) for _, place, signal in named]),
        "subtitle": "Distribution of each layer's output over batch and units, on one axis",
        "source": "an example",
        **_rows(named),
    }


KIND = REGISTRY.add(
    "activations",
    Kind(
        "activations",
        "activation histograms by layer, as a ridge",
        "a Report or Trace",
        data,
        draw,
        table,
        example,
        of_report=True,
    ),
)
