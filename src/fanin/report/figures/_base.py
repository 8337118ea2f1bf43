"""What all figures share: the registry, the parts of a specification, axes that read well."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fanin._registry import Registry
from fanin.errors import InputError
from fanin.report.figures._theme import DASHES, SHAPES, Theme, config

__all__ = [
    "REGISTRY",
    "SCHEMA",
    "WIDTH",
    "Data",
    "Kind",
    "Spec",
    "Table",
    "finite",
    "log_axis",
    "log_scale",
    "series_channels",
    "series_of",
    "short_names",
    "spec",
    "thinned",
]

SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
"""Names the dialect and is never fetched; notebooks render version 5, not yet 6."""

WIDTH = 560
"""Width of a plotting area in pixels."""

Data = dict[str, Any]
"""What a figure draws: plain JSON values; always with ``title``, ``subtitle``, ``source`` and ``rows``."""

Spec = dict[str, Any]
"""A Vega-Lite 5 specification."""

Table = tuple[Sequence[str], Sequence[Sequence[Any]]]
"""The numbers behind a figure: headings with units, and rows."""


@dataclass(frozen=True)
class Kind:
    """One kind of figure.

    Args:
        name: as in ``report.figure(name)``.
        shows: what is to be seen, in one line.
        takes: the records that ``data`` reads, in words.
        data: records → plain JSON values, the finding among them as ``title``.
        draw: those values → a specification.
        table: those values → headings and rows.
        example: values for tests and the page of figures.
        of_report: True where ``data`` can read a Report.
        mapped: True where colours stand for numbers: a page then shows the light drawing on any screen.
    """

    name: str
    shows: str
    takes: str
    data: Callable[..., Data]
    draw: Callable[..., Spec]
    table: Callable[[Data], Table]
    example: Callable[[], Data]
    of_report: bool = False
    mapped: bool = False


REGISTRY: Registry[Kind] = Registry("figure")


def spec(data: Data, colours: Theme, *, width: int = WIDTH, **view: Any) -> Spec:
    """A whole specification: title, named rows, shared config, and the view given.

    Args:
        data: with ``title``, ``subtitle``, ``source`` and ``rows``.
        colours: of the theme.
        width: of the plotting area, or of all of them, in pixels; titles are broken there.
        view: marks and encodings, or a composition; ``datasets`` beyond ``rows`` are merged.
    """
    datasets = {"rows": data["rows"], **view.pop("datasets", {})}
    room = max(460, width + 70)  # titles may use the space of the axis labels, too
    subtitle = [*_wrapped(data["subtitle"], room / 6.2)]
    if data["source"]:
        subtitle += _wrapped(f"Source: {data['source']}", room / 6.2)
    if "layer" in view or "mark" in view:
        view["width"] = width
    return {
        "$schema": SCHEMA,
        "description": f"{data['title']}. {data['subtitle']}",
        "title": {"text": _wrapped(data["title"], room / 8.4), "subtitle": subtitle},
        "datasets": datasets,
        "data": {"name": "rows"},
        **view,
        "config": config(colours),
    }


def _wrapped(text: str, columns: float) -> list[str]:
    return textwrap.wrap(text, max(20, int(columns)), break_long_words=False) or [""]


def finite(value: float | None) -> float | None:
    """The value where it is a finite number, else None: JSON knows no NaN."""
    return float(value) if value is not None and math.isfinite(value) else None


def log_scale(values: Iterable[float | None], *, pad: float = 0.0, tight: bool = False) -> dict[str, Any]:
    """A logarithmic scale that holds all positive values.

    Args:
        values: those that are not positive and finite are passed over.
        pad: decades of room at each end.
        tight: end at 1, 2 or 5 of a decade; else at whole decades, at least two apart.
    """
    logs = [math.log10(v) for v in values if v is not None and math.isfinite(v) and v > 0]
    if tight and logs:
        return {"type": "log", "domain": [_one_two_five(min(logs), -1), _one_two_five(max(logs), 1)], "nice": False}
    low, high = math.floor(min(logs, default=-1.0) - pad), math.ceil(max(logs, default=1.0) + pad)
    while high - low < 2:
        low, high = (low - 1, high) if (high - low) % 2 else (low, high + 1)
    return {"type": "log", "domain": [10.0**low, 10.0**high], "nice": False}


def log_axis(scale: Mapping[str, Any], *, labels: int = 8) -> dict[str, Any]:
    """Ticks at whole decades, at most about ``labels`` of them, written as 0.01, 1, 100 or 1e-9."""
    first, last = scale["domain"]
    low, high = math.floor(math.log10(first) + 1e-9), math.ceil(math.log10(last) - 1e-9)
    if high - low <= 3:
        ticks = [float(f"{digit}e{k}") for k in range(low, high + 1) for digit in (1, 2, 5)]
        inside = [tick for tick in ticks if first * 0.999 <= tick <= last * 1.001]
        if low >= -4 and high <= 5 and len(inside) <= 10:
            return {"values": inside, "format": "~g"}
    step = max(1, math.ceil((high - low) / labels))
    exponents = range(math.ceil(low / step) * step, high + 1, step)
    # Through text: 10.0 ** -9 is 1.0000000000000001e-09, and that is what an axis would print.
    axis: dict[str, Any] = {"values": [float(f"1e{k}") for k in exponents]}
    if low >= -4 and high <= 5:
        return {**axis, "format": "~g"}
    return {**axis, "labelExpr": "replace(format(datum.value, '.0e'), '+', '')"}


def _one_two_five(log: float, way: int) -> float:
    """The nearest 1, 2 or 5 of a decade at or beyond 10^log."""
    edges = [float(f"{digit}e{k}") for k in range(math.floor(log) - 1, math.ceil(log) + 2) for digit in (1, 2, 5)]
    value = 10.0**log
    if way < 0:
        return max(edge for edge in edges if edge <= value * (1 + 1e-9))
    return min(edge for edge in edges if edge >= value * (1 - 1e-9))


def series_of(rows: Iterable[Mapping[str, Any]], key: str = "series") -> list[str]:
    """The different names in a column, in order of appearance."""
    return list(dict.fromkeys(str(row[key]) for row in rows))


def series_channels(
    names: Sequence[str],
    colours: Theme,
    key: str = "series",
    *,
    title: str | None = None,
    shape: bool = True,
    dash: bool = True,
) -> dict[str, Any]:
    """Colour, dash and shape by series, with one legend below the plot; nothing for a single series.

    Args:
        names: the series, in order; beyond six the six ways repeat with another dash.
        colours: of the theme.
        key: column that holds the name.
        title: heading of the legend.
        shape: also by shape, for point marks.
        dash: also by dash, for lines.
    """
    if len(names) < 2:
        return {}

    legend: dict[str, Any] = {"orient": "bottom", "title": title, "columns": _columns(names), "symbolOpacity": 1}
    if dash:  # short pieces of the lines; shapes with a dashed outline could not be told apart
        legend.update(symbolType="stroke", symbolSize=500, symbolStrokeWidth=2.5)

    def channel(values: Sequence[Any], turn: int = 0, *, listed: bool = True) -> dict[str, Any]:
        chosen = [values[(index + (index // len(values)) * turn) % len(values)] for index in range(len(names))]
        return {
            "field": key,
            "type": "nominal",
            "scale": {"domain": list(names), "range": chosen},
            "legend": legend if listed else None,
            "sort": None,
        }

    channels = {"color": channel(colours.series)}
    if dash:
        channels["strokeDash"] = channel(DASHES, 1)
    if shape:
        channels["shape"] = channel(SHAPES, 2, listed=not dash)
    return channels


def _columns(names: Sequence[str]) -> int:
    """Legend entries in a row: what fits the width at 7 px a character and 46 px for the symbol."""
    return max(1, min(len(names), int(WIDTH / (7 * max(map(len, names)) + 46))))


def short_names(names: Sequence[str], room: int = 24) -> list[str]:
    """Paths cut at the front to ``room`` characters, at a dot where there is one.

    Example:
        >>> short_names(["encoder.layer.0.attention.query"], 20)
        ['….0.attention.query']
    """
    result = []
    for name in names:
        tail = name[len(name) - room + 1 :] if len(name) > room else name
        if tail is not name:
            at = tail.find(".")
            tail = "…" + (tail[at:] if 0 <= at < len(tail) - 1 else tail)
        result.append(tail)
    return result


def thinned(items: Sequence[Any], most: int) -> list[Any]:
    """At most ``most`` items, evenly spread, both ends among them.

    Example:
        >>> thinned(range(10), 4)
        [0, 3, 6, 9]
    """
    if most < 2:
        raise InputError.of("most", most, "an integer >= 2")
    if len(items) <= most:
        return list(items)
    return [items[round(index * (len(items) - 1) / (most - 1))] for index in range(most)]
