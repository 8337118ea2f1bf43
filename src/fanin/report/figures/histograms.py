"""Activations by layer as small multiples: the textbook picture, one histogram per layer and start."""

from __future__ import annotations

from typing import Any

from fanin.report._glyphs import number
from fanin.report.figures._base import REGISTRY, Data, Kind, Spec, Table, short_names, spec, thinned
from fanin.report.figures._histograms import outline, quantile, summary, without_zeros
from fanin.report.figures._signals import At, labelled, layers, origin
from fanin.report.figures._theme import theme as theme_of
from fanin.report.figures._words import across, journey
from fanin.signals import Histogram, Signal

__all__ = ["data", "draw", "example", "table"]

MOST = 20
"""Panels of one record; of deeper networks evenly spread layers are shown."""

COLUMNS = 5


def data(records: Any, *, at: At = "auto", most: int = MOST) -> Data:
    """Histograms of each layer's output; several records become rows of panels on a common axis.

    Args:
        records: a Report or Trace, or a mapping of names to them.
        at: which places; by default outputs of nonlinearities.
        most: layers shown at most for one record, evenly spread.
    """
    pairs = labelled(records)
    several = len(pairs) > 1
    panels: list[tuple[str, int, str, Signal]] = []
    ends: dict[str, Any] = {}
    found: list[tuple[str, Signal]] = []
    for label, record in pairs:
        found = [(place, signal) for place, signal in layers(record, at=at) if signal.histogram is not None]
        ends[label] = found[-1][1].std if found else None
        chosen = thinned(list(enumerate(found, start=1)), COLUMNS if several else most)
        panels += [(label, depth, place, signal) for depth, (place, signal) in chosen]
    if several:
        title = across("Spread of the activations at the last layer", ends, len(found))
    else:
        title = journey("The spread of the activations", [s.std for _, s in found], [p for p, _ in found])
    axis = "all on one axis" if several else "each on its own axis"
    return {
        "title": title,
        "subtitle": f"Distribution of each layer's output over batch and units, {axis}; exact zeros left out",
        "source": origin(records),
        "shared": several,
        **_rows(panels),
    }


def _rows(panels: list[tuple[str, int, str, Signal]]) -> dict[str, Any]:
    rows, numbers = [], []
    reach = [0.0, 0.0]
    for index, (label, depth, place, signal) in enumerate(panels):
        histogram = signal.histogram
        assert histogram is not None
        reach = [min(reach[0], quantile(histogram, 0.001)), max(reach[1], quantile(histogram, 0.999))]
        name = f"{depth}: {short_names([place], 14)[0]}, σ {number(signal.std, 2)}"
        counts = without_zeros(histogram, signal.zero_fraction)
        top = max(counts) or 1.0
        for corner in outline(histogram, [count / top for count in counts]):
            rows.append({"panel": index, "name": name, "series": label, "layer": depth, **corner})
        numbers.append({"start": label, "layer": depth, "place": place, **summary(signal)})
    return {"rows": rows, "numbers": numbers, "range": reach}


def draw(data: Data, theme: str = "light") -> Spec:
    """A grid of bar histograms: layers across, starts down."""
    colours = theme_of(theme)
    names = dict.fromkeys(row["series"] for row in data["rows"])
    width = 118 if not data["shared"] else 112
    rows = [_row(data, colours, name, width) for name in names]
    return spec(data, colours, width=COLUMNS * (width + 14), vconcat=rows, spacing=18)


def _row(data: Data, colours: Any, series: str, width: int) -> Spec:
    scale: dict[str, Any] = {"zero": False, "nice": False}
    if data["shared"]:
        low, high = data["range"]
        scale["domain"] = [low, high] if high > low else [low - 1, high + 1]
    x = {"type": "quantitative", "title": None, "scale": scale}
    x["axis"] = {"tickCount": 3, "grid": False, "format": "~g", "labelFlush": True}
    inner: Spec = {
        "width": width,
        "height": 74,
        "mark": {
            "type": "area",
            "interpolate": "step-after",
            "clip": True,
            "color": colours.series[0],
            "line": {"color": colours.series[0], "strokeWidth": 0.8},
        },
        "encoding": {
            "x": {**x, "field": "x"},
            "y": {"field": "height", "type": "quantitative", "axis": None, "scale": {"domain": [0, 1]}},
        },
    }
    header = {"title": series or None, "labelExpr": "split(datum.label, '\\u0000')[0]", "labelLimit": width + 10}
    return {
        "transform": [{"filter": {"field": "series", "equal": series}}],
        "facet": {"field": "name", "type": "nominal", "sort": {"field": "panel", "op": "min"}, "header": header},
        "columns": COLUMNS,
        "spacing": 14,
        "spec": inner,
        "resolve": {"scale": {"x": "shared" if data["shared"] else "independent"}},
    }


def table(data: Data) -> Table:
    """Start, layer, place, moments, quantiles, shares."""
    headings = ["start", "layer", "place", "mean", "std", "5 %", "50 %", "95 %", "zeros", "saturated"]
    several = data["shared"]
    keys = headings if several else headings[1:]
    return keys, [[row.get(key) for key in keys] for row in data["numbers"]]


def example() -> Data:
    """Two starts of five layers: one keeps its spread, one collapses."""
    bell = (1, 3, 9, 22, 44, 70, 91, 100, 91, 70, 44, 22, 9, 3, 1)
    panels = []
    for label, factor in (("1/√n", 0.95), ("0.01", 0.3)):
        for depth in range(1, 6):
            std = factor**depth
            histogram = Histogram(-3 * std, 3 * std, bell)
            place = f"act.{depth - 1}"
            panels.append(
                (
                    label,
                    depth,
                    place,
                    Signal(place, depth, "forward", "measured", 580, 0.0, std**2, histogram=histogram),
                )
            )
    return {
        "title": "Spread of the activations at the last layer of 5: 0.77 with 1/√n, 0.0024 with 0.01",
        "subtitle": "Distribution of each layer's output over batch and units, all on one axis",
        "source": "an example",
        "shared": True,
        **_rows(panels),
    }


KIND = REGISTRY.add(
    "histograms",
    Kind(
        "histograms",
        "activation histograms by layer, as small multiples",
        "a Report or Trace, or several by name",
        data,
        draw,
        table,
        example,
        of_report=True,
    ),
)
