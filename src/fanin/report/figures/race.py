"""Training curves of several schemes: the median over seeds, and the band in which it may lie."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from fanin.errors import InputError
from fanin.report._glyphs import number
from fanin.report.figures._base import (
    REGISTRY,
    Data,
    Kind,
    Spec,
    Table,
    finite,
    log_axis,
    log_scale,
    series_channels,
    series_of,
    spec,
    thinned,
)
from fanin.report.figures._theme import theme as theme_of

__all__ = ["data", "draw", "example", "table"]

POINTS = 240
"""Points of a curve: more than pixels can tell apart would only make the file larger."""

COLUMNS = {"scheme", "step", "median", "low", "high"}


WORDS = {"loss": "training loss", "test_loss": "test loss", "test_accuracy": "test accuracy"}

LEVEL = 0.95
"""Of the interval of a median."""

WINDOW = 20
"""Steps over which a training loss is averaged: single batches are noise."""


def data(records: Any, *, metric: str = "loss", source: str = "", log: bool | None = None) -> Data:
    """Curves with intervals.

    Args:
        records: a Race; or rows with ``scheme``, ``step``, ``median``, ``low``, ``high`` (the ends of the interval;
            None where runs diverged).
        metric: "loss" (of training), "test_loss" or "test_accuracy"; for rows any words with a unit.
        source: of the numbers: data set, seeds, optimizer, interval.
        log: logarithmic axis; by default where the medians of a loss span more than a decade.
    """
    raced = hasattr(records, "schemes") and hasattr(records, "curves")
    given: Iterable[Mapping[str, Any]] = list(_raced(records, metric)) if raced else records
    if raced:
        source = source or _source(records)
    metric = WORDS.get(metric, metric)
    curves: dict[str, list[dict[str, Any]]] = {}
    for row in given:
        if not set(row) >= COLUMNS:
            raise InputError.of("records", sorted(row), f"rows with {', '.join(sorted(COLUMNS))}")
        curves.setdefault(str(row["scheme"]), []).append(
            {
                "series": str(row["scheme"]),
                "step": row["step"],
                **{key: finite(row[key]) for key in ("median", "low", "high")},
            }
        )
    rows = [row for curve in curves.values() for row in thinned(curve, POINTS)]
    medians = [row["median"] for row in rows if row["median"] is not None and row["median"] > 0]
    if log is None:
        log = "loss" in metric and bool(medians) and max(medians) / min(medians) > 10
    return {
        "title": _title(curves, metric),
        "subtitle": "Line: median over seeds; band: its interval; schemes share seeds, data order and budget",
        "source": source,
        "rows": rows,
        "metric": metric,
        "log": log,
    }


def _raced(race: Any, metric: str) -> Iterable[dict[str, Any]]:
    """Median and interval over the seeds of each scheme at its best learning rate; a diverged run counts as worst."""
    if metric not in WORDS:
        raise InputError.of("metric", metric, ", ".join(WORDS))
    worst = -math.inf if metric == "test_accuracy" else math.inf
    series = {scheme: [_values(curve, metric) for curve in race.curves(scheme)] for scheme in race.schemes}
    # The steps of all schemes: a curve that ends early ended because it diverged.
    every = sorted({step for curves in series.values() for curve in curves for step in curve})
    for scheme, curves in series.items():
        for step in thinned(every, POINTS) if curves else ():
            at = [curve.get(step, worst) for curve in curves]
            low, high = interval([value if math.isfinite(value) else worst for value in at])
            yield {"scheme": scheme, "step": step, "median": median(at), "low": low, "high": high}


def _values(curve: Any, metric: str) -> dict[int, float]:
    """Step → value."""
    if metric == "loss":
        return dict(zip(curve.steps, curve.smoothed(WINDOW)))
    return dict(zip(curve.test_steps, curve.test_losses if metric == "test_loss" else curve.test_accuracies))


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Order statistics that hold the median with probability LEVEL, whatever the distribution; all where few.

    The k-th smallest and k-th largest of n values enclose the median with probability 1 − 2 P(Binomial(n, ½) < k).

    Example:
        >>> interval([5.0, 1.0, 4.0, 2.0, 3.0])
        (1.0, 5.0)

    Source: Thompson, 1936.
    """
    ranked, n = sorted(values), len(values)
    k, tail = 1, 2.0**-n
    while k < n // 2 and 1 - 2 * (tail + math.comb(n, k) * 2.0**-n) >= LEVEL:
        tail += math.comb(n, k) * 2.0**-n
        k += 1
    return ranked[k - 1], ranked[n - k]


def _source(race: Any) -> str:
    named = [str(race.settings[key]) for key in ("model", "data", "optimizer") if race.settings.get(key)]
    band = f"band: {LEVEL:.0%} interval of the median, or all runs where few"
    return ", ".join([*named, f"{len(race.seeds)} seeds", band])


def _title(curves: Mapping[str, list[dict[str, Any]]], metric: str) -> str:
    ends = {name: curve[-1] for name, curve in curves.items()}
    better = min if "loss" in metric or "error" in metric else max
    finished = {name: row["median"] for name, row in ends.items() if row["median"] is not None}
    failed = [name for name in ends if name not in finished]
    if not finished:
        return f"No scheme finished: all {len(failed)} diverged"
    best = better(finished, key=lambda name: finished[name])
    rest = {name: value for name, value in finished.items() if name != best}
    top = number(finished[best], 2)
    words = f"{best} reaches {metric} {top}"
    if rest:
        rival = better(rest, key=lambda name: rest[name])
        second = number(rest[rival], 2)
        words += f"; {rival}, next, {second}"
        if _overlap(ends[best], ends[rival]):
            words = f"No difference shown: {metric} {top} with {best}, {second} with {rival}, intervals overlap"
    return words + (f"; {', '.join(failed)} diverged" if failed else "")


def _overlap(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    edges = (one["low"], one["high"], other["low"], other["high"])
    if any(edge is None for edge in edges):
        return False
    return bool(one["low"] <= other["high"] and other["low"] <= one["high"])


def draw(data: Data, theme: str = "light") -> Spec:
    """Lines over bands; a cross where a scheme's median run diverged."""
    colours = theme_of(theme)
    rows = data["rows"]
    names = series_of(rows)
    y: dict[str, Any] = {"type": "quantitative", "title": data["metric"], "scale": {"zero": False}}
    if data["log"]:
        scale = log_scale((row[key] for row in rows for key in ("low", "median", "high")), tight=True)
        y.update(scale=scale, axis=log_axis(scale))
    x = {"field": "step", "type": "quantitative", "title": "step (updates)", "axis": {"grid": False}}
    channels = series_channels(names, colours, shape=False)
    single = {} if channels else {"color": colours.series[0]}
    positive = " && datum.low > 0 && datum.median > 0" if data["log"] else ""
    band = {
        "transform": [{"filter": f"datum.low !== null && datum.high !== null{positive}"}],
        "mark": {"type": "area", "opacity": 0.18, **single},
        "encoding": {
            "x": x,
            "y": {**y, "field": "low"},
            "y2": {"field": "high"},
            **({"color": channels["color"]} if channels else {}),
        },
    }
    line = {
        "transform": [{"filter": f"datum.median !== null{positive}"}],
        "mark": {"type": "line", "strokeWidth": 2, **single},
        "encoding": {"x": x, "y": {**y, "field": "median"}, **channels},
    }
    return spec(data, colours, layer=[band, line, *_ends(rows, x, y, names, colours)], height=320)


def _ends(rows: list[dict[str, Any]], x: Any, y: Any, names: list[str], colours: Any) -> list[Spec]:
    """A cross at the last finite point of a curve that stopped being finite."""
    stopped = []
    for name in names:
        curve = [row for row in rows if row["series"] == name]
        alive = [row for row in curve if row["median"] is not None]
        if alive and len(alive) < len(curve):
            stopped.append({"series": name, "step": alive[-1]["step"], "median": alive[-1]["median"]})
    if not stopped:
        return []
    mark = {"type": "text", "text": "× diverged", "align": "left", "dx": 4, "fontSize": 12, "color": colours.bad}
    return [{"data": {"values": stopped}, "mark": mark, "encoding": {"x": x, "y": {**y, "field": "median"}}}]


def table(data: Data) -> Table:
    """At most 25 steps of each scheme."""
    rows = []
    for name in series_of(data["rows"]):
        curve = [row for row in data["rows"] if row["series"] == name]
        rows += [[name, row["step"], row["median"], row["low"], row["high"]] for row in thinned(curve, 25)]
    return ["scheme", "step", f"median {data['metric']}", "low", "high"], rows


def example() -> Data:
    """Three schemes, one of which diverges."""
    rows: list[dict[str, Any]] = []
    for scheme, rate, floor in (("he", 0.05, 0.08), ("xavier", 0.018, 0.2), ("N(0, 1)", -0.04, 3.0)):
        for step in range(0, 101, 2):
            median = floor + 2.2 * math.exp(-rate * step)
            wide = 1 + 0.25 * math.exp(-step / 40)
            dead = scheme == "N(0, 1)" and step > 30
            rows.append(
                {
                    "scheme": scheme,
                    "step": step,
                    "median": None if dead else median,
                    "low": None if dead else median / wide,
                    "high": None if dead else median * wide,
                }
            )
    return data(rows, source="an example")


KIND = REGISTRY.add(
    "race",
    Kind(
        "race",
        "training curves of schemes with interval bands",
        "a Race, or rows with scheme, step, median, low, high",
        data,
        draw,
        table,
        example,
    ),
)
